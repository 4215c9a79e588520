"""The responder keeps to its delays, and the truth about a call is found without any ears."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from agent import audio
from agent.leg import AudioReceived, CallReceived, FramePlayed, MediaReady, PlayoutCleared
from agent.timeline import Mark
from reports.budget import UNITS
from reports.calibration import NO_ERROR
from reports.evidence import CallEvidence, CallInfo
from simulator.calibration_truth import Heard, TruthError, errors_of
from simulator.responder import (
    Answer,
    Behaviour,
    Clear,
    Play,
    ResponderMachine,
    hard_edged,
    streams,
)

RATE_HZ = 16_000
FRAME = RATE_HZ // 50
FRAME_NS = 20_000_000
START_NS = 10**12


def murmur(length_ms: int, seed: int) -> NDArray[np.int16]:
    """Loud everywhere, and like itself nowhere."""
    rng = np.random.default_rng(seed)
    smooth = np.convolve(rng.normal(size=length_ms * 16 + 15), np.hanning(16), "valid")
    return (2500 * smooth).astype(np.int16)


PHRASE = np.frombuffer(hard_edged(murmur(900, 1).tobytes()), "<i2")
REPLY = hard_edged(murmur(1600, 2).tobytes())
BEHAVIOUR = Behaviour(reply=REPLY)


class Call:
    """The responder's leg and the caller's ends of it, tick by tick; audio takes `path` frames."""

    def __init__(
        self,
        says: dict[int, NDArray[np.int16]],
        *,
        behaviour: Behaviour = BEHAVIOUR,
        path: int = 2,
        ticks: int = 700,
    ) -> None:
        self.machine = ResponderMachine(behaviour, RATE_HZ)
        self.effects = [
            *self.machine.handle(CallReceived(called="x", caller="y", sip_call_id="z"), START_NS)
        ]
        self.machine.handle(MediaReady(codec="PCMU"), START_NS)
        mouth = np.zeros(ticks * FRAME, np.int16)
        for start, phrase in says.items():
            mouth[start : start + phrase.size] = phrase
        self._playing = bytearray()
        up: deque[bytes] = deque([bytes(2 * FRAME)] * path)
        down: deque[bytes] = deque([bytes(2 * FRAME)] * path)
        ear = bytearray()
        for tick in range(ticks):
            at_ns = START_NS + tick * FRAME_NS
            down.append(self._play(at_ns))
            up.append(mouth[tick * FRAME : (tick + 1) * FRAME].tobytes())
            self._take(AudioReceived(pcm=up.popleft(), at_ns=at_ns))
            ear += down.popleft()
        self.recording = np.stack((mouth, np.frombuffer(bytes(ear), "<i2")), axis=1)

    def _play(self, at_ns: int) -> bytes:
        ours = bytes(self._playing[: 2 * FRAME])
        del self._playing[: 2 * FRAME]
        self._take(FramePlayed(samples=len(ours) // 2, at_ns=at_ns))
        return ours.ljust(2 * FRAME, b"\0")

    def _take(self, given: AudioReceived | FramePlayed) -> None:
        for effect in self.machine.handle(given, given.at_ns):
            if isinstance(effect, Play):
                self._playing += effect.pcm
            elif isinstance(effect, Clear):
                dropped = len(self._playing) // 2
                self._playing.clear()
                self.machine.handle(PlayoutCleared(dropped_samples=dropped), given.at_ns)

    def heard(self) -> Heard:
        assert self.machine.started_ns is not None
        return Heard(
            recording=streams(self.machine),
            rate_hz=RATE_HZ,
            said=tuple(self.machine.said),
            heard_ns=tuple(self.machine.heard_ns),
            started_ns=self.machine.started_ns,
            answered_ns=self.machine.answered_ns,
        )

    def evidence(self, starts: list[int]) -> CallEvidence:
        marks = [
            ("call_dialed", -FRAME, {}),
            ("call_answered", 0, {"status": 200}),
            ("recording_started", 0, {}),
        ]
        for turn, start in enumerate(starts, start=1):
            at = {"turn": turn}
            marks.append(("utterance_started", start, at))
            marks.append(("utterance_ended", start + PHRASE.size + FRAME, at))
        marks.append(("call_ended", len(self.recording), {}))
        return CallEvidence(
            info=CallInfo(name="calibration"),
            marks=[
                Mark(
                    at_ns=START_NS + sample * 10**9 // RATE_HZ,
                    source="caller",
                    call="x",
                    name=name,
                    fields=fields,
                )
                for name, sample, fields in sorted(marks, key=lambda mark: mark[1])
            ],
            recording=self.recording,
            rate_hz=RATE_HZ,
            recording_start_ns=START_NS,
        )


FIRST, SECOND = 16_123, 90_007


def test_it_answers_at_once_and_beeps() -> None:
    call = Call({}, ticks=60)
    assert call.effects == [Answer()]
    (beep,) = call.machine.said
    assert beep.name == "beep"
    assert beep.end - beep.start == RATE_HZ * 400 // 1000
    assert beep.start / 16 == pytest.approx(200, abs=40)


def test_it_answers_after_its_delay_to_the_sample() -> None:
    call = Call({FIRST: PHRASE, SECOND: PHRASE})
    answers = [said for said in call.machine.said if said.name != "beep"]
    for answer, said_at, delay_ms in zip(
        answers, (FIRST, SECOND), BEHAVIOUR.delays_ms, strict=False
    ):
        heard_end = said_at + PHRASE.size + 2 * FRAME
        assert (answer.start - heard_end) / 16 == pytest.approx(delay_ms, abs=1)


def test_it_stops_when_it_is_talked_over() -> None:
    onset = FIRST + PHRASE.size + 16 * 1000
    call = Call({FIRST: PHRASE, onset: PHRASE})
    answer = next(said for said in call.machine.said if said.name == "answer 1")
    assert answer.end - answer.start < len(REPLY) // 2
    assert (answer.end - onset) / 16 < 150


def test_the_harness_is_found_to_err_by_less_than_a_millisecond_here() -> None:
    call = Call({FIRST: PHRASE, SECOND: PHRASE})
    errors, path = errors_of(call.evidence([FIRST, SECOND]), call.heard(), PHRASE, BEHAVIOUR)
    for name in (
        "turn_ms",
        "agent_overhead_ms",
        "uplink_ms",
        "downlink_ms",
        "beep_ms",
        "beep_length_ms",
        "beep_hz",
    ):
        assert errors[name]
        assert all(abs(error) < 1 for error in errors[name]), (name, errors[name])
    assert all(abs(error) <= 10 for error in errors["gap_ms"])
    assert path["there and back"] == [pytest.approx(80, abs=0.1)] * 2


def test_an_error_of_the_ears_would_be_seen() -> None:
    """The truth does not pass through the ears: a recording that is off shows as error."""
    call = Call({FIRST: PHRASE})
    evidence = call.evidence([FIRST])
    shifted = evidence.recording.copy()
    answer = call.machine.said[1].start + 2 * FRAME
    shifted[answer : answer + 800, 1] = 0
    errors, _ = errors_of(replace(evidence, recording=shifted), call.heard(), PHRASE, BEHAVIOUR)
    assert errors["turn_ms"] == [pytest.approx(50, abs=1)]


CHANGED = Behaviour(
    reply=REPLY,
    greeting=hard_edged(murmur(700, 3).tobytes()),
    hole_in=9,
    changed_in=2,
    missing_at_ms=400,
    repeated_at_ms=900,
)
LATER = FIRST + 20 * FRAME + 60_000, SECOND + 20 * FRAME + 60_000


def test_every_number_of_a_call_has_its_truth() -> None:
    call = Call(dict.fromkeys(LATER, PHRASE), behaviour=CHANGED, ticks=900)
    errors, _ = errors_of(call.evidence([*LATER]), call.heard(), PHRASE, CHANGED)
    for name, count in {
        "answer_ms": 1,
        "greeting_ms": 1,
        "dead_air_ms": 1,
        "gap_ms": 2,
        "missing_ms": 2,
        "repeated_ms": 2,
        "intelligibility": 1,
    }.items():
        assert errors[name] == [pytest.approx(0, abs=1)] * count, name


def test_what_was_told_of_a_cut_answer_is_what_was_heard() -> None:
    onset = FIRST + PHRASE.size + 16 * 1000
    call = Call({FIRST: PHRASE, onset: PHRASE})
    errors, _ = errors_of(call.evidence([FIRST, onset]), call.heard(), PHRASE, BEHAVIOUR)
    assert errors["heard_error_ms"] == [pytest.approx(0, abs=2)]


@pytest.mark.parametrize(
    ("told", "metric", "by"),
    [
        (replace(CHANGED, missing_ms=CHANGED.missing_ms + 30), "missing_ms", -30),
        (replace(CHANGED, repeated_ms=CHANGED.repeated_ms - 30), "repeated_ms", 30),
    ],
)
def test_a_responder_that_does_otherwise_is_found_out(
    told: Behaviour, metric: str, by: float
) -> None:
    """What is measured is the call, and no number of the responder's own."""
    call = Call(dict.fromkeys(LATER, PHRASE), behaviour=CHANGED, ticks=900)
    errors, _ = errors_of(call.evidence([*LATER]), call.heard(), PHRASE, told)
    assert errors[metric][-1] == pytest.approx(by, abs=1)


