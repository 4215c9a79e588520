"""What goes into the fake session and what comes out of it: inputs and effects.

Events cross as plain mappings with a `type`, as the API documents them, but for one thing: audio
(`audio` of an append, `delta` of an audio delta) is `bytes`. Only the WebSocket server knows JSON
and base64; in memory the mappings are handed over as they are.

What comes fifty times a second is left out by the garbage collector (`gc=False`): nothing in it
leads back to it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.schema import SessionFields, TranscriptionFields
from callerside.marks import Mark

if TYPE_CHECKING:  # both know what is here
    from callerside.fakes.script.prepared import PreparedReply
    from callerside.fakes.session.faults import Fault

Event = Mapping[str, Any]


def size_chars(value: object) -> int:
    """About how much memory an event takes, or a part of one; anything takes a little."""
    match value:
        case str() | bytes():
            return 8 + len(value)
        case Mapping():
            return 8 + sum(map(size_chars, (*value, *value.values())))
        case list() | tuple():
            return 8 + sum(map(size_chars, value))
        case _:
            return 8


class ConnectionRequested(Struct, frozen=True):
    """A client asks for a connection."""

    path: str = "/v1/realtime"
    model: str | None = None
    """What the URL names."""
    beta_header: bool = False
    """Whether it sent `OpenAI-Beta: realtime=v1`."""
    intent: str | None = None
    """`transcription`: a session that answers nobody."""
    session: SessionFields | TranscriptionFields | None = None
    """What the session was to be when its key was made, or its call accepted."""
    wrong: RequestError | None = None
    """Why nobody with such a key may connect."""
    prepared_ms: float | None = None
    """What the server took to have this session ready: its script, its judge of speech."""


class ClientEvent(Struct, frozen=True, gc=False):
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

    code: ClassVar[int] = 1001
    reason: ClassVar[str] = "the server is going away"


class Changed(Struct, frozen=True, kw_only=True):
    """Whoever has control of the server wants something else than the script.

    A fault at an event that has been sent already strikes now. Whoever gives it has asked
    `RealtimeSession.why_no_change`.
    """

    replies: tuple["PreparedReply", ...] = ()
    """To the next turns, in place of the script's."""
    faults: tuple["Fault", ...] = ()


class CallOver(Struct, frozen=True):
    """The call that the session belongs to has ended."""

    code: ClassVar[int] = 1000
    reason: ClassVar[str] = "the call has ended"


Input = (
    ConnectionRequested
    | ClientEvent
    | ClientGarbage
    | TimerFired
    | ConnectionLost
    | ServerStopping
    | Changed
    | CallOver
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


class EmitMark(Struct, frozen=True, gc=False):
    """A fact for the timeline."""

    mark: Mark


class KeepAudio(Struct, frozen=True, gc=False):
    """What was received, as PCM16 at `rate_hz`; only from a session that is to keep audio."""

    pcm: bytes
    rate_hz: int


class KeepSent(Struct, frozen=True, gc=False):
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
