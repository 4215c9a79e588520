"""How well answers can be understood as heard, with real speech whose damage is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from callerside import audio
from callerside.reports.evidence import CallEvidence, CallInfo
from callerside.reports.hearing import intelligibility
from callerside.reports.hearing.active_level import loud
from callerside.reports.metrics.answers import Answer
from callerside.speech.synthesis import synthesise

RATE_HZ = 8000
BEFORE = 240


@pytest.fixture(scope="module")
def sent() -> NDArray[np.int16]:
    spoken = synthesise("We are open from nine to five, Monday to Friday.", rate_hz=RATE_HZ)
    return audio.to_samples(spoken)


def answer(sent: NDArray[np.int16], heard: NDArray[np.int16]) -> Answer:
    """An answer, heard from `BEFORE` samples on."""
    ear = np.concatenate((np.zeros(BEFORE, np.int16), heard, np.zeros(800, np.int16)))
    evidence = CallEvidence(
        info=CallInfo(name="x"), marks=[], recording=np.stack((np.zeros_like(ear), ear), axis=1)
    )
    return Answer("r", "i", sent, 0.0, 0, ear.size, evidence, loud(sent, RATE_HZ))


def understood(sent: NDArray[np.int16], heard: NDArray[np.int16]) -> float:
    value = answer(sent, heard).intelligibility
    assert value is not None
    return value


def test_over_g711_everything_is_understood(sent: NDArray[np.int16]) -> None:
    pcmu = audio.AudioFormat("pcmu")
    heard = audio.to_samples(pcmu.decode(pcmu.encode(sent.tobytes())))
    assert understood(sent, heard) > 98


def test_silence_that_was_put_in_costs_nothing(sent: NDArray[np.int16]) -> None:
    """It has a metric of its own: what was said before and behind it is compared in step."""
    heard = np.concatenate((sent[:9600], np.zeros(720, np.int16), sent[9600:]))
    assert answer(sent, heard).holes_ns() == [
        pytest.approx(((BEFORE + 9600) * 125_000, (BEFORE + 10_320) * 125_000), abs=2_000_000)
    ]
    assert understood(sent, heard) > 98


def test_an_answer_that_was_cut_is_compared_as_far_as_it_was_heard(
    sent: NDArray[np.int16],
) -> None:
    assert understood(sent, sent[:12_000]) > 98


def test_lost_packets_clipping_and_noise_cost_something(sent: NDArray[np.int16]) -> None:
    rng = np.random.default_rng(1)
    lost = sent.copy()
    for packet in range(0, sent.size, 160):
        if rng.random() < 0.2:
            lost[packet : packet + 160] = 0
    clipped = np.clip(sent, -600, 600)
    noisy = (sent + rng.normal(0, sent.std(), sent.size)).clip(-32768, 32767).astype(np.int16)
    for heard in (lost, clipped, noisy):
        assert 30 < understood(sent, heard) < 97


def test_of_too_little_nothing_is_told(sent: NDArray[np.int16]) -> None:
    assert intelligibility.intelligibility(sent[:2000], sent[:2000]) is None
    nothing = np.zeros(0, np.int16)
    assert intelligibility.intelligibility(nothing, nothing) is None


def test_of_silence_nothing_is_understood(sent: NDArray[np.int16]) -> None:
    assert intelligibility.intelligibility(sent, np.zeros_like(sent)) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("noise", [0, 100, 1_000, 5_000, 20_000])
def test_it_is_what_others_compute(sent: NDArray[np.int16], noise: int) -> None:
    rng = np.random.default_rng(noise)
    heard = (sent + rng.normal(0, noise, sent.size)).clip(-32768, 32767).astype(np.int16)
    heard[3_000:4_000] = 0
    from pystoi import stoi  # with all of scipy, which every process of the tests would load

    theirs = 100 * stoi(sent.astype(float), heard.astype(float), RATE_HZ)
    ours = intelligibility.intelligibility(sent, heard)
    assert ours == pytest.approx(theirs, abs=0.4)  # another resampler
