"""Hosts and ports as people write them."""

import re
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from callerside.ports import HIGHEST_PORT

Family = Literal["IP4", "IP6"]
"""Of addresses, as session descriptions have it (RFC 4566 §8.2.6)."""

_HOST = r"[A-Za-z0-9_.-]+"
_BRACKETED = r"\[[0-9A-Fa-f:.]+\]"
_HOST_PORT = re.compile(rf"({_HOST}|{_BRACKETED})(?::([0-9]+))?")
_SIP_PORT = re.compile(rf"sips?:(?:[^@]*@)?(?:{_BRACKETED}|[^:;?@\[]+):([^;?]*)", re.IGNORECASE)
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared
"""Hosts to listen at, that are all of the machine's addresses of a family."""
_OWN_BITS = 64
"""Of an address of IPv6, that its host chooses."""
_PORTS = f"a port of 1 to {HIGHEST_PORT}"


def is_port(text: str) -> bool:
    """Whether something can be called there: digits, from 1 on."""
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= HIGHEST_PORT


def in_uri(host: str) -> str:
    """A host as URIs have it: an address of IPv6 stands in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host


def joined(host: str, port: int) -> str:
    """`host:port`, or `[host]:port` of IPv6."""
    return f"{in_uri(host)}:{port}"


def host_of(place: str) -> str:
    """The host, without brackets, of `host`, `host:port`, `[host]` or `[host]:port`."""
    if place.startswith("["):
        return place[1:].partition("]")[0]
    host, _, rest = place.partition(":")
    return place if ":" in rest else host  # one of IPv6 without brackets has no port


def port_of(place: str) -> int | None:
    """The port of the same, if it names one."""
    if host_of(place) == place:
        return None
    rest = place.removeprefix(in_uri(host_of(place)))
    return int(rest[1:]) if rest else None


def is_ipv6(host: str) -> bool:
    """Whether a host, without brackets, is an address of IPv6."""
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def family_in_sdp(host: str) -> Family:
    """Of a host, by how it is written."""
    return "IP6" if is_ipv6(host) else "IP4"


def as_compared(host: str) -> str:
    """A host as two of them are compared: an address of IPv6 can be written in many ways."""
    return str(ip_address(host)) if is_ipv6(host) else host


def owner_of(place: str) -> str:
    """Who is counted as one, of `host:port`: a host, or the /64 of IPv6 in which it is.

    Whoever has one address of IPv6 has all of its /64 (RFC 6177 §2).
    """
    host = host_of(place)
    if not is_ipv6(host):
        return host
    return str(IPv6Network((int(ip_address(host)) >> _OWN_BITS << _OWN_BITS, 128 - _OWN_BITS)))


def check_sip_port(uri: str) -> None:
    """See to the port of a SIP URI, if it names one.

    Raises:
        ValueError: it can be none.
    """
    found = _SIP_PORT.match(uri)
    if found and not is_port(found[1]):
        raise ValueError(f"{uri!r}: expected {_PORTS}, or none")


def _checked_host(text: str) -> str:
    if not re.fullmatch(_HOST, text) and not is_plain_ipv6(text):
        expected = "{value}: expected a name or an IP address, without a port"
        raise PydanticCustomError("host", expected, _in(text))
    return text


def _checked_host_port(text: str) -> str:
    found = _HOST_PORT.fullmatch(text)
    is_one = found and (not text.startswith("[") or is_plain_ipv6(host_of(text)))
    if not found or not is_one or not (found[2] is None or is_port(found[2])):
        expected = f"{{value}}: expected host, or host:port with {_PORTS}; IPv6 in brackets"
        raise PydanticCustomError("host_port", expected, _in(text))
    return text


def is_plain_ipv6(text: str) -> bool:
    """Whether it is one that a socket of IPv6 reaches by itself.

    Link-local ones need a zone besides (RFC 4007 §11), and one of IPv4 in IPv6's words is reached
    by IPv4.
    """
    if not is_ipv6(text) or "%" in text:
        return False
    address = IPv6Address(text)
    return not address.is_link_local and address.ipv4_mapped is None


def _in(text: str) -> dict[str, str]:
    return {"value": repr(text)}


Host = Annotated[str, AfterValidator(_checked_host)]
"""A name or an address, of IPv6 without brackets."""
HostPort = Annotated[str, AfterValidator(_checked_host_port)]
"""`host`, or `host:port`; an address of IPv6 in brackets."""
