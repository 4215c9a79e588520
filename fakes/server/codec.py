"""Events as they go over the WebSocket: JSON, with audio as base64."""

import binascii
import json
import math
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from callerside.fakes.recording.format import AUDIO_FIELDS, to_json
from callerside.fakes.session.interface import ClientEvent, ClientGarbage, Event
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.requests import (
    APPEND,
    CREATE_ITEM,
    MAX_APPEND_BYTES,
    kind_of,
)

Decoded = ClientEvent | ClientGarbage

_LARGE_CHARS = 2**17
_LARGE_BYTES = 2**16
_PLACE = secrets.token_hex(16)
"""Stands for sound until the rest is JSON; no text of anybody's can be the same."""
_PIECE_BYTES = 3 * 2**14
_PIECE_CHARS = _PIECE_BYTES // 3 * 4
_MOST_CHARS = -(-MAX_APPEND_BYTES // 3) * 4
_NO_BASE64 = "%"
RETRIEVED = "conversation.item.retrieved"
_DEEPEST = 50  # no event of the API is nested half as deep; a tool's JSON Schema may be
_AUDIO = re.compile(r'"audio"\s*:\s*"')


class Pieces:
    """A server event as text, UTF-8, in pieces that each take little time to make."""

    def __init__(self, event: Event, sound: bytes) -> None:
        """`event` has `_PLACE` where the sound belongs."""
        # Base64 needs no escaping, and looking for what does takes longer than all the rest.
        head, _, tail = to_json(event).partition(_PLACE)
        self._head, self._sound, self._tail = head, sound, tail

    def __len__(self) -> int:
        """How many characters there will be."""
        return len(self._head) + -(-len(self._sound) // 3) * 4 + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head.encode()
        for start in range(0, len(self._sound), _PIECE_BYTES):
            yield binascii.b2a_base64(self._sound[start : start + _PIECE_BYTES], newline=False)
        yield self._tail.encode()


def encode(event: Event) -> str:
    """A server event as text."""
    text = encode_in_pieces(event)
    return text if isinstance(text, str) else b"".join(text).decode()


def encode_in_pieces(event: Event) -> str | Pieces:
    """The same, so that nobody waits for all of a long one."""
    event, sound = _with_place(event)
    if sound is None:
        return to_json(event)
    pieces = Pieces(event, sound)
    return pieces if len(sound) > _LARGE_BYTES else b"".join(pieces).decode()


def _with_place(event: Event) -> tuple[Event, bytes | None]:
    """An event with `_PLACE` where its sound was, and the sound."""
    delta = event.get("delta")
    if isinstance(delta, bytes):
        return {**event, "delta": _PLACE}, delta
    if event.get("type") == RETRIEVED:
        item = event["item"]
        content = [dict(part) for part in item.get("content", ())]
        for part in content:
            if isinstance(part.get("audio"), bytes):
                sound, part["audio"] = part["audio"], _PLACE
                return {**event, "item": {**item, "content": content}}, sound
    return event, None


def decode(message: str | bytes) -> Decoded:
    """What a client sent."""
    try:
        event = _DECODER.decode(message if isinstance(message, str) else message.decode())
    except RecursionError:
        return _garbage("nested_too_deep", most=_DEEPEST)
    except ValueError:
        return _garbage("no_json")
    if not isinstance(event, dict):
        return _garbage("no_object")
    if event.get("type") == APPEND:
        return _decode_append(event)
    if _is_deeper(event, _DEEPEST):
        return _garbage("nested_too_deep", most=_DEEPEST)
    return ClientEvent(event)


def _decode_append(event: dict[str, Any]) -> Decoded:
    """Fifty times a second for every session: kept lean."""
    audio: Any = event.get("audio")
    try:
        event["audio"] = binascii.a2b_base64(audio, strict_mode=True)
    except ValueError:
        return _bad_audio(event, "no_base64")
    except TypeError:
        return _no_audio(event, audio)
    return ClientEvent(event)


def decode_in_steps(message: str | bytes) -> Iterator[Decoded | None]:
    """The same, so that nobody waits for all of a long one: None is a step without a result.

    A large append becomes several, once it is known that all of it is good; an item's audio is
    decoded here.
    """
    cut = _cut_out_audio(message) if len(message) > _LARGE_CHARS else None
    if cut is None:
        yield decode(message)
        return
    event, encoded = cut
    is_append = event["type"] == APPEND
    if is_append and len(encoded) > _MOST_CHARS:
        yield _bad_audio(event, "audio_too_large")
        return
    pieces = []
    for start in range(0, len(encoded), _PIECE_CHARS):
        yield None
        piece = encoded[start : start + _PIECE_CHARS]
        try:
            # Padding is at the end of all, and not of a piece.
            padded = piece.endswith("=") and start + _PIECE_CHARS < len(encoded)
            pieces.append(binascii.a2b_base64(_NO_BASE64 if padded else piece, strict_mode=True))
        except ValueError:
            if is_append:
                yield _bad_audio(event, "no_base64")
            else:
                yield ClientEvent(_with_audio(event, _NO_BASE64))
            return
    if is_append:
        for audio in pieces:
            yield ClientEvent({**event, "audio": audio})
    else:
        yield ClientEvent(_with_audio(event, b"".join(pieces)))


def _with_audio(event: dict[str, Any], audio: bytes | str) -> dict[str, Any]:
    """An item's creation with its audio back in the place that it was cut from."""
    next(part for part in event["item"]["content"] if part.get("audio") == "")["audio"] = audio
    return event


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
    """An append, or an item's creation, without its first audio, and that.

    None if it is neither, or is written in an odd way.
    """
    try:
        text = message if isinstance(message, str) else message.decode()
    except ValueError:
        return None
    found = _AUDIO.search(text)
    end = text.find('"', found.end()) if found else -1
    if found is None or end < 0 or text.find("\\", found.end(), end) >= 0:
        return None
    rest = decode(text[: found.end()] + text[end:])
    if not isinstance(rest, ClientEvent):
        return None
    event = dict(rest.event)
    if event.get("type") != APPEND and not _is_spoken_item(event):
        return None
    return event, text[found.end() : end]


def _is_spoken_item(event: dict[str, Any]) -> bool:
    """Whether an event creates an item with audio, of which the first has been cut out."""
    item = event.get("item")
    content = item.get("content") if isinstance(item, dict) else None
    return (
        event.get("type") == CREATE_ITEM
        and isinstance(content, list)
        and all(isinstance(part, dict) for part in content)
        and any(part.get("audio") == "" for part in content)
    )


def _no_audio(event: Mapping[str, Any], audio: object) -> ClientGarbage:
    if audio is None:
        return _bad_audio(event, "missing_parameter")
    return _bad_audio(event, "invalid_type", expected="a string", got=kind_of(audio))


def _bad_audio(event: Mapping[str, Any], refusal: str, **facts: object) -> ClientGarbage:
    event_id = event.get("event_id")
    error = RequestError(refusal, "audio", **facts)
    client_id = event_id if isinstance(event_id, str) else None
    return ClientGarbage(error.message, "audio", client_id, code=error.code)


def _garbage(refusal: str, **facts: object) -> ClientGarbage:
    error = RequestError(refusal, None, **facts)
    return ClientGarbage(error.message, code=error.code)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")  # but Python reads it


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)


def _is_deeper(value: object, levels: int) -> bool:
    """Whether a value is nested deeper than that; what is copied and validated must not be."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    parts = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(part, levels - 1) for part in parts)
