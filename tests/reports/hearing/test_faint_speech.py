"""Speech that fades into noise: how likely each moment is part of it, and where it ends by that."""

import numpy as np
import pytest
from numpy.typing import NDArray

from callerside import audio
from callerside.reports.hearing import active_level, faint_speech, retrospect
from callerside.simulator.calibration.speech import conditions
from callerside.simulator.calibration.speech.conditions import CONDITIONS
from callerside.speech.synthesis import synthesise

RATE_HZ = 16_000
HOP = RATE_HZ // 200
VOICES = ("heart", "en-gb", "en-us+f3", "en-gb+m3")
TEXTS = (
    "Six of these are left.",
    "For half an hour, if I may ask.",
    "She said that she was there with five of us.",
)


def recording(voice: str, text: str, kind: str) -> tuple[NDArray[np.int16], tuple[int, int]]:
    """A sentence in noise that is 10 dB below it, and where it truly begins and ends."""
    said = audio.to_samples(synthesise(text, voice=voice, rate_hz=RATE_HZ))
    level_dbfs = active_level.active_level_dbfs(said, RATE_HZ)
    edges = active_level.edges(said, RATE_HZ)
    assert level_dbfs is not None
    assert edges is not None
    before = 800 * RATE_HZ // 1000
    clean = np.pad(said * 10 ** ((-22 - level_dbfs) / 20) / 32768, (before, 2 * RATE_HZ))
    line = next(one for one in CONDITIONS if one.name == f"{kind} at 10 dB")
    noisy = conditions.coded(clean + conditions.noise(line, clean.size, text), "pcmu")
    return audio.to_samples(audio.to_bytes(noisy * 32768)), (before + edges[0], before + edges[1])


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "babble"])
def test_with_it_edges_that_noise_hides_are_told_better(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sentences that set in softly, and most of which end so."""
    made = [recording(voice, text, kind) for voice in VOICES for text in TEXTS]
    with_it = [off_ms(*one) for one in made]
    monkeypatch.setattr(
        faint_speech, "log_odds", lambda evidence: np.full(evidence.hops, -8, np.float32)
    )
    without = [off_ms(*one) for one in made]
    assert np.mean(with_it) < 0.9 * np.mean(without)


def off_ms(samples: NDArray[np.int16], true: tuple[int, int]) -> float:
    """How far its beginning and its end are off, together."""
    found = retrospect.spoken(samples, RATE_HZ, pause_ms=400)
    near = [one for one in found if one.start < true[1] and one.end > true[0]]
    off = abs(near[0].start - true[0]) + abs(near[-1].end - true[1])
    return off * 1000 / RATE_HZ


def test_within_a_sentence_it_is_likely_and_elsewhere_not() -> None:
    samples, (first, past) = recording("en-gb", TEXTS[2], "pink")
    evidence = retrospect.evidence(samples, RATE_HZ)
    assert evidence is not None
    odds = faint_speech.log_odds(evidence)
    assert odds.size == evidence.hops == samples.size // HOP
    inside = np.zeros(odds.size, np.bool_)
    inside[first // HOP : past // HOP] = True
    assert ((odds > 0) == inside).mean() > 0.95


def test_where_nothing_stands_out_there_is_nothing_to_tell_by() -> None:
    line = next(one for one in CONDITIONS if one.name == "pink at 10 dB")
    noise = conditions.noise(line, 5 * RATE_HZ, "") * 32768
    assert retrospect.evidence(noise.astype(np.int16), RATE_HZ) is None


def test_a_recording_of_8_khz_has_no_bands_at_the_top() -> None:
    samples, _ = recording("en-gb", TEXTS[0], "white")
    narrow = audio.to_samples(audio.resample(samples.tobytes(), RATE_HZ, 8000))
    evidence = retrospect.evidence(narrow, 8000)
    assert evidence is not None
    known = evidence.of(evidence.near)
    assert known.shape[0] == evidence.near.size
    assert np.isfinite(faint_speech.log_odds(evidence)).all()
