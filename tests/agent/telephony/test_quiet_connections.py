"""Which TCP connections are ended, and that their sockets are found."""

import contextlib
import socket
import time

import pytest

from callerside.agent.telephony.quiet_connections import (
    KEPT,
    QUIET_MS,
    Connection,
    QuietConnections,
    superfluous,
)


def connections(host: str, quiet_ms: list[int]) -> list[Connection]:
    return [
        Connection(source=f"{host}:{5000 + number}", quiet_ms=each)
        for number, each in enumerate(quiet_ms)
    ]


def nobody(_source: str) -> bool:
    return False


def test_a_few_are_left_however_quiet_they_are() -> None:
    assert superfluous(connections("a", [10 * QUIET_MS] * KEPT), nobody) == []


def test_of_more_the_quietest_go() -> None:
    quiet = [QUIET_MS + number for number in range(KEPT + 3)]
    ended = superfluous(connections("a", quiet), nobody)
    assert [one.quiet_ms for one in ended] == sorted(quiet, reverse=True)[:3]


def test_who_has_most_is_first() -> None:
    few, many = connections("few", [9 * QUIET_MS] * 4), connections("many", [QUIET_MS] * 20)
    assert {one.host for one in superfluous([*few, *many], nobody)} == {"many"}


def test_sources_are_left_as_many_each() -> None:
    one, other = connections("one", [QUIET_MS] * 20), connections("other", [QUIET_MS] * 14)
    ended = superfluous([*one, *other], nobody)
    left = [each.host for each in [*one, *other] if each not in ended]
    assert (left.count("one"), left.count("other")) == (KEPT // 2, KEPT // 2)


def test_none_goes_that_is_not_quiet() -> None:
    assert superfluous(connections("a", [QUIET_MS - 1] * 100), nobody) == []


def test_none_goes_that_a_call_came_over() -> None:
    there = connections("a", [QUIET_MS] * (KEPT + 1))
    ended = superfluous(there, lambda source: source == "a:5000")
    assert [one.source for one in ended] == ["a:5001"]
    assert superfluous(there, lambda _: True) == []


def test_the_sockets_are_found_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callerside.agent.telephony.quiet_connections.QUIET_MS", 100)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        clients, taken = [], []
        for _ in range(KEPT + 4):
            clients.append(stack.enter_context(socket.create_connection(server.getsockname())))
            taken.append(stack.enter_context(server.accept()[0]))
        time.sleep(0.2)
        for client in clients[4:]:
            client.sendall(b"x")
        port = server.getsockname()[1]
        kept = {":".join(map(str, clients[0].getsockname()))}
        QuietConnections(lambda: {port}, kept.__contains__).look()
        for client in clients:
            client.settimeout(0.2)
        assert [is_over(client) for client in clients[:5]] == [False, True, True, True, False]
        QuietConnections(lambda: {port + 1}, nobody).look()
        assert not is_over(clients[0]), "of another port"


def is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
