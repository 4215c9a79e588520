"""Hosts and ports as people write them."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from callerside.ports import HIGHEST_PORT

_HOST = r"[A-Za-z0-9_.-]+"
_HOST_PORT = re.compile(rf"{_HOST}(?::([0-9]+))?")
_SIP_PORT = re.compile(r"sips?:(?:[^@]*@)?[^:;?@]+:([^;?]*)", re.IGNORECASE)
_PORTS = f"a port of 1 to {HIGHEST_PORT}"


def is_port(text: str) -> bool:
    """Whether something can be called there: digits, from 1 on."""
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= HIGHEST_PORT


def check_sip_port(uri: str) -> None:
    """See to the port of a SIP URI, if it names one.

    Raises:
        ValueError: it can be none.
    """
    found = _SIP_PORT.match(uri)
    if found and not is_port(found[1]):
        raise ValueError(f"{uri!r}: expected {_PORTS}, or none")


def _checked_host(text: str) -> str:
    if not re.fullmatch(_HOST, text):
        expected = "{value}: expected a name or an IPv4 address, without a port"
        raise PydanticCustomError("host", expected, _in(text))
    return text


def _checked_host_port(text: str) -> str:
    found = _HOST_PORT.fullmatch(text)
    if not found or not (found[1] is None or is_port(found[1])):
        expected = f"{{value}}: expected host, or host:port with {_PORTS}"
        raise PydanticCustomError("host_port", expected, _in(text))
    return text


def _in(text: str) -> dict[str, str]:
    return {"value": repr(text)}


Host = Annotated[str, AfterValidator(_checked_host)]
"""A name or an IPv4 address."""
HostPort = Annotated[str, AfterValidator(_checked_host_port)]
"""`host`, or `host:port`."""
