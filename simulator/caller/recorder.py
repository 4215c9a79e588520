"""The recording of one call at the caller: what left the mouth and what reached the ear.

Both channels advance together, one frame a tick of the media clock, so that sample n of the left
channel left in the very tick in which sample n of the right one was heard. Latency measured between
the two is therefore free of any clock of ours, and `started_at_ns` ties it to the marks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.audio_files import write_wav
from callerside.clock import NS_PER_S

CALLER_RATE_HZ = 16_000
"""Of the caller's audio in the sip lane: wide enough for G.722, and G.711 fits in."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording that is over.

    `started_at_ns` is None where nothing was recorded.
    """

    rate_hz: int
    started_at_ns: int | None = None
    mouth: Sequence[bytes] = ()
    ear: Sequence[bytes] = ()
    """In pieces, which are only put together when somebody asks."""

    @property
    def samples(self) -> int:
        """The length of each channel."""
        return sum(map(len, self.mouth)) // BYTES_PER_SAMPLE

    def channels(self) -> tuple[bytes, bytes]:
        """Mouth and ear, as PCM of equal length."""
        return b"".join(self.mouth), b"".join(self.ear)


class CallRecorder:
    """Collects the ticks of one call; bounded, so that a call that never ends fills no memory."""

    def __init__(self, rate_hz: int, max_ms: float = 600_000) -> None:
        self.rate_hz = rate_hz
        self.started_at_ns: int | None = None
        """When sample 0 was at the media clock; None until the first tick.

        The media clock is regular, and a tick is only ever stamped late (a thread had to wait), so
        this is the earliest that any tick so far shows. It settles within some ticks.
        """
        self.truncated = False
        """Whether the bound was reached, and what came later is missing."""
        self._max_bytes = round(max_ms * rate_hz / 1000) * BYTES_PER_SAMPLE
        self._mouth = bytearray()
        self._ear = bytearray()

    @property
    def samples(self) -> int:
        """The length of each channel so far."""
        return len(self._mouth) // BYTES_PER_SAMPLE

    def tick(self, mouth_pcm: bytes, ear_pcm: bytes, at_ns: int) -> None:
        """Add what left and what was heard in one tick of the media clock.

        A tick that comes later than the samples so far account for (media was down: hold, or a
        re-INVITE) is preceded by silence on both channels, so that time in the file stays time.

        Raises:
            ValueError: the two are not equally long.
        """
        if len(mouth_pcm) != len(ear_pcm):
            raise ValueError(f"one tick of {len(mouth_pcm)} and {len(ear_pcm)} bytes")
        if self.started_at_ns is None:
            self.started_at_ns = at_ns
        gap = self._missing_bytes(at_ns, len(mouth_pcm))
        self._append(bytes(gap), bytes(gap))
        told_ns = at_ns - round(self.samples * NS_PER_S / self.rate_hz)
        self.started_at_ns = min(self.started_at_ns, told_ns)
        self._append(mouth_pcm, ear_pcm)

    def channels(self) -> tuple[bytes, bytes]:
        """Mouth and ear so far, as PCM of equal length."""
        return bytes(self._mouth), bytes(self._ear)

    def save(self, path: Path) -> None:
        """Write the stereo WAV, left mouth and right ear; atomic. Without a tick, it is empty."""
        channels = [to_samples(bytes(self._mouth)), to_samples(bytes(self._ear))]
        write_wav(path, np.stack(channels, axis=1), self.rate_hz)

    def _missing_bytes(self, at_ns: int, tick_bytes: int) -> int:
        """The hole before this tick; 0 while it is within what a late thread explains."""
        assert self.started_at_ns is not None  # noqa: S101 - set by the only caller
        expected = round((at_ns - self.started_at_ns) * self.rate_hz / NS_PER_S)
        missing = (expected - self.samples) * BYTES_PER_SAMPLE
        return missing - missing % tick_bytes if missing > _LATE_TICKS * tick_bytes else 0

    def _append(self, mouth_pcm: bytes, ear_pcm: bytes) -> None:
        room = self._max_bytes - len(self._mouth)
        self.truncated |= len(mouth_pcm) > room
        self._mouth += mouth_pcm[:room]
        self._ear += ear_pcm[:room]


_LATE_TICKS = 10
"""A loaded machine delays a tick and makes up for it; only a longer hole is media that was down."""
