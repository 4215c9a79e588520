"""What the call machine can ask for. `agent.service.driver` does it; nothing here does anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from callerside.agent.call.inputs import Timer
from callerside.agent.config.settings import Dialect
from callerside.agent.realtime.interface import Event
from callerside.agent.telephony.interface import DtmfMethod


class Answer(Struct, frozen=True, kw_only=True):
    """Answer the call."""

    status: int = 200


class Play(Struct, frozen=True, kw_only=True):
    """Queue audio for the caller, at the leg's rate."""

    pcm: bytes


class ClearPlayout(Struct, frozen=True, kw_only=True):
    """Drop what the caller has not heard yet; the leg answers `PlayoutCleared`."""


class SendDtmf(Struct, frozen=True, kw_only=True):
    """Press keys towards the caller."""

    digits: str
    method: DtmfMethod = "rfc4733"


class Transfer(Struct, frozen=True, kw_only=True):
    """Send the caller elsewhere (REFER)."""

    uri: str


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


class CloseRealtime(Struct, frozen=True, kw_only=True):
    """Close the connection; nothing is told of it any more."""


class SetTimer(Struct, frozen=True, kw_only=True):
    """Tell `TimerFired` at `at_ns`; moves the timer if it is running."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTool:
    """Run a function for the model; `ToolFinished` follows, unless the call has ended by then.

    A dataclass, as a `Struct` tells all of its fields: the keys are nobody's to read in a log.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    keys: str = field(default="", repr=False)
    """What the caller has pressed so far."""


class EmitMark(Struct, frozen=True, kw_only=True):
    """Write a mark (docs/marks.md)."""

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
