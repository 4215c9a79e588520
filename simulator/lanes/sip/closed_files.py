"""Which files the agent and the server announce as complete, by `closed FILE` on standard output.

So nobody has to read a timeline again and again to see whether its last mark has come.
"""

import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

PREFIX = "closed "
_KEPT = 1000


class ClosedFiles:
    """Takes announcements on the loop's thread; calls' threads wait for those that concern them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: deque[str] = deque(maxlen=_KEPT)
        self._count = 0
        self.over = False
        """Whether nobody is to wait any more: the run is ending."""

    @property
    def count(self) -> int:
        """How many have been announced so far: `wait` looks at those that come after."""
        return self._count

    def take(self, line: str) -> None:
        """A line of a process's standard output; what is no announcement is none of ours."""
        if line.startswith(PREFIX):
            with self._changed:
                self._names.append(Path(line.removeprefix(PREFIX)).name)
                self._count += 1
                self._changed.notify_all()

    def end(self) -> None:
        """Nobody is to wait any more."""
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def wait(self, since: int, concerns: Callable[[str], bool], timeout_s: float) -> bool:
        """Wait for a file whose name `concerns` us, other than the first `since`. Blocks.

        False if none has been announced within `timeout_s`; after `end` nobody waits.
        """

        def has_come() -> bool:
            newest = islice(reversed(self._names), max(0, self._count - since))
            return self.over or any(concerns(name) for name in newest)

        with self._changed:
            return self._changed.wait_for(has_come, max(0.0, timeout_s))