def test_an_error_about_the_greeting_would_be_seen() -> None:
    call = Call(dict.fromkeys(LATER, PHRASE), behaviour=CHANGED, ticks=900)
    evidence = call.evidence([*LATER])
    shifted = evidence.recording.copy()
    greeting = next(said for said in call.machine.said if said.name == "greeting")
    start = greeting.start + 2 * FRAME
    shifted[start : start + 320, 1] = 0
    errors, _ = errors_of(replace(evidence, recording=shifted), call.heard(), PHRASE, CHANGED)
    assert errors["greeting_ms"] == [pytest.approx(20, abs=1)]


def test_every_metric_is_calibrated_or_says_why_not() -> None:
    call = Call(dict.fromkeys(LATER, PHRASE), behaviour=CHANGED, ticks=900)
    errors, _ = errors_of(call.evidence([*LATER]), call.heard(), PHRASE, CHANGED)
    onset = FIRST + PHRASE.size + 16 * 1000
    cut = Call({FIRST: PHRASE, onset: PHRASE})
    more, _ = errors_of(cut.evidence([FIRST, onset]), cut.heard(), PHRASE, BEHAVIOUR)
    assert {*errors, *more} | {*NO_ERROR} == {*UNITS}
    assert not {*errors, *more} & {*NO_ERROR}


def test_a_barge_in_is_part_of_it() -> None:
    onset = FIRST + PHRASE.size + 16 * 1000
    call = Call({FIRST: PHRASE, onset: PHRASE})
    errors, _ = errors_of(call.evidence([FIRST, onset]), call.heard(), PHRASE, BEHAVIOUR)
    assert errors["barge_in_stop_ms"] == [pytest.approx(0, abs=2)]
    assert errors["talk_over_ms"] == [pytest.approx(0, abs=2)]


def test_a_call_in_which_nothing_is_recognised_is_refused() -> None:
    call = Call({FIRST: murmur(900, 77)})
    with pytest.raises(TruthError, match="phrase was not found"):
        errors_of(call.evidence([FIRST]), call.heard(), PHRASE, BEHAVIOUR)


def test_hard_edges_are_loud() -> None:
    soft = audio.tone(300, 200, RATE_HZ) + bytes(3200)
    samples = audio.to_samples(hard_edged(bytes(3200) + soft))
    assert abs(int(samples[0])) > 1000
    assert abs(int(samples[-1])) > 1000
