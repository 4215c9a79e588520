"""What goes into the fake session and what comes out of it: inputs and effects.

Events cross as plain mappings with a `type`, as the API documents them, but for one thing: audio
(`audio` of an append, `delta` of an audio delta) is `bytes`. Only the WebSocket server knows JSON
and base64; in memory the mappings are handed over as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.timeline import Mark

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ConnectionRequested:
    """A client asks for a connection. `beta_header`: it sent `OpenAI-Beta: realtime=v1`."""

    path: str = "/v1/realtime"
    model: str = "gpt-realtime-2.1"
    beta_header: bool = False


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """An event of the client's."""

    event: Event


@dataclass(frozen=True, slots=True)
class ClientGarbage:
    """A message that is no event. `event_id` of the event that it should have been, if known."""

    message: str
    param: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer is due."""

    name: str


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection is over, by the client's doing or by the network's."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServerStopping:
    """The server is about to end."""


Input = (
    ConnectionRequested | ClientEvent | ClientGarbage | TimerFired | ConnectionLost | ServerStopping
)


@dataclass(frozen=True, slots=True)
class AcceptConnection:
    """Complete the handshake."""


@dataclass(frozen=True, slots=True)
class RefuseConnection:
    """Answer the handshake with an HTTP status instead; the session is over."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send an event."""

    event: Event


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a text that is no event (a fault)."""

    text: str


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close with a WebSocket close code; the session is over."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class DropConnection:
    """Lose the connection without a word (a fault); the session is over."""


@dataclass(frozen=True, slots=True)
class SetTimer:
    """`TimerFired(name)` is due at `at_ns`; replaces a timer of the same name."""

    name: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Call the timer off, if there is one."""

    name: str


@dataclass(frozen=True, slots=True)
class EmitMark:
    """A fact for the timeline."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class KeepAudio:
    """What was received, as PCM16 at `rate_hz`; only from a session that is told to keep audio."""

    pcm: bytes
    rate_hz: int


@dataclass(frozen=True, slots=True)
class KeepSent:
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
