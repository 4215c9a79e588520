"""Which sockets reach a host."""

import socket

from callerside.addresses import is_ipv6


def family_of(host: str) -> socket.AddressFamily:
    """Of sockets to a host, or at it, by how it is written: a name is one of IPv4."""
    return socket.AF_INET6 if is_ipv6(host) else socket.AF_INET
