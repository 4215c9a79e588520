"""What the call machine can be told, besides what the leg and the Realtime connection tell it."""

from enum import StrEnum

from msgspec import Struct

from callerside.agent.realtime.interface import RealtimeInput
from callerside.agent.telephony.interface import LegInput


class Timer(StrEnum):
    """The machine's timers. There is at most one of each: setting it again moves it."""

    GREETING_DUE = "greeting_due"
    CONNECT_LIMIT = "connect"
    """The session must be ready by then."""
    RECONNECT_DUE = "reconnect_due"
    SESSION_MOVE_DUE = "session_move_due"
    """The session is about to reach its maximum age."""
    COMMIT_LIMIT = "commit"
    RESPONSE_LIMIT = "response"
    """A committed turn, or a request of ours, must have led to a response by then."""
    RESPONSE_END_LIMIT = "response_end"
    """The running response must have told something new by then."""
    TOOL_LIMIT = "tool"
    DTMF_GAP = "dtmf_gap"
    HOLD_DUE = "hold_due"
    """The caller has waited for a session long enough to be told."""
    RETRY_DUE = "retry_due"
    """A failed response is to be asked for again."""
    SILENCE_LIMIT = "silence"
    CALL_LIMIT = "call"
    MEDIA_LIMIT = "media"
    """Media must be up by then."""
    FAREWELL_LIMIT = "farewell"
    """The last words must have been heard by then."""
    TRANSFER_LIMIT = "transfer"
    """A transfer that ends the call must have worked or failed by then."""
    HANG_UP_LIMIT = "hang_up"
    """The leg must have told the end of the call by then."""


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
    """The answer to `RunTool`. `output` is what the model is told: a result, or what went wrong."""

    call_id: str
    ok: bool
    output: str


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
    | EndRequested
)
