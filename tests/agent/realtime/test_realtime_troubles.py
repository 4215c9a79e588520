"""What the WebSocket library tells of its own troubles is one line of ours, without a traceback."""

import asyncio
import logging

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve

from callerside.agent.realtime import client
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeConnected, RealtimeInput

LIMIT_S = 10


async def listen(socket: ServerConnection) -> None:
    await socket.wait_closed()


async def test_a_ping_that_fails_is_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = asyncio.Event()

    async def ping(_self: ClientConnection, _data: object = None) -> None:
        failed.set()
        raise RuntimeError("no\nping")

    monkeypatch.setattr(ClientConnection, "ping", ping)
    monkeypatch.setattr(client, "_PING_INTERVAL_S", 0.01)
    with capture_logs() as lines:
        await talk(listen, failed)
    assert lines == [
        {
            "event": "realtime_connection_broken",
            "log_level": "warning",
            "what": "keepalive ping failed",
            "error": "RuntimeError: no\nping",
        }
    ]
    # What the library's server says of connections that come and go is no trouble.
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_broken_frames_are_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def break_off(socket: ServerConnection) -> None:
        socket.transport.write(b"\x83\x00")  # an opcode that there is not
        await socket.wait_closed()

    closed = asyncio.Event()
    with capture_logs():
        told = await talk(break_off, closed)
    assert isinstance(told[-1], RealtimeClosed)
    assert [record.exc_info for record in caplog.records if record.exc_info] == []


async def talk(handler: object, until: asyncio.Event) -> list[RealtimeInput]:
    """A session with such a server, until something has happened or it is over."""
    told: list[RealtimeInput] = []

    def take(item: RealtimeInput) -> None:
        told.append(item)
        if not isinstance(item, RealtimeConnected):
            until.set()

    async with serve(handler, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
        port = next(iter(server.sockets)).getsockname()[1]
        connection = WebSocketConnection(f"ws://127.0.0.1:{port}/", model="m", api_key=None)
        connection.start(take)
        await asyncio.wait_for(until.wait(), LIMIT_S)
        connection.close()
        await connection.wait_closed()
    return told
