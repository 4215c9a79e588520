"""What a caller should have measured at the responder, and by how much it erred.

The places of known sounds are found by cross-correlation with the sounds themselves, so that the
truth does not pass through the detector that is to be judged; lengths are those that the responder
says it kept to. The reports' own code measures the call as it would any other.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from callerside import audio
from callerside.clock import NS_PER_MS
from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.hearing import correlation, intelligibility
from callerside.reports.metrics.machine_time import CALLER, MachineTime, Part
from callerside.reports.metrics.measurement import NOTHING_TAKEN, Taken
from callerside.reports.metrics.metrics import measure
from callerside.simulator.calibration.responder import AFTER_FUNCTION, Behaviour, Said
from callerside.simulator.calibration.responder_marks import (
    FRAMES_A_SECOND,
    UNTRUTHS_MS,
    Heard,
    Samples,
    called_ns,
    finished_ns,
    is_cut,
    with_marks,
)

_AROUND_MS = 300
_PIECE_MS = 250  # of a known sound, to find an end of it: the path may shift the rest
_SILENT = round(32768 * 10 ** (-50 / 20))  # a sample below -50 dBFS is part of a pause


_NOTED = {"answer_ms": 1, "beep_ms": -1, "greeting_ms": -1}
"""What ends (1) or begins (-1) when a thread of the caller's takes note of the 200 OK: too late, if
that had to wait. All else is of samples, and of packets whose times are the kernel's."""
_NOTED_WITHIN_NS = 500 * NS_PER_MS
_TOLD_MS = 1.0


class TruthError(RuntimeError):
    """A call that cannot serve: a known sound was not found where it must be."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The truth about one turn, in samples of the caller's recording unless it says otherwise."""

    number: int
    phrase_start: int
    phrase_end: int
    said: Said
    """The answer."""
    answer_start: int
    answer_end: int
    delay_ms: float
    """Of the responder, on its own media clock."""
    came_ns: int
    """When the packet with the last voiced sample came in, by the kernel's word: on one machine
    that is when it left."""
    said_ns: int
    """When the responder said the answer's first sample."""


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How far off a call's numbers were."""

    metrics: dict[str, list[float]]
    """Measured less true, by metric."""
    missed: dict[str, int]
    """How many values that should have been measured were not, by metric."""
    untold: dict[str, int]
    """How many values nobody can tell: it is not known how long the machine made them wait."""
    there_and_back_ms: list[float]
    """The telephone's path, turn by turn."""
    moved_ms: list[float]
    """By how much each sound's way to the ear was longer or shorter than the median of the call.

    Packets that come late do that; so would a responder that speaks at other times than it says.
    """


def errors_of(
    evidence: CallEvidence, heard: Heard, phrase: Samples, behaviour: Behaviour
) -> Errors:
    """Hold what the reports measure in a call against what was true.

    Raises:
        TruthError: a known sound was not found.
    """
    return _Judge(evidence, heard, phrase, behaviour).errors()


