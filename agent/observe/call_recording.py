"""Records a production call: what the caller said and what was really played, on one clock.

`RecordingLeg` stands between the call and its leg and records both sides. What was played is known
exactly: audio goes into a queue for each tag of `play`, `FramePlayed` says how much of which left,
and `PlayoutCleared` how much never did. The file is written as the call goes on, so that a long
call costs no memory, and gets its name when it is whole.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, assert_never

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
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
    TaggedSamples,
    TransferProgressed,
    TransferRequested,
)
from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.clock import NS_PER_MS
from callerside.marks import Mark, MarkSink

WRITE_EVERY_MS = 1000
MAX_QUEUE_MS = 3_600_000
"""Of audio that waits to be played: the largest playout buffer that can be set."""

_MAX_LATE_FRAMES = 10
"""A longer hole between frames is media that was down (hold), and becomes silence."""

_FRAME_NS = FRAME_MS * NS_PER_MS

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
            path.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch(mode=0o600)
            self._file: Any = soundfile.SoundFile(
                self._part, "w", samplerate=rate_hz, channels=2, format="WAV", subtype="PCM_16"
            )
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


class RecordingLeg:
    """A `CallLeg` that records whatever passes through it."""

    def __init__(
        self, leg: CallLeg, writer: StereoWavWriter, marks: MarkSink, *, call: str
    ) -> None:
        """`marks` gets the one that says when sample 0 of the recording was."""
        self.sample_rate_hz = leg.sample_rate_hz
        self._leg = leg
        self._writer: StereoWavWriter | None = writer
        self._marks = marks
        self._call = call
        self._frame_bytes = leg.sample_rate_hz * FRAME_MS // 1000 * BYTES_PER_SAMPLE
        self._queues: dict[int, bytearray] = {}
        self._queue_bytes = leg.sample_rate_hz * MAX_QUEUE_MS // 1000 * BYTES_PER_SAMPLE
        self._started_at_ns: int | None = None
        self._frames = {"left": 0, "right": 0}

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """See `CallLeg.start`."""

        def listen(event: LegInput) -> None:
            if self._writer is not None:
                self._record(event)
            on_input(event)

        self._leg.start(listen)

    def play(self, pcm: bytes, tag: int = 0) -> None:
        """See `CallLeg.play`."""
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
        try:
            self._follow(event, self._writer)
        except Exception as error:  # the call, and above all its end, is worth more
            bug = None if isinstance(error, CallRecordingError) else error
            _log.error("recording_failed", error=str(error), exc_info=bug)
            self._writer = None

    def _follow(self, event: LegInput, writer: StereoWavWriter) -> None:
        match event:
            case FramePlayed():
                writer.add_right(self._hole("right", event.at_ns) + self._take(event.played))
            case AudioReceived():
                writer.add_left(self._hole("left", event.at_ns) + event.pcm)
            case PlayoutCleared():  # dropped from the front: all that was played has been reported
                for tag, samples in event.dropped:
                    self._pop(tag, samples)
            case PlayoutOverflowed():
                queue = self._queues.get(event.tag, bytearray())
                del queue[max(0, len(queue) - event.dropped_samples * BYTES_PER_SAMPLE) :]
            case HungUp():
                self._writer = None
                writer.close()
            case (
                CallReceived() | CallProgressed() | CallAnswered() | MediaReady() | MediaHeld()
                | DtmfReceived() | TransferRequested() | TransferProgressed() | RtpMeasured()
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

    def _hole(self, side: Literal["left", "right"], at_ns: int) -> bytes:
        """The silence that belongs before the frame of this tick; counts both."""
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
        missing = (at_ns - self._started_at_ns) // _FRAME_NS - self._frames[side]
        missing = missing if missing > _MAX_LATE_FRAMES else 0
        self._frames[side] += missing + 1
        return bytes(missing * self._frame_bytes)
