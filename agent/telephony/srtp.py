"""Encrypted audio (SRTP, RFC 3711) whose keys stand in descriptions (SDES, RFC 4568).

Whoever reads SIP reads the keys: it is worth what SIP's own encryption is (RFC 4568 §8.1).
Descriptions are looked at as if they were of plain audio (`plain_view`): what this side does not
want is refused in it (its port is 0), and what it wants is a line of RTP/AVP.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

SrtpPolicy = Literal["off", "offered", "required"]

SUITES = ("AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80")
"""Those of RFC 4568 §6.2 that both engines have."""
_KEY_BYTES = 30
"""Master key and salt."""

_LINES = re.compile(r"^(?=m=)", re.MULTILINE)
_SECURE = re.compile(r"(m=audio \S+ RTP/)S(AVPF?)(?= )")
_AS_PLAIN = re.compile(r"(m=audio \S+ RTP/)(AVPF?) (?= )")
_AUDIO = re.compile(r"m=audio \S+ RTP/")
_PORT = re.compile(r"(?<=^m=audio )\d+")
_ANY_CRYPTO = re.compile(r"^a=crypto(?=:)", re.MULTILINE | re.IGNORECASE)
_CRYPTO = re.compile(
    r"^a=crypto:(\d{1,9})[ \t]+(\S+)[ \t]+inline:([A-Za-z0-9+/=]+)(?:\|(?:2\^)?\d+)?[ \t]*\r?$",
    re.MULTILINE | re.IGNORECASE,
)
"""One key, without an identifier (MKI) and without parameters of the session."""
_UNUSED = "a=unused"
"""As long as `a=crypto`, and nobody's attribute."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """A key that a description offers or takes."""

    tag: int
    suite: str
    key: bytes

    def __repr__(self) -> str:
        return f"Crypto(tag={self.tag}, suite={self.suite!r})"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What both sides have agreed upon."""

    suite: str
    own: bytes
    theirs: bytes

    def __repr__(self) -> str:
        return f"SrtpKeys(suite={self.suite!r})"


def cryptos(line: str) -> Iterator[Crypto]:
    """Those of a line of audio that can be used."""
    for tag, suite, key in _CRYPTO.findall(line):
        with_key = _key(key)
        if suite.upper() in SUITES and with_key is not None:
            yield Crypto(int(tag), suite.upper(), with_key)


def _key(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return key if len(key) == _KEY_BYTES else None


def agreed(ours: Sequence[Crypto], theirs: Sequence[Crypto]) -> SrtpKeys | None:
    """Of an offer and its answer, which names one of its tags (RFC 4568 §5.1.2); None: plain."""
    by_tag = {one.tag: one for one in theirs}
    for own in ours:
        other = by_tag.get(own.tag)
        if other is not None and other.suite == own.suite:
            return SrtpKeys(own.suite, own.key, other.key)
    return None


def plain_view(description: str, policy: SrtpPolicy) -> str:
    """A description of the same length in which all that is wanted is plain, and all else refused.

    Args:
        description: of a session.
        policy: `off`: encrypted lines are refused, and keys not seen. `required`: lines without a
            key that can be used are refused. `offered`: encrypted ones without one are.
    """
    session, *lines = _LINES.split(description)
    return session + "".join(_viewed(line, policy) for line in lines)


def _viewed(line: str, policy: SrtpPolicy) -> str:
    if _AUDIO.match(line) is None:
        return line
    is_secure, has_key = _SECURE.match(line) is not None, next(cryptos(line), None) is not None
    is_wanted = (
        not is_secure if policy == "off" else has_key or (policy == "offered" and not is_secure)
    )
    line = without_keys(line) if policy == "off" else _usable_alone(line)
    if not is_wanted:
        return _PORT.sub(lambda port: "0" * len(port[0]), line, count=1)
    return _SECURE.sub(r"\1\2 ", line)


def _usable_alone(line: str) -> str:
    """Keys that cannot be used are not seen: an engine might take one of them."""

    def seen(one: str) -> str:
        return one if next(cryptos(one), None) else without_keys(one)

    return "".join(seen(one) for one in line.splitlines(keepends=True))


def without_keys(description: str) -> str:
    """The same, of the same length, in which nobody sees a key."""
    return _ANY_CRYPTO.sub(_UNUSED, description)


def secure_again(view: str, description: str) -> str:
    """What has become of a view, for whoever is to see what is encrypted, of the same length."""
    session, *lines = _LINES.split(view)
    _, *before = _LINES.split(description)
    return session + "".join(
        _AS_PLAIN.sub(r"\1S\2", line) if _SECURE.match(was) else line
        for line, was in zip(lines, before, strict=True)
    )


def view_of_message(message: str, policy: SrtpPolicy) -> str:
    """The same of a SIP message; what is no description is left as it is."""
    head, end, body = message.partition("\r\n\r\n")
    if "application/sdp" not in head.lower():
        return message
    return head + end + plain_view(body, policy)
