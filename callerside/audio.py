"""Audio helpers without state: formats, G.711, tones, levels, resampling.

Audio between our own parts is PCM, 16-bit little-endian, mono; as `bytes` where it is moved and as
a one-dimensional `int16` array where it is computed on.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Encoding = Literal["pcm", "pcmu", "pcma"]

_UNSIGNED = np.dtype("<u2")

BYTES_PER_SAMPLE = 2
QUIETEST_HEARD_DBFS = -50.0
"""Of 10 ms: telephone speech is 20 to 30 dB above, G.711's own noise 20 dB below."""
_LEAST_SQUARE = 32768.0**2 * 10 ** (QUIETEST_HEARD_DBFS / 10)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A format of the Realtime API: 24 kHz PCM, or G.711 at 8 kHz."""

    encoding: Encoding = "pcm"

    @property
    def rate_hz(self) -> int:
        """Samples a second."""
        return 24_000 if self.encoding == "pcm" else 8_000

    def encode(self, pcm: bytes) -> bytes:
        """PCM at `rate_hz` as it goes over the wire."""
        if self.encoding == "pcm":
            return pcm
        samples = np.frombuffer(pcm, dtype=_UNSIGNED)
        return _encode_table(self.encoding).take(samples, mode="clip").tobytes()

    def quantise(self, pcm: bytes) -> bytes:
        """PCM as it comes out at the other end: `decode(encode(pcm))`, in one step."""
        if self.encoding == "pcm":
            return pcm
        samples = np.frombuffer(pcm, dtype=_UNSIGNED)
        return _round_trip_table(self.encoding).take(samples, mode="clip").tobytes()

    def decode(self, wire: bytes) -> bytes:
        """What came over the wire, as PCM at `rate_hz`; an odd last byte of PCM is dropped."""
        if self.encoding == "pcm":
            return wire if len(wire) % 2 == 0 else wire[:-1]
        # Fifty times a second, out of a sleep in which the processor has forgotten numpy.
        low, high = _decode_bytes(self.encoding)
        pcm = bytearray(BYTES_PER_SAMPLE * len(wire))
        pcm[::2], pcm[1::2] = wire.translate(low), wire.translate(high)
        return bytes(pcm)


def duration_ms(pcm: bytes, rate_hz: int) -> float:
    """How long some PCM lasts."""
    return len(pcm) / BYTES_PER_SAMPLE * 1000 / rate_hz


def silence(length_ms: float, rate_hz: int) -> bytes:
    """Digital silence."""
    return bytes(BYTES_PER_SAMPLE * round(length_ms * rate_hz / 1000))


def tone(hz: float, length_ms: float, rate_hz: int, *, level_dbfs: float = -12.0) -> bytes:
    """A sine tone with 5 ms ramps at both ends, so that it does not click."""
    count = round(length_ms * rate_hz / 1000)
    amplitude = 32767 * 10 ** (level_dbfs / 20)
    wave = amplitude * np.sin(2 * np.pi * hz * np.arange(count) / rate_hz)
    ramp = np.minimum(1.0, np.arange(count) / (0.005 * rate_hz))
    return to_bytes(wave * ramp * ramp[::-1])


def to_samples(pcm: bytes) -> Samples:
    """Bytes of PCM as an array that shares their memory (read-only)."""
    return np.frombuffer(pcm, dtype="<i2")


def to_bytes(wave: NDArray[Any]) -> bytes:
    """An array in units of int16 as PCM bytes: rounded, and clipped to the range."""
    rounded: NDArray[Any] = np.rint(wave)
    rounded.clip(-32768, 32767, out=rounded)
    return rounded.astype("<i2").tobytes()


def level_dbfs(samples: NDArray[Any]) -> float:
    """Root-mean-square level against full scale; -120 for silence."""
    if samples.size == 0:
        return -120.0
    wide = samples.astype(np.float64)
    mean_square = float(np.dot(wide, wide)) / wide.size
    return max(-120.0, 10 * float(np.log10(mean_square / 32768**2))) if mean_square else -120.0


def heard_from_ms(pcm: bytes, rate_hz: int) -> float:
    """When in some PCM the first 10 ms begin that can be heard; infinite where none can.

    What is left at its end counts as if silence followed it.
    """
    hop = rate_hz // 100
    samples = np.frombuffer(pcm, dtype="<i2")  # in the path of every answer's first audio
    if not samples.size:
        return math.inf
    energies = np.add.reduceat(np.square(samples, dtype=np.float64), range(0, samples.size, hop))
    loud = np.flatnonzero(energies > hop * _LEAST_SQUARE)
    return float(loud[0]) * 10 if loud.size else math.inf


def resample(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    """The same sound at another rate, as a whole (for a stream, use `soxr.ResampleStream`)."""
    if from_hz == to_hz or not pcm:
        return pcm
    wave: NDArray[np.float32] = soxr.resample(to_samples(pcm).astype(np.float32), from_hz, to_hz)
    return to_bytes(wave)


@cache
def _decode_table(encoding: Encoding) -> NDArray[np.int16]:
    """256 entries (ITU-T G.711)."""
    code = np.arange(256, dtype=np.int32)
    if encoding == "pcmu":
        code = ~code & 0xFF
        value = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
        value -= 0x84
        return np.where(code & 0x80, -value, value).astype("<i2")
    code = code ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = (code & 0x0F) << 4
    value = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, value, -value).astype("<i2")


@cache
def _decode_bytes(encoding: Encoding) -> tuple[bytes, bytes]:
    """The lower byte of each entry of `_decode_table`, and the upper."""
    table = _decode_table(encoding).tobytes()
    return table[::2], table[1::2]


@cache
def _round_trip_table(encoding: Encoding) -> NDArray[np.int16]:
    """65,536 entries: what becomes of each sample, indexed as an unsigned number."""
    return _decode_table(encoding)[_encode_table(encoding)]


@cache
def _encode_table(encoding: Encoding) -> NDArray[np.uint8]:
    """65,536 entries, indexed by the sample as an unsigned number: the nearest of the 256 values.

    Nearest by value, so that what was decoded encodes to the same byte again (but for µ-law's
    two zeros): G.711 passes through unharmed.
    """
    values = _decode_table(encoding).astype(np.int32)
    order = np.argsort(values, kind="stable")
    levels = values[order]
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    right = np.clip(np.searchsorted(levels, samples), 0, 255)
    left = np.maximum(right - 1, 0)
    nearer_left = samples - levels[left] < levels[right] - samples
    nearest = np.where(nearer_left, left, right)
    codes: NDArray[np.uint8] = order[nearest].astype(np.uint8)
    return codes
