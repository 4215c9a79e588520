"""Addresses as people and clients write them."""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


def in_url(host: str) -> str:
    """A host as a URL has it: an IPv6 address stands in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host


def parts_of(target: str) -> SplitResult:
    """The parts of what a client requests, whatever it is: one that is no URL has a path only."""
    try:
        return urlsplit(target)
    except ValueError:
        return SplitResult("", "", target, "", "")


def why_no_websocket(url: str) -> str | None:
    """Why no WebSocket can be opened at this URL; None if it looks as if one can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("ws", "wss"):
        return "expected a URL of ws:// or wss://"
    if not parts.hostname:
        return "it names no host"
    return "port 0 is none" if port == 0 else None


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or address, is this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
