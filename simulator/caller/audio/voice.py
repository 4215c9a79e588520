"""The caller's voice: phrases from text or files at the caller's loudness, and keys as tones."""

from pathlib import Path

import numpy as np

from callerside.audio import level_dbfs, to_bytes, to_samples
from callerside.simulator.caller.audio.recordings import read_recording
from callerside.simulator.scenario.model import Caller
from callerside.simulator.scenario.steps import Phrase
from callerside.speech.synthesis import synthesise

_BLOCK_MS = 20
_VOICED_BELOW_LOUDEST_DB = 30.0
_PEAK = 0.95 * 32767


def speak(phrase: Phrase, caller: Caller, folder: Path, rate_hz: int) -> bytes:
    """One phrase in the caller's voice; a WAV file is looked for in `folder`."""
    if phrase.wav is not None:
        pcm = read_recording(folder / phrase.wav, rate_hz)
    else:
        pcm = synthesise(
            phrase.text or "",
            voice=phrase.voice or caller.voice,
            speed_wpm=phrase.speed_wpm or caller.speed_wpm,
            rate_hz=rate_hz,
        )
    level = phrase.level_dbfs if phrase.level_dbfs is not None else caller.level_dbfs
    return at_level(pcm, rate_hz, level)


def at_level(pcm: bytes, rate_hz: int, target_dbfs: float) -> bytes:
    """The same sound with its voiced parts (RMS) at a level, or as near as it goes unclipped.

    Voiced are the blocks of 20 ms within 30 dB of the loudest. Silence stays silence.
    """
    present_dbfs = voiced_level_dbfs(pcm, rate_hz)
    if present_dbfs is None:
        return pcm
    samples = to_samples(pcm).astype(np.float64)
    gain = 10 ** ((target_dbfs - present_dbfs) / 20)
    return to_bytes(samples * min(gain, _PEAK / np.abs(samples).max()))


def voiced_level_dbfs(pcm: bytes, rate_hz: int) -> float | None:
    """The level (RMS) of the voiced parts of a sound; None where it is silent or too short."""
    samples = to_samples(pcm).astype(np.float64)
    block = rate_hz * _BLOCK_MS // 1000
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    if not len(blocks) or not samples.any():
        return None
    energy = np.mean(blocks**2, axis=1)
    voiced = blocks[energy >= energy.max() / 10 ** (_VOICED_BELOW_LOUDEST_DB / 10)]
    return level_dbfs(voiced.ravel())
