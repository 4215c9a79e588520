"""Events as they go over the WebSocket: JSON, with audio as base64."""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from fakes.door import ClientEvent, ClientGarbage, Event
from fakes.recording import AUDIO_FIELDS
from fakes.requests import APPEND

# A large append is taken in pieces, so that no client makes the others wait.
_PIECE_BYTES = 2**16


def encode(event: Event) -> str:
    """A server event as text."""
    delta = event.get("delta")
    if isinstance(delta, bytes):
        event = {**event, "delta": base64.b64encode(delta).decode("ascii")}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def decode(message: str | bytes) -> Iterator[ClientEvent | ClientGarbage]:
    """What a client sent: one input; more for a large append, none of them large."""
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        yield ClientGarbage("The message is not valid JSON.")
        return
    if not isinstance(event, dict):
        yield ClientGarbage("Expected a JSON object.")
        return
    if event.get("type") != APPEND:
        yield ClientEvent(event)
        return
    event_id = event.get("event_id")
    known_id = event_id if isinstance(event_id, str) else None
    audio = audio_as_bytes(event).get("audio")
    if audio is None:
        yield ClientGarbage("Missing required parameter: 'audio'.", "audio", known_id)
    elif not isinstance(audio, bytes):
        yield ClientGarbage("Invalid 'audio'. Expected base64-encoded audio.", "audio", known_id)
    elif len(audio) <= _PIECE_BYTES:
        yield ClientEvent({**event, "audio": audio})
    else:
        for start in range(0, len(audio), _PIECE_BYTES):
            yield ClientEvent({**event, "audio": audio[start : start + _PIECE_BYTES]})


def audio_as_bytes(event: dict[str, Any]) -> dict[str, Any]:
    """An event of either side with its audio, if it carries any, decoded; bad base64 stays text."""
    name = AUDIO_FIELDS.get(str(event.get("type")))
    if name is None or not isinstance(event.get(name), str):
        return event
    try:
        return {**event, name: base64.b64decode(event[name], validate=True)}
    except (ValueError, binascii.Error):
        return event
