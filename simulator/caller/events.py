"""The inputs of the caller machine besides the telephone's, and what it asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from callerside.agent.telephony.interface import DtmfMethod, LegInput

Verdict = Literal["passed", "failed"]
TimerName = Literal["wake", "limit", "hang_up"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Place the call; the first input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimerFired:
    """A timer that was set has come; at its time or later, once for each `SetTimer`."""

    name: TimerName


CallerInput = LegInput | Start | TimerFired


@dataclass(frozen=True, kw_only=True, slots=True)
class Dial:
    """Send the INVITE."""

    uri: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Play:
    """Queue audio at the leg."""

    pcm: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class HangUp:
    """BYE, or CANCEL before the answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vanish:
    """Drop the call without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SendDtmf:
    """Press keys; not for `inband`, which is audio."""

    digits: str
    method: DtmfMethod


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Put the agent on hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resume:
    """Take it off hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetTimer:
    """Fire at a time; replaces a timer of that name."""

    name: TimerName
    at_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelTimer:
    """Call a timer off, if it is set."""

    name: TimerName


@dataclass(frozen=True, kw_only=True, slots=True)
class EmitMark:
    """A fact for the timeline; `at_ns` may lie a little back, as what is heard is known late."""

    at_ns: int
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """The last effect: what became of the scenario, in a sentence."""

    verdict: Verdict
    detail: str


Effect = (
    Dial
    | Play
    | HangUp
    | Vanish
    | SendDtmf
    | Hold
    | Resume
    | SetTimer
    | CancelTimer
    | EmitMark
    | Finish
)
