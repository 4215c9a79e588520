"""Events as they go over the WebSocket: JSON, with audio as base64."""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from fakes.door import ClientEvent, ClientGarbage, Event
from fakes.recording import AUDIO_FIELDS, to_json
from fakes.requests import APPEND, MAX_APPEND_BYTES, TOO_LARGE

Decoded = ClientEvent | ClientGarbage

_LARGE_CHARS = 2**17
_PIECE_BYTES = 3 * 2**14
_PIECE_CHARS = _PIECE_BYTES // 3 * 4
_MOST_CHARS = -(-MAX_APPEND_BYTES // 3) * 4
_DEEPEST = 50  # no event of the API is nested half as deep; a tool's JSON Schema may be
_AUDIO = re.compile(r'"audio"\s*:\s*"')


def encode(event: Event) -> str:
    """A server event as text."""
    delta = event.get("delta")
    if not isinstance(delta, bytes):
        return to_json(event)
    # Base64 needs no escaping, and looking for what does takes longer than all the rest.
    text = to_json({key: value for key, value in event.items() if key != "delta"} | {"delta": ""})
    return f'{text[:-2]}{base64.b64encode(delta).decode("ascii")}"}}'


def decode(message: str | bytes) -> Decoded:
    """What a client sent."""
    try:
        event = _DECODER.decode(message if isinstance(message, str) else message.decode())
    except (ValueError, RecursionError):
        return ClientGarbage("The message is not valid JSON.")
    if not isinstance(event, dict):
        return ClientGarbage("Expected a JSON object.")
    if event.get("type") == APPEND:
        return _decode_append(event)
    if _is_deeper(event, _DEEPEST):
        return ClientGarbage(f"The message is nested deeper than {_DEEPEST} levels.")
    return ClientEvent(event)


def _decode_append(event: dict[str, Any]) -> Decoded:
    """Fifty times a second for every session: kept lean."""
    if "audio" not in event:
        return _bad_audio(event, "Missing required parameter: 'audio'.")
    try:
        event["audio"] = binascii.a2b_base64(event["audio"], strict_mode=True)
    except (ValueError, TypeError):
        return _bad_audio(event, "Invalid 'audio'. Expected base64-encoded audio.")
    return ClientEvent(event)


def decode_in_steps(message: str | bytes) -> Iterator[Decoded | None]:
    """The same, so that nobody waits for all of a long one: None is a step without a result.

    A large append becomes several, once it is known that all of it is good.
    """
    cut = _cut_out_audio(message) if len(message) > _LARGE_CHARS else None
    if cut is None:
        yield decode(message)
        return
    event, encoded = cut
    if len(encoded) > _MOST_CHARS:
        yield _bad_audio(event, TOO_LARGE)
        return
    pieces = []
    for start in range(0, len(encoded), _PIECE_CHARS):
        yield None
        try:
            piece = encoded[start : start + _PIECE_CHARS]
            pieces.append(binascii.a2b_base64(piece, strict_mode=True))
        except ValueError:
            yield _bad_audio(event, "Invalid 'audio'. Expected base64-encoded audio.")
            return
    for audio in pieces:
        yield ClientEvent({**event, "audio": audio})


def audio_as_bytes(event: dict[str, Any]) -> dict[str, Any]:
    """An event of either side with its audio, if it carries any, decoded; bad base64 stays text."""
    name = AUDIO_FIELDS.get(str(event.get("type")))
    if name is None or not isinstance(event.get(name), str):
        return event
    try:
        return {**event, name: binascii.a2b_base64(event[name], strict_mode=True)}
    except ValueError:
        return event


def _cut_out_audio(message: str | bytes) -> tuple[dict[str, Any], str] | None:
    """An append without its audio, and that; None if it is none, or is written in an odd way."""
    try:
        text = message if isinstance(message, str) else message.decode()
    except ValueError:
        return None
    found = _AUDIO.search(text)
    end = text.find('"', found.end()) if found else -1
    if found is None or end < 0 or text.find("\\", found.end(), end) >= 0:
        return None
    rest = decode(text[: found.end()] + text[end:])
    if isinstance(rest, ClientEvent) and rest.event.get("type") == APPEND:
        return dict(rest.event), text[found.end() : end]
    return None


def _bad_audio(event: Mapping[str, Any], message: str) -> ClientGarbage:
    event_id = event.get("event_id")
    return ClientGarbage(message, "audio", event_id if isinstance(event_id, str) else None)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")  # but Python reads it


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _is_deeper(value: object, levels: int) -> bool:
    """Whether a value is nested deeper than that; what is copied and validated must not be."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    parts = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(part, levels - 1) for part in parts)
