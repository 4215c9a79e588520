"""The responder keeps to its delays, and the truth about a call is found without the detector."""

from collections import deque
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray

from callerside import audio
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallReceived,
    FramePlayed,
    MediaReady,
    PlayoutCleared,
)
from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence, CallInfo
from callerside.reports.metrics.registry import METRICS
from callerside.simulator.calibration.ground_truth import Errors, TruthError, errors_of
from callerside.simulator.calibration.responder import (
    AFTER_FUNCTION,
    Answer,
    Behaviour,
    Clear,
    Play,
    ResponderMachine,
    hard_edged,
    streams,
)
from callerside.simulator.calibration.responder_marks import Heard

RATE_HZ = 16_000
FRAME = RATE_HZ // 50
FRAME_NS = 20_000_000
START_NS = 10**12
ANSWERED_AFTER_NS = 120_000_000
RUNG_AFTER_NS = 500_000
"""What the ways of both messages take."""
RINGING = {"status": 180}


def murmur(length_ms: int, seed: int) -> NDArray[np.int16]:
    """Loud everywhere, and like itself nowhere."""
    rng = np.random.default_rng(seed)
    smooth = np.convolve(rng.normal(size=length_ms * 16 + 15), np.hanning(16), "valid")
    return (2500 * smooth).astype(np.int16)


PHRASE = np.frombuffer(hard_edged(murmur(900, 1).tobytes()), "<i2")
REPLY = hard_edged(murmur(2600, 2).tobytes())
BEHAVIOUR = Behaviour(reply=REPLY)


