"""What every `agent.realtime.interface.RealtimeConnection` must do, over a socket and in memory.

Both talk to a peer that does what the events it gets tell it to: echo, send garbage, close, drop.
"""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest
from msgspec.structs import replace
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import (
    Event,
    RealtimeClosed,
    RealtimeConnected,
    RealtimeConnection,
    RealtimeEvent,
    RealtimeGarbage,
    RealtimeInput,
)
from callerside.fakes.script.model import PathDelay
from callerside.fakes.session import interface
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.simulator.lanes.virtual.realtime import VirtualRealtimeServer

PATIENCE_S = 10.0
TIMEOUT_MS = 300


class Bench(Protocol):
    """A way to connect to a peer, and to let time pass until something is the case."""

    received: list[Event]
    """What the peer got."""

    def connection(self, mode: str, *, timeout_ms: int = 5000) -> RealtimeConnection:
        """A connection to a peer that will `accept`, `refuse`, or stay `silent`."""

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait; fails when it does not happen."""

    async def settle(self) -> None:
        """Wait until everything that is on its way has arrived."""


class SocketBench:
    """The real adapter, and a WebSocket server of a few lines."""

    def __init__(self) -> None:
        self.received: list[Event] = []
        self.connections: list[WebSocketConnection] = []
        self.server: Server
        self.over = asyncio.Event()

    def connection(self, mode: str, *, timeout_ms: int = 5000) -> RealtimeConnection:
        port = self.server.sockets[0].getsockname()[1]
        connection = WebSocketConnection(
            f"ws://127.0.0.1:{port}/{mode}", model="m", api_key="k", timeout_ms=timeout_ms
        )
        self.connections.append(connection)
        return connection

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():  # noqa: ASYNC110 - what is waited for is no event of ours
                await asyncio.sleep(0.002)

    async def settle(self) -> None:
        await asyncio.sleep(0.1)

    async def shake_hands(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.startswith("/refuse"):
            return connection.respond(503, "busy\n")
        if request.path.startswith("/silent"):
            await self.over.wait()
        return None

    async def obey(self, connection: ServerConnection) -> None:
        async for message in connection:
            event = json.loads(message)
            if "audio" in event:
                event["audio"] = base64.b64decode(event["audio"])
            self.received.append(event)
            match event["type"]:
                case "echo":
                    await connection.send(json.dumps(event["event"]))
                case "input_audio_buffer.append":
                    delta = base64.b64encode(event["audio"]).decode()
                    await connection.send(
                        json.dumps({"type": "response.output_audio.delta", "delta": delta})
                    )
                case "garbage":
                    await connection.send(event["text"])
                case "close":
                    await connection.close(event["code"], event["reason"])
                case "drop":
                    connection.transport.abort()
                case _:
                    pass  # only received


class MemoryPeer:
    """A session machine that obeys."""

    def __init__(self, mode: str, received: list[Event]) -> None:
        self._mode = mode
        self._received = received

    def routine_ms(self, *, silent: bool) -> float:
        return 0.0

    def handle(self, given: interface.Input, now_ns: int) -> list[interface.Effect]:
        del now_ns
        if isinstance(given, interface.ConnectionRequested):
            answers: dict[str, list[interface.Effect]] = {
                "accept": [interface.AcceptConnection()],
                "refuse": [interface.RefuseConnection(503, "busy\n")],
                "silent": [],
            }
            return answers[self._mode]
        if not isinstance(given, interface.ClientEvent):
            return []
        self._received.append(given.event)
        return self._obey(given.event)

    def _obey(self, event: Event) -> list[interface.Effect]:
        match event["type"]:
            case "echo":
                return [interface.SendEvent(event["event"])]
            case "input_audio_buffer.append":
                delta = {"type": "response.output_audio.delta", "delta": event["audio"]}
                return [interface.SendEvent(delta)]
            case "garbage":
                return [interface.SendText(event["text"])]
            case "close":
                return [interface.CloseConnection(event["code"], event["reason"])]
            case "drop":
                return [interface.DropConnection()]
            case _:
                return []


class MemoryBench:
    """The connection in memory."""

    def __init__(self) -> None:
        self.received: list[Event] = []
        self._clock = VirtualClock()

    def connection(self, mode: str, *, timeout_ms: int = 5000) -> RealtimeConnection:
        marks: list[Mark] = []
        server = VirtualRealtimeServer(
            self._clock,
            lambda: MemoryPeer(mode, self.received),
            path=PathDelay(),
            rng=random.Random(1),
            marks=marks.append,
        )
        return server.connect(model="m", dialect="ga", timeout_ms=timeout_ms)

    async def until(self, happened: Callable[[], bool]) -> None:
        limit_ns = self._clock.now_ns() + round(PATIENCE_S * 1e9)
        while not happened():
            assert self._clock.now_ns() < limit_ns, "it did not happen"
            self._clock.run_until(self._clock.now_ns() + 1_000_000)

    async def settle(self) -> None:
        self._clock.run_until(self._clock.now_ns() + 100_000_000)


@pytest.fixture(params=["socket", "memory"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    socket_bench = SocketBench()
    async with serve(
        socket_bench.obey, "127.0.0.1", 0, process_request=socket_bench.shake_hands, max_size=None
    ) as server:
        socket_bench.server = server
        yield socket_bench
        for connection in socket_bench.connections:
            connection.close()
            await connection.wait_closed()
        socket_bench.over.set()


class Client:
    """A connection, and what it told."""

    def __init__(self, bench: Bench, mode: str = "accept", timeout_ms: int = 5000) -> None:
        self.told: list[RealtimeInput] = []
        self.connection = bench.connection(mode, timeout_ms=timeout_ms)
        self.connection.start(self._take)

    def _take(self, received: RealtimeInput) -> None:
        """Whatever its size on the wire: in memory it has none."""
        if isinstance(received, RealtimeEvent | RealtimeGarbage):
            received = replace(received, size_bytes=0)
        self.told.append(received)

    def told_of(self, kind: type[RealtimeInput]) -> list[Any]:
        return [one for one in self.told if isinstance(one, kind)]

    def over(self) -> bool:
        return bool(self.told_of(RealtimeClosed))


async def up(bench: Bench) -> Client:
    client = Client(bench)
    await bench.until(lambda: client.told == [RealtimeConnected()])
    return client


async def test_no_method_tells_anything_within_its_call(bench: Bench) -> None:
    client = await up(bench)
    client.connection.send({"type": "echo", "event": {"type": "last"}})
    client.connection.send({"type": "close", "code": 1000, "reason": ""})
    assert client.told == [RealtimeConnected()]
    await bench.until(client.over)
    assert client.told[1:] == [
        RealtimeEvent(event={"type": "last"}),
        RealtimeClosed(reason="closed by the server", code=1000),
    ]


async def test_connects_in_the_background(bench: Bench) -> None:
    client = Client(bench)
    assert client.told == []
    await bench.until(lambda: client.told == [RealtimeConnected()])


async def test_events_arrive_at_the_peer_in_order(bench: Bench) -> None:
    client = await up(bench)
    events = [{"type": "note", "number": number, "text": "naïve ✓"} for number in range(200)]
    for event in events:
        client.connection.send(event)
    await bench.until(lambda: len(bench.received) == 200)
    assert bench.received == events


async def test_events_come_back_in_order(bench: Bench) -> None:
    client = await up(bench)
    events = [{"type": "session.updated", "number": number} for number in range(200)]
    for event in events:
        client.connection.send({"type": "echo", "event": event})
    await bench.until(lambda: len(client.told) == 201)
    assert client.told[1:] == [RealtimeEvent(event=event) for event in events]


async def test_audio_is_bytes_on_both_ways(bench: Bench) -> None:
    client = await up(bench)
    audio = bytes(range(256)) * 10
    client.connection.send({"type": "input_audio_buffer.append", "audio": audio})
    await bench.until(lambda: len(client.told) == 2)
    assert bench.received[0]["audio"] == audio
    assert client.told[1] == RealtimeEvent(
        event={"type": "response.output_audio.delta", "delta": audio}
    )


async def test_what_is_sent_before_the_handshake_is_done_waits_for_it(bench: Bench) -> None:
    client = Client(bench)
    client.connection.send({"type": "note"})
    await bench.until(lambda: bench.received == [{"type": "note"}])
    assert client.told == [RealtimeConnected()]


async def test_a_refusal_tells_its_status(bench: Bench) -> None:
    client = Client(bench, "refuse")
    await bench.until(client.over)
    assert client.told == [RealtimeClosed(reason="handshake refused: HTTP 503", status=503)]


async def test_a_peer_that_says_nothing_is_given_up(bench: Bench) -> None:
    client = Client(bench, "silent", timeout_ms=TIMEOUT_MS)
    await bench.until(client.over)
    assert client.told == [RealtimeClosed(reason="no handshake within 0.3 s")]


async def test_a_close_tells_code_and_reason_once_and_last(bench: Bench) -> None:
    client = await up(bench)
    client.connection.send({"type": "echo", "event": {"type": "last"}})
    client.connection.send({"type": "close", "code": 4000, "reason": "enough"})
    await bench.until(client.over)
    client.connection.send({"type": "echo", "event": {"type": "too late"}})
    await bench.settle()
    assert client.told == [
        RealtimeConnected(),
        RealtimeEvent(event={"type": "last"}),
        RealtimeClosed(reason="enough", code=4000),
    ]


async def test_a_lost_connection_is_told_as_1006(bench: Bench) -> None:
    client = await up(bench)
    client.connection.send({"type": "drop"})
    await bench.until(client.over)
    assert client.told[1:] == [RealtimeClosed(reason="the connection was lost", code=1006)]


@pytest.mark.parametrize("text", ["{no json", "[" * 100_000], ids=["no JSON", "nested too deep"])
async def test_garbage_is_told_and_does_not_end_the_connection(bench: Bench, text: str) -> None:
    client = await up(bench)
    client.connection.send({"type": "garbage", "text": text})
    client.connection.send({"type": "echo", "event": {"type": "after"}})
    await bench.until(lambda: len(client.told) == 3)
    assert [type(one) for one in client.told[1:]] == [RealtimeGarbage, RealtimeEvent]


async def test_a_message_that_is_too_large_ends_the_connection(bench: Bench) -> None:
    client = await up(bench)
    client.connection.send({"type": "garbage", "text": " " * (16 * 2**20 + 1)})
    await bench.until(client.over)
    assert len(client.told) == 2


async def test_nothing_is_told_after_close(bench: Bench) -> None:
    client = await up(bench)
    client.connection.send({"type": "echo", "event": {"type": "too late"}})
    client.connection.close()
    client.connection.close()
    client.connection.send({"type": "note"})
    await bench.settle()
    assert client.told == [RealtimeConnected()]
    assert {"type": "note"} not in bench.received


async def test_closing_during_the_handshake_is_silent(bench: Bench) -> None:
    client = Client(bench, "silent", timeout_ms=TIMEOUT_MS)
    client.connection.close()
    await bench.settle()
    assert client.told == []


async def test_an_input_may_close_the_connection(bench: Bench) -> None:
    connection = bench.connection("accept")
    told: list[RealtimeInput] = []

    def take(one: RealtimeInput) -> None:
        told.append(one)
        connection.close()

    connection.start(take)
    await bench.until(lambda: bool(told))
    await bench.settle()
    assert told == [RealtimeConnected()]


async def test_more_than_the_bound_before_the_handshake_ends_the_connection(bench: Bench) -> None:
    client = Client(bench, "silent")
    for number in range(3001):
        client.connection.send({"type": "note", "number": number})
    assert client.told == []
    await bench.until(client.over)
    assert client.told == [RealtimeClosed(reason="3000 events waited to be sent")]
