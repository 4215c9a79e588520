"""Noise behind the caller: coloured noise and babble made by rule, or a file; always the same.

It is made before the call as one loop; where in it a call begins is left to the call's own seed.
"""

from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from callerside.audio import level_dbfs, to_bytes, to_samples
from callerside.audio_files import read_wav
from callerside.simulator.scenario.model import Noise
from callerside.speech.synthesis import synthesise

LOOP_S = 10
_SEED = 7  # any number, but always the same
_SLOPES_DB_PER_OCTAVE = {"white": 0.0, "pink": -3.0, "brown": -6.0}
_LOWEST_HZ = 60.0  # below, a telephone passes nothing

_BABBLE = (
    ("en-gb", "So I said to him, that is not how it works, and he just laughed at me again."),
    ("en-us+f3", "Could you pass me the other box, please, the one with the blue label on it?"),
    ("en-gb+m3", "They moved the meeting to Thursday, which suits nobody, but there we are."),
    ("en-us+m5", "Two coffees, one tea, and do you have anything without sugar in it today?"),
    ("en-gb+f2", "No, the train was late, and then it was cancelled, so we had to take a taxi."),
)


def make_noise(noise: Noise, voice_dbfs: float, folder: Path, rate_hz: int) -> bytes:
    """A loop of noise, `noise.snr_db` below a voice of `voice_dbfs`, as PCM at `rate_hz`.

    Raises:
        callerside.audio_files.AudioFileError: the file cannot be read.
        callerside.speech.voices.VoiceError: there is no synthesiser.
    """
    if noise.wav is not None:
        wave = to_samples(read_wav(folder / noise.wav, rate_hz)).astype(np.float64)
    elif noise.kind == "babble":
        wave = _babble(rate_hz)
    else:
        wave = _coloured(_SLOPES_DB_PER_OCTAVE[noise.kind or "white"], rate_hz)
    gain = 10 ** ((voice_dbfs - noise.snr_db - level_dbfs(wave)) / 20)
    return to_bytes(wave * gain)


def _coloured(slope_db: float, rate_hz: int) -> NDArray[np.float64]:
    """Gaussian noise whose spectrum falls so much an octave; the loop has no seam."""
    count = LOOP_S * rate_hz
    rng = np.random.default_rng(_SEED)
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum = rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))
    shape = np.where(hz >= _LOWEST_HZ, np.maximum(hz, 1.0) ** (slope_db / (20 * np.log10(2))), 0.0)
    wave = np.fft.irfft(spectrum * shape, count)
    return np.asarray(wave * (1000 / np.std(wave)))


def _babble(rate_hz: int) -> NDArray[np.float64]:
    """People talking at once, each over and over, out of step."""
    count = LOOP_S * rate_hz
    voices = []
    for position, (voice, text) in enumerate(_BABBLE):
        said = to_samples(synthesise(text, voice=voice, rate_hz=rate_hz)).astype(np.float64)
        voices.append(np.roll(np.resize(said, count), position * count // len(_BABBLE)))
    return np.asarray(reduce(np.add, voices))
