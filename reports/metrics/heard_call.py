"""A call as it was heard: what all numbers are measured in."""

from dataclasses import dataclass
from functools import cached_property

from callerside.reports.evidence import EAR, CallEvidence
from callerside.reports.hearing.holes import holes
from callerside.reports.metrics.answers import Answer, answers_of
from callerside.reports.metrics.audible import AudibleSegments, listen
from callerside.reports.metrics.machine_time import MachineTime
from callerside.reports.metrics.turns import Turn, turns_of


@dataclass(frozen=True)
class HeardCall:
    """The evidence of a call, and what is to be heard in it."""

    evidence: CallEvidence
    audible: AudibleSegments
    turns: list[Turn]
    answers: list[Answer]

    @cached_property
    def machine(self) -> MachineTime:
        """What the machine took of it."""
        return MachineTime(self.evidence.marks)

    @cached_property
    def holes(self) -> list[tuple[int, int]]:
        """From when to when packets are missing in what the agent says, by its sound alone.

        Of a bare recording: of others it is known what was sent.
        """
        if self.evidence.info.lane != "recording":
            return []
        at_ns, sample_at = self.evidence.at_ns, self.evidence.sample_at
        speech = [
            (sample_at(sound.start_ns), sample_at(sound.end_ns))
            for sound in self.audible.ear
            if sound.kind == "speech"
        ]
        found = holes(self.evidence.channel(EAR), self.evidence.rate_hz, speech)
        return [(at_ns(first), at_ns(past)) for first, past in found]


def hear(evidence: CallEvidence) -> HeardCall:
    """Listen to a call's recording, and find its turns and answers in it."""
    answers = answers_of(evidence)
    known = [sound for answer in answers for sound in answer.sounds]
    audible = listen(evidence, sorted(known, key=lambda sound: sound.start_ns))
    return HeardCall(evidence, audible, turns_of(evidence, audible, answers), answers)
