"""The playout buffer: audio that waits to leave, handed out frame by frame.

The Realtime API sends a reply many times faster than it can be spoken, so a minute or more waits
here while the media clock takes 20 ms at a time. The buffer counts what it hands out, because what
has really left is the only truth that a truncation may report (`audio_end_ms`).

Written by the loop's thread, read by the media clock's.
"""

import threading
from collections import deque
from itertools import islice

from callerside.audio import BYTES_PER_SAMPLE


class PlayoutBuffer:
    """A bounded first-in first-out of PCM; every method is one atomic step."""

    def __init__(self, max_samples: int) -> None:
        if max_samples <= 0:
            raise ValueError(f"max_samples must be positive, not {max_samples}")
        self._max_bytes = max_samples * BYTES_PER_SAMPLE
        self._chunks: deque[bytes] = deque()
        self._head_taken = 0
        """Bytes of the first chunk that have left."""
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Samples that wait."""
        return self._size // BYTES_PER_SAMPLE

    def write(self, pcm: bytes) -> int:
        """Queue whole samples behind what waits already.

        Returns:
            The number of samples that found no room and were dropped: the newest ones.

        Raises:
            ValueError: `pcm` ends in the middle of a sample.
        """
        if len(pcm) % BYTES_PER_SAMPLE:
            raise ValueError(f"PCM of {len(pcm)} bytes ends in the middle of a sample")
        with self._lock:
            kept = min(len(pcm), self._max_bytes - self._size)
            if kept:
                self._chunks.append(pcm if kept == len(pcm) else pcm[:kept])
                self._size += kept
        return (len(pcm) - kept) // BYTES_PER_SAMPLE

    def read(self, frame_samples: int) -> tuple[bytes, int]:
        """Take one frame: `frame_samples` of PCM, silence after the `played` samples that waited.

        Returns:
            The frame, and how many samples of it came from `write`.
        """
        wanted = frame_samples * BYTES_PER_SAMPLE
        with self._lock:
            pcm = self._take(wanted)
        played = len(pcm)
        return pcm + bytes(wanted - played), played // BYTES_PER_SAMPLE

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, which go on waiting; fewer if fewer wait."""
        with self._lock:
            if not self._chunks:
                return b""
            start, head = self._head_taken, self._chunks[0]
            if start + size <= len(head):
                return head[start : start + size]
            parts, missing = [head[start:]], size - (len(head) - start)
            for chunk in islice(self._chunks, 1, None):
                if missing <= 0:
                    break
                parts.append(chunk[:missing])
                missing -= len(parts[-1])
        return b"".join(parts)

    def clear(self) -> int:
        """Drop everything that waits; returns how many samples that was."""
        with self._lock:
            dropped = self._size // BYTES_PER_SAMPLE
            self._chunks.clear()
            self._head_taken = self._size = 0
        return dropped

    def _take(self, wanted: int) -> bytes:
        """The next `wanted` bytes, or as many as wait."""
        wanted = min(wanted, self._size)
        self._size -= wanted
        parts = []
        while wanted:
            start, head = self._head_taken, self._chunks[0]
            part = head[start : start + wanted]
            wanted -= len(part)
            self._head_taken += len(part)
            if self._head_taken == len(head):
                self._chunks.popleft()
                self._head_taken = 0
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
