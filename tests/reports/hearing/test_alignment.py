"""Heard audio laid over sent audio: holes, what is missing, what is repeated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from callerside import audio
from callerside.reports.hearing import correlation
from callerside.reports.hearing.alignment import align, in_step
from callerside.speech.synthesis import synthesise

RATE_HZ = 8000
BEFORE = 400


def over_g711(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    pcmu = audio.AudioFormat("pcmu")
    return audio.to_samples(pcmu.decode(pcmu.encode(samples.tobytes())))


def heard(*parts: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.concatenate((np.zeros(BEFORE, np.int16), *map(over_g711, parts)))


def silence(length_ms: int) -> NDArray[np.int16]:
    return np.zeros(length_ms * 8, np.int16)


def murmur(length_ms: int, seed: int) -> NDArray[np.int16]:
    """Noise of the loudness of speech: loud everywhere, and like itself nowhere."""
    rng = np.random.default_rng(seed)
    count = length_ms * 8
    smooth = np.convolve(rng.normal(size=count + 7), np.hanning(8), "valid")
    return (1500 * smooth * (0.7 + 0.3 * np.sin(np.arange(count) / 900))).astype(np.int16)


SENT = murmur(2000, 9)


def test_real_speech_is_laid_over_itself_too() -> None:
    text = "We are open from nine to five, Monday to Friday."
    sent = audio.to_samples(synthesise(text, rate_hz=RATE_HZ))
    same = align(sent, heard(sent), RATE_HZ)
    assert (same.lags, same.holes) == ([(0, BEFORE)], [])
    lost = sent.copy()
    lost[9600:9760] = 0
    assert align(sent, heard(lost), RATE_HZ).longest_hole() / 8 == pytest.approx(20, abs=5)
    put_in = align(sent, heard(sent[:9600], silence(90), sent[9600:]), RATE_HZ)
    assert put_in.longest_hole() / 8 == pytest.approx(90, abs=2)


def test_the_same_is_the_same() -> None:
    found = align(SENT, heard(SENT), RATE_HZ)
    assert {lag for _, lag in found.lags} == {BEFORE}
    assert found.likeness > 0.95
    assert (found.holes, found.missing, found.repeated) == ([], 0, 0)


@settings(max_examples=30, deadline=None)
@given(at_ms=st.integers(500, 1700), length_ms=st.integers(20, 400))
def test_silence_put_in_is_a_hole_of_its_length(at_ms: int, length_ms: int) -> None:
    at = at_ms * 8
    found = align(SENT, heard(SENT[:at], silence(length_ms), SENT[at:]), RATE_HZ)
    assert found.longest_hole() / 8 == pytest.approx(length_ms, abs=5)
    assert found.missing == 0


@settings(max_examples=30, deadline=None)
@given(packet=st.integers(26, 85), packets=st.integers(1, 5))
def test_lost_packets_are_a_hole_that_shifts_nothing(packet: int, packets: int) -> None:
    received = SENT.copy()
    received[packet * 160 : (packet + packets) * 160] = 0
    found = align(SENT, heard(received), RATE_HZ)
    assert found.longest_hole() / 8 == pytest.approx(20 * packets, abs=10)
    assert {lag for _, lag in found.lags} == {BEFORE}


@pytest.mark.parametrize("length_ms", [20, 40, 60, 140, 255, 510])
def test_what_is_left_out_is_missing(length_ms: int) -> None:
    found = align(SENT, heard(SENT[:5000], SENT[5000 + length_ms * 8 :]), RATE_HZ)
    assert found.missing / 8 == length_ms
    assert found.repeated == 0
    assert found.longest_hole() / 8 <= 10
    _, (place, _) = found.lags
    assert place == pytest.approx(5000 + length_ms * 8, abs=20)


@pytest.mark.parametrize("at_ms", [700, 1100, 1500, 1900])
@pytest.mark.parametrize("length_ms", [60, 120, 200, 500])
def test_speech_that_is_left_out_is_missing_and_no_hole(length_ms: int, at_ms: int) -> None:
    text = "We open at nine in the morning on Saturdays and we close at five in the afternoon."
    sent = audio.to_samples(synthesise(text, rate_hz=RATE_HZ))
    found = align(sent, heard(sent[: at_ms * 8], sent[(at_ms + length_ms) * 8 :]), RATE_HZ)
    assert found.missing / 8 == pytest.approx(length_ms, abs=1)
    assert found.longest_hole() / 8 <= 10


@pytest.mark.parametrize("length_ms", [20, 60, 180, 510])
def test_what_comes_twice_is_repeated(length_ms: int) -> None:
    found = align(SENT, heard(SENT[:9000], SENT[9000 - length_ms * 8 :]), RATE_HZ)
    assert found.repeated / 8 == length_ms
    assert found.holes == []


def test_what_was_cut_at_the_end_is_not_missing() -> None:
    found = align(SENT, heard(SENT[:7000]), RATE_HZ)
    assert (found.holes, found.missing) == ([], 0)
    assert found.sent_place(BEFORE + 7000) == 7000


@pytest.mark.parametrize("damage", ["noise", "clipped", "faint"])
def test_damaged_audio_is_laid_in_step_all_the_same(damage: str) -> None:
    rng = np.random.default_rng(3)
    damaged: dict[str, NDArray[np.float64]] = {
        "noise": SENT + rng.normal(0, SENT.std() / 4, SENT.size),
        "clipped": np.clip(SENT.astype(float), -SENT.std(), SENT.std()),
        "faint": SENT / 4,
    }
    received = damaged[damage].astype(np.int16)
    at = 9000
    found = align(SENT, heard(received[:at], silence(90), received[at:]), RATE_HZ)
    assert found.longest_hole() / 8 == pytest.approx(90, abs=12)
    assert (found.missing, found.repeated) == (0, 0)
    assert found.sent_place(BEFORE + 720 + 12_000) == pytest.approx(12_000, abs=4)


@pytest.mark.parametrize("level", [0, 30])
def test_silence_and_noise_are_no_answer(level: int) -> None:
    rng = np.random.default_rng(4)
    nothing = (rng.normal(0, 1, SENT.size) * level).astype(np.int16)
    assert not align(SENT, heard(nothing), RATE_HZ).found


def test_places_are_told_behind_a_hole() -> None:
    found = align(SENT, heard(SENT[:8000], silence(100), SENT[8000:]), RATE_HZ)
    assert found.sent_place(BEFORE + 800 + 12_000) == 12_000


def test_another_sound_is_not_recognised() -> None:
    found = align(SENT, heard(murmur(2000, 77)), RATE_HZ)
    assert not found.found
    assert found.likeness < correlation.ALIKE


@pytest.mark.parametrize(("piece", "within"), [(0, 100), (100, 50), (100, 200)])
def test_nothing_is_found_where_nothing_can_be(piece: int, within: int) -> None:
    match = correlation.find(np.zeros(piece), np.zeros(within))
    assert not match.found


def test_a_piece_is_found_whatever_its_level() -> None:
    match = correlation.find(SENT[4000:6000] / 7, SENT)
    assert (match.offset, match.found) == (4000, True)
    assert match.correlation == pytest.approx(1)


@pytest.mark.parametrize(("length", "piece"), [(50, 50), (51, 50), (1000, 37), (4099, 1500)])
def test_likeness_is_the_correlation_at_every_place(length: int, piece: int) -> None:
    within = np.random.default_rng(length).integers(-3000, 3000, length).astype(float)
    found = correlation.likenesses(within[:piece], within)
    energies = [float(np.sum(within[n : n + piece] ** 2)) for n in range(length - piece + 1)]
    wanted = np.correlate(within, within[:piece], "valid") / np.sqrt(
        energies[0] * np.array(energies)
    )
    assert found == pytest.approx(wanted, abs=1e-9)


def test_a_cut_in_a_pause_is_not_moved_over_the_soft_sound_behind_it() -> None:
    """An f is 25 dB below the rest: that it was not heard shows in nothing but its silence."""
    soft = (SENT[:1600] * 10 ** (-25 / 20)).astype(np.int16)
    sent = np.concatenate((SENT[:8000], silence(100), soft, SENT[9000:]))
    cut = 8000 + 50 * 8
    found = in_step(sent, heard(sent[:cut], silence(600)), RATE_HZ, 200)
    assert found is not None
    span = found.span
    assert 8000 <= span.end <= 8000 + 100 * 8
