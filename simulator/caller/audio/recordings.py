"""A caller's lines that somebody has recorded: cut to what is said, and what is wrong with them.

A turn counts from the voice, not from where a recorder was switched on. So silence at both ends is
cut, but for a moment in which a soft beginning or end may lie. The loudness is made the caller's
where it is said (`caller.audio.voice`).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.audio_files import AudioFileError, cut_short, most_of_full_scale, read_wav
from callerside.reports.hearing.detector import Segment, segments

KEPT_MS = 100
"""Of the silence at each end."""
_AROUND_MS = 500
_LEAST_VOICE_MS = 40
_LONG_SILENCE_MS = 500
"""As much before the first word is worth a word to the author."""
_CLIPPED = 0.98  # of full scale: the largest sample that mu-law has
_MUCH = 0.002
"""Of the samples: a loud voice reaches full scale here and there."""
_QUIET = 0.01  # of full scale
_FULL_SCALE = 32_768
_LEAST_PEAK = 33  # -60 dBFS
_PEAK = 16_384.0
_RATE_HZ = 16_000


def read_recording(path: Path, rate_hz: int) -> bytes:
    """PCM at `rate_hz`, without the silence before and behind what is said.

    Raises:
        AudioFileError: as `read_wav`; or nobody would hear anything of it.
    """
    pcm = read_wav(path, rate_hz)
    start, end = said_in(path, pcm, rate_hz)
    return pcm[start * BYTES_PER_SAMPLE : end * BYTES_PER_SAMPLE]


def said_in(path: Path, pcm: bytes, rate_hz: int) -> tuple[int, int]:
    """The samples that are kept of a recording: from, to. Raises as `read_recording` does."""
    heard = _heard(path, pcm, rate_hz)
    kept = KEPT_MS * rate_hz // 1000
    return max(0, heard[0].start - kept), min(len(pcm) // BYTES_PER_SAMPLE, heard[-1].end + kept)


def warnings(path: Path) -> Iterator[str]:
    """What an author should know of a recording that can be played.

    Raises:
        AudioFileError: as `read_recording`.
    """
    pcm = read_wav(path, _RATE_HZ)
    if missing := cut_short(path):
        yield f"{path}: is cut short: {missing}"
    heard = _heard(path, pcm, _RATE_HZ)
    lead_ms = heard[0].start * 1000 / _RATE_HZ
    tail_ms = (len(pcm) // BYTES_PER_SAMPLE - heard[-1].end) * 1000 / _RATE_HZ
    if lead_ms >= _LONG_SILENCE_MS:
        yield (
            f"{path}: the voice begins after {lead_ms / 1000:.1f} s of silence, "
            "which is left out: the turn counts from the voice"
        )
    if tail_ms >= _LONG_SILENCE_MS:
        yield (
            f"{path}: {tail_ms / 1000:.1f} s of silence follow the voice, which are left out: "
            "for silence there is pause"
        )
    peak = _loudest(to_samples(pcm)) / _FULL_SCALE
    if peak < _QUIET:
        yield (
            f"{path}: is quiet: its loudest sample is at {100 * peak:.1f} % of full scale. It is "
            "made as loud as the caller, and its noise with it: record it louder"
        )
    share, largest = most_of_full_scale(path, _CLIPPED)
    if largest > 1:
        yield (
            f"{path}: has samples of {largest:.1f} times full scale, which are clipped: "
            "make it quieter and save it again"
        )
    elif share >= _MUCH:
        yield f"{path}: is clipped: {100 * share:.1f} % of its samples are at full scale"


def _heard(path: Path, pcm: bytes, rate_hz: int) -> list[Segment]:
    samples = to_samples(pcm)
    loudest = _loudest(samples)
    heard = []
    if loudest >= _LEAST_PEAK:  # it is made the caller's loudness, however quiet it is
        wave = samples.astype(np.float64) * (_PEAK / loudest)
        # A file may be speech from end to end: silence around it is what it is told from.
        silence = _AROUND_MS * rate_hz // 1000
        padded = np.pad(np.rint(wave).astype(np.int16), silence)
        heard = [
            replace(one, start=max(0, one.start - silence), end=min(wave.size, one.end - silence))
            for one in segments(padded, rate_hz)
        ]
    if sum(one.end - one.start for one in heard) < _LEAST_VOICE_MS * rate_hz // 1000:
        raise AudioFileError(f"{path}: nobody will hear it: {_why(path, samples, rate_hz)}")
    return heard


def _loudest(samples: NDArray[np.int16]) -> int:
    return int(np.abs(samples.astype(np.int32)).max(initial=0))


def _why(path: Path, samples: NDArray[np.int16], rate_hz: int) -> str:
    """Why no voice was found in it."""
    loudest = _loudest(samples)
    if loudest < _LEAST_PEAK:
        _, of_a_channel = most_of_full_scale(path, _CLIPPED)
        if of_a_channel * _FULL_SCALE >= 2 * _LEAST_PEAK:
            return "its channels cancel each other (one is the other's negative): save one of them"
        return "it is silent; for silence there is pause"
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= loudest // 10)
    if loud[-1] - loud[0] < _LEAST_VOICE_MS * rate_hz // 1000:
        return f"what sounds in it is shorter than {_LEAST_VOICE_MS} ms"
    return "no voice stands out in it, only steady noise; for noise there is caller.noise"
