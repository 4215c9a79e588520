"""The inputs of the call machine, and its effects: what it asks for.

The leg and the Realtime connection have inputs of their own (`agent.telephony.interface`,
`agent.realtime.interface`); `agent.service.driver` does what is asked, nothing here does anything.

What comes fifty times a second is left out by the garbage collector (`gc=False`): nothing in it
leads back to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from msgspec import Struct

from callerside.agent.config.settings import Dialect
from callerside.agent.realtime.interface import Event, RealtimeInput
from callerside.agent.telephony.interface import DtmfMethod, LegInput


class Timer(StrEnum):
    """The machine's timers. There is at most one of each: setting it again moves it."""

    GREETING_DUE = "greeting_due"
    CONNECT_LIMIT = "connect"
    """The session must be ready by then."""
    RECONNECT_DUE = "reconnect_due"
    SESSION_MOVE_DUE = "session_move_due"
    """The session is about to reach its maximum age."""
    SPEECH_LIMIT = "speech"
    """What the server heard begin must have ended by then."""
    COMMIT_LIMIT = "commit"
    RESPONSE_LIMIT = "response"
    """A committed turn, or a request of ours, must have led to a response by then."""
    RESPONSE_END_LIMIT = "response_end"
    """The running response must have brought something new by then."""
    TOOL_LIMIT = "tool"
    TOOL_WAIT_DUE = "tool_wait_due"
    """The caller has waited for a function long enough to be informed."""
    DTMF_GAP = "dtmf_gap"
    HOLD_DUE = "hold_due"
    """The caller has waited for a session long enough to be informed."""
    RETRY_DUE = "retry_due"
    """A failed response is to be asked for again."""
    SILENCE_LIMIT = "silence"
    CALL_LIMIT = "call"
    MEDIA_LIMIT = "media"
    """Media must be up by then."""
    FAREWELL_LIMIT = "farewell"
    """The last words must have been heard by then."""
    CONSULT_LIMIT = "consultation"
    """Whoever is to take the caller must have answered by then."""
    TRANSFER_LIMIT = "transfer"
    """A transfer that ends the call must have worked or failed by then."""
    HANG_UP_LIMIT = "hang_up"
    """The leg must have reported the end of the call by then."""


class TimerFired(Struct, frozen=True, kw_only=True):
    """A timer that was set, and not cancelled since, is due."""

    timer: Timer


class PromptLoaded(Struct, frozen=True, kw_only=True):
    """The answer to `LoadPrompt`. `pcm` is None when it is not cached, or is damaged (and why)."""

    key: str
    pcm: bytes | None
    transcript: str = ""
    damage: str | None = None


class PromptStored(Struct, frozen=True, kw_only=True):
    """The answer to `StorePrompt`. `error` says why it could not be stored."""

    key: str
    error: str | None = None


class ToolFinished(Struct, frozen=True, kw_only=True):
    """The answer to `RunTool`. `output` is what the model gets: a result, or what went wrong.

    `refused`: a stub was called as it should not be, for this reason; empty otherwise.
    """

    call_id: str
    ok: bool
    output: str
    refused: str = ""


class ConsultReported(Struct, frozen=True, kw_only=True):
    """What the telephone reports of the second call, to whoever is to take the caller."""

    event: LegInput


class EndRequested(Struct, frozen=True, kw_only=True):
    """Somebody outside the call (a drain, an operator) wants it to end."""

    reason: str
    at_once: bool = False
    """Do not wait for the last word."""


CallInput = (
    LegInput
    | RealtimeInput
    | TimerFired
    | PromptLoaded
    | PromptStored
    | ToolFinished
    | ConsultReported
    | EndRequested
)


class Answer(Struct, frozen=True, kw_only=True):
    """Answer the call."""

    status: int = 200


class Play(Struct, frozen=True, kw_only=True, gc=False):
    """Queue audio for the caller, at the leg's rate; see `CallLeg.play`."""

    pcm: bytes
    tag: int


