"""How long the processes of a run waited for a processor that foreign work had.

Linux counts for every thread the time in which it could have run and did not (`schedstat`: "time
spent waiting on a runqueue"). A process that other work on the machine keeps from running is late
through no fault of its own, however regular the processors are (`scheduler_stalls`).

Whom it waited behind is not counted. So what the agent under test has run meanwhile, in any of its
threads, processes and children, is taken for what was waited behind: the agent's own time is never
told as the machine's. What it spends in a busy loop, a garbage collection or behind a lock is no
wait in the first place.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

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
        agents: the names of those that are the agent under test.
    """

    def __init__(
        self,
        processes: Callable[[], Mapping[str, int]],
        report: Callable[[Stall], None],
        agents: Callable[[str], bool] = lambda name: name.startswith("agent"),
    ) -> None:
        self._processes = processes
        self._report = report
        self._is_agent = agents
        self._waited_ns: dict[int, int] = {}
        self._ran_ns: dict[int, int] = {}
        """What each of the agent's processes had run, by its own account, at the last look."""
        self._children_ran_ns: dict[int, int] = {}
        self._main_ran_ns: dict[int, int] = {}
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
        """Report who has waited for others than the agent since the last look."""
        processes = self._processes()
        agents = [pid for name, pid in processes.items() if self._is_agent(name)]
        agent_ran_ns = self._agent_has_run(agents)
        for name, pid in processes.items():
            counted = host.scheduled_ns(pid)
            if counted is None:
                continue
            main_ran_ns, waited_ns = counted
            before_ns = self._waited_ns.get(pid, waited_ns)
            own_ns = main_ran_ns - self._main_ran_ns.get(pid, main_ran_ns)
            self._waited_ns[pid], self._main_ran_ns[pid] = waited_ns, main_ran_ns
            # Nobody waits behind itself.
            behind_ns = max(0, agent_ran_ns - (own_ns if pid in agents else 0))
            late_ms = (waited_ns - before_ns - behind_ns) / NS_PER_MS
            if late_ms >= WAIT_MS:
                self._report(Stall(now_ns, round(late_ms, 3), process=name))

    def _agent_has_run(self, agents: Iterable[int]) -> int:
        """What all processes of the agent have run since the last look, in nanoseconds."""
        total_ns = 0
        for agent in agents:
            for pid in (agent, *host.children(agent)):
                ran_ns = host.ran_ns(pid)
                # Of a child that was not there before, all that it has run.
                before_ns = self._ran_ns.get(pid, ran_ns if pid == agent else 0)
                self._ran_ns[pid] = ran_ns
                total_ns += max(0, ran_ns - before_ns)
            gone_ns = host.ran_by_gone_children_ns(agent)
            total_ns += gone_ns - self._children_ran_ns.get(agent, gone_ns)
            self._children_ran_ns[agent] = gone_ns
        return total_ns

    async def _watch(self) -> None:
        while True:
            self.look(time.monotonic_ns())
            await asyncio.sleep(WINDOW_S)
