"""Whether this machine carries one call more, measured while others go on.

Calls that want the same processors wait for each other, and that is in what is measured of them. So
a call is placed beside others only while the processors have time left, whoever else uses them.
"""

import asyncio
import time
from collections.abc import Callable

from callerside import host
from callerside.simulator.lanes.sip.process_pair import LEAST_CALLS_AT_ONCE

LEAST_IDLE = 0.15
"""Of the time of all processors. A call takes up to 0.08 of two of them while it is set up."""
LOOK_S = 0.5
"""Over which that is taken: the system counts in ticks of 10 ms."""


class Headroom:
    """Looks when somebody wants to place a call, and at no other time."""

    def __init__(
        self,
        idle_ns: Callable[[], int] = host.idle_ns,
        now_ns: Callable[[], int] = time.monotonic_ns,
        processors: int | None = None,
    ) -> None:
        self._idle_ns = idle_ns
        self._now_ns = now_ns
        self._processors = processors or len(host.processors())

    async def wait(self, under_way: Callable[[], int]) -> None:
        """Wait until the machine carries one call more than those that are under way.

        A few it always does: so this ends when others have.
        """
        while under_way() >= LEAST_CALLS_AT_ONCE and await self._idle_share() < LEAST_IDLE:
            pass

    async def _idle_share(self) -> float:
        idle_ns, at_ns = self._idle_ns(), self._now_ns()
        await asyncio.sleep(LOOK_S)
        passed_ns = max(1, self._now_ns() - at_ns)
        return (self._idle_ns() - idle_ns) / (passed_ns * self._processors)
