"""The fixed pool of media ports, one for each call that the process can hold.

Making and destroying a port for every call crashes PJSIP 2.15, whose bridge removes ports
asynchronously; so the ports are made once, at start, and leased. Their two callbacks are the only
Python that runs on the media clock's thread: they copy bytes and stamp the time.
"""

import time
from collections import deque
from typing import Any, Protocol

import pjsua2
import structlog

from callerside.agent.telephony.errors import NoFreeCallError
from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.telephony.pjsua.frame_copy import fastest_copier
from callerside.agent.telephony.thread_priority import hurry
from callerside.audio import BYTES_PER_SAMPLE

_log = structlog.get_logger(__name__)


class Tap(Protocol):
    """What stands behind a leased port. Both methods run on the media clock's thread."""

    def take_frame(self, at_ns: int) -> bytes:
        """The next frame to send."""

    def hand_frame(self, pcm: bytes, at_ns: int) -> None:
        """The frame that was received in the same tick."""


class _MediaClock:
    """Whether the clock's thread, which the stack starts when it likes, is in a hurry yet."""

    is_hurried = False


class MediaPort(pjsua2.AudioMediaPort):  # type: ignore[misc] # the bindings have no types
    """One port of the conference bridge, at its own sample rate (the bridge resamples)."""

    def __init__(self, name: str, rate_hz: int) -> None:
        super().__init__()
        samples = rate_hz * FRAME_MS // 1000
        self._silence = bytes(samples * BYTES_PER_SAMPLE)
        self._copier = fastest_copier(len(self._silence))
        self._tap: Tap | None = None
        self._failed = False
        format_ = pjsua2.MediaFormatAudio()
        format_.init(pjsua2.PJMEDIA_FORMAT_PCM, rate_hz, 1, FRAME_MS * 1000, 16)
        self.createPort(name, format_)

    def attach(self, tap: Tap) -> None:
        """Give the port's audio to a call."""
        self._failed = False
        self._tap = tap

    def detach(self) -> None:
        """Take it away again; a tick that is under way may still reach the tap once."""
        self._tap = None

    def onFrameRequested(self, frame: Any) -> None:  # noqa: N802 - PJSUA2's name
        """The bridge wants 20 ms to send."""
        if not _MediaClock.is_hurried:
            _MediaClock.is_hurried = True
            hurry()
        tap, pcm = self._tap, self._silence
        try:
            if tap is not None:
                pcm = tap.take_frame(time.monotonic_ns())
            self._copier.write(frame, pcm)
        except Exception:  # an exception here would end the process
            self._report()

    def onFrameReceived(self, frame: Any) -> None:  # noqa: N802 - PJSUA2's name
        """The bridge has 20 ms for us; without audio in it when nothing arrived."""
        tap = self._tap
        if tap is None:
            return
        try:
            pcm = self._copier.read(frame)
            tap.hand_frame(
                pcm if len(pcm) == len(self._silence) else self._silence, time.monotonic_ns()
            )
        except Exception:  # as above
            self._report()

    def _report(self) -> None:
        """Once a call: the next frame is 20 ms away and would say the same."""
        if not self._failed:
            self._failed = True
            _log.exception("sip_media_failed")


class PortPool:
    """Ports to lease, the one that has rested longest first.

    The bridge lets go of a call's connections a tick or two after its end.
    """

    def __init__(self, count: int, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._free = deque(MediaPort(f"leg{index}", rate_hz) for index in range(count))

    def __len__(self) -> int:
        """How many are free."""
        return len(self._free)

    def lease(self, tap: Tap) -> MediaPort:
        """A port that feeds `tap` until it is released.

        Raises:
            NoFreeCallError: all are leased.
        """
        if not self._free:
            raise NoFreeCallError("every media port is leased to a call")
        port = self._free.popleft()
        port.attach(tap)
        return port

    def release(self, port: MediaPort) -> None:
        """Take a port back."""
        port.detach()
        self._free.append(port)

    def close(self) -> None:
        """Drop all that are free; only before the library itself is destroyed."""
        self._free.clear()
