"""Events as text, and back."""

import base64
import json
from typing import Any

import pytest

from fakes.door import ClientEvent, ClientGarbage
from fakes.requests import MAX_APPEND_BYTES
from fakes.wire import decode, decode_in_steps, encode

LARGE = bytes(range(256)) * 1000


@pytest.mark.parametrize("delta", [b"", b"\x00\xff", LARGE])
def test_audio_goes_as_base64(delta: bytes) -> None:
    event = {"type": "response.output_audio.delta", "delta": delta, "item_id": '"delta":""} é'}
    told = json.loads(encode(event))
    assert told == {**event, "delta": base64.b64encode(delta).decode()}


def test_text_stays_readable_unless_it_is_no_unicode() -> None:
    assert encode({"type": "a", "text": "é"}) == '{"type":"a","text":"é"}'
    assert json.loads(encode({"text": "\ud800"}).encode()) == {"text": "\ud800"}


def append(audio: str, **fields: Any) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio, **fields})


def whole(message: str) -> bytes:
    """The audio of all the events that a message becomes."""
    events = [given for given in decode_in_steps(message) if given is not None]
    assert all(isinstance(given, ClientEvent) for given in events)
    return b"".join(given.event["audio"] for given in events if isinstance(given, ClientEvent))


@pytest.mark.parametrize("audio", [b"", b"abc", LARGE, LARGE[:-1], LARGE[:-2]])
def test_an_append_in_steps_is_the_same_audio(audio: bytes) -> None:
    assert whole(append(base64.b64encode(audio).decode())) == audio


def test_a_large_append_keeps_what_else_it_says() -> None:
    (first, *_) = [
        given
        for given in decode_in_steps(append(base64.b64encode(LARGE).decode(), event_id="mine"))
        if given is not None
    ]
    assert isinstance(first, ClientEvent)
    assert first.event["event_id"] == "mine"


def test_the_largest_append_is_taken_and_a_larger_one_refused() -> None:
    largest = "A" * (MAX_APPEND_BYTES // 3 * 4)
    assert len(whole(append(largest))) == MAX_APPEND_BYTES
    *_, refused = decode_in_steps(append(largest + "AAAA", event_id="mine"))
    assert isinstance(refused, ClientGarbage)
    assert (refused.param, refused.event_id) == ("audio", "mine")


@pytest.mark.parametrize(
    "message",
    [
        append("A" * 2**18 + "%"),
        append("A" * (2**18 + 1)),
        '{"audio": "' + "A" * 2**18,
        '{"type": "input_audio_buffer.append", "audio": "' + "A" * 2**18 + '" "x"}',
        "[" * 2**18,
        b"\xff" * 2**18,
    ],
)
def test_large_garbage_is_refused(message: str | bytes) -> None:
    *before, last = decode_in_steps(message)
    assert isinstance(last, ClientGarbage)
    assert set(before) <= {None}


def test_what_is_large_and_no_append_is_read_as_any_other() -> None:
    item = {"type": "message", "content": [{"type": "input_audio", "audio": "A" * 2**18}]}
    message = json.dumps({"type": "conversation.item.create", "item": item})
    assert list(decode_in_steps(message)) == [decode(message)]
