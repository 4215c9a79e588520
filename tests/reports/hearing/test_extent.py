"""How much of an answer was heard: where it begins and where it was cut, in noise too."""

import numpy as np
import pytest
from numpy.typing import NDArray

from callerside import audio
from callerside.reports.hearing.active_level import edges
from callerside.reports.hearing.alignment import Alignment, align
from callerside.speech.synthesis import synthesise

RATE_HZ = 8000
BEFORE = 800
FRAME = 160
SEEDS = range(12)
TEXT = "Every day from Monday to Friday, from nine in the morning until six at night."
"""One that is shipped as sound: what is synthesised anew differs from processor to processor, and
with it where a cut falls; one amid a pause noise hides, and only the bounds know of it."""


def answer() -> NDArray[np.float64]:
    samples = audio.to_samples(synthesise(TEXT, rate_hz=RATE_HZ))
    ends = edges(samples, RATE_HZ)
    assert ends is not None
    return samples[slice(*ends)].astype(np.float64)


def laid_over(heard: NDArray[np.float64], snr_db: float, seed: int) -> Alignment:
    """The answer over what is heard of it, after silence and before silence, all of it in noise."""
    sent = answer()
    line = np.concatenate((np.zeros(BEFORE), heard, np.zeros(4000)))
    noise = np.random.default_rng(seed).normal(0, sent.std() * 10 ** (-snr_db / 20), line.size)
    return align(as_samples(sent), as_samples(line + noise), RATE_HZ)


def as_samples(wave: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("snr_db", [40, 10])
def test_a_cut_anywhere_is_found_and_its_bounds_hold(snr_db: float) -> None:
    sent = answer()
    off_ms, outside = [], []
    for seed in SEEDS:
        cut = int(np.random.default_rng(seed).integers(sent.size // 4, sent.size * 3 // 4))
        found = laid_over(sent[:cut], snr_db, seed)
        low, high = found.last_between
        low, high, last = (
            int(_last_loud(sent, place)) for place in (low, high, found.spans[-1].end)
        )
        true = _last_loud(sent, cut)
        off_ms.append(abs(last - true) / 8)
        outside += [(seed, low, true, high)] if not low - 8 <= true <= high + 8 else []
    assert np.median(off_ms) < 1
    assert sorted(off_ms)[-2] < 10, off_ms
    assert not outside


def _last_loud(sent: NDArray[np.float64], place: int) -> int:
    """What is fainter than all of a sound counts for none: a cut within it is one before it."""
    loud = np.flatnonzero(np.abs(sent[:place]) > 0.03 * sent.std())
    return int(loud[-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_what_noise_hides_of_its_beginning_and_end_is_not_taken_for_cut(seed: int) -> None:
    found = laid_over(answer(), 10, seed)
    assert found.spans[0].start == 0
    assert found.spans[-1].end == answer().size
    assert (found.missing, found.unheard) == (0, 0)


@pytest.mark.parametrize("voice", ["en-us+f3", "en-us+f5"])
def test_what_rings_behind_a_cut_amid_a_sound_is_not_taken_for_the_soft_sound_sent_there(
    voice: str,
) -> None:
    text = "I am sorry, but I do not know how much."
    sent = audio.to_samples(synthesise(text, voice=voice, rate_hz=RATE_HZ)).astype(np.float64)
    ends = edges(as_samples(sent), RATE_HZ)
    assert ends is not None
    sent = sent[slice(*ends)]
    off_ms = []
    for cut in range(20 * FRAME, sent.size - 8 * FRAME, FRAME):
        if np.abs(sent[cut - FRAME : cut]).max() < 0.5 * sent.std():
            continue
        line = np.concatenate((np.zeros(BEFORE), sent[:cut], np.zeros(4000)))
        heard = audio.AudioFormat("pcmu").quantise(audio.to_bytes(line))
        found = align(as_samples(sent), audio.to_samples(heard), RATE_HZ)
        off_ms.append(abs(found.spans[-1].end - cut) / 8)
    assert len(off_ms) > 20
    assert sorted(off_ms)[-2] < 5, off_ms
    assert max(off_ms) < 15, off_ms


@pytest.mark.parametrize("later", [0.25, 0.5, 0.75])
def test_part_of_a_sample_makes_nothing_unlike(later: float) -> None:
    sent = answer()
    turn = 2 * np.pi * np.fft.rfftfreq(sent.size)
    heard = np.fft.irfft(np.fft.rfft(sent) * np.exp(-1j * turn * later), sent.size)
    assert laid_over(heard, 60, 1).likeness > 0.995


def test_an_end_behind_a_lost_packet_is_heard() -> None:
    sent = answer()
    heard = sent.copy()
    heard[-2400:-2240] = 0
    found = laid_over(heard, 20, 3)
    assert found.spans[-1].end == sent.size
    assert found.longest_hole() / 8 == pytest.approx(20, abs=5)


def test_a_first_packet_that_was_lost_is_not_heard() -> None:
    sent = answer()
    heard = sent.copy()
    heard[:400] = 0
    found = laid_over(heard, 30, 3)
    assert found.spans[0].start / 8 == pytest.approx(50, abs=2)


@pytest.mark.parametrize("quieter", [0.3, 0.1])
def test_an_opening_that_is_only_quieter_is_heard(quieter: float) -> None:
    heard = answer()
    heard[:800] *= quieter
    assert laid_over(heard, 50, 3).spans[0].start == 0


def test_an_opening_that_lies_part_of_a_sample_beside_the_rest_is_heard() -> None:
    """As after a stall of the server's: what comes then is resampled anew."""
    sent = answer()
    turn = 2 * np.pi * np.fft.rfftfreq(sent.size)
    beside = np.fft.irfft(np.fft.rfft(sent) * np.exp(-0.5j * turn), sent.size)
    found = laid_over(np.concatenate((beside[:9720], np.zeros(10000), sent[9720:])), 70, 3)
    assert found.spans[0].start == 0
