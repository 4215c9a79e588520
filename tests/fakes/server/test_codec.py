"""Events as text, and back."""

import base64
import json
from typing import Any

import pytest

from callerside.fakes.server.codec import decode, decode_in_steps, encode, encode_in_pieces
from callerside.fakes.session.interface import ClientEvent, ClientGarbage
from callerside.fakes.session.requests import MAX_APPEND_BYTES

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


def created(*parts: dict[str, Any], **fields: Any) -> str:
    item = {"type": "message", "role": "user", "content": list(parts)}
    return json.dumps({"type": "conversation.item.create", "item": item, **fields})


def test_a_large_items_audio_is_decoded_in_steps() -> None:
    text = {"type": "input_text", "text": "Hear:"}
    audio = {"type": "input_audio", "audio": base64.b64encode(LARGE).decode()}
    *before, last = decode_in_steps(created(text, audio, audio, event_id="e"))
    assert len(before) > 5
    assert set(before) == {None}
    assert isinstance(last, ClientEvent)
    assert last.event["event_id"] == "e"
    assert last.event["item"]["content"] == [text, {**audio, "audio": LARGE}, audio]


def test_a_large_items_audio_that_is_no_base64_is_refused_as_a_short_ones() -> None:
    *_, last = decode_in_steps(created({"type": "input_audio", "audio": "A" * 2**18 + "%"}))
    assert isinstance(last, ClientEvent)
    assert last.event["item"]["content"] == [{"type": "input_audio", "audio": "%"}]


@pytest.mark.parametrize(
    "message",
    [
        created({"type": "input_text", "text": "A" * 2**18}),
        json.dumps({"type": "conversation.item.create", "item": 1, "audio": "A" * 2**18}),
        json.dumps({"type": "conversation.item.create", "item": {}, "audio": "A" * 2**18}),
        json.dumps({"type": "response.create", "audio": "A" * 2**18}),
    ],
)
def test_what_else_is_large_is_read_as_any_other(message: str) -> None:
    assert list(decode_in_steps(message)) == [decode(message)]


@pytest.mark.parametrize("sound", [b"\x00\xff", LARGE, LARGE[1:], LARGE[2:]])
def test_an_items_audio_goes_as_base64_in_pieces_if_it_is_large(sound: bytes) -> None:
    parts: list[dict[str, Any]] = [
        {"type": "input_text", "text": "é"},
        {"type": "input_audio", "audio": sound},
    ]
    event = {"type": "conversation.item.retrieved", "item": {"id": "a", "content": parts}}
    text = encode_in_pieces(event)
    assert isinstance(text, str) == (len(sound) < 100)
    if not isinstance(text, str):
        assert len(list(text)) > 5
        assert len(b"".join(text).decode()) == len(text)
    told = json.loads(encode(event))["item"]["content"]
    assert told == [parts[0], {**parts[1], "audio": base64.b64encode(sound).decode()}]
    assert parts[1]["audio"] == sound


@pytest.mark.parametrize("at", [65_536, 65_532, 131_072])
def test_padding_stands_at_the_end_alone(at: int) -> None:
    sound = base64.b64encode(bytes(200_000)).decode()
    broken = sound[: at - 2] + "==" + sound[at:]
    (refused,) = [given for given in decode_in_steps(append(broken)) if given is not None]
    assert refused == ClientGarbage(
        "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but got an "
        "invalid value.",
        "audio",
    )


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity", "NaN"])
def test_a_number_without_end_is_no_json(number: str) -> None:
    text = f'{{"type": "session.update", "session": {{"tools": [{{"x": {number}}}]}}}}'
    assert decode(text) == ClientGarbage("The message is not valid JSON.")
