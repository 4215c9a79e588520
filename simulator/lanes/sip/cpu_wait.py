"""How long the processes of a run waited for a processor that foreign work had.

Linux counts for every thread the time in which it could have run and did not (`schedstat`: "time
spent waiting on a runqueue"). A process that other work on the machine keeps from running is late
through no fault of its own, however regular the processors are (`scheduler_stalls`). A wait is
counted when it is over, all at once: so when it was is known to the time between two looks.

Whom it waited behind is not counted. So what the agent under test has run meanwhile, in any of its
threads, processes and children, is taken for what was waited behind: the agent's own time is never
told as the machine's. What it spends in a busy loop, a garbage collection or behind a lock is no
wait in the first place.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callerside import host
from callerside.clock import NS_PER_MS, ms_to_ns
from callerside.simulator.lanes.sip.agent_time import AgentTime
from callerside.simulator.lanes.sip.stall import Stall

WAIT_MS = 1.0
"""What is shorter happens at every second wake, and bends nothing."""
_KEPT_MS = 2_000.0
"""Of what the agent has run: no wait is longer, as long as anything goes on."""
_AT_ONCE_MS = 0.2
"""What a look reads within so long it reads at one instant, beside a wait that matters."""
_STOLEN_EVERY = 12
"""Looks: the host's account is in ticks of 10 ms, and long to read."""


@dataclass(slots=True)
class _Counted:
    """What was counted of a process at the last look, in nanoseconds."""

    main_ran: int
    waited: int
    first_ns: int
    """When it was counted for the first time."""
    taken: int = 0
    """Of its waits, what was taken for a wait since then: it cannot be more than that time."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a look saw, in nanoseconds."""

    over_ns: int
    """When it was over."""
    ran_ns: int
    """What the agent had run, all in all."""
    unsure_ns: int
    """Of `AgentTime`."""
    main_ran: Mapping[int, int]
    """What main threads of the agent's had run."""


class WaitWatch:
    """Looks at the main threads of processes, as often as it is told to.

    Args:
        report: called for every wait that matters.
        clock: that of the marks.
        sure: whether the looks come when they are due, whatever else runs.
        agents: the names of those that are the agent under test.
    """

    def __init__(
        self,
        report: Callable[[Stall], None],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        sure: bool = False,
        agents: Callable[[str], bool] = lambda name: name.startswith("agent"),
    ) -> None:
        self._report = report
        self._clock = clock
        self._sure = sure
        self._is_agent = agents
        self._counted: dict[int, _Counted] = {}
        self._looked_ns: int | None = None
        self._agent_time = AgentTime()
        self._history: deque[_Looked] = deque()
        self._looks = 0
        self._stolen_at: tuple[int, int] | None = None

    def look(self, processes: Mapping[str, int]) -> None:
        """Report who has waited for others than the agent since the last look.

        Args:
            processes: the ids of the processes that there are now, by name.
        """
        now_ns = self._clock()
        self._look_at_the_host(now_ns)
        waits: list[tuple[str, int, int]] = []
        for name, pid in processes.items():
            counted = host.scheduled_ns(pid)
            if counted is None:
                continue
            main_ran_ns, waited_ns = counted
            before = self._counted.get(pid)
            if before is not None and waited_ns - before.waited >= ms_to_ns(WAIT_MS):
                waits.append((name, pid, waited_ns - before.waited))
            if before is None:
                self._counted[pid] = _Counted(main_ran_ns, waited_ns, first_ns=self._clock())
            else:
                before.main_ran, before.waited = main_ran_ns, waited_ns
        agents = [pid for name, pid in processes.items() if self._is_agent(name)]
        self._agent_time.look(agents, now_ns, at_once=bool(waits))
        main = {pid: self._counted[pid].main_ran for pid in agents if pid in self._counted}
        over_ns = self._clock()
        if over_ns - now_ns > ms_to_ns(_AT_ONCE_MS):
            # Whoever looks stood still in the middle, and the agent may have run meanwhile: of what
            # it had run before, the main threads' part is read last, as it is read first later on.
            counts = {pid: host.scheduled_ns(pid) for pid in agents}
            main = {pid: counted[0] for pid, counted in counts.items() if counted is not None}
            over_ns = self._clock()
        agent = self._agent_time
        self._history.append(_Looked(over_ns, agent.ran_ns, agent.unsure_ns, main))
        window_ns = now_ns - (self._looked_ns if self._looked_ns is not None else now_ns)
        for name, pid, waited_ns in waits:
            self._tell(name, pid, waited_ns, now_ns, window_ns)
        self._looked_ns = now_ns
        while self._history and self._history[0].over_ns < now_ns - ms_to_ns(_KEPT_MS):
            self._history.popleft()

    def _tell(self, name: str, pid: int, waited_ns: int, now_ns: int, window_ns: int) -> None:
        # It may have begun so long before the last look; whatever the agent ran since counts.
        since_ns = now_ns - window_ns - waited_ns
        before = self._history[0]
        for one in self._history:
            if one.over_ns > since_ns:
                break
            before = one
        # What of it was before all looks, nobody knows: the agent may have run then.
        counted = self._counted[pid]
        room_ns = min(now_ns - before.over_ns, now_ns - counted.first_ns - counted.taken)
        waited_ns = max(0, min(waited_ns, room_ns))
        counted.taken += waited_ns
        agent = self._agent_time
        behind_ns = agent.ran_ns - before.ran_ns
        behind_ns += min(agent.unsure_ns - before.unsure_ns, agent.most_unsure_ns)
        if self._is_agent(name):  # nobody waits behind itself
            own_ns = counted.main_ran
            behind_ns = max(0, behind_ns - (own_ns - before.main_ran.get(pid, own_ns)))
        late_ms = (waited_ns - behind_ns) / NS_PER_MS
        if late_ms >= WAIT_MS:
            self._report(
                Stall(
                    now_ns,
                    round(late_ms, 3),
                    process=name,
                    within_ms=round((waited_ns + window_ns) / NS_PER_MS, 3),
                    sure=self._sure,
                )
            )

    def _look_at_the_host(self, now_ns: int) -> None:
        """What a host has taken is told where the ticks of the processors did not show it.

        When it was within so many looks, and whether all of it was taken then, nobody knows: it
        is told, and never sure.
        """
        self._looks += 1
        if self._looks % _STOLEN_EVERY != 1:
            return
        stolen_ns = host.stolen_ns()
        if self._stolen_at is not None and stolen_ns > self._stolen_at[1]:
            since_ns, before_ns = self._stolen_at
            window_ms = (now_ns - since_ns) / NS_PER_MS
            late_ms = min(window_ms, (stolen_ns - before_ns) / NS_PER_MS)
            self._report(Stall(now_ns, round(late_ms, 3), within_ms=round(window_ms, 3)))
        self._stolen_at = now_ns, stolen_ns
