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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from callerside import host
from callerside.clock import NS_PER_MS, ms_to_ns
from callerside.simulator.lanes.sip.stall import Stall

WAIT_MS = 1.0
"""What is shorter happens at every second wake, and bends nothing."""
_KEPT_MS = 2_000.0
"""Of what the agent has run: no wait is longer, as long as anything goes on."""
_FAMILY_MS = 40.0
"""For so long the agent's children are taken for those that they were, unless there is a wait to be
told: asking the system for them takes longer than all the rest of a look."""
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


@dataclass(slots=True)
class _Agent:
    """What an agent's process and those that it has started have run, in nanoseconds."""

    ran: dict[int, int] = field(default_factory=dict)
    """Of each process, by its own account, at the last look."""
    gone: int = 0
    asked_ns: int = 0
    """When the system was last asked which processes there are."""


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
        self._agents: dict[int, _Agent] = {}
        self._looked_ns: int | None = None
        self._ran_ns = 0
        """By all processes of the agent, since the first look."""
        self._history: deque[tuple[int, int, Mapping[int, int]]] = deque()
        """Of each look: when it was over, all that the agent had run, and what main threads had."""
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
        self._ran_ns += self._agent_has_run(agents, now_ns, at_once=bool(waits))
        # Whoever looks may have stood still in the middle, and the agent run meanwhile: of what it
        # had run before, the main threads' part is read last, as it is read first of what it has.
        counts = {pid: host.scheduled_ns(pid) for pid in agents}
        main = {pid: counted[0] for pid, counted in counts.items() if counted is not None}
        self._history.append((self._clock(), self._ran_ns, main))
        window_ns = now_ns - (self._looked_ns if self._looked_ns is not None else now_ns)
        for name, pid, waited_ns in waits:
            self._tell(name, pid, waited_ns, now_ns, window_ns)
        self._looked_ns = now_ns
        while self._history and self._history[0][0] < now_ns - ms_to_ns(_KEPT_MS):
            self._history.popleft()

    def _tell(self, name: str, pid: int, waited_ns: int, now_ns: int, window_ns: int) -> None:
        # It may have begun so long before the last look; whatever the agent ran since counts.
        since_ns = now_ns - window_ns - waited_ns
        earlier = [one for one in self._history if one[0] <= since_ns]
        looked_ns, ran_ns, main = (earlier or self._history)[-1 if earlier else 0]
        # What of it was before all looks, nobody knows: the agent may have run then.
        counted = self._counted[pid]
        room_ns = min(now_ns - looked_ns, now_ns - counted.first_ns - counted.taken)
        waited_ns = max(0, min(waited_ns, room_ns))
        counted.taken += waited_ns
        behind_ns = self._ran_ns - ran_ns
        if self._is_agent(name):  # nobody waits behind itself
            own_ns = counted.main_ran
            behind_ns = max(0, behind_ns - (own_ns - main.get(pid, own_ns)))
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

    def _agent_has_run(self, agents: Iterable[int], now_ns: int, *, at_once: bool) -> int:
        """What all processes of the agent have run since the last look, in nanoseconds.

        Of a process that is new, or gone, it may be told a moment later, unless it is to be known
        `at_once`: then a wait is to be told, and nothing that the agent ran may be missing.
        """
        total_ns = 0
        for agent in agents:
            known = self._agents.get(agent)
            state = known or self._agents.setdefault(agent, _Agent())
            if known is None or at_once or now_ns - state.asked_ns >= ms_to_ns(_FAMILY_MS):
                state.asked_ns = now_ns
                total_ns += self._family_has_run(agent, state, is_new=known is None)
                continue
            for pid, before_ns in state.ran.items():
                ran_ns = max(before_ns, host.ran_ns(pid))
                total_ns += ran_ns - before_ns
                state.ran[pid] = ran_ns
        return total_ns

    def _family_has_run(self, agent: int, state: _Agent, *, is_new: bool) -> int:
        total_ns = 0
        pids = (agent, *host.children(agent))
        for pid in pids:
            ran_ns = host.ran_ns(pid)
            # Of a child that was not there before, all that it has run.
            before_ns = state.ran.get(pid, ran_ns if is_new else 0)
            total_ns += max(0, ran_ns - before_ns)
            state.ran[pid] = ran_ns
        gone_ns = host.ran_by_gone_children_ns(agent)
        ended = [pid for pid in state.ran if pid not in pids]
        if not is_new and (ended or gone_ns > state.gone):
            counted_ns = sum(state.ran.pop(pid) for pid in ended)
            # In steps of a tick: what is less than one of them is not left out.
            total_ns += max(0, gone_ns - state.gone - counted_ns) + host.TICK_NS
        state.gone = gone_ns
        return total_ns

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
