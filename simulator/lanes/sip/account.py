"""The caller's own SIP account, for agents that take no calls from just anybody.

It stands in a file of its own, over which the environment goes, for it belongs to whoever runs the
scenarios and not to them: `CALLERSIDE_CALLER__USER=2001` stands over `user`. The password is in the
environment alone: `CALLERSIDE_CALLER_PASSWORD`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from callerside.addresses import HostPort
from callerside.agent.config.settings import UserPath
from callerside.agent.telephony.options import (
    CALLER_PASSWORD,
    SipAccount,
    TlsOptions,
    Transport,
    Verify,
)
from callerside.agent.telephony.srtp import SrtpPolicy
from callerside.models import Strict
from callerside.yaml import kinds, reader, variables
from callerside.yaml.errors import explain
from callerside.yaml.source import Source, YamlError, parse

PASSWORD = CALLER_PASSWORD
_PREFIX = "CALLERSIDE_CALLER__"
_OURS = frozenset({
    *("call-id", "contact", "content-length", "content-type", "cseq"),
    *("from", "max-forwards", "route", "to", "via"),
})  # fmt: skip
_TOKEN = r"[A-Za-z0-9!%*_+`'~.-]+"  # noqa: S105 - RFC 3261 §25.1's word


class AccountError(ValueError):
    """An account that cannot be used: a line a mistake, each with its place."""


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    spelled: dict[str, str] = {}
    for name, value in headers.items():
        other = spelled.setdefault(name.lower(), name)
        if other != name:
            raise PydanticCustomError(
                "header",
                "{name} and {other} are one header: their case alone differs",
                {"name": name, "other": other},
            )
        if not re.fullmatch(_TOKEN, name) or name.lower() in _OURS:
            raise PydanticCustomError(
                "header",
                "{name} is no header that can be added: expected one such as X-Customer",
                {"name": repr(name)},
            )
        if not value.isprintable():
            raise PydanticCustomError(
                "header", "expected a value of one line for {name}", {"name": name}
            )
    return headers


class Tls(Strict):
    """How the caller connects by TLS; files are in PEM, and paths from where it is started."""

    ca: UserPath | None = None
    """Who signs the agent's certificate; absent: those that this system trusts."""
    certificate: UserPath | None = None
    """The caller's own, where the agent asks for one."""
    key: UserPath | None = None
    """Its key; absent: it is in the same file."""
    verify: Verify = "servers"
    """`nobody`: whatever certificate the agent has is taken."""

    def absolute(self) -> dict[str, Any]:
        """What is set, for a process that is started elsewhere."""
        given = self.model_dump()
        return {
            name: value.absolute() if isinstance(value, Path) else value
            for name, value in given.items()
        }


class Account(Strict):
    """As whom the scripted caller calls."""

    user: str = Field(pattern=r"^[^\s@:;<>\"?]+$")
    """At the registrar or proxy, and for the digest."""
    registrar: HostPort | None = None
    """Host, or host:port, where to register before the first call; absent: nowhere."""
    auth_user: str | None = Field(None, pattern=r"^[^\s;<>\"\\]+$")
    """For the digest, where it is another one than `user`."""
    realm: str = "*"
    """Which alone gets a digest; `*`: whoever asks for one."""
    outbound_proxy: HostPort | None = None
    """Host, or host:port, by way of which everything goes."""
    domain: HostPort | None = None
    """Host of From; absent: the registrar's, or this machine's own address."""
    transport: Transport = "udp"
    """Where the address that is called names none."""
    tls: Tls | None = None
    """With `transport: tls`, or a `sips:` address."""
    srtp: SrtpPolicy = "off"
    """Encrypted audio: `offered`, or `required`."""
    caller_id: str | None = Field(None, pattern=r"^[A-Za-z0-9_.+-]+$")
    """The number to show: the user part of From; absent: `user`."""
    display_name: str | None = Field(None, pattern=r"^[^\x00-\x1f\x7f\"\\]*$")
    """The name to show."""
    expires_s: int = Field(300, ge=30, le=86_400)
    """For how long to register."""
    headers: Annotated[dict[str, str], AfterValidator(_checked_headers)] = Field({})
    """What each INVITE has besides, as `X-Customer: "4711"`."""


def load(path: Path | None, environment: Mapping[str, str]) -> SipAccount | None:
    """The account of a file and the environment; None if neither has one.

    Raises:
        AccountError: it cannot be read, or something in it is wrong.
    """
    try:
        source = reader.read(path, "account") if path else None
        if source:
            kinds.see_that_it_is(source, "account")
        source = _with_environment(source, environment)
    except YamlError as error:
        raise AccountError(str(error)) from None
    if source is None:
        return None
    mistakes = list[str]()
    if isinstance(source.data, dict) and "password" in source.data:
        place = source.place(("password",), key=True)
        mistakes.append(f"{place}: a password stands in no file: set {PASSWORD}")
        rest = {key: value for key, value in source.data.items() if key != "password"}
        source = source.changed(rest, {})
    try:
        account = Account.model_validate(source.data)
    except ValidationError as error:
        mistakes += explain(error, source, Account)
    if mistakes:
        raise AccountError("\n".join(mistakes))
    given = account.model_dump(exclude_none=True)
    tls = account.tls and TlsOptions(**account.tls.absolute())
    return SipAccount(
        **{**given, "headers": tuple(account.headers.items()), "tls": tls},
        password=environment.get(PASSWORD, ""),
    )


def _with_environment(source: Source | None, environment: Mapping[str, str]) -> Source | None:
    for name in sorted(environment):
        if not name.startswith(_PREFIX):
            continue
        if source is None:
            source = Source(Path(name), "", parse(Path(name), "{}"))
        if not isinstance(source.data, dict):
            break
        keys = name.removeprefix(_PREFIX).split("__")
        source = variables.overridden(source, name, keys, environment[name], Account)
    return source
