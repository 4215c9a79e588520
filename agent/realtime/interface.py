"""One connection to the Realtime API: the door between a call and the model.

Events cross it as plain mappings with a `type`, as the API documents them, but for one thing: audio
(`audio` of `input_audio_buffer.append`, `delta` of an audio delta) is `bytes`. Only the WebSocket
adapter (`agent.realtime.client`) knows JSON and base64; the in-memory connection
(`lanes.virtual.realtime`) hands the same mappings over. One conformance suite runs on both.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

Event = Mapping[str, Any]


class RealtimeConnected(Struct, frozen=True, kw_only=True):
    """The handshake is done; `session.created` follows as an event."""


class RealtimeEvent(Struct, frozen=True, kw_only=True):
    """A server event, not yet checked."""

    event: Event
    size_bytes: int = 0
    """As it came over the wire; 0 where it crossed none."""


class RealtimeGarbage(Struct, frozen=True, kw_only=True):
    """A message that is no event: not JSON, not an object, no `type`, or bad base64."""

    reason: str
    size_bytes: int = 0
    """As in `RealtimeEvent`."""


class RealtimeClosed(Struct, frozen=True, kw_only=True):
    """The connection is over, or never came to be; the last input of a connection.

    `status` is the HTTP status of a refused handshake, `code` the WebSocket's close code.
    """

    reason: str
    code: int | None = None
    status: int | None = None


RealtimeInput = RealtimeConnected | RealtimeEvent | RealtimeGarbage | RealtimeClosed


class RealtimeConnection(Protocol):
    """One connection. Inputs arrive one at a time, on the loop's thread, never within a call."""

    def start(self, on_input: Callable[[RealtimeInput], None]) -> None:
        """Connect in the background; what becomes of it is reported as inputs."""

    def send(self, event: Event) -> None:
        """Queue an event. Never blocks; the queue is bounded, and overflowing it closes."""

    def append(self, audio: bytes) -> None:
        """Queue an `input_audio_buffer.append`, likewise: audio in the session's input format."""

    def close(self) -> None:
        """Close in the background; no input comes after this call, not even `RealtimeClosed`."""
