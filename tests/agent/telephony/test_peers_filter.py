"""What the kernel lets through to a socket, by who has sent it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from callerside.agent.telephony.peers_filter import drop_from_others, let_in_alone
from callerside.families import family_of

_IPV6_FREEBIND = 78
"""Of linux/in6.h: an address can be sent from that is not this machine's."""


@contextmanager
def bound(host: str) -> Iterator[socket.socket]:
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as opened:
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        opened.bind((host, 0))
        opened.settimeout(0.05)
        yield opened


@pytest.mark.parametrize(
    ("source", "networks", "passes"),
    [
        ("127.0.0.9", ("127.0.0.9",), True),
        ("127.0.0.9", ("127.0.0.8/31",), True),
        ("127.0.0.9", ("127.0.0.8", "127.0.0.10/31"), False),
        ("127.0.0.9", ("::/0",), False),
        ("::1", ("::1",), True),
        ("::1", ("2001:db8::/32", "::/127"), True),
        ("::1", ("::2", "0.0.0.0/0"), False),
        ("2001:db8::9", ("2001:db8::9",), True),
        ("2001:db8::9", ("2001:db8::8",), False),
        ("2001:db8::9", ("2001:db8::/32",), True),
        ("2001:db8::9", ("2001:db9::/32",), False),
        ("2001:db8:0:1::9", ("2001:db8::/64",), False),
        ("2001:db8:0:1::9", ("2001:db8::/63",), True),
        ("2001:db8:8000::9", ("2001:db8::/33",), False),
        ("2001:db8::9", ("::/0",), True),
        ("2001:db8::9", (), True),
    ],
)
def test_packets_of_others_are_dropped(
    source: str, networks: tuple[str, ...], *, passes: bool
) -> None:
    with bound("::1" if ":" in source else "127.0.0.1") as own, bound(source) as other:
        drop_from_others(own, networks)
        other.sendto(b"packet", own.getsockname())
        if passes:
            assert own.recvfrom(100)[1][0] == source
        else:
            with pytest.raises(TimeoutError):
                own.recv(100)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("lets_in", [False, True])
def test_others_get_no_connection(host: str, *, lets_in: bool) -> None:
    """Nor a refusal: to them nobody is there."""
    other = "2001:db8::/32" if host == "::1" else "192.0.2.0/24"
    with socket.create_server((host, 0), family=family_of(host)) as listener:
        port = listener.getsockname()[1]
        let_in_alone((host,) if lets_in else (other,), host, port)
        if lets_in:
            socket.create_connection((host, port), 1).close()
        else:
            with pytest.raises(TimeoutError):
                socket.create_connection((host, port), 0.1)
