"""Events as they go over the WebSocket: JSON, with audio as base64."""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from fakes.door import ClientEvent, ClientGarbage, Event
from fakes.recording import AUDIO_FIELDS
from fakes.requests import APPEND

LARGE_CHARS = 2**17
"""A message that is longer may hold an append that is better taken in pieces."""

_PIECE_BYTES = 2**16


def encode(event: Event) -> str:
    """A server event as text."""
    delta = event.get("delta")
    if isinstance(delta, bytes):
        event = {**event, "delta": base64.b64encode(delta).decode("ascii")}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def decode(message: str | bytes) -> ClientEvent | ClientGarbage:
    """What a client sent."""
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        return ClientGarbage("The message is not valid JSON.")
    if not isinstance(event, dict):
        return ClientGarbage("Expected a JSON object.")
    if event.get("type") != APPEND:
        return ClientEvent(event)
    event_id = event.get("event_id")
    known_id = event_id if isinstance(event_id, str) else None
    if "audio" not in event:
        return ClientGarbage("Missing required parameter: 'audio'.", "audio", known_id)
    event = audio_as_bytes(event)
    if not isinstance(event["audio"], bytes):
        return ClientGarbage("Invalid 'audio'. Expected base64-encoded audio.", "audio", known_id)
    return ClientEvent(event)


def pieces(given: ClientEvent) -> Iterator[ClientEvent]:
    """A large append as several, so that no client makes the others wait."""
    audio = given.event["audio"]
    for start in range(0, len(audio), _PIECE_BYTES):
        yield ClientEvent({**given.event, "audio": audio[start : start + _PIECE_BYTES]})


def audio_as_bytes(event: dict[str, Any]) -> dict[str, Any]:
    """An event of either side with its audio, if it carries any, decoded; bad base64 stays text."""
    name = AUDIO_FIELDS.get(str(event.get("type")))
    if name is None or not isinstance(event.get(name), str):
        return event
    try:
        return {**event, name: binascii.a2b_base64(event[name], strict_mode=True)}
    except ValueError:
        return event