class _Judge:
    """Of one call; see `errors_of`."""

    def __init__(
        self, evidence: CallEvidence, heard: Heard, phrase: Samples, behaviour: Behaviour
    ) -> None:
        self._evidence = evidence
        self._heard = heard
        self._behaviour = behaviour
        self._reply = audio.to_samples(behaviour.reply)
        self._turns = list(_turns(evidence, heard, phrase, self._reply))
        number = behaviour.with_function
        self._function_turn = next((one for one in self._turns if one.number == number), None)
        self._errors: dict[str, list[float]] = defaultdict(list)
        self._there_and_back_ms: list[float] = []
        self._missed: dict[str, int] = defaultdict(int)
        self._told_of_none: dict[str, int] = defaultdict(int)
        self._found: dict[tuple[str, int | None], list[float]] = defaultdict(list)
        self._untold: dict[tuple[str, int | None], int] = defaultdict(int)
        noted = _noted_late(evidence)
        for one in measure(with_marks(evidence, heard, self._reply)).measurements:
            if one.name in _NOTED and noted.doubt_ms >= _TOLD_MS:
                self._untold[one.name, one.turn] += 1
            else:
                late_ms = _NOTED.get(one.name, 0) * noted.least_ms
                self._found[one.name, one.turn].append(one.value - late_ms)

    def errors(self) -> Errors:
        """See `errors_of`."""
        ways_ms = self._note_beginning()
        for turn in self._turns:
            self._note_turn(turn)
            self._note_answer(turn.said, turn.number)
        ways_ms += self._note_function()
        for earlier, later in pairwise(self._turns):
            if later.phrase_start < earlier.answer_end:
                self._note_barge_in(earlier, later)
        waits_ms = [self._matched_ms(turn) for turn in self._turns]
        self._note("dead_air_ms", None, max(waits_ms, default=0.0))
        ways_ms += [self._way_ms(turn.said, turn.answer_start) for turn in self._turns]
        return Errors(
            metrics=dict(self._errors),
            missed=dict(self._missed),
            untold=dict(self._told_of_none),
            there_and_back_ms=self._there_and_back_ms,
            moved_ms=[abs(way_ms - median(ways_ms)) for way_ms in ways_ms],
        )

    def _note(self, name: str, turn: int | None, *true: float) -> None:
        """The errors of what was measured: a value for each that is true."""
        found = self._found[name, turn]
        if untold := self._untold[name, turn]:
            self._told_of_none[name] += untold
            return
        self._errors[name] += [one - wanted for one, wanted in zip(found, true, strict=False)]
        if len(found) < len(true):
            self._missed[name] += len(true) - len(found)

    def _note_beginning(self) -> list[float]:
        """What comes before the caller speaks: 200 OK, beep, greeting.

        Returns how long the beep's and the greeting's ways were, in milliseconds.
        """
        heard, behaviour, evidence = self._heard, self._behaviour, self._evidence
        tone = audio.tone(behaviour.beep_hz, behaviour.beep_length_ms, evidence.rate_hz)
        opening = self._reply[: _PIECE_MS * heard.rate_hz // 1000]
        self._note("ringing_ms", None, 0.0)  # its telephone rings at once: all of it is the way
        self._note("answer_ms", None, (heard.answered_ns - heard.received_ns) / NS_PER_MS)
        ways_ms = []
        for name, sound in (("beep", audio.to_samples(tone)), ("greeting", opening)):
            said, place = self._place(name, sound)
            true_ms = (evidence.at_ns(place) - heard.answered_ns) / NS_PER_MS
            self._note(f"{name}_ms", None, true_ms)
            ways_ms.append(self._way_ms(said, place))
        self._note("beep_hz", None, behaviour.beep_hz)
        self._note("beep_length_ms", None, behaviour.beep_length_ms)
        self._note_answer(said, None)
        return ways_ms

    def _note_turn(self, turn: Turn) -> None:
        matched_ms = self._matched_ms(turn)
        answer_ns = self._evidence.at_ns(turn.answer_start)
        downlink_ms = (answer_ns - turn.said_ns) / NS_PER_MS
        self._note("turn_ms", turn.number, (answer_ns - turn.came_ns) / NS_PER_MS)
        self._note("uplink_ms", turn.number, 0.0)  # it is appended as it comes
        self._note("agent_overhead_ms", turn.number, downlink_ms)
        self._note("downlink_ms", turn.number, downlink_ms)
        self._there_and_back_ms.append(matched_ms - turn.delay_ms)

    def _matched_ms(self, turn: Turn) -> float:
        """From the end of the phrase at the mouth to the beginning of its answer at the ear."""
        return (turn.answer_start - turn.phrase_end) * 1000 / self._evidence.rate_hz

    def _note_answer(self, said: Said, turn: int | None) -> None:
        """What became of an answer, or of the greeting; of a cut one, up to there."""
        behaviour = self._behaviour
        faulty = said.name == f"answer {behaviour.faulty}"
        cut = is_cut(said, self._reply)
        if faulty and cut:
            return  # nobody knows which of its faults were heard
        # What follows a function is no turn's first answer: it stands beside the greeting.
        answers = 2 if turn is None and self._function_turn else 1
        self._note("gap_ms", turn, *[behaviour.hole_ms if faulty else 0.0] * answers)
        self._note("missing_ms", turn, *[behaviour.left_out_ms if faulty else 0.0] * answers)
        self._note("repeated_ms", turn, *[behaviour.twice_ms if faulty else 0.0] * answers)
        if not faulty and not cut:
            heard = _over_the_telephone(self._reply, self._heard)
            self._note("intelligibility", turn, *[heard] * answers)

    def _note_function(self) -> list[float]:
        """The turn whose answer waits for a function, and how long the way of that answer was."""
        turn = self._function_turn
        if turn is None:
            return []
        opening = self._reply[: _PIECE_MS * self._heard.rate_hz // 1000]
        said, place = self._place(AFTER_FUNCTION, opening)
        at_ns, number = self._evidence.at_ns(place), turn.number
        called, finished = called_ns(self._heard, turn.said), finished_ns(self._heard, said)
        silence_ms = (place - turn.answer_end) * 1000 / self._evidence.rate_hz
        self._note("tool_ms", number, (finished - called) / NS_PER_MS)
        self._note("final_answer_ms", number, (at_ns - turn.came_ns) / NS_PER_MS)
        self._note("answer_after_tools_ms", number, (at_ns - finished) / NS_PER_MS)
        self._note("tool_silence_ms", number, silence_ms)
        return [self._way_ms(said, place)]

    def _note_barge_in(self, cut: Turn, later: Turn) -> None:
        stop_ms = (cut.answer_end - later.phrase_start) * 1000 / self._evidence.rate_hz
        self._note("barge_in_stop_ms", later.number, stop_ms)
        self._note("talk_over_ms", None, stop_ms)
        if is_cut(cut.said, self._reply):
            self._note("heard_error_ms", None, *self._untruths(cut.said))

    def _untruths(self, said: Said) -> Iterator[float]:
        """By how much truncations are wrong; within the pause in which an answer stops, none is."""
        to_ms = 1000 / self._heard.rate_hz
        length = said.end - said.start
        voiced = np.flatnonzero(np.abs(self._reply.astype(np.int32)) >= _SILENT)
        before, after = voiced[voiced < length], voiced[voiced >= length]
        low_ms = (int(before[-1]) + 1 if before.size else 0) * to_ms
        high_ms = (int(after[0]) if after.size else self._reply.size) * to_ms
        for untruth_ms in UNTRUTHS_MS:
            told_ms = length * to_ms + untruth_ms
            yield told_ms - min(max(told_ms, low_ms), high_ms)

    def _place(self, name: str, sound: Samples) -> tuple[Said, int]:
        """A sound of the call's beginning, and where it is in what the caller heard."""
        said = next((said for said in self._heard.said if said.name == name), None)
        if said is None or said.start < 0:
            raise TruthError(f"the {name} was not said")
        near = self._evidence.sample_at(self._heard.at_ns(said.start))
        around = _AROUND_MS * self._evidence.rate_hz // 1000
        ear = self._evidence.channel(EAR)
        return said, _find(sound, ear, near - around, near + around, name)

    def _way_ms(self, said: Said, place: int) -> float:
        """How long a sound was on its way to the ear."""
        return (self._evidence.at_ns(place) - self._heard.at_ns(said.start)) / NS_PER_MS


def _noted_late(evidence: CallEvidence) -> Taken:
    """How much later than it came the caller took note of the 200 OK, for the machine's sake."""
    answered = evidence.first("caller", "call_answered")
    if answered is None:
        return NOTHING_TAKEN
    part = Part(answered.at_ns, CALLER)
    return MachineTime(evidence.marks).of_time(answered.at_ns - _NOTED_WITHIN_NS, [part])


def _turns(evidence: CallEvidence, heard: Heard, phrase: Samples, reply: Samples) -> Iterator[Turn]:
    opening = reply[: _PIECE_MS * heard.rate_hz // 1000]
    rate_hz = evidence.rate_hz
    others = ("greeting", AFTER_FUNCTION)
    answers = [said for said in heard.spoken if said.name not in others]
    for mark, said in zip(evidence.find("caller", "utterance_started"), answers, strict=False):
        near = evidence.sample_at(mark.at_ns)
        around = _AROUND_MS * rate_hz // 1000
        start = _find(phrase, evidence.channel(MOUTH), near - around, near + around, "phrase")
        after = start + phrase.size
        answer = _find(opening, evidence.channel(EAR), after, after + 2 * rate_hz, "answer")
        end_there = _there(heard, said, phrase)
        frame = (end_there - 1) // (heard.rate_hz // FRAMES_A_SECOND)
        said_ns = heard.at_ns(said.start)
        yield Turn(
            number=int(mark.fields["turn"]),
            phrase_start=start,
            phrase_end=after,
            said=said,
            answer_start=answer,
            answer_end=answer + said.end - said.start,
            delay_ms=round((said.start - end_there) * 1000 / heard.rate_hz, 3),
            came_ns=heard.heard_ns[frame],
            said_ns=said_ns,
        )


def _there(heard: Heard, said: Said, phrase: Samples) -> int:
    """Where the phrase that an answer answers ended in what the responder heard."""
    tail = phrase[-_PIECE_MS * heard.rate_hz // 1000 :]
    latest = said.start - tail.size
    earliest = latest - 2 * heard.rate_hz
    return _find(tail, heard.recording[:, 1], earliest, latest, "phrase there") + tail.size


def _find(piece: Samples, channel: Samples, low: int, high: int, what: str) -> int:
    """Where a known sound begins, between two places."""
    low = max(0, low)
    match = correlation.find(piece, channel[low : high + piece.size])
    if not match.found:
        raise TruthError(f"the {what} was not found (correlation {match.correlation:.2f})")
    return low + match.offset


def _over_the_telephone(sent: Samples, heard: Heard) -> float:
    """What G.711 alone leaves of the intelligibility of a sound, in per cent."""
    narrow = audio.resample(sent.tobytes(), heard.rate_hz, intelligibility.RATE_HZ)
    coded = audio.AudioFormat("pcmu").quantise(narrow)
    return intelligibility.intelligibility(audio.to_samples(narrow), audio.to_samples(coded)) or 0.0