def over_g711(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """As a telephone carries it: at 8 kHz, in eight bits."""
    coded = audio.AudioFormat("pcmu").quantise(audio.resample(samples.tobytes(), RATE_HZ, 8000))
    return audio.to_samples(audio.resample(coded, 8000, RATE_HZ))


class Call:
    """The responder's leg and the caller's ends of it, tick by tick.

    A packet is there when its frame has been said; the way back takes `path` frames.
    """

    def __init__(
        self,
        says: dict[int, NDArray[np.int16]],
        *,
        path: int = 2,
        ticks: int = 1240,
        behaviour: Behaviour = BEHAVIOUR,
    ) -> None:
        self.machine = ResponderMachine(behaviour, RATE_HZ)
        received_ns = START_NS - ANSWERED_AFTER_NS
        received = CallReceived(called="x", caller="y", sip_call_id="z")
        self.effects = [*self.machine.handle(received, received_ns)]
        self.machine.handle(MediaReady(codec="PCMU"), START_NS)
        mouth = np.zeros(ticks * FRAME, np.int16)
        for start, phrase in says.items():
            mouth[start : start + phrase.size] = phrase
        self._playing = bytearray()
        up: deque[bytes] = deque([bytes(2 * FRAME)])
        down: deque[bytes] = deque([bytes(2 * FRAME)] * path)
        ear = bytearray()
        for tick in range(ticks):
            at_ns = START_NS + tick * FRAME_NS
            down.append(self._play(at_ns))
            up.append(mouth[tick * FRAME : (tick + 1) * FRAME].tobytes())
            self._take(AudioReceived(pcm=up.popleft(), at_ns=at_ns))
            ear += down.popleft()
        heard = over_g711(np.frombuffer(bytes(ear), "<i2"))
        self.recording = np.stack((mouth, heard), axis=1)

    def _play(self, at_ns: int) -> bytes:
        ours = bytes(self._playing[: 2 * FRAME])
        del self._playing[: 2 * FRAME]
        self._take(FramePlayed(played=((0, len(ours) // 2),), at_ns=at_ns))
        return ours.ljust(2 * FRAME, b"\0")

    def _take(self, given: AudioReceived | FramePlayed) -> None:
        for effect in self.machine.handle(given, given.at_ns):
            if isinstance(effect, Play):
                self._playing += effect.pcm
            elif isinstance(effect, Clear):
                dropped = len(self._playing) // 2
                self._playing.clear()
                self.machine.handle(PlayoutCleared(dropped=((0, dropped),)), given.at_ns)

    def heard(self) -> Heard:
        assert self.machine.started_ns is not None
        return Heard(
            recording=streams(self.machine),
            rate_hz=RATE_HZ,
            said=tuple(self.machine.said),
            heard_ns=tuple(self.machine.heard_ns),
            started_ns=self.machine.started_ns,
            received_ns=self.machine.received_ns,
            answered_ns=START_NS,
        )

    def evidence(self, starts: list[int]) -> CallEvidence:
        marks = [
            ("call_dialed", -ANSWERED_AFTER_NS * RATE_HZ // 10**9, {}),
            ("call_progressed", (RUNG_AFTER_NS - ANSWERED_AFTER_NS) * RATE_HZ // 10**9, RINGING),
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


FIRST, SECOND = 60_123, 134_007
THIRD = SECOND + PHRASE.size + 16 * 2700
"""Talks over the answer to the second."""
FOURTH = THIRD + PHRASE.size + 16 * 3730
STARTS = [FIRST, SECOND, THIRD, FOURTH]


@cache
def whole_call(behaviour: Behaviour = BEHAVIOUR) -> Call:
    """As `callerside calibrate` has it: two questions, one into the answer to the second, a last.

    The last one's answer waits for a function.
    """
    return Call(dict.fromkeys(STARTS, PHRASE), behaviour=behaviour)


def errors_in(call: Call, told: Behaviour = BEHAVIOUR, **otherwise: Any) -> Errors:
    """Of a whole call whose responder says that it behaves as `told`, and kept `otherwise`."""
    heard = replace(call.heard(), **otherwise)
    return errors_of(call.evidence(STARTS), heard, PHRASE, told)


def test_it_answers_after_a_while_beeps_and_greets() -> None:
    call = Call({}, ticks=150)
    assert call.effects == [Answer(120)]
    beep, greeting = call.machine.said
    assert (beep.name, greeting.name) == ("beep", "greeting")
    assert beep.end - beep.start == RATE_HZ * 400 // 1000
    assert beep.start / 16 == 20, "the frame after the first"
    assert (greeting.start - beep.start) / 16 == 500


def test_its_faulty_answer_is_as_it_says() -> None:
    source, played = REPLY, BEHAVIOUR.faulty_reply(RATE_HZ)
    at = 2 * RATE_HZ // 1000
    assert len(played) - len(source) == at * (60 - 120 + 80)
    assert played[: 760 * at] == source[: 700 * at] + bytes(60 * at)
    assert played[760 * at : 1160 * at] == source[700 * at : 1100 * at]
    assert played[1160 * at : 1840 * at] == source[1220 * at : 1900 * at]
    assert played[1840 * at :] == source[1820 * at :]


def test_it_answers_after_its_delay_to_the_sample() -> None:
    call = Call({FIRST: PHRASE, SECOND: PHRASE})
    answers = [said for said in call.machine.said if said.name.startswith("answer")]
    for answer, said_at, delay_ms in zip(
        answers, (FIRST, SECOND), BEHAVIOUR.delays_ms, strict=False
    ):
        heard_end = said_at + PHRASE.size + FRAME
        assert (answer.start - heard_end) / 16 == pytest.approx(delay_ms, abs=1)


def test_it_stops_when_it_is_talked_over() -> None:
    call = whole_call()
    answer = next(said for said in call.machine.said if said.name == "answer 2")
    assert answer.end - answer.start < len(REPLY) // 2
    assert (answer.end - THIRD) / 16 < 150


def test_the_harness_is_found_to_err_by_less_than_one_here() -> None:
    found = errors_in(whole_call())
    assert found.metrics.keys() == {name for name, metric in METRICS.items() if metric.truth}
    for name, errors in found.metrics.items():
        assert all(abs(error) < 1 for error in errors), (name, errors)
    assert found.missed == {}
    assert found.there_and_back_ms == [pytest.approx(60, abs=0.1)] * 4
    assert found.moved_ms == [pytest.approx(0, abs=0.1)] * 7
    counts = {name: len(errors) for name, errors in found.metrics.items()}
    assert counts["gap_ms"] == counts["missing_ms"] == counts["repeated_ms"] == 6
    assert counts["heard_error_ms"] == 3
    assert counts["intelligibility"] == 4
    assert counts["final_answer_ms"] == counts["tool_silence_ms"] == 1


@pytest.mark.parametrize(
    ("field", "metric", "more"),
    [
        ("hole_ms", "gap_ms", 15),
        ("left_out_ms", "missing_ms", 15),
        ("twice_ms", "repeated_ms", 15),
        ("beep_length_ms", "beep_length_ms", 15),
        ("beep_hz", "beep_hz", 1),
    ],
)
def test_a_responder_that_does_more_than_it_says_is_seen(
    field: str, metric: str, more: float
) -> None:
    call = whole_call(replace(BEHAVIOUR, **{field: getattr(BEHAVIOUR, field) + more}))
    found = errors_in(call).metrics
    assert max(found[metric], key=abs) == pytest.approx(more, abs=0.5)
    others = found.keys() - {metric, "beep_ms" if field == "beep_hz" else ""}
    assert all(abs(error) < 1 for name in others for error in found[name]), found


def test_a_beep_of_another_frequency_is_no_truth_at_all() -> None:
    call = whole_call(replace(BEHAVIOUR, beep_hz=455))
    with pytest.raises(TruthError, match="beep was not found"):
        errors_in(call)


def test_a_responder_that_stamps_its_200_ok_15_ms_early_is_seen() -> None:
    found = errors_in(whole_call(), answered_ns=START_NS - 15_000_000).metrics
    assert found["answer_ms"] == [pytest.approx(15, abs=0.1)]
    for name in ("beep_ms", "greeting_ms"):
        assert found[name] == [pytest.approx(-15, abs=1)]


def test_a_responder_that_answers_15_ms_later_than_it_says_is_seen() -> None:
    """No number of the caller's is wrong by it: the path is, by that much in five sounds of seven.

    It says that of the path, and a calibration with such a path is not good.
    """
    call = whole_call()
    early = tuple(
        replace(said, start=said.start - 240) if said.name.startswith("answer") else said
        for said in call.machine.said
    )
    found = errors_in(call, said=early)
    assert sorted(found.moved_ms)[-2:] == [pytest.approx(15, abs=0.1)] * 2
    assert found.there_and_back_ms == [pytest.approx(75, abs=0.1)] * 4


def test_an_answer_after_a_function_that_comes_15_ms_later_than_it_says_is_seen() -> None:
    later = replace(BEHAVIOUR, function_wait_ms=BEHAVIOUR.function_wait_ms + 15)
    call = whole_call(later)
    told = tuple(
        replace(said, start=said.start - 240) if said.name == AFTER_FUNCTION else said
        for said in call.machine.said
    )
    found = errors_in(call, said=told)
    assert max(found.moved_ms) == pytest.approx(15, abs=0.1)
    assert found.metrics["tool_silence_ms"] == [pytest.approx(0, abs=1)], "it is heard, not told"


def test_a_truncation_that_is_15_ms_beside_what_was_played_is_seen() -> None:
    call = whole_call()
    cut = tuple(
        replace(said, end=said.end + 240) if said.name == "answer 2" else said
        for said in call.machine.said
    )
    assert errors_in(call, said=cut).metrics["heard_error_ms"][0] == pytest.approx(15, abs=2)


def test_what_should_have_been_measured_and_was_not_is_told() -> None:
    call = whole_call()
    evidence = call.evidence(STARTS)
    undialed = [mark for mark in evidence.marks if mark.name != "call_dialed"]
    found = errors_of(replace(evidence, marks=undialed), call.heard(), PHRASE, BEHAVIOUR)
    assert found.metrics["answer_ms"] == []
    assert found.missed == {"answer_ms": 1, "ringing_ms": 1}


@pytest.mark.parametrize("early_ms", [20, 5])
def test_a_mouth_whose_samples_leave_before_they_are_said_is_seen(early_ms: int) -> None:
    """As when a frame counts as said from its packet's leaving on: no way takes less than none."""
    call = whole_call()
    evidence = call.evidence(STARTS)
    mouth = np.roll(evidence.recording[:, 0], early_ms * RATE_HZ // 1000)
    marks = [
        replace_time(mark, early_ms) if "utterance" in mark.name else mark
        for mark in evidence.marks
    ]
    recording = np.stack((mouth, evidence.recording[:, 1]), axis=1)
    shifted = replace(evidence, recording=recording, marks=marks)
    found = errors_of(shifted, call.heard(), PHRASE, BEHAVIOUR)
    assert min(found.metrics["uplink_ms"]) == pytest.approx(-20, abs=0.1)
    assert min(found.metrics["turn_ms"]) < -19


def replace_time(mark: Mark, later_ms: int) -> Mark:
    return structs.replace(mark, at_ns=mark.at_ns + later_ms * 1_000_000)


def test_an_error_of_the_ears_would_be_seen() -> None:
    """The truth does not pass through the detector: a recording that is off shows as error."""
    call = whole_call()
    evidence = call.evidence(STARTS)
    shifted = evidence.recording.copy()
    answer = call.machine.said[2].start + 2 * FRAME
    shifted[answer : answer + 800, 1] = 0
    found = errors_of(replace(evidence, recording=shifted), call.heard(), PHRASE, BEHAVIOUR)
    assert found.metrics["turn_ms"][0] == pytest.approx(50, abs=1)


def test_a_call_in_which_nothing_is_recognised_is_refused() -> None:
    call = Call({FIRST: murmur(900, 77)}, ticks=400)
    with pytest.raises(TruthError, match="phrase was not found"):
        errors_of(call.evidence([FIRST]), call.heard(), PHRASE, BEHAVIOUR)


def test_hard_edges_are_loud() -> None:
    soft = audio.tone(300, 200, RATE_HZ) + bytes(3200)
    samples = audio.to_samples(hard_edged(bytes(3200) + soft))
    assert abs(int(samples[0])) > 1000
    assert abs(int(samples[-1])) > 1000


def test_what_the_machine_stood_still_in_is_told_of_no_error() -> None:
    call = whole_call()
    evidence = call.evidence(STARTS)
    whole = errors_of(evidence, call.heard(), PHRASE, BEHAVIOUR)
    answered = next(mark for mark in evidence.marks if mark.name == "call_answered")
    stood = Mark(
        at_ns=answered.at_ns + 1,
        source="caller",
        call=evidence.name,
        name="machine_stalled",
        fields={"late_ms": 5.0, "cpu": 0},
    )
    marks = sorted([*evidence.marks, stood], key=lambda mark: mark.at_ns)
    found = errors_of(replace(evidence, marks=marks), call.heard(), PHRASE, BEHAVIOUR)
    assert not whole.untold
    assert found.untold == {"answer_ms": 1, "beep_ms": 1, "greeting_ms": 1}
    assert not found.metrics.get("answer_ms")
    assert found.metrics["turn_ms"] == whole.metrics["turn_ms"]
