"""What is wrong with the agent's answers as they were heard: holes, gaps, repetitions, noise."""

from collections.abc import Iterator

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.answers import COMPARED_HZ
from callerside.reports.metrics.heard_call import HeardCall
from callerside.reports.metrics.measurement import Measurement


def faults(call: HeardCall) -> Iterator[Measurement]:
    """What became of every answer between server and ear."""
    yield from _marked_by_the_agent(call)
    numbers = {turn.response: turn.number for turn in call.turns}
    for answer in call.answers:
        alignment = answer.alignment
        if not alignment.found:
            continue
        turn = numbers.get(answer.response)
        to_ms = 1000 / COMPARED_HZ
        holes = len(alignment.holes)
        sent = f"of {answer.sent.size / answer.evidence.rate_hz:.1f} s sent"
        gap_ms = alignment.longest_hole() * to_ms
        how = f"the longest of {holes}" if holes > 1 else ""
        open_ms = _left_open_ms(answer.evidence, answer.item)
        if open_ms > gap_ms:
            gap_ms, how = open_ms, "as the agent says: nothing more of it came"
        for name, value, detail in (
            ("gap_ms", gap_ms, how),
            ("missing_ms", alignment.missing * to_ms, sent),
            ("repeated_ms", alignment.repeated * to_ms, sent),
        ):
            yield Measurement(name=name, value=value, turn=turn, detail=detail)
        if answer.intelligibility is not None:
            yield Measurement(
                name="intelligibility",
                value=answer.intelligibility,
                turn=turn,
                detail=f"its beginning: a correlation of {alignment.likeness:.2f}",
            )


def _marked_by_the_agent(call: HeardCall) -> Iterator[Measurement]:
    """Silence that the agent put into an answer, as it says itself: nothing had come to play.

    Every answer counts, the greeting and those to no words among them. What was recognised has its
    `gap_ms` from there; beside such, one that was not has one only if its hole was left open.
    """
    evidence = call.evidence
    recognised = {answer.item for answer in call.answers if answer.alignment.found}
    numbers = {turn.item: turn.number for turn in call.turns}
    for item in dict.fromkeys(
        m.fields.get("item") for m in evidence.find("agent", "playout_started")
    ):
        if item in recognised:
            continue
        if recognised and not _left_open_ms(evidence, item):
            continue
        yield Measurement(
            name="gap_ms",
            value=max(_marked_gaps_ms(evidence, item), default=0.0),
            turn=numbers.get(item),
            detail="as the agent says: what the server sent is not known"
            if not recognised
            else "as the agent says: it was not recognised in what was heard",
        )


def _marked_gaps_ms(evidence: CallEvidence, item: str | None) -> list[float]:
    """The gaps in an answer that the agent has marked: nothing had come to play."""
    return [float(mark.fields["missing_ms"]) for mark in _underruns(evidence, item)]


def _left_open_ms(evidence: CallEvidence, item: str | None) -> float:
    """The longest hole after which nothing more of an answer came: what was heard ends before it.

    Nothing that was sent shows it, as the server sent nothing more either.
    """
    holes = (m for m in _underruns(evidence, item) if "until" in m.fields)
    return max((float(mark.fields["missing_ms"]) for mark in holes), default=0.0)


def _underruns(evidence: CallEvidence, item: str | None) -> Iterator[Mark]:
    return (m for m in evidence.find("agent", "playout_underrun") if m.fields.get("item") == item)
