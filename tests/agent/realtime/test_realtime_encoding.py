"""Client events as they go over the wire: JSON, audio in base64, whichever way they are written."""

import base64
import json
from typing import Any

import pytest

from callerside.agent.realtime.client import _APPEND, _encode
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


def test_an_event_without_audio() -> None:
    assert json.loads(_encode(commit())) == {"type": "input_audio_buffer.commit"}
