"""The truth of a call on speech that was placed: where it was put, late packets or not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence, CallInfo
from callerside.reports.hearing import active_level
from callerside.simulator.calibration.ground_truth import TruthError
from callerside.simulator.calibration.responder import Said
from callerside.simulator.calibration.responder_marks import Heard
from callerside.simulator.calibration.speech import calibrate, over_sip, utterances
from callerside.simulator.calibration.speech.conditions import CONDITIONS

RATE_HZ = 16_000
START_NS = 10**12
GREETED, ASKED, ANSWERED, BARGED, STOPPED = 9_000, 50_000, 90_000, 110_000, 116_000
WAY = 700  # samples, from the responder's mouth to the ear


def speech(length_ms: int, seed: int) -> NDArray[np.int16]:
    """Like itself nowhere, and soft at its end."""
    rng = np.random.default_rng(seed)
    smooth = np.convolve(rng.normal(size=length_ms * 16 + 15), np.hanning(16), "valid")
    fade = np.minimum(1, np.arange(smooth.size, 0, -1) / 1600) ** 2
    return (2500 * fade * smooth).astype(np.int16)


REPLY, QUESTION, BARGE = speech(2000, 1), speech(900, 2), speech(1100, 3)


def placed(*, late: int = 0, barged: int = BARGED) -> tuple[CallEvidence, Heard]:
    """The call at the caller's, and what the responder kept; `late`: the answer's second half."""
    mouth, ear, there = (np.zeros(150_000, np.int16) for _ in range(3))
    for channel, at, wave in (
        (mouth, ASKED, QUESTION), (mouth, barged, BARGE), (there, ASKED + 320, QUESTION),
        (ear, GREETED + WAY, REPLY),
    ):  # fmt: skip
        channel[at : at + wave.size] = wave
    answer = REPLY[: STOPPED - ANSWERED]
    half = answer.size // 2
    ear[ANSWERED + WAY :][:half] = answer[:half]
    ear[ANSWERED + WAY + half + late :][: answer.size - half] = answer[half:]
    marks = [
        Mark(at_ns=at_ns(at - 80), source="caller", call="x", name="utterance_started",
             fields={"turn": turn, "text": "x"})
        for turn, at in enumerate((ASKED, barged), start=1)
    ]  # fmt: skip
    evidence = CallEvidence(
        info=CallInfo(name="x"),
        marks=marks,
        recording=np.stack((mouth, ear), axis=1),
        rate_hz=RATE_HZ,
        recording_start_ns=START_NS,
    )
    heard = Heard(
        recording=np.stack((np.zeros_like(there), there), axis=1),
        rate_hz=RATE_HZ,
        said=(
            Said("beep", 320, 6720),
            Said("greeting", GREETED, GREETED + REPLY.size),
            Said("answer 1", ANSWERED, STOPPED),
        ),
        heard_ns=tuple(at_ns(320 * (frame + 1)) for frame in range(460)),
        started_ns=START_NS,
        received_ns=START_NS - 10**8,
        answered_ns=START_NS,
    )
    return evidence, heard


def at_ns(sample: int) -> int:
    return START_NS + sample * 10**9 // RATE_HZ


def known(**how: int) -> calibrate.KnownCall:
    evidence, heard = placed(**how)
    return over_sip.known_call(evidence, heard, REPLY, QUESTION, BARGE)


def test_what_is_true_is_where_it_was_put() -> None:
    call = known()
    first, past = _edges(REPLY)
    assert call.heard[0][0][0] == GREETED + WAY + first
    assert call.heard[0][-1][1] == GREETED + WAY + past
    end = ASKED + 320 + _edges(QUESTION)[1]
    left = -(-end // 320) * 320
    assert call.turn_ms == pytest.approx((ANSWERED + WAY + first - left - 0) / 16, abs=20.1)
    cut = ANSWERED + WAY + _edges(REPLY, STOPPED - ANSWERED)[1]
    assert call.stop_ms == pytest.approx((cut - BARGED - _edges(BARGE)[0]) / 16, abs=0.1)
    assert call.talk_over_ms == pytest.approx(call.stop_ms, abs=0.1)


def test_packets_that_came_late_are_late_in_the_truth_too() -> None:
    assert known(late=640).stop_ms - known().stop_ms == pytest.approx(40)


def test_a_call_in_which_nobody_was_talked_over_cannot_serve() -> None:
    with pytest.raises(TruthError, match="not into the answer"):
        known(barged=120_000)


def test_a_sound_that_is_not_there_cannot_serve() -> None:
    evidence, heard = placed()
    with pytest.raises(TruthError, match="greeting was not found"):
        over_sip.known_call(evidence, heard, speech(2000, 9), QUESTION, BARGE)


def test_calls_are_placed_on_lines_that_need_nothing_but_packets() -> None:
    found = {line.name for line in CONDITIONS if over_sip.made_by_packets(line)}
    assert found == {"PCMU", "PCMA", "G.722", "-10 dBFS", "-30 dBFS", "-40 dBFS"}
    planned = calibrate.plans(sample=60, suits=over_sip.made_by_packets)
    assert len({one.utterance for one in planned}) == 60
    assert {one.condition.name for one in planned} <= found


def _edges(sound: NDArray[np.int16], played: int | None = None) -> tuple[int, int]:
    loud = active_level.loud(sound, RATE_HZ)
    loud = loud if played is None else loud[loud < played]
    return int(loud[0]), int(loud[-1]) + 1


def test_an_answer_is_talked_over_in_the_midst_of_a_sound() -> None:
    """Cut in a pause it would have ended before, and the call would be of no use."""
    pause = np.zeros(RATE_HZ // 4, np.int16)
    rest, piece = np.zeros(800, np.int16), speech(1000, 1)[: 900 * 16]
    reply = np.concatenate((rest, piece, pause, piece, pause, piece))
    assert over_sip.into_ms(reply) in range(1200, 2050 - 300)
    late = np.concatenate((rest, piece, pause, pause, piece))
    assert over_sip.into_ms(late) in range(1400, 1420 + 20)
    assert over_sip.into_ms(np.concatenate((rest, piece))) == 1200


def test_what_a_sound_is_shortened_to_ends_in_no_splinter() -> None:
    hz = utterances.RATE_HZ
    syllable = 0.2 * np.random.default_rng(1).standard_normal(hz)
    pause = np.zeros(hz // 2)
    at_five = np.concatenate([syllable, syllable, syllable, syllable, pause, syllable])
    splinter = hz // 2 - hz // 1000  # of the next syllable a millisecond lies before 5 s
    wave = np.concatenate([pause[:splinter], at_five])
    assert 4 * hz < over_sip.shortened(wave).size <= splinter + 4 * hz
    assert over_sip.shortened(np.tile(syllable, 6)).size == 5 * hz
