"""Bytes in and out of pjsua2's media frames, a hundred times a second and call.

The bindings hand a frame's audio over as a `std::vector<unsigned char>`. Reading it as a Python
sequence makes an object of every byte (0.7 ms for 20 ms of audio at 24 kHz), so this module
reaches through the vector's pointer, which takes 1.5 microseconds. That rests on how the frame and
its vector lie in memory: `fastest_copier` tries it against the portable way once, at start, and
falls back.
"""

import ctypes
from typing import Any, Protocol

import pjsua2
import structlog

_log = structlog.get_logger(__name__)

_BUF_AT = 8
"""Where a `pjsua2.MediaFrame` has its vector: behind the frame's type."""
_VectorWords = ctypes.c_size_t * 3

_PROBE = bytes(range(256)) * 4


class FrameCopier(Protocol):
    """Copies audio between Python and the frames of one media port."""

    def read(self, frame: Any) -> bytes:
        """The audio of a frame that was received; empty when there is none."""

    def write(self, frame: Any, pcm: bytes) -> None:
        """Fill a frame that was asked for; `pcm` has the length that the copier was made for."""


class PortableCopier:
    """The bindings' own, documented way."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes

    def read(self, frame: Any) -> bytes:
        """See `FrameCopier.read`."""
        return bytes(frame.buf)

    def write(self, frame: Any, pcm: bytes) -> None:
        """See `FrameCopier.write`."""
        frame.type = pjsua2.PJMEDIA_FRAME_TYPE_AUDIO
        frame.buf = pjsua2.ByteVector(pcm)
        frame.size = self._frame_bytes


class PointerCopier:
    """Through the vector's pointer: its first two words are the begin and the end of its data."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._outgoing = pjsua2.ByteVector(frame_bytes)  # reused: allocating costs ten times more
        self._outgoing_at, _, _ = _words(int(self._outgoing.this))

    def read(self, frame: Any) -> bytes:
        """See `FrameCopier.read`."""
        begin, end, _ = _words(int(frame.this) + _BUF_AT)
        return ctypes.string_at(begin, end - begin) if begin else b""

    def write(self, frame: Any, pcm: bytes) -> None:
        """See `FrameCopier.write`."""
        if len(pcm) != self._frame_bytes:  # memmove would read or leave what is not ours
            raise ValueError(f"a frame is {self._frame_bytes} bytes, not {len(pcm)}")
        ctypes.memmove(self._outgoing_at, pcm, self._frame_bytes)
        frame.type = pjsua2.PJMEDIA_FRAME_TYPE_AUDIO
        frame.buf = self._outgoing
        frame.size = self._frame_bytes


def fastest_copier(frame_bytes: int) -> FrameCopier:
    """The pointer's way where it passes the test against the portable way, else the portable."""
    if _pointer_way_works():
        return PointerCopier(frame_bytes)
    _log.warning("sip_frames_copied_slowly", reason="the vector's layout is not the expected one")
    return PortableCopier(frame_bytes)


def _pointer_way_works() -> bool:
    """Round trips in both directions, after a check that the three words look like a vector."""
    vector, frame = pjsua2.ByteVector(_PROBE), pjsua2.MediaFrame()
    portable = PortableCopier(len(_PROBE))
    portable.write(frame, _PROBE)
    for vector_at in (int(vector.this), int(frame.this) + _BUF_AT):
        begin, end, capacity_end = _words(vector_at)
        if not begin or end - begin != len(_PROBE) or capacity_end < end:
            return False
    fast = PointerCopier(len(_PROBE))
    if fast.read(frame) != _PROBE:
        return False
    fast.write(frame, _PROBE[::-1])
    return portable.read(frame) == _PROBE[::-1]


def _words(vector_at: int) -> tuple[int, int, int]:
    """A vector's begin, end and end of capacity."""
    begin, end, capacity_end = _VectorWords.from_address(vector_at)
    return begin, end, capacity_end
