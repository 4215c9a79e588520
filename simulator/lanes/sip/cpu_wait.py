"""How long the processes of a run waited for a processor that others had.

Linux counts for every thread the time in which it could have run and did not (`schedstat`: "time
spent waiting on a runqueue"). A process that other work on the machine keeps from running is late
through no fault of its own, however regular the processors are (`runner.scheduler_stalls`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping

from callerside import host
from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.sip.scheduler_stalls import Stall

WINDOW_S = 0.05
WAIT_MS = 5.0
"""In one window; all the short waits of a busy call together are about one."""


class WaitWatch:
    """Looks at the main threads of processes at short intervals, for as long as it is open.

    Args:
        processes: the ids of the processes there are now, by name.
        report: called for every wait that matters.
    """

    def __init__(
        self, processes: Callable[[], Mapping[str, int]], report: Callable[[Stall], None]
    ) -> None:
        self._processes = processes
        self._report = report
        self._waited_ns: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "WaitWatch":
        """Start watching. Where the system does not count, there is nothing to report."""
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def look(self, now_ns: int) -> None:
        """Report who has waited since the last look."""
        for name, pid in self._processes().items():
            waited_ns = host.waited_ns(pid)
            if waited_ns is None:
                continue
            before_ns = self._waited_ns.get(pid, waited_ns)
            self._waited_ns[pid] = waited_ns
            late_ms = (waited_ns - before_ns) / NS_PER_MS
            if late_ms >= WAIT_MS:
                self._report(Stall(now_ns, round(late_ms, 3), process=name))

    async def _watch(self) -> None:
        while True:
            self.look(time.monotonic_ns())
            await asyncio.sleep(WINDOW_S)
