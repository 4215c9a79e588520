"""Lines on standard output for whoever waits for them: `closed FILE`, once a timeline is complete.

Who reads them is somebody else's program. If it is gone, or does not read, calls must neither wait
for it nor fail: what cannot be written at once is lost.
"""

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path


class Announcements:
    """Standard output of a process that serves, once it has said that it is ready."""

    def __init__(self, on_first_loss: Callable[[str], None]) -> None:
        """`on_first_loss` is called once, with the reason, whatever else is lost afterwards."""
        self._on_first_loss: Callable[[str], None] | None = on_first_loss

    def closed(self, timeline: Path) -> None:
        """Say that a timeline is complete. Neither waits nor raises."""
        try:
            _write_at_once(b"closed " + os.fsencode(timeline) + b"\n")
        except OSError as error:
            tell, self._on_first_loss = self._on_first_loss, None
            if tell is not None:
                tell(error.strerror or str(error))


def _write_at_once(line: bytes) -> None:
    """Write a line past the buffer of `sys.stdout`, which would keep and repeat what has failed.

    The descriptor is not set to non-blocking: that would change it for every process that shares
    it, such as the shell. A pipe that is ready has room for `PIPE_BUF` bytes, and takes them whole.

    Raises:
        OSError: it cannot be written without waiting.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed")
    if len(line) > select.PIPE_BUF:
        raise OSError(f"a line of more than {select.PIPE_BUF} bytes")
    output = sys.stdout.fileno()
    ready = select.poll()
    ready.register(output, select.POLLOUT)
    if not ready.poll(0):
        raise BlockingIOError("nobody reads standard output, and no more fits into it")
    if os.write(output, line) < len(line):
        raise OSError("standard output took a part of the line only")
