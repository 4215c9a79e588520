"""What is not the agent's: that it is not heard while the caller has it on hold."""

from collections.abc import Iterable, Iterator, Sequence

from callerside.clock import NS_PER_MS
from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.measurement import Measurement, Unmeasured

_BY_EAR = frozenset(
    {
        "beep_ms",
        "beep_length_ms",
        "greeting_ms",
        "ready_ms",
        "turn_ms",
        "agent_overhead_ms",
        "downlink_ms",
        "final_answer_ms",
        "answer_after_tools_ms",
        "tool_silence_ms",
        "barge_in_stop_ms",
        "gap_ms",
        "missing_ms",
        "repeated_ms",
        "onset_clipped_ms",
        "tail_clipped_ms",
    }
)
"""What is measured by what the caller hears, from some instant to another."""
_REASON = "the caller had the agent on hold meanwhile"
_SETTLES_NS = 100 * NS_PER_MS
"""From the answer to a re-INVITE to the first sound that comes by it."""


def spans_on_hold(evidence: CallEvidence) -> list[tuple[int, int]]:
    """From when to when the caller had the agent on hold, by its own steps.

    A hold begins as its step has acted, which may have waited for its moment, for the other side
    may have it at once; it is over a little after media could flow again.
    """
    spans: list[tuple[int, int]] = []
    began_ns: int | None = None
    for mark in evidence.find("caller", "step_started"):
        if mark.fields.get("kind") == "hold" and began_ns is None:
            began_ns = _acted_ns(evidence, mark)
        elif mark.fields.get("kind") == "resume" and began_ns is not None:
            ready = evidence.first("caller", "media_ready", after_ns=mark.at_ns)
            until_ns = mark.at_ns if ready is None else ready.at_ns
            spans.append((began_ns, until_ns + _SETTLES_NS))
            began_ns = None
    if began_ns is not None:
        spans.append((began_ns, evidence.at_ns(len(evidence.recording))))
    return spans


def _acted_ns(evidence: CallEvidence, started: Mark) -> int:
    """When a step acted that holds up nothing: its end; its beginning, where that is not known."""
    for ended in evidence.find("caller", "step_ended", after_ns=started.at_ns):
        if ended.fields.get("step") == started.fields.get("step"):
            return ended.at_ns
    return started.at_ns


def without_holds(
    found: Iterable[Measurement | Unmeasured], spans: Sequence[tuple[int, int]]
) -> Iterator[Measurement | Unmeasured]:
    """The same, but what such a hold has a part in is not measured."""
    for one in found:
        if isinstance(one, Measurement) and one.name in _BY_EAR and _meets(one, spans):
            yield Unmeasured(name=one.name, turn=one.turn, reason=_REASON)
        else:
            yield one


def _meets(measured: Measurement, spans: Sequence[tuple[int, int]]) -> bool:
    if measured.span_ns is None:
        return False
    start_ns, end_ns = measured.span_ns
    return any(start_ns < until_ns and from_ns < end_ns for from_ns, until_ns in spans)
