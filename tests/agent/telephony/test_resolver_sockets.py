"""Sockets that are bound to all addresses are bound anew, where name servers are."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from callerside.agent.telephony.baresip.resolver_sockets import (
    bind_resolvers,
    open_datagram_sockets,
)


@pytest.fixture
def others() -> set[int]:
    return open_datagram_sockets()


@pytest.fixture
def theirs(others: set[int]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.settimeout(0.3)
        opened.bind(("0.0.0.0", 0))
        yield opened


def told(folder: Path, text: str) -> Path:
    path = folder / "resolv.conf"
    path.write_text(text)
    return path


def test_one_hears_name_servers_alone_where_they_are_reached_from(
    tmp_path: Path, others: set[int], theirs: socket.socket
) -> None:
    bind_resolvers(others, "127.0.0.9", told(tmp_path, "nameserver 127.0.0.1\nnameserver\n"))
    host, port = theirs.getsockname()
    assert host == "127.0.0.1"
    for source in ("127.0.0.7", "127.0.0.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((source, 0))
            sender.sendto(source.encode(), (host, port))
    assert theirs.recv(100) == b"127.0.0.1"
    with pytest.raises(TimeoutError):
        theirs.recv(100)


def test_without_a_name_server_it_listens_where_calls_come(
    tmp_path: Path, others: set[int], theirs: socket.socket
) -> None:
    bind_resolvers(others, "127.0.0.9", tmp_path / "none")
    assert theirs.getsockname()[0] == "127.0.0.9"


def test_what_was_there_before_is_left_alone(tmp_path: Path, theirs: socket.socket) -> None:
    before = theirs.getsockname()
    bind_resolvers(open_datagram_sockets(), "127.0.0.9", tmp_path / "none")
    assert theirs.getsockname() == before


def test_one_of_ipv6_without_a_name_server_listens_nowhere(
    tmp_path: Path, others: set[int]
) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as own:
        own.bind(("::", 0))
        bind_resolvers(others, "127.0.0.1", told(tmp_path, "nameserver 127.0.0.1\n"))
        assert own.getsockname()[1] == 0
