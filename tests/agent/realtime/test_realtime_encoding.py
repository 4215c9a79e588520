"""Client events as they go over the wire: JSON, audio in base64, whichever way they are written."""

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from callerside.agent.realtime.client import _APPEND, WebSocketConnection, _encode
from callerside.agent.realtime.requests import append, commit


@pytest.mark.parametrize("audio", [b"", b"\x00", bytes(range(256)), b"\xff" * 960])
@pytest.mark.parametrize("more", [{}, {"event_id": 'agent_"1"'}])
def test_audio_is_base64_in_json(audio: bytes, more: dict[str, Any]) -> None:
    event = {**append(audio), **more}
    told = json.loads(_encode(event))
    assert base64.b64decode(told["audio"], validate=True) == audio
    assert {key: value for key, value in told.items() if key != "audio"} == {
        "type": "input_audio_buffer.append",
        **more,
    }


def test_the_short_way_writes_what_the_long_way_would() -> None:
    assert _encode(append(b"sound")) == _APPEND % base64.b64encode(b"sound")


LENGTHS = (0, 1, 57, 58, 59, 60, 160, 960, 49_114, 49_115, 49_116, 49_117, 60_000)
"""Around those at which a frame's length is written otherwise (RFC 6455 §5.2): 126 and 65,536."""


async def test_audio_of_any_length_is_whole_at_the_server() -> None:
    came: list[bytes] = []
    is_all = asyncio.Event()

    async def listen(socket: ServerConnection) -> None:
        async for text in socket:
            came.append(base64.b64decode(json.loads(text)["audio"], validate=True))
            if len(came) == len(LENGTHS):
                is_all.set()

    is_up = asyncio.Event()
    async with serve(listen, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = WebSocketConnection(f"ws://127.0.0.1:{port}/", model="m", api_key=None)
        client.start(lambda _connected: is_up.set())
        await asyncio.wait_for(is_up.wait(), 10)
        for length in LENGTHS:
            client.append(bytes([length % 251]) * length)
        await asyncio.wait_for(is_all.wait(), 10)
        client.close()
        await client.wait_closed()
    assert came == [bytes([length % 251]) * length for length in LENGTHS]


def test_an_event_without_audio() -> None:
    assert json.loads(_encode(commit())) == {"type": "input_audio_buffer.commit"}
