"""Keys by their tones, and holes by their abruptness, in sound of which nothing else is known."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_call import speech

from callerside.audio import to_samples
from callerside.reports.hearing.holes import holes
from callerside.reports.hearing.keys import keys
from callerside.speech.dtmf_tones import TONES_HZ, dtmf
from callerside.speech.synthesis import synthesise


@pytest.mark.parametrize("rate_hz", [8000, 16_000])
@pytest.mark.parametrize("noise", [0.0, 500.0])
def test_every_key_is_heard_where_it_sounds(rate_hz: int, noise: float) -> None:
    pressed = "".join(TONES_HZ)
    tones = to_samples(dtmf(pressed, rate_hz)).astype(np.float64)
    silence = np.zeros(rate_hz // 2)
    wave = np.concatenate([silence, tones, silence])
    wave += np.random.default_rng(3).normal(0, noise, wave.size)
    found = keys(np.clip(np.rint(wave), -32768, 32767).astype(np.int16), rate_hz)
    assert "".join(key.key for key in found) == pressed
    assert found[0].start == pytest.approx(silence.size, abs=rate_hz * 15 // 1000)
    assert found[0].end - found[0].start == pytest.approx(rate_hz // 10, abs=rate_hz * 25 // 1000)


def test_nobody_who_speaks_presses_keys() -> None:
    text = "We have three branches, and the one at the station is open every day of the week."
    assert keys(to_samples(synthesise(text, rate_hz=8000)), 8000) == []
    assert keys(speech(5000, 1), 8000) == []


@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_packets_that_never_came_are_holes_and_pauses_of_speech_are_none(rate_hz: int) -> None:
    """Synthetic speech falls digitally silent before a p, t or k; lost packets are told from it."""
    text = "Packets keep taking the top route to the port, but quite a lot get lost at night."
    said = to_samples(synthesise(text, rate_hz=rate_hz))
    whole = [(0, said.size)]
    assert holes(said, rate_hz, whole) == []
    packet = rate_hz // 50
    loud = [
        k
        for k in range(1, said.size // packet - 2)
        if all(
            np.abs(said[edge - packet // 4 : edge + packet // 4].astype(int)).mean() > 2000
            for edge in (k * packet, (k + 1) * packet)
        )
    ]
    lost = random.Random(5).sample(loud, 1)[0]  # seed 5
    heard = said.copy()
    heard[lost * packet : (lost + 1) * packet] = 0
    ((first, past),) = holes(heard, rate_hz, whole)
    assert first == pytest.approx(lost * packet, abs=packet // 20)
    assert past - first == pytest.approx(packet, abs=packet // 20)
    assert holes(heard, rate_hz, [(0, lost * packet - 1)]) == []  # behind all speech


def test_faint_packets_are_holes_where_loud_ones_tell_the_grid_and_pauses_are_none() -> None:
    """One beside a soft sound was found by nobody: four of ten, of packets lost amid speech."""
    text = "Packets keep taking the top route to the port, but quite a lot get lost at night. "
    said = to_samples(synthesise(4 * text, rate_hz=8000))
    packet, begins = 160, 57
    level = np.sqrt(np.mean(said.astype(np.float64) ** 2))
    edges = range(begins, said.size - packet, packet)
    beside = {
        edge: min(_effective(said[edge - 16 : edge]), _effective(said[edge + packet :][:16]))
        for edge in edges
        if edge > packet
    }
    loud = [edge for edge, side in beside.items() if side > 0.4 * level]
    faint = [edge for edge, side in beside.items() if 0.05 * level < side < 0.2 * level]
    rng = random.Random(7)  # seed 7
    lost = [*rng.sample(loud, 4), *rng.sample(faint, 8)]
    heard = said.copy()
    for edge in lost:
        heard[edge : edge + packet] = 0
    apart = [edge for edge in lost if not {edge - packet, edge + packet} & set(lost)]
    found = {
        round((first - begins) / packet)
        for first, past in holes(heard, 8000, [(0, said.size)])
        if past - first < 2 * packet
    }
    wanted = {(edge - begins) // packet for edge in apart}
    assert len(wanted & found) >= 0.8 * len(wanted)
    assert found <= {(edge - begins) // packet for edge in lost}


def _effective(wave: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(wave.astype(np.float64) ** 2)))
