"""Records a production call: what the caller said and what was really played, on one clock.

`RecordingLeg` stands between the call and its leg and records both sides. What was played is known
exactly: audio goes into a queue for each tag of `play`, `FramePlayed` says how much of which left,
and `PlayoutCleared` how much never did. Each side's frames are laid on the clock by when they came
or left (`_Track`). The file is written as the call goes on, so that a long call costs no memory,
and gets its name when it is whole.
"""

import fcntl
import os
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import soundfile
import structlog

from callerside.agent.telephony.interface import (
    FRAME_MS,
    AudioReceived,
    CallAnswered,
    CallLeg,
    CallProgressed,
    CallReceived,
    DtmfMethod,
    DtmfReceived,
    FramePlayed,
    HungUp,
    LegInput,
    MediaHeld,
    MediaReady,
    MediaSource,
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
    TaggedSamples,
    TransferProgressed,
    TransferRequested,
)
from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.files import make_private
from callerside.marks import Mark, MarkSink

WRITE_EVERY_MS = 1000
MAX_QUEUE_MS = 3_600_000
"""Of audio that waits to be played: the largest playout buffer that can be set."""

_LOOK_AHEAD_NS = NS_PER_S
"""Only when so much more is known of a side is a frame laid on the clock: what a stall held back
comes behind it, and a jitter buffer takes twice its pause until it has told all of a silence."""

_WORTH_FRAMES = 2
"""By so many a side must be behind the clock: the jitter of most lines is less."""

_BURST_NS = FRAME_MS * NS_PER_MS // 2
"""Frames that come within it come at once: what a stall had held back, or of one long packet."""

_FRAME_NS = FRAME_MS * NS_PER_MS

_HEADER_BYTES, _FRAME_BYTES = 44, 2 * BYTES_PER_SAMPLE
"""Of a WAV file of two channels, as libsndfile writes it."""

_log = structlog.get_logger(__name__)


class CallRecordingError(OSError):
    """The recording cannot be written: says which file and why."""


class StereoWavWriter:
    """A stereo WAV file that grows: left the caller, right the agent."""

    def __init__(self, path: Path, rate_hz: int) -> None:
        """Begin the file, under a name that says that it is not whole.

        Raises:
            CallRecordingError: it cannot be written there.
        """
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._left, self._right = bytearray(), bytearray()
        self._write_bytes = rate_hz * WRITE_EVERY_MS // 1000 * BYTES_PER_SAMPLE
        try:
            make_private(path.parent)
            self._file: Any = soundfile.SoundFile(
                _opened(self._part), "w", samplerate=rate_hz, channels=2, format="WAV",
                subtype="PCM_16",
            )  # fmt: skip
        except (OSError, soundfile.LibsndfileError) as error:
            raise CallRecordingError(f"{path}: cannot be written: {error}") from None

    def add_left(self, pcm: bytes) -> None:
        """More of the caller."""
        self._left += pcm
        self._write(self._write_bytes)

    def add_right(self, pcm: bytes) -> None:
        """More of the agent."""
        self._right += pcm
        self._write(self._write_bytes)

    def close(self) -> None:
        """Write what is left, the shorter side filled with silence, and give the file its name.

        Raises:
            CallRecordingError: the disk did not take it.
        """
        length = max(len(self._left), len(self._right))
        for side in (self._left, self._right):
            side += bytes(length - len(side))
        self._write(BYTES_PER_SAMPLE)
        try:
            self._file.close()
            self._part.replace(self.path)
        except (OSError, soundfile.LibsndfileError) as error:
            raise CallRecordingError(f"{self.path}: cannot be finished: {error}") from None

    def discard(self) -> None:
        """Leave nothing of it."""
        self.abandon()
        with suppress(OSError):
            self._part.unlink()

    def abandon(self) -> None:
        """Keep what is on the disk as it is, under the name that says so."""
        with suppress(OSError, soundfile.LibsndfileError):
            self._file.close()

    def _write(self, at_least_bytes: int) -> None:
        both = min(len(self._left), len(self._right))
        if both < at_least_bytes:
            return
        sides = [to_samples(bytes(side[:both])) for side in (self._left, self._right)]
        try:
            self._file.write(np.stack(sides, axis=1))
        except (OSError, soundfile.LibsndfileError) as error:
            raise CallRecordingError(f"{self.path}: cannot be written: {error}") from None
        del self._left[:both]
        del self._right[:both]


