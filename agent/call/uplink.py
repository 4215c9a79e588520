"""The caller's audio on its way to the API: kept while it cannot be sent, then sent in order.

It cannot be sent while there is no session, and is held back while a greeting is being made that
must not be interrupted (server VAD would cancel it). What is kept is bounded: the oldest is lost.
"""

from collections import deque
from collections.abc import Callable, Sequence

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import AppendAudio
from callerside.agent.config.settings import CallSettings
from callerside.agent.telephony.interface import FRAME_MS, AudioReceived
from callerside.audio import BYTES_PER_SAMPLE, AudioFormat

_BACKLOG_CHUNK_FRAMES = 50
"""Kept audio goes out in appends of a second: few events, each far below the API's 15 MiB."""


class Uplink:
    """Caller audio in, `input_audio_buffer.append` out."""

    def __init__(self, context: CallContext, settings: CallSettings, rate_hz: int) -> None:
        self._context = context
        self._rate_hz = rate_hz
        self._trace = settings.timeline.trace_audio
        self._frames_an_append = settings.turns.append_interval_ms // FRAME_MS
        self._max_kept_bytes = _bytes(settings.limits.capture_ms, rate_hz)
        self._frame_bytes = _bytes(FRAME_MS, rate_hz)
        self._format = AudioFormat("pcm")
        self._is_open = False
        self.feed: Callable[[AudioReceived], None] = self._keep
        """Take a frame of the caller's audio, at the leg's rate; or several, each worth an append.

        What becomes of it is another thing while it can be sent, and where an append holds several.
        """
        self.on_resent: Callable[[bytes], bool] = lambda _pcm: False
        """Told of each frame that was kept and is sent now; returns whether a turn began or ended.

        What it asks for comes behind the append that the frame is in.
        """
        self._frames: deque[tuple[bytes, int]] = deque()
        """What is kept, each frame with the time at which it came in."""
        self._kept_bytes = 0
        self._dropped_bytes = 0
        self._total_samples = 0

    @property
    def is_open(self) -> bool:
        """Audio goes out as it comes in."""
        return self._is_open

    def open(self, audio_format: AudioFormat) -> bool:
        """Send what was kept, and from now on what comes; returns what `on_resent` did."""
        if self._is_open:
            return False
        self._is_open = True
        self.feed = self._send if self._frames_an_append == 1 else self._gather
        self._format = audio_format
        self._mark_dropped()
        kept = list(self._frames)
        self._forget()
        has_turned = False
        for start in range(0, len(kept), _BACKLOG_CHUNK_FRAMES):
            chunk = kept[start : start + _BACKLOG_CHUNK_FRAMES]
            self._append_all(chunk)
            for pcm, _ in chunk:
                has_turned |= self.on_resent(pcm)
        return has_turned

    def close(self) -> None:
        """Keep what comes from now on."""
        self._is_open = False
        self.feed = self._keep

    def discard(self) -> None:
        """Forget what is kept: it was heard by nobody and concerns nobody any more."""
        self._mark_dropped()
        self._forget()

    def _send(self, frame: AudioReceived) -> None:
        """At once; as it came, where that is what the session takes."""
        audio = frame.encoded
        if frame.encoding != self._format.encoding:
            audio = self._format.encode(frame.pcm)
        self._context.effects.append(AppendAudio(audio=audio))
        self._total_samples += len(frame.pcm) // BYTES_PER_SAMPLE
        if self._trace:
            self._mark_appended(len(frame.pcm) // BYTES_PER_SAMPLE, frame.at_ns)

    def _gather(self, frame: AudioReceived) -> None:
        """Until an append is full."""
        self._frames.append((frame.pcm, frame.at_ns))
        self._kept_bytes += len(frame.pcm)
        if len(self._frames) >= self._frames_an_append:
            self.flush()

    def _keep(self, frame: AudioReceived) -> None:
        """Until it can be sent; of several frames that come at once each is one, as it is sent."""
        for start in range(0, len(frame.pcm), self._frame_bytes):
            self._frames.append((frame.pcm[start : start + self._frame_bytes], frame.at_ns))
        self._kept_bytes += len(frame.pcm)
        self._bound()

    def flush(self) -> None:
        """Send what waits for the append interval to be full."""
        if self._is_open and self._frames:
            frames = list(self._frames)
            self._forget()
            self._append_all(frames)

    def _append_all(self, frames: Sequence[tuple[bytes, int]]) -> None:
        """In one append, which is as old as the last frame in it."""
        pcm = b"".join(pcm for pcm, _ in frames)
        self._send(AudioReceived(pcm=pcm, at_ns=frames[-1][1]))

    def _mark_appended(self, samples: int, heard_ns: int) -> None:
        fields = {"samples": samples, "total_samples": self._total_samples, "heard_ns": heard_ns}
        self._context.mark("audio_appended", fields)

    def _bound(self) -> None:
        while self._kept_bytes > self._max_kept_bytes:
            oldest, heard_ns = self._frames.popleft()
            dropped = min(len(oldest), self._kept_bytes - self._max_kept_bytes)
            if dropped < len(oldest):
                self._frames.appendleft((oldest[dropped:], heard_ns))
            self._kept_bytes -= dropped
            self._dropped_bytes += dropped

    def _mark_dropped(self) -> None:
        if self._dropped_bytes:
            dropped_ms = self._dropped_bytes * 1000 / (self._rate_hz * BYTES_PER_SAMPLE)
            self._context.mark("capture_overflowed", {"dropped_ms": dropped_ms})
            self._dropped_bytes = 0

    def _forget(self) -> None:
        self._frames.clear()
        self._kept_bytes = 0


def _bytes(length_ms: int, rate_hz: int) -> int:
    return length_ms * rate_hz // 1000 * BYTES_PER_SAMPLE
