"""Sounds of a caller that are no words: made by rule, always the same, and nobody's property.

They have what makes a voice detector take them for speech or not: a hum is voiced, mm-hmm is two
short ones, a cough is two loud bursts of noise, a breath is soft noise, and uh-huh is spoken.
"""

import numpy as np
from numpy.typing import NDArray

from callerside.audio import to_bytes
from callerside.simulator.scenario.steps import Sound
from callerside.speech.synthesis import synthesise

_LOUD = 8000.0
_SEED = 20  # of the noise: any number, but always the same
_HUM_HZ = 130.0


def make_sound(sound: Sound, rate_hz: int, *, voice: str) -> bytes:
    """PCM at `rate_hz`. `voice` speaks what is spoken.

    Raises:
        VoiceError: there is no such voice.
    """
    if sound == "uh-huh":
        return synthesise("uh huh", voice=voice, rate_hz=rate_hz)
    if sound == "hum":
        return to_bytes(_LOUD * _hum(rate_hz, 600, _HUM_HZ))
    if sound == "mm-hmm":
        gap = np.zeros(rate_hz * 30 // 1000)
        parts = [_hum(rate_hz, 150, _HUM_HZ), gap, _hum(rate_hz, 220, 1.25 * _HUM_HZ)]
        return to_bytes(_LOUD * np.concatenate(parts))
    if sound == "cough":
        gap = np.zeros(rate_hz * 120 // 1000)
        bursts = [_burst(rate_hz, 180, 0.004, seed) for seed in (_SEED, _SEED + 1)]
        return to_bytes(_LOUD * np.concatenate([bursts[0], gap, 0.7 * bursts[1]]))
    return to_bytes(0.2 * _LOUD * _burst(rate_hz, 700, 0.25, _SEED + 2))


def _hum(rate_hz: int, length_ms: int, pitch_hz: float) -> NDArray[np.float64]:
    """A closed-mouth voice: harmonics that fall by 12 dB an octave, with a little vibrato."""
    time_s = np.arange(rate_hz * length_ms // 1000) / rate_hz
    phase = 2 * np.pi * pitch_hz * time_s + 0.3 * np.sin(2 * np.pi * 5 * time_s)
    wave = sum((np.sin(n * phase) / n**2 for n in range(1, 12)), start=np.zeros(len(time_s)))
    swell = np.minimum(1.0, np.minimum(time_s, time_s[::-1]) / 0.05)
    return np.asarray(wave * swell)


def _burst(rate_hz: int, length_ms: int, attack_s: float, seed: int) -> NDArray[np.float64]:
    """Noise that sets in within `attack_s` and dies away."""
    count = rate_hz * length_ms // 1000
    time_s = np.arange(count) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(count)
    smooth = np.convolve(noise, np.ones(3) / 3, mode="same")
    envelope = np.minimum(1.0, time_s / attack_s) * (1 - time_s * 1000 / length_ms)
    return np.asarray(smooth * envelope)
