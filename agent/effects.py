"""What the call machine can ask for. `agent.driver` does it; nothing here does anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.inputs import Timer
from agent.leg import DtmfMethod
from agent.realtime.door import Event
from agent.settings import Dialect


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Answer the call."""

    status: int = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Play:
    """Queue audio for the caller, at the leg's rate."""

    pcm: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ClearPlayout:
    """Drop what the caller has not heard yet; the leg answers `PlayoutCleared`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SendDtmf:
    """Press keys towards the caller."""

    digits: str
    method: DtmfMethod = "rfc4733"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """Send the caller elsewhere (REFER)."""

    uri: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HangUp:
    """End the call on the telephone's side; the leg answers `HungUp`."""

    status: int = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectRealtime:
    """Open a new connection; the one before, if any, is closed."""

    url: str
    model: str
    dialect: Dialect
    timeout_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SendEvent:
    """Send an event to the Realtime API."""

    event: Event


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseRealtime:
    """Close the connection; nothing is told of it any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetTimer:
    """Tell `TimerFired` at `at_ns`; moves the timer if it is running."""

    timer: Timer
    at_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelTimer:
    """Call a timer off; harmless if it is not running."""

    timer: Timer


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadPrompt:
    """Look a prompt up in the cache; `PromptLoaded` follows."""

    key: str
    rate_hz: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StorePrompt:
    """Cache a prompt; `PromptStored` follows."""

    key: str
    pcm: bytes
    rate_hz: int
    transcript: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTool:
    """Run a function for the model; `ToolFinished` follows, unless the call has ended by then."""

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    keys: str = field(default="", repr=False)
    """What the caller has pressed so far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmitMark:
    """Write a mark (docs/marks.md)."""

    name: str
    at_ns: int
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """The call is over on every side; the last effect of a machine."""


Effect = (
    Answer
    | Play
    | ClearPlayout
    | SendDtmf
    | Transfer
    | HangUp
    | ConnectRealtime
    | SendEvent
    | CloseRealtime
    | SetTimer
    | CancelTimer
    | LoadPrompt
    | StorePrompt
    | RunTool
    | EmitMark
    | Finish
)
