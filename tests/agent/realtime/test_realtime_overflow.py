"""A server that takes nothing any more costs its own call, and a bounded piece of memory."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from callerside.agent.realtime import client
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeConnected, RealtimeInput

LIMIT_BYTES = 2**20


async def test_a_socket_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_WAITING_BYTES", LIMIT_BYTES)
    monkeypatch.setattr(client, "_CLOSE_TIMEOUT_S", 0.2)  # a polite end that nobody will answer
    done = asyncio.Event()

    async def stuck(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await done.wait()
        socket.transport.abort()

    told: list[RealtimeInput] = []
    up = asyncio.Event()

    def take(one: RealtimeInput) -> None:
        told.append(one)
        up.set()

    async with serve(stuck, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        agent = WebSocketConnection(f"ws://127.0.0.1:{port}", model="any", api_key=None)
        agent.start(take)
        async with asyncio.timeout(30):
            await up.wait()
            while len(told) == 1:
                agent.append(bytes(2**16))
                await asyncio.sleep(0.001)
            done.set()
            await agent.wait_closed()
    closed = RealtimeClosed(reason=f"{LIMIT_BYTES} bytes waited to be sent")
    assert told == [RealtimeConnected(), closed]
