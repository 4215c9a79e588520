"""The recording of one call at the caller: what left the mouth and what reached the ear.

Both channels lie on one axis of time, so that latency measured between the two is free of any clock
of ours, and `started_at_ns` ties it to the marks. The mouth is what left, frame by frame, each said
just before it did; the ear what a telephone would have played of what came in (`caller.ear`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.audio_files import write_flac
from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.simulator.caller.ear import Arrival, Played, play, render

CALLER_RATE_HZ = 16_000
"""Of the caller's audio in the sip lane: wide enough for G.722, and G.711 fits in."""


class CallRecorder:
    """Collects the frames of one call; bounded, so that a call that never ends fills no memory.

    `left` may be called on another thread than the rest.
    """

    def __init__(self, rate_hz: int, max_ms: float = 600_000) -> None:
        self.rate_hz = rate_hz
        self.started_at_ns: int | None = None
        """When sample 0 was said or came in; None until something did.

        A packet leaves when the last sample of its audio has been said. What leaves is regular, and
        is only ever stamped late (a thread had to wait), so this is the earliest that any frame so
        far tells. It settles within some frames.
        """
        self.truncated = False
        """Whether the bound was reached, and what came later is missing."""
        self._max_bytes = round(max_ms * rate_hz / 1000) * BYTES_PER_SAMPLE
        self._frame_bytes = rate_hz // _FRAMES_A_S * BYTES_PER_SAMPLE
        self._mouth = bytearray()
        self._departures: list[tuple[int, int]] = []
        """Of each packet: where in the recording it ends, and when it left."""
        self._arrivals: list[Arrival] = []
        self._played: tuple[int, list[Played]] = 0, []
        """What was to be heard of so many of them."""
        self._arrived_bytes = 0

    @property
    def samples(self) -> int:
        """The length of each channel so far."""
        return len(self._mouth) // BYTES_PER_SAMPLE

    @property
    def arrivals(self) -> Sequence[Arrival]:
        """What came in, as it came."""
        return self._arrivals

    def left(self, pcm: bytes, at_ns: int) -> None:
        """A frame has left, behind the one before, or several: the last sample was said just now.

        One that is later than the samples so far account for (media was down) is preceded by
        silence, so that time in the file stays time. Every frame begins at a whole number of them.
        """
        said_ns = at_ns - len(pcm) // BYTES_PER_SAMPLE * NS_PER_S // self.rate_hz
        self._append(bytes(self._missing_bytes(said_ns)))
        begins_ns = said_ns - round(self.samples * NS_PER_S / self.rate_hz)
        self.started_at_ns = min(self.started_at_ns or begins_ns, begins_ns)
        self._append(pcm)
        if not self.truncated:  # no end of it in the recording: nobody asks when it left
            self._departures.append((self.samples, at_ns))

    @property
    def late_departures(self) -> dict[int, int]:
        """When those packets left that left a millisecond late, or more: by where they end.

        All others left when their last sample was said.
        """
        started_ns = self.started_at_ns or 0
        return {
            until: at_ns
            for until, at_ns in self._departures
            if at_ns - started_ns - round(until * NS_PER_S / self.rate_hz) >= NS_PER_MS
        }

    def heard(self, pcm: bytes, at_ns: int | None) -> None:
        """The next frame of the other side's audio: when it came in, None: never.

        Of several that came in their time, when the first did.
        """
        if self._arrived_bytes + len(pcm) > self._max_bytes:
            self.truncated = True
            return
        self._arrived_bytes += len(pcm)
        self._arrivals.append(Arrival(pcm=pcm, at_ns=at_ns))

    def played(self) -> list[Played]:
        """What was to be heard of what came in, and when."""
        count = len(self._arrivals)
        if self._played[0] != count:
            self._played = count, play(self._arrivals, self.rate_hz)
        return self._played[1]

    def buffered(self) -> dict[str, Any]:
        """The fields of the mark `packets_buffered`."""
        late_ns = [one.late_ns for one in self.played()]
        return {
            "packets": sum(one >= NS_PER_MS for one in late_ns),
            "worst_ms": round(max(late_ns, default=0) / NS_PER_MS, 3),
        }

    def channels(self) -> tuple[bytes, bytes]:
        """Mouth and ear so far, as PCM of equal length."""
        mouth = bytes(self._mouth)
        ear = render(
            self.played(),
            self.rate_hz,
            begin_ns=self.started_at_ns or 0,
            samples=len(mouth) // BYTES_PER_SAMPLE,
        )
        return mouth, ear.tobytes()

    def save(
        self, path: Path, *, arrivals: Path | None = None, departures: Path | None = None
    ) -> None:
        """Write the recording as FLAC, left mouth and right ear; atomic. There is a frame at least.

        Args:
            path: where.
            arrivals: where to write when each frame of the other side's came in, a JSON line each.
            departures: the same of our packets that left late.
        """
        channels = [to_samples(channel) for channel in self.channels()]
        write_flac(path, np.stack(channels, axis=1), self.rate_hz)
        came = (
            {"at_ns": one.at_ns, "samples": len(one.pcm) // BYTES_PER_SAMPLE}
            for one in self._arrivals
        )
        left = ({"until": n, "at_ns": at_ns} for n, at_ns in self.late_departures.items())
        for where, lines in ((arrivals, came), (departures, left)):
            if where is not None:
                where.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    def _missing_bytes(self, at_ns: int) -> int:
        """The hole before this frame; 0 while it is within what a late thread explains."""
        frame_bytes = self._frame_bytes
        if self.started_at_ns is None:  # what came in before it is part of the recording
            first_ns = next((one.at_ns for one in self._arrivals if one.at_ns is not None), at_ns)
            lead = round(max(0, at_ns - first_ns) * self.rate_hz / NS_PER_S) * BYTES_PER_SAMPLE
            return -(-lead // frame_bytes) * frame_bytes
        expected = round((at_ns - self.started_at_ns) * self.rate_hz / NS_PER_S)
        missing = (expected - self.samples) * BYTES_PER_SAMPLE
        return missing - missing % frame_bytes if missing > _LATE_FRAMES * frame_bytes else 0

    def _append(self, pcm: bytes) -> None:
        room = self._max_bytes - len(self._mouth)
        self.truncated |= len(pcm) > room
        self._mouth += pcm[:room]


_FRAMES_A_S = 50
_LATE_FRAMES = 10
"""A loaded machine delays frames and makes up for it; only a longer hole is media that was down."""
