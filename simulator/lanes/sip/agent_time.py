"""What the agent under test has run: its processes, and all that they have ever started.

A function of the agent's may start a program that wants every processor. Whoever waits behind that
waits for the agent, in whatever way it was started: by a thread, by a shell that is over by now, by
a child's child. Whose child a process is, the system tells as long as that lives; behind it stands
the agent again, for an agent of a run is the parent of what its children leave behind
(`child_processes.end_with_parent`). What somebody else starts for it, such as a daemon that was
there before, cannot be known.

What a process that has ended had run is in the account of whoever waited for its end, in ticks of
10 ms: that much of it is not sure.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from callerside import host

_EVERY = 5
"""Looks: whether anybody has begun is asked then, unless it is to be known at once. The system's
file of that takes as long as all the rest of a look."""
_LOOKS = 4
"""For so many a number is asked for that no process has yet: it is given out a moment before that
is there."""
_MOST_BEGUN = 256
"""Numbers since then: if more were given out, all processes are gone through instead."""
_TICKS = 2
"""In which an account of those that ended may lack something: one of programs', one of the
system's time."""


@dataclass(slots=True)
class _Counted:
    """Of one process, in nanoseconds, at the last look."""

    ran: int
    gone: int
    """By its children that have ended, and theirs."""


class AgentTime:
    """Counts what agents and their descendants run, as often as it is told to."""

    def __init__(self) -> None:
        self._counted: dict[int, _Counted] = {}
        self._newest: deque[int] = deque(maxlen=_LOOKS)
        """The number that was given out last, of the last times that it was asked for."""
        self._looks = 0
        self._looked_ns: int | None = None
        self._reapers: set[int] = set()
        self.ran_ns = 0
        """All that was run since the first look, in nanoseconds."""
        self.unsure_ns = 0
        """What they may have run besides, if each look is asked for itself."""

    @property
    def most_unsure_ns(self) -> int:
        """What they may have run besides in any time: the ticks of an account are lost once."""
        return _TICKS * host.TICK_NS * len(self._reapers)

    def look(self, agents: Iterable[int], now_ns: int, *, at_once: bool = True) -> None:
        """Count what was run since the last look.

        Args:
            agents: the ids of the agents' own processes. What they have run when they are named
                for the first time is not counted.
            now_ns: the time.
            at_once: count who has begun meanwhile, too; else they may be counted, with all that
                they have run, in one of the next looks.
        """
        passed_ns = 0 if self._looked_ns is None else now_ns - self._looked_ns
        self._looked_ns = now_ns
        self._looks += 1
        begun = (at_once or self._looks % _EVERY == 1) and self._take_up_new_ones()
        for pid in agents:
            if pid not in self._counted and host.ran_ns(pid):
                self._take_up(pid)
        ended = self._count_those_that_run()
        if begun or ended:
            self._count_those_that_ended(ended, passed_ns)

    def _take_up_new_ones(self) -> bool:
        """Whether any process has begun of late, the agent's or another."""
        newest = host.newest_pid()
        begun = not self._newest or self._newest[0] != newest
        if begun and self._counted:
            for pid in self._since(newest):
                if pid not in self._counted and host.parent(pid) in self._counted:
                    self._counted[pid] = _Counted(0, 0)
        self._newest.append(newest)
        return begun

    def _since(self, newest: int) -> Iterable[int]:
        """The processes that may have begun of late, those first that may be others' parents."""
        first = self._newest[0] + 1
        return range(first, newest + 1) if 0 <= newest - first < _MOST_BEGUN else host.pids()

    def _take_up(self, agent: int) -> None:
        """From now on it counts, with what it has started: whatever that is, it is new."""
        family, more = set[int](), {agent}
        parents = {pid: host.parent(pid) for pid in host.pids()}
        while more:
            family |= more
            more = {pid for pid, parent in parents.items() if parent in more} - family
        for pid in family:
            counted = _Counted(host.ran_ns(pid), host.ran_by_gone_children_ns(pid))
            self._counted.setdefault(pid, counted)

    def _count_those_that_run(self) -> list[int]:
        """Those that don't any more."""
        ended = []
        for pid, counted in self._counted.items():
            ran_ns = host.ran_ns(pid)
            if not ran_ns:
                ended.append(pid)
                continue
            self.ran_ns += max(0, ran_ns - counted.ran)
            counted.ran = ran_ns
        return ended

    def _count_those_that_ended(self, ended: list[int], passed_ns: int) -> None:
        """What they ran is counted already, but for the last of it; of some nothing was seen."""
        known = [self._counted.pop(pid) for pid in ended]
        known_ns = sum(one.ran + one.gone for one in known)
        told_ns = 0
        for pid, counted in self._counted.items():
            gone_ns = host.ran_by_gone_children_ns(pid)
            if gone_ns > counted.gone:
                told_ns += gone_ns - counted.gone
                self._reapers.add(pid)
            counted.gone = max(counted.gone, gone_ns)
        self.ran_ns += max(0, told_ns - known_ns)
        if told_ns or known:
            self.unsure_ns += self.most_unsure_ns
        if told_ns + self.most_unsure_ns < known_ns:  # nobody waited for them: nothing tells it
            self.ran_ns += passed_ns * len(known)
