"""The caller's own sounds, found in the recording to the sample, whatever the line did to them."""

import random

import numpy as np
import pytest

from callerside.audio import to_samples
from callerside.clock import NS_PER_S
from callerside.reports.evidence import Said
from callerside.reports.hearing.active_level import edges
from callerside.simulator.caller.speaker import Utterance
from callerside.simulator.lanes.placement import place
from callerside.speech.synthesis import synthesise

RATE_HZ = 16_000
STARTED_NS = 7 * NS_PER_S


def said(text: str, at_sample: int, late_ms: int) -> Utterance:
    """It left at a sample, which its mark tells a little late."""
    samples = to_samples(synthesise(text, rate_hz=RATE_HZ))
    started_ns = STARTED_NS + at_sample * NS_PER_S // RATE_HZ + late_ms * 1_000_000
    return Utterance(1, text, samples, started_ns=started_ns)


@pytest.mark.parametrize("noise_db", [None, -20, -10, -5])
def test_an_utterance_is_placed_to_the_sample(noise_db: float | None) -> None:
    at_sample = random.Random(3).randrange(8000, 30_000)
    utterance = said("I would like to know whether you are open until six.", at_sample, 35)
    mouth = np.zeros(10 * RATE_HZ)
    mouth[at_sample : at_sample + utterance.samples.size] += utterance.samples
    if noise_db is not None:
        level = np.std(utterance.samples) * 10 ** (noise_db / 20)
        mouth += np.random.default_rng(3).normal(0, level, mouth.size)
    recorded = np.clip(mouth, -32768, 32767).astype(np.int16)
    (placed,), _ = place([utterance], recorded, RATE_HZ, STARTED_NS)
    ends = edges(utterance.samples, RATE_HZ)
    assert ends is not None
    first, past = placed.voiced[0][0], placed.voiced[-1][1]
    assert (first, past) == (at_sample + ends[0], at_sample + ends[1])


def test_what_never_left_is_not_said() -> None:
    utterance = Utterance(1, "x", np.ones(800, np.int16))
    assert place([utterance], np.zeros(800, np.int16), RATE_HZ, STARTED_NS).said == list[Said]()
