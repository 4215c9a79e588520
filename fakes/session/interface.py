"""What goes into the fake session and what comes out of it: inputs and effects.

Events cross as plain mappings with a `type`, as the API documents them, but for one thing: audio
(`audio` of an append, `delta` of an audio delta) is `bytes`. Only the WebSocket server knows JSON
and base64; in memory the mappings are handed over as they are.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from callerside.marks import Mark

Event = Mapping[str, Any]


class ConnectionRequested(Struct, frozen=True):
    """A client asks for a connection. `beta_header`: it sent `OpenAI-Beta: realtime=v1`."""

    path: str = "/v1/realtime"
    model: str = "gpt-realtime-2.1"
    beta_header: bool = False


class ClientEvent(Struct, frozen=True):
    """An event of the client's."""

    event: Event


class ClientGarbage(Struct, frozen=True):
    """A message that is no event. `event_id` of the event that it should have been, if known."""

    message: str
    param: str | None = None
    event_id: str | None = None
    code: str = "invalid_value"


class TimerFired(Struct, frozen=True):
    """A timer is due."""

    name: str


class ConnectionLost(Struct, frozen=True):
    """The connection is over, by the client's doing or by the network's."""

    code: int
    reason: str = ""


class ServerStopping(Struct, frozen=True):
    """The server is about to end."""


Input = (
    ConnectionRequested | ClientEvent | ClientGarbage | TimerFired | ConnectionLost | ServerStopping
)


class AcceptConnection(Struct, frozen=True):
    """Complete the handshake."""


class RefuseConnection(Struct, frozen=True):
    """Answer the handshake with an HTTP status instead; the session is over."""

    status: int
    body: str


class SendEvent(Struct, frozen=True):
    """Send an event."""

    event: Event


class SendText(Struct, frozen=True):
    """Send a text that is no event (a fault)."""

    text: str


class CloseConnection(Struct, frozen=True):
    """Close with a WebSocket close code; the session is over."""

    code: int
    reason: str


class DropConnection(Struct, frozen=True):
    """Lose the connection without a word (a fault); the session is over."""


class SetTimer(Struct, frozen=True):
    """`TimerFired(name)` is due at `at_ns`; replaces a timer of the same name."""

    name: str
    at_ns: int


class CancelTimer(Struct, frozen=True):
    """Call the timer off, if there is one."""

    name: str


class EmitMark(Struct, frozen=True):
    """A fact for the timeline."""

    mark: Mark


class KeepAudio(Struct, frozen=True):
    """What was received, as PCM16 at `rate_hz`; only from a session that is to keep audio."""

    pcm: bytes
    rate_hz: int


class KeepSent(Struct, frozen=True):
    """The audio of a delta that was sent, likewise."""

    pcm: bytes
    rate_hz: int


Effect = (
    AcceptConnection
    | RefuseConnection
    | SendEvent
    | SendText
    | CloseConnection
    | DropConnection
    | SetTimer
    | CancelTimer
    | EmitMark
    | KeepAudio
    | KeepSent
)