class ClearPlayout(Struct, frozen=True, kw_only=True):
    """Drop what the caller has not heard yet of these tags; the leg answers `PlayoutCleared`."""

    tags: frozenset[int]


class SendDtmf(Struct, frozen=True, kw_only=True):
    """Press keys towards the caller."""

    digits: str
    method: DtmfMethod = "rfc4733"


class Transfer(Struct, frozen=True, kw_only=True):
    """Send the caller elsewhere (REFER)."""

    uri: str
    attended: bool = False
    """To take the second call's place."""


class Consult(Struct, frozen=True, kw_only=True):
    """Place a second call; `ConsultReported` follows, until it is over."""

    uri: str


class PlayToConsulted(Struct, frozen=True, kw_only=True):
    """Queue audio for whoever answered the second call, at the leg's rate."""

    pcm: bytes


class LeaveConsulted(Struct, frozen=True, kw_only=True):
    """End the second call."""


class HangUp(Struct, frozen=True, kw_only=True):
    """End the call on the telephone's side; the leg answers `HungUp`."""

    status: int = 200


class ConnectRealtime(Struct, frozen=True, kw_only=True):
    """Open a new connection; the one before, if any, is closed."""

    url: str
    model: str
    dialect: Dialect
    timeout_ms: int


class SendEvent(Struct, frozen=True, kw_only=True):
    """Send an event to the Realtime API."""

    event: Event


class AppendAudio(Struct, frozen=True, kw_only=True, gc=False):
    """Send the caller's audio, in the session's input format; see `RealtimeConnection.append`.

    Of its own, as nearly all that is sent is this: fifty times a second and call.
    """

    audio: bytes


class CloseRealtime(Struct, frozen=True, kw_only=True):
    """Close the connection; it reports nothing any more."""


class SetTimer(Struct, frozen=True, kw_only=True, gc=False):
    """Have `TimerFired` come at `at_ns`; moves the timer if it is running."""

    timer: Timer
    at_ns: int


class CancelTimer(Struct, frozen=True, kw_only=True):
    """Call a timer off; harmless if it is not running."""

    timer: Timer


class LoadPrompt(Struct, frozen=True, kw_only=True):
    """Look a prompt up in the cache; `PromptLoaded` follows."""

    key: str
    rate_hz: int


class StorePrompt(Struct, frozen=True, kw_only=True):
    """Cache a prompt; `PromptStored` follows."""

    key: str
    pcm: bytes
    rate_hz: int
    transcript: str


class BeginRecording(Struct, frozen=True, kw_only=True):
    """The caller has heard that the call is recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTool:
    """Run a function for the model; `ToolFinished` follows, unless the call has ended by then.

    A dataclass, as a `Struct` shows all of its fields in its repr: the keys are nobody's to read in
    a log.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    keys: str = field(default="", repr=False)
    """What the caller has pressed so far."""


class CancelTool(Struct, frozen=True, kw_only=True):
    """Nobody waits for this function any more: stop it, if it can be stopped."""

    call_id: str


class EmitMark(Struct, frozen=True, kw_only=True, gc=False):
    """Write a mark (`callerside.mark_registry`)."""

    name: str
    at_ns: int
    fields: Mapping[str, Any] = {}


class Finish(Struct, frozen=True, kw_only=True):
    """The call is over on every side; the last effect of a machine."""


Effect = (
    Answer
    | Play
    | ClearPlayout
    | SendDtmf
    | Transfer
    | Consult
    | PlayToConsulted
    | LeaveConsulted
    | HangUp
    | ConnectRealtime
    | SendEvent
    | AppendAudio
    | CloseRealtime
    | SetTimer
    | CancelTimer
    | LoadPrompt
    | StorePrompt
    | BeginRecording
    | RunTool
    | CancelTool
    | EmitMark
    | Finish
)
