"""Gives away at once what a jitter buffer keeps and does not need.

A packet that comes late once leaves PJSIP's buffer a packet fuller than it has to be, so that the
other side is heard that much later from then on. PJSIP gives it away after three seconds or so, and
never where packets are late more often than that. Here the buffer is looked at every few ms:
what was in it all the time was needed by nobody, and is dropped. PJSUA2 has no call for that;
PJMEDIA's exported functions do, and where they are missing the buffers stay as PJSIP keeps them.
"""

import ctypes
from functools import cache
from typing import Protocol

import pjsua2
import structlog

from callerside.clock import NS_PER_MS

_log = structlog.get_logger(__name__)

WINDOW_NS = 600 * NS_PER_MS
"""Thirty packets: on a line whose packets are seldom on time, one of them is late enough to need
what the buffer holds."""

_DECODING = 2
"""`PJMEDIA_DIR_DECODING`."""
_SIZE = 6
"""Where `pjmedia_jb_state` of PJSIP 2.15 has the number of frames that wait."""
_STATE_WORDS = 32
"""Room for more than it has (15)."""


class Buffer(Protocol):
    """A jitter buffer, as far as it matters here."""

    def waiting(self) -> int:
        """How many of the codec's frames wait in it now."""

    def drop(self) -> None:
        """Drop them."""


class JitterTrim:
    """Watches one stream's buffer; on the loop's thread, as is the stream's end."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._since_ns: int | None = None
        """When it was empty last, or was emptied here."""
        self._least = 0
        """What has waited in it at least since then."""

    def look(self, now_ns: int) -> int:
        """See how full the buffer is, at any moment; answers how many frames were dropped.

        They are dropped just after the clock has taken one, when nothing waits but what always did.
        """
        waiting = self._buffer.waiting()
        if not waiting or self._since_ns is None:
            self._begin(now_ns)
            return 0
        self._least = min(self._least or waiting, waiting)
        if now_ns - self._since_ns < WINDOW_NS or waiting > self._least:
            return 0
        self._buffer.drop()
        self._begin(now_ns)
        _log.debug("jitter_buffer_trimmed", frames=waiting)
        return waiting

    def _begin(self, now_ns: int) -> None:
        self._since_ns, self._least = now_ns, 0


class StreamBuffer:
    """The buffer of a PJMEDIA stream, by the address that PJSUA2 reports of it."""

    def __init__(self, library: ctypes.PyDLL, stream: int) -> None:
        self._library = library
        self._stream = stream
        self._state = (ctypes.c_uint * _STATE_WORDS)()

    def waiting(self) -> int:
        """See `Buffer.waiting`."""
        self._library.pjmedia_stream_get_stat_jbuf(self._stream, self._state)
        return int(self._state[_SIZE])

    def drop(self) -> None:
        """See `Buffer.drop`: a stream that is paused begins anew with an empty buffer."""
        self._library.pjmedia_stream_pause(self._stream, _DECODING)
        self._library.pjmedia_stream_resume(self._stream, _DECODING)


def trim_of(stream: int) -> JitterTrim | None:
    """What watches a stream's buffer; None where that cannot be."""
    library = _library()
    return None if library is None else JitterTrim(StreamBuffer(library, stream))


@cache
def _library() -> ctypes.PyDLL | None:
    # The calls are short: letting other threads run meanwhile would cost more than they do.
    library = ctypes.PyDLL(pjsua2._pjsua2.__file__)  # noqa: SLF001 - loaded already: the bindings
    try:
        for name, last in (
            ("pjmedia_stream_get_stat_jbuf", ctypes.c_void_p),
            ("pjmedia_stream_pause", ctypes.c_int),
            ("pjmedia_stream_resume", ctypes.c_int),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = ctypes.c_int, (ctypes.c_void_p, last)
    except AttributeError as error:
        _log.warning("jitter_trim_missing", reason=str(error))
        return None
    return library
