"""Two ways to carry a call's audio between telephone and Realtime API, to be compared.

`FileBridge` is the way of the first prototype: what the caller says grows a WAV file that is read
every 100 ms, and every delta becomes a WAV file of its own; the player looks for the next one every
100 ms. `FrameBridge` is the way of the agent: memory, frame by frame. Time is told, not read, so
that the latencies are those of the designs and not of the machine; the files are real, and so is
the CPU.
"""

import os
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer

FRAME_MS = 20
POLL_MS = 100
HEADER_BYTES = 44
RATE_HZ = 24_000
FRAME_BYTES = 2 * RATE_HZ * FRAME_MS // 1000

Append = Callable[[bytes], None]


class Bridge(Protocol):
    """Every method is called at a time that is told: every 20 ms `frame`, every 1 ms `poll`."""

    def frame(self, heard: bytes) -> bytes:
        """The media clock ticks: what the caller said in 20 ms; answers what it hears next."""

    def delta(self, pcm: bytes) -> None:
        """Some more of the answer has arrived."""

    def poll(self, now_ms: int) -> None:
        """A millisecond has passed."""

    def close(self) -> None:
        """The call is over."""


class FrameBridge:
    """In memory, frame by frame."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._playout = PlayoutBuffer(RATE_HZ * 120)

    def frame(self, heard: bytes) -> bytes:
        self._append(heard)
        frame, _ = self._playout.read(FRAME_BYTES // 2)
        return frame

    def delta(self, pcm: bytes) -> None:
        self._playout.write(pcm)

    def poll(self, now_ms: int) -> None:
        """Nothing is ever waited for."""

    def close(self) -> None:
        """Nothing is open."""


class FileBridge:
    """Through WAV files that are looked at every 100 ms; close it when done."""

    def __init__(self, append: Append, folder: Path) -> None:
        self._append = append
        self._folder = folder
        self._recording = (folder / "caller.wav").open("w+b", buffering=0)
        self._recording.write(bytes(HEADER_BYTES))  # filled in when a recorder is closed
        self._sent = 0
        self._deltas = 0
        self._next = 0
        self._playing = b""

    def frame(self, heard: bytes) -> bytes:
        self._recording.seek(0, os.SEEK_END)
        self._recording.write(heard)
        frame, self._playing = self._playing[:FRAME_BYTES], self._playing[FRAME_BYTES:]
        return frame.ljust(FRAME_BYTES, b"\0")

    def delta(self, pcm: bytes) -> None:
        _write(self._folder / f"delta{self._deltas}.wav", pcm)
        self._deltas += 1

    def poll(self, now_ms: int) -> None:
        if now_ms % POLL_MS:
            return
        self._recording.seek(HEADER_BYTES + self._sent)
        audio = self._recording.read()
        if audio:
            self._append(audio)
            self._sent += len(audio)
        path = self._folder / f"delta{self._next}.wav"
        if not self._playing and path.exists():
            self._playing = _read(path)
            path.unlink()
            self._next += 1

    def close(self) -> None:
        self._recording.close()


def _write(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm)


def _read(path: Path) -> bytes:
    with wave.open(str(path), "rb") as file:
        return file.readframes(file.getnframes())
