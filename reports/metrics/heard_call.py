"""A call as it was heard: what all numbers are measured in."""

from dataclasses import dataclass

from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.answers import Answer, answers_of
from callerside.reports.metrics.audible import AudibleSegments, listen
from callerside.reports.metrics.turns import Turn, turns_of


@dataclass(frozen=True)
class HeardCall:
    """The evidence of a call, and what is to be heard in it."""

    evidence: CallEvidence
    audible: AudibleSegments
    turns: list[Turn]
    answers: list[Answer]


def hear(evidence: CallEvidence) -> HeardCall:
    """Listen to a call's recording, and find its turns and answers in it."""
    answers = answers_of(evidence)
    known = [sound for answer in answers for sound in answer.sounds]
    audible = listen(evidence, sorted(known, key=lambda sound: sound.start_ns))
    return HeardCall(evidence, audible, turns_of(evidence, audible, answers), answers)
