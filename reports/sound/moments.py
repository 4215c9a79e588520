"""The moments of a call that a listener would want to hear, the worst first.

Moments of different kinds are put in one order by how many times as long each is as a caller takes
for granted: two seconds without an answer are as bad as four of silence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from callerside.reports.metrics.audible import NS_PER_MS, Sound, spoken
from callerside.reports.verdict.call_result import CallResult

_GRANTED_MS = {
    "a late answer": 1000.0,
    "silence": 2000.0,
    "talk-over": 500.0,
    "a late stop": 500.0,
    "a hole": 20.0,
}
"""So much a caller takes for granted; less than that is no moment."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something to hear: what, from when, and for how long."""

    kind: str
    start_ns: int
    length_ms: float
    detail: str = ""

    @property
    def badness(self) -> float:
        """How many times as long as what a caller takes for granted."""
        return self.length_ms / _GRANTED_MS[self.kind]


def moments(call: CallResult) -> list[Moment]:
    """The moments of a call, the worst first."""
    found = [
        *_silences(call),
        *_talk_over(call.measured.audible.mouth, call.measured.audible.ear, call),
        *_of_turns(call),
        *_holes(call),
    ]
    bad = [moment for moment in found if moment.badness >= 1]
    return sorted(bad, key=lambda moment: (-moment.badness, moment.start_ns))


def _measured(call: CallResult, name: str) -> bool:
    bare = call.evidence.info.recording
    return bare is None or name not in bare.unfit


def _silences(call: CallResult) -> Iterator[Moment]:
    """Between sounds; what comes before the first and after the last is no part of the talk."""
    if not _measured(call, "dead_air_ms"):
        return
    audible = call.measured.audible
    until_ns: int | None = None
    for sound in sorted([*audible.mouth, *audible.ear], key=lambda one: one.start_ns):
        if until_ns is not None and sound.start_ns > until_ns:
            yield Moment("silence", until_ns, (sound.start_ns - until_ns) / NS_PER_MS)
        until_ns = max(until_ns or sound.end_ns, sound.end_ns)


def _talk_over(mouth: Sequence[Sound], ear: Sequence[Sound], call: CallResult) -> Iterator[Moment]:
    if not _measured(call, "talk_over_ms"):
        return
    said, heard = spoken(mouth), spoken(ear)
    first = 0
    for one in said:
        while first < len(heard) and heard[first].end_ns <= one.start_ns:
            first += 1
        for other in heard[first:]:
            if other.start_ns >= one.end_ns:
                break
            start_ns, end_ns = max(one.start_ns, other.start_ns), min(one.end_ns, other.end_ns)
            yield Moment("talk-over", start_ns, (end_ns - start_ns) / NS_PER_MS)


def _of_turns(call: CallResult) -> Iterator[Moment]:
    turns = {turn.number: turn for turn in call.measured.turns}
    for one in call.measured.measurements:
        turn = turns.get(one.turn or 0)
        if turn is None:
            continue
        if one.name == "turn_ms":
            yield Moment("a late answer", turn.end_ns, one.value, f"to turn {one.turn}")
        elif one.name == "barge_in_stop_ms":
            yield Moment(
                "a late stop", turn.start_ns, one.value, f"after the onset of turn {one.turn}"
            )


def _holes(call: CallResult) -> Iterator[Moment]:
    if _measured(call, "gap_ms"):
        for start_ns, end_ns in call.measured.holes:
            length_ms = (end_ns - start_ns) / NS_PER_MS
            yield Moment("a hole", start_ns, length_ms, "packets that never came")
