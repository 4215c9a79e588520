"""The playout buffer: audio that waits to leave, handed out frame by frame.

The Realtime API sends a reply many times faster than it can be spoken, so a minute or more waits
here while 20 ms at a time leave. The buffer counts what it hands out, by tag, because what has
really left is the only truth that a truncation may report (`audio_end_ms`).

Written by the loop's thread, read by whichever paces what is sent.
"""

import threading
from collections import deque
from collections.abc import Collection, Iterator
from itertools import chain

from callerside.agent.telephony.interface import TaggedSamples
from callerside.audio import BYTES_PER_SAMPLE


class PlayoutBuffer:
    """A bounded queue of PCM for each tag, played one after the other.

    Every method is one atomic step.
    """

    def __init__(self, max_samples: int) -> None:
        if max_samples <= 0:
            raise ValueError(f"max_samples must be positive, not {max_samples}")
        self._max_bytes = max_samples * BYTES_PER_SAMPLE
        self._queues: dict[int, deque[bytes]] = {}
        """What waits, by tag, in the order in which the tags are played; none is empty."""
        self._head_taken = 0
        """Bytes of the first chunk of the first queue that have left."""
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Samples that wait."""
        return self._size // BYTES_PER_SAMPLE

    def write(self, pcm: bytes, tag: int = 0) -> int:
        """Queue whole samples behind what waits of the same tag, or else behind everything.

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
                queue = self._queues.setdefault(tag, deque())
                queue.append(pcm if kept == len(pcm) else pcm[:kept])
                self._size += kept
        return (len(pcm) - kept) // BYTES_PER_SAMPLE

    def read(self, frame_samples: int) -> tuple[bytes, TaggedSamples]:
        """Take one frame: `frame_samples` of PCM, with silence behind what waited.

        Returns:
            The frame, and whose samples it has.
        """
        wanted = frame_samples * BYTES_PER_SAMPLE
        parts: list[bytes] = []
        played: list[tuple[int, int]] = []
        missing = wanted
        with self._lock:
            while missing and self._queues:
                tag, queue = next(iter(self._queues.items()))
                taken = self._take(queue, missing, parts)
                played.append((tag, taken // BYTES_PER_SAMPLE))
                missing -= taken
                if not queue:
                    del self._queues[tag]
            self._size -= wanted - missing
        if missing:
            parts.append(bytes(missing))
        return parts[0] if len(parts) == 1 else b"".join(parts), tuple(played)

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, which go on waiting; fewer if fewer wait."""
        with self._lock:
            start, missing, parts = self._head_taken, size, []
            for chunk in chain.from_iterable(self._queues.values()):
                parts.append(chunk[start : start + missing])
                missing -= len(parts[-1])
                start = 0
                if not missing:
                    break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def clear(self, tags: Collection[int] | None = None) -> TaggedSamples:
        """Drop what waits of these tags, or everything.

        Returns:
            How many samples that was: of each of the tags, or of each that waited.
        """
        with self._lock:
            return tuple(self._drop(list(self._queues) if tags is None else tags))

    def _drop(self, tags: Collection[int]) -> Iterator[tuple[int, int]]:
        for tag in tags:
            is_head = tag == next(iter(self._queues), None)
            size = sum(map(len, self._queues.pop(tag, ())))
            if is_head:
                size -= self._head_taken
                self._head_taken = 0
            self._size -= size
            yield tag, size // BYTES_PER_SAMPLE

    def _take(self, queue: deque[bytes], wanted: int, parts: list[bytes]) -> int:
        """Up to `wanted` bytes from the first queue; returns how many."""
        taken = 0
        while queue and taken < wanted:
            start, head = self._head_taken, queue[0]
            part = head[start : start + wanted - taken]
            taken += len(part)
            self._head_taken += len(part)
            if self._head_taken == len(head):
                queue.popleft()
                self._head_taken = 0
            parts.append(part)
        return taken