def _opened(part: Path) -> int:
    """A descriptor of a file that is begun, with a lock: whoever gets that knows that we are gone.

    Raises:
        OSError: it cannot be.
    """
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            is_there = part.exists() and part.stat().st_ino == os.fstat(descriptor).st_ino
        except OSError:
            os.close(descriptor)
            raise
        if is_there:
            return descriptor
        os.close(descriptor)  # somebody took it for one that was left behind


def finish_recording(part: Path) -> int | None:
    """Give what a killed process has recorded of a call its length and its name.

    Of one without a single sample nothing is left.

    Args:
        part: as `StereoWavWriter` begins it.

    Returns:
        How many milliseconds there are; None: its call is up, or it cannot be finished.
    """
    with suppress(OSError), part.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
        header = file.read(_HEADER_BYTES)
        frames = (os.fstat(file.fileno()).st_size - _HEADER_BYTES) // _FRAME_BYTES
        if frames <= 0:
            part.unlink()
            return 0
        if not header.startswith(b"RIFF") or header[36:40] != b"data":
            return None
        size = frames * _FRAME_BYTES
        rate_hz = int.from_bytes(header[24:28], "little")
        file.truncate(_HEADER_BYTES + size)
        for place, length in ((4, _HEADER_BYTES - 8 + size), (40, size)):
            file.seek(place)
            file.write(length.to_bytes(4, "little"))
        file.flush()
        part.replace(part.with_suffix(""))
        return frames * 1000 // max(1, rate_hz)
    return None


