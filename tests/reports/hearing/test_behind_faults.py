"""What is left of an answer before or behind a fault, too short and faint to be seen in noise."""

import numpy as np
import pytest
from made_call import factor
from numpy.typing import NDArray
from random_faults import answers, as_samples

from callerside import audio
from callerside.reports.hearing import active_level
from callerside.reports.hearing.alignment import Alignment, align, in_step
from callerside.simulator.calibration.speech import conditions
from callerside.simulator.calibration.speech.conditions import CONDITIONS

RATE_HZ = 8000
PER_MS = RATE_HZ // 1000
LATE = 100 * PER_MS
AFTER = 1000 * PER_MS
HEAD_MS = 20
TAIL_MS = 120
SOFT = (0, 2)
"""Answers that end softly."""


def answer(number: int) -> NDArray[np.int16]:
    """From its first sample of sound to its last."""
    source = audio.resample(as_samples(answers()[number]).tobytes(), 24_000, RATE_HZ)
    samples = audio.to_samples(source)
    first, past = active_level.edges(samples, RATE_HZ) or (0, 0)
    return samples[first:past]


def in_noise(
    kind: str, snr_db: int, sent: NDArray[np.int16], *heard: NDArray[np.int16]
) -> Alignment:
    """An answer of which so much is heard, laid over what was sent of it."""
    level_dbfs = active_level.active_level_dbfs(sent, RATE_HZ)
    assert level_dbfs is not None
    line = np.concatenate([np.zeros(LATE), *heard, np.zeros(AFTER)]) / 32768
    named = next(one for one in CONDITIONS if one.name == f"{kind} at {snr_db} dB")
    noise = conditions.noise(named, 2 * line.size, "seed")[::2]
    return align(sent, as_samples(line + noise * factor(level_dbfs - named.level_dbfs)), RATE_HZ)


def silence(length_ms: int) -> NDArray[np.int16]:
    return np.zeros(length_ms * PER_MS, np.int16)


@pytest.mark.parametrize("length_ms", [60, 120])
@pytest.mark.parametrize(("kind", "snr_db"), [("music", 10), ("brown", 10), ("music", 5)])
@pytest.mark.parametrize("number", SOFT)
def test_the_end_behind_a_hole_is_found(
    number: int, kind: str, snr_db: int, length_ms: int
) -> None:
    sent = answer(number)
    at = sent.size - TAIL_MS * PER_MS
    found = in_noise(kind, snr_db, sent, sent[:at], silence(length_ms), sent[at:])
    off = found.spans[-1].end + found.spans[-1].lag - (LATE + sent.size + length_ms * PER_MS)
    assert abs(off) / PER_MS < 1


def test_a_soft_end_behind_audio_that_is_left_out_is_found_on_a_silent_line() -> None:
    sent = answer(0)
    at = sent.size - 200 * PER_MS
    soft = (sent[-80 * PER_MS :] * factor(-14)).astype(np.int16)
    sent = np.concatenate([sent[: -soft.size], soft])
    heard = np.concatenate([np.zeros(LATE), sent[:at], soft, np.zeros(AFTER)]).astype(np.int16)
    step = in_step(sent, heard, RATE_HZ, 200)
    assert step is None
    found = align(sent, heard, RATE_HZ)
    assert found.spans[-1].end + found.spans[-1].lag == LATE + at + soft.size


@pytest.mark.parametrize("length_ms", [60, 120])
@pytest.mark.parametrize("number", range(4))
def test_the_beginning_before_a_hole_is_found(number: int, length_ms: int) -> None:
    sent = answer(number)
    at = HEAD_MS * PER_MS
    found = in_noise("music", 10, sent, sent[:at], silence(length_ms), sent[at:])
    assert abs(found.spans[0].start + found.spans[0].lag - LATE) / PER_MS < 1


@pytest.mark.parametrize(("kind", "snr_db"), [("music", 10), ("babble", 5)])
@pytest.mark.parametrize("number", SOFT)
def test_noise_behind_a_cut_is_not_taken_for_the_rest(number: int, kind: str, snr_db: int) -> None:
    sent = answer(number)
    for share in (0.4, 0.55, 0.7):
        at = round(share * sent.size)
        found = in_noise(kind, snr_db, sent, sent[:at])
        assert {lag for _, lag in found.lags} == {LATE}
        assert found.last_between[0] <= at + 5 * PER_MS
