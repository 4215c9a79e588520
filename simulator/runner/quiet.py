"""Dead air: when nobody spoke, computed from the caller's own marks."""

from collections.abc import Sequence
from dataclasses import dataclass

from callerside.clock import ns_to_ms
from callerside.marks import Mark

_BEGINS = ("speech_heard", "utterance_started")
_ENDS = ("silence_heard", "utterance_ended")


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which neither party spoke."""

    start_ns: int
    end_ns: int

    @property
    def length_ms(self) -> float:
        """How long it lasted."""
        return ns_to_ms(self.end_ns - self.start_ns)


def dead_air(marks: Sequence[Mark]) -> list[Gap]:
    """Every gap between the answer and the end of the call, in order; a beep ends one.

    Args:
        marks: in order of time; those of the caller are looked at.
    """
    mine = [mark for mark in marks if mark.source == "caller"]
    answered_ns = next((m.at_ns for m in mine if m.name == "call_answered"), None)
    over_ns = next((m.at_ns for m in mine if m.name in ("hang_up_sent", "call_ended")), None)
    if answered_ns is None or over_ns is None:
        return []
    gaps, speaking, quiet_ns = [], 0, answered_ns
    for mark in mine:
        if not answered_ns <= mark.at_ns <= over_ns:
            continue
        if mark.name in _BEGINS or mark.name == "beep_heard":
            start_ns = mark.at_ns
            if mark.name == "beep_heard":
                start_ns -= round(float(mark.fields.get("length_ms", 0)) * 1_000_000)
            if not speaking and start_ns > quiet_ns:
                gaps.append(Gap(quiet_ns, start_ns))
            quiet_ns = mark.at_ns
        if mark.name in _BEGINS:
            speaking += 1
        elif mark.name in _ENDS:
            speaking = max(0, speaking - 1)
            quiet_ns = mark.at_ns
    if not speaking and over_ns > quiet_ns:
        gaps.append(Gap(quiet_ns, over_ns))
    return gaps