class _Track:
    """One side's frames, laid on the clock.

    Each is as long as what was said, and follows the one before; what comes late but is followed by
    all that was held back was never away. So a frame's place is told by the earliest of those that
    come within `_LOOK_AHEAD_NS` behind it: if even that one comes after its time, media was down,
    and there is silence. If one comes before its time, silence was told of more than there was, as
    a jitter buffer does in a long stall: so much of it is left out.

    Args:
        silence: a frame of it.
        write: takes what is to be recorded.
    """

    def __init__(self, silence: bytes, write: Callable[[bytes], None]) -> None:
        self._silence = silence
        self._write = write
        self._waiting: deque[tuple[int, bytes]] = deque()
        """When each came, and what it is."""
        self._written = 0
        """Frames."""

    def add(self, since_ns: int, pcm: bytes) -> None:
        """One more frame, so long after the recording began."""
        self._waiting.append((since_ns, pcm))
        if self._behind(-1) < 0:
            self._leave_out(before_ns=since_ns - _BURST_NS)
        while self._waiting and self._waiting[0][0] <= since_ns - _LOOK_AHEAD_NS:
            self._lay()

    def close(self) -> None:
        """Nothing follows."""
        while self._waiting:
            self._lay()

    def _lay(self) -> None:
        behind = self._behind(0)
        if behind >= _WORTH_FRAMES:  # which most frames are not: all others are looked at then
            behind = min(map(self._behind, range(len(self._waiting))))
        missing = behind if behind >= _WORTH_FRAMES else 0
        self._write(self._silence * missing + self._waiting.popleft()[1])
        self._written += missing + 1

    def _behind(self, index: int) -> int:
        """By how many frames one that waits comes after its time, if all were laid in a row."""
        place = self._written + index % len(self._waiting)
        return (self._waiting[index][0] + _FRAME_NS // 2) // _FRAME_NS - place

    def _leave_out(self, before_ns: int) -> None:
        """Of the silence that was told last before a time, one frame."""
        for index in range(len(self._waiting) - 1, -1, -1):
            at_ns, pcm = self._waiting[index]
            if at_ns < before_ns and pcm == self._silence:
                del self._waiting[index]
                return


class RecordingLeg:
    """A `CallLeg` that records whatever passes through it."""

    def __init__(
        self,
        leg: CallLeg,
        writer: StereoWavWriter,
        marks: MarkSink,
        *,
        call: str,
        on_lost: Callable[[], None] = lambda: None,
        is_announced: bool = False,
    ) -> None:
        """`marks` gets the one that says when sample 0 of the recording was.

        `on_lost` is called if the recording cannot go on. One that `is_announced` waits for
        `begin`, and leaves nothing if that never comes.
        """
        self.sample_rate_hz = leg.sample_rate_hz
        self._leg = leg
        self._writer: StereoWavWriter | None = writer
        self._marks = marks
        self._call = call
        self._on_lost = on_lost
        self._waits = is_announced
        self._frame_bytes = leg.sample_rate_hz * FRAME_MS // 1000 * BYTES_PER_SAMPLE
        self._queues: dict[int, bytearray] = {}
        self._queue_bytes = leg.sample_rate_hz * MAX_QUEUE_MS // 1000 * BYTES_PER_SAMPLE
        self._started_at_ns: int | None = None
        silence = bytes(self._frame_bytes)
        self._heard = _Track(silence, writer.add_left)
        self._said = _Track(silence, writer.add_right)

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """See `CallLeg.start`."""

        def listen(event: LegInput) -> None:
            if self._writer is not None:
                self._record(event)
            on_input(event)

        self._leg.start(listen)

    def begin(self) -> None:
        """Record from here on."""
        self._waits = False

    def play(self, pcm: bytes, tag: int = 0) -> None:
        """See `CallLeg.play`."""
        if self._writer is not None:
            room = self._queue_bytes - sum(map(len, self._queues.values()))
            self._queues.setdefault(tag, bytearray()).extend(pcm[: max(0, room)])
        self._leg.play(pcm, tag)

    def answer(self, status: int = 200) -> None:
        """See `CallLeg.answer`."""
        self._leg.answer(status)

    def clear(self, tags: Collection[int] | None = None) -> None:
        """See `CallLeg.clear`."""
        self._leg.clear(tags)

    def hang_up(self, status: int = 200) -> None:
        """See `CallLeg.hang_up`."""
        self._leg.hang_up(status)

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        """See `CallLeg.send_dtmf`."""
        self._leg.send_dtmf(digits, method)

    def consult(self, uri: str) -> CallLeg:
        """See `CallLeg.consult`; the recording is the caller's, of nobody else."""
        return self._leg.consult(uri)

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        """See `CallLeg.transfer`."""
        self._leg.transfer(uri, consulted)

    def _record(self, event: LegInput) -> None:
        assert self._writer is not None  # noqa: S101 - looked at by the only caller
        writer = self._writer
        try:
            self._follow(event, writer)
        except Exception as error:  # the call, and above all its end, is worth more
            bug = None if isinstance(error, CallRecordingError) else error
            _log.error("recording_failed", error=str(error), exc_info=bug)
            self._writer = None
            self._queues.clear()
            writer.abandon()
            self._on_lost()

    def _follow(self, event: LegInput, writer: StereoWavWriter) -> None:
        match event:
            case FramePlayed():
                pcm = self._take(event.played)
                if not self._waits:
                    self._said.add(self._since_start_ns(event.at_ns), pcm)
            case AudioReceived():
                if not self._waits:
                    self._heard.add(self._since_start_ns(event.at_ns), event.pcm)
            case PlayoutCleared():  # dropped from the front: all that was played has been reported
                for tag, samples in event.dropped:
                    self._pop(tag, samples)
            case PlayoutOverflowed():
                queue = self._queues.get(event.tag, bytearray())
                del queue[max(0, len(queue) - event.dropped_samples * BYTES_PER_SAMPLE) :]
            case HungUp():
                self._writer = None
                self._heard.close()
                self._said.close()
                writer.discard() if self._waits else writer.close()
            case (
                CallReceived() | CallProgressed() | CallAnswered() | MediaReady() | MediaHeld()
                | DtmfReceived() | TransferRequested() | TransferProgressed() | RtpMeasured()
                | MediaSource()
            ):  # fmt: skip
                return  # no audio
            case unknown:
                assert_never(unknown)

    def _take(self, played: TaggedSamples) -> bytes:
        """One frame as it left: so much from the queues, then silence."""
        pcm = b"".join(self._pop(tag, samples) for tag, samples in played)
        return pcm + bytes(self._frame_bytes - len(pcm))

    def _pop(self, tag: int, samples: int) -> bytes:
        queue = self._queues.get(tag, bytearray())
        count = samples * BYTES_PER_SAMPLE
        pcm = bytes(queue[:count])
        del queue[:count]
        if not queue:
            self._queues.pop(tag, None)
        return pcm

    def _since_start_ns(self, at_ns: int) -> int:
        """Of the recording, which begins with the first frame of either side."""
        if self._started_at_ns is None:
            self._started_at_ns = at_ns
            fields = {"sample_rate_hz": self.sample_rate_hz}
            mark = Mark(
                at_ns=at_ns,
                source="agent",
                call=self._call,
                name="recording_started",
                fields=fields,
            )
            self._marks(mark)
        return at_ns - self._started_at_ns
