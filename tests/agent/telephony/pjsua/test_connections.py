"""How many TCP connections are let in, and how the kernel is told."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from callerside.agent.telephony.pjsua.admission import CLOSING_NS
from callerside.agent.telephony.pjsua.connections import (
    NOBODY_FROM,
    PEERS_ONLY_FROM,
    ConnectionPolicy,
    Connections,
)
from callerside.agent.telephony.pjsua.native.tcp_listener import TcpListener

HOST = "127.0.0.1"
PEER, OTHER_PEER, STRANGER = "127.0.0.5", "127.1.2.3", "127.0.0.9"


@pytest.mark.parametrize(
    ("taken", "policy"),
    [
        (0, ConnectionPolicy.EVERYBODY),
        (PEERS_ONLY_FROM - 1, ConnectionPolicy.EVERYBODY),
        (PEERS_ONLY_FROM, ConnectionPolicy.PEERS),
        (NOBODY_FROM - 1, ConnectionPolicy.PEERS),
        (NOBODY_FROM, ConnectionPolicy.NOBODY),
    ],
)
def test_the_more_are_connected_the_fewer_may_come(taken: int, policy: ConnectionPolicy) -> None:
    connections = Connections()
    for number in range(taken):
        connections.opened(number)
    assert connections.policy(0) is policy


def test_a_closed_connection_takes_its_place_for_a_while() -> None:
    connections = Connections()
    for number in range(NOBODY_FROM):
        connections.opened(number)
        connections.closed(number, number)
    assert connections.policy(CLOSING_NS - 1) is ConnectionPolicy.NOBODY
    assert connections.policy(CLOSING_NS) is ConnectionPolicy.PEERS
    assert connections.places_taken(CLOSING_NS + NOBODY_FROM) == 0


def test_one_of_ours_that_never_came_about_takes_a_place_while_it_is_closed() -> None:
    connections = Connections()
    connections.closed(1, 0)
    assert connections.places_taken(0) == 1
    assert connections.places_taken(CLOSING_NS) == 0


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0), backlog=10) as opened:
        yield opened


@pytest.fixture
def listener(server: socket.socket) -> Iterator[TcpListener]:
    found = TcpListener((PEER, "127.1.0.0/16", "fd00::/8"))
    found.open(HOST, server.getsockname()[1])
    yield found
    found.close()


def connects(server: socket.socket, host: str) -> bool:
    """Loopback answers a SYN at once, or not at all."""
    with socket.socket() as client:
        client.bind((host, 0))
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        with contextlib.suppress(OSError):
            client.getpeername()
            return True
    return False


@pytest.mark.parametrize(
    ("taken", "welcome"),
    [
        (0, {PEER, OTHER_PEER, STRANGER}),
        (PEERS_ONLY_FROM, {PEER, OTHER_PEER}),
        (NOBODY_FROM, set()),
    ],
)
def test_the_kernel_connects_those_who_may_come(
    server: socket.socket, listener: TcpListener, taken: int, welcome: set[str]
) -> None:
    for number in range(taken):
        listener.opened(number)
    hosts = (PEER, OTHER_PEER, STRANGER)
    assert {host for host in hosts if connects(server, host)} == welcome
    for number in range(taken):
        listener.closed(number)
    listener.tick(2**63)
    assert {host for host in hosts if connects(server, host)} == set(hosts)


def test_without_allowed_peers_all_are_alike(server: socket.socket) -> None:
    listener = TcpListener(())
    listener.open(HOST, server.getsockname()[1])
    for number in range(NOBODY_FROM):
        assert connects(server, STRANGER)
        server.accept()[0].close()
        listener.opened(number)
    assert not connects(server, STRANGER)
    listener.close()


def test_a_list_too_long_for_the_kernel_costs_the_list_alone(server: socket.socket) -> None:
    listener = TcpListener([f"10.{n // 256}.{n % 256}.1" for n in range(2000)])
    listener.open(HOST, server.getsockname()[1])
    for number in range(PEERS_ONLY_FROM):
        listener.opened(number)
    assert connects(server, STRANGER)
    server.accept()[0].close()
    for number in range(NOBODY_FROM):
        listener.opened(number)
    assert not connects(server, STRANGER)
    listener.close()


def test_connections_that_exist_are_not_touched(
    server: socket.socket, listener: TcpListener
) -> None:
    with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
        for number in range(NOBODY_FROM):
            listener.opened(number)
        client.sendall(b"still here")
        assert accepted.recv(100) == b"still here"
