"""Makes a call's frames of what its codec gives: all of one length and rate, none missing.

Packets may be of any length, a codec's rate another than the call's, and what never came is filled.
"""

from callerside.agent.telephony.concealment import Concealer
from callerside.agent.telephony.frame_rate import FrameRate
from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.telephony.jitter_buffer import Gap
from callerside.audio import BYTES_PER_SAMPLE

Frames = tuple[bytes, ...]
"""Of 20 ms each, at the call's rate."""


class FrameMaker:
    """Of one codec, for as long as it is used.

    Args:
        codec_hz: of its samples.
        clock_hz: of the timestamps of its packets.
        rate_hz: the call's.
        conceals: what was lost sounds like what was said before; else it is silence.
    """

    def __init__(self, codec_hz: int, clock_hz: int, rate_hz: int, *, conceals: bool) -> None:
        self._codec_hz, self._clock_hz = codec_hz, clock_hz
        self._frame_bytes = codec_hz * FRAME_MS // 1000 * BYTES_PER_SAMPLE
        self._rate = FrameRate(codec_hz, rate_hz) if codec_hz != rate_hz else None
        self._concealer = Concealer(codec_hz) if conceals else None
        self._part = bytearray()
        """Of a frame whose rest is still to come."""

    def heard(self, pcm: bytes) -> Frames:
        """What has been decoded; where it is one frame as it is, that is what is returned."""
        if self._concealer is not None:
            self._concealer.hear(pcm)
        if self._rate is None and not self._part and len(pcm) == self._frame_bytes:
            return (pcm,)
        return self._whole(pcm)

    def missing(self, gap: Gap) -> Frames:
        """What is heard instead of what did not come."""
        samples = gap.duration * self._codec_hz // self._clock_hz
        if gap.lost and self._concealer is not None:
            return self._whole(self._concealer.fill(samples))
        return self._whole(bytes(samples * BYTES_PER_SAMPLE))

    def _whole(self, pcm: bytes) -> Frames:
        part, size = self._part, self._frame_bytes
        part += pcm
        whole = len(part) - len(part) % size
        frames = [bytes(part[start : start + size]) for start in range(0, whole, size)]
        del part[:whole]
        return tuple(map(self._rate.convert, frames) if self._rate is not None else frames)
