"""Sound as a page holds it: a waveform to look at, and the audio itself to listen to."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

HALF_HEIGHT = 100
"""Units of a waveform's drawing above and below its middle line."""

_COLUMN_MS = 5
_MOST_COLUMNS = 12_000  # a minute at 5 ms; longer calls are drawn coarser
_MOST_BASE64 = 1_500_000  # so that a page stays below 2 MB
_TELEPHONE_HZ = 8000
_LONGEST_S = 900  # what is longer does not fit, and encoding it to see that takes its time


def waveform(samples: NDArray[np.int16], rate_hz: int) -> tuple[str, int]:
    """The outline of a sound as an SVG path, and the number of its columns.

    One column is the lowest and the highest sample of 5 ms or more. Amplitude is drawn by its
    square root, so that quiet speech can be seen beside loud.
    """
    step = max(rate_hz * _COLUMN_MS // 1000, -(-samples.size // _MOST_COLUMNS))
    columns = samples.size // step
    if not columns:
        return "", 0
    rows = samples[: columns * step].reshape(columns, step)
    top = _heights(rows.max(axis=1).clip(min=0))
    bottom = _heights(-rows.min(axis=1).clip(max=0).astype(np.int32))
    upper = _outline(np.arange(columns), HALF_HEIGHT - top)
    lower = _outline(np.arange(columns)[::-1], (HALF_HEIGHT + bottom)[::-1])
    return f"M{upper}L{lower}Z", columns


@dataclass(frozen=True, slots=True)
class EmbeddedAudio:
    """Audio inside of a page."""

    mime: str
    base64: str


def embedded_audio(recording: NDArray[np.int16], rate_hz: int) -> EmbeddedAudio | None:
    """A recording as a page holds it; None if it would be too large.

    Without loss if there is room for it (FLAC, at its fastest level, which costs 4 % of a page; at
    telephone rate if need be), else as Opus: the file beside the page keeps all of it.
    """
    if len(recording) > _LONGEST_S * rate_hz:
        return None
    for file_format, subtype, hz, level in (
        ("FLAC", "PCM_16", rate_hz, 0.0),
        ("FLAC", "PCM_16", _TELEPHONE_HZ, 0.0),
        ("OGG", "OPUS", _TELEPHONE_HZ, None),
    ):
        buffer = io.BytesIO()
        wave = _at_rate(recording, rate_hz, hz)
        soundfile.write(
            buffer, wave, hz, format=file_format, subtype=subtype, compression_level=level
        )
        encoded = base64.b64encode(buffer.getvalue()).decode()
        if len(encoded) <= _MOST_BASE64:
            return EmbeddedAudio(f"audio/{file_format.lower()}", encoded)
    return None


def _at_rate(recording: NDArray[np.int16], rate_hz: int, hz: int) -> NDArray[np.int16]:
    if hz == rate_hz:
        return recording
    wave = soxr.resample(recording.astype(np.float32), rate_hz, hz)
    samples: NDArray[np.int16] = np.clip(np.rint(wave), -32768, 32767).astype(np.int16)
    return samples


def _heights(peaks: NDArray[np.integer]) -> NDArray[np.int64]:
    heights: NDArray[np.int64] = np.rint(HALF_HEIGHT * np.sqrt(peaks / 32768)).astype(np.int64)
    return heights


def _outline(xs: NDArray[np.int64], ys: NDArray[np.int64]) -> str:
    """Points of a path; those in the middle of a level stretch are left out."""
    keep = np.ones(ys.size, bool)
    keep[1:-1] = (ys[1:-1] != ys[:-2]) | (ys[1:-1] != ys[2:])
    return " ".join(f"{x} {y}" for x, y in zip(xs[keep].tolist(), ys[keep].tolist(), strict=True))
