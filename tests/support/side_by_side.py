"""How the tests are spread over processes by pytest-xdist, and which of them want to be alone.

A file is played by one process, in its order: what its fixtures of a module start is started once,
and no two of its tests take the same port. What is to be alone comes first: nobody else places
calls then. Then come files whose tests mostly wait, for calls in real time, the longest of them
before the others, so that no process has one of these to itself at the end, when all others are
done. All the while the last process plays the files that only compute, and gives way to all others:
it takes what these leave of the processors while they wait.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

LONGEST = (
    "test_sip_engines.py",
    "test_pages_commands.py",
    "test_kamailio_dual_stack.py",
    "test_call_leg.py",
    "test_kamailio_calls.py",
    "test_foreign_agents.py",
    "test_runs.py",
    "test_cancelled_calls.py",
    "test_own_account.py",
    "test_sip_relay.py",
    "test_workers_serve.py",
    "test_sip_opus.py",
    "test_lanes_agree.py",
    "test_sip_ipv6.py",
    "test_registrar.py",
    "test_steady_load.py",
    "test_attended_transfer.py",
    "test_sip_srtp.py",
    "test_recorded_scenario.py",
    "test_sip_tls.py",
    "test_sip_calls.py",
    "test_sip_lane.py",
    "test_browser_calls.py",
    "test_interrupted.py",
    "test_sip_peers.py",
)
"""Files in which a process waits for longer than in any other, the longest first."""

COMPUTING = (
    "test_truth.py",
    "test_virtual_fuzz.py",
    "test_random_faults.py",
    "test_from_call.py",
    "test_run_command.py",
)
"""Of the files that place no calls those that compute for longest."""

LEAST_FOR_A_QUIET_ONE = 3
"""Processes: with fewer each plays everything."""
GIVES_WAY = 5
"""As `nice` has it. With more of it a test that computes could meet its time limit."""


def scheduler(config: pytest.Config, log: Any) -> object:
    """Who hands out the files, in the order in which they were collected."""
    from xdist.scheduler import LoadFileScheduling  # not there where nobody asks for it

    class Scheduler(LoadFileScheduling):  # type: ignore[misc]  # it ships no types
        """Theirs plays a test at which a process crashed again and again."""

        def remove_node(self, node: Any) -> str | None:
            """The test at which a process ended, if there is one: it counts as played."""
            units = self.assigned_work.pop(node)
            left = [
                (unit, test)
                for unit in units.values()
                for test, is_over in unit.items()
                if not is_over
            ]
            if not left:
                return None
            unit, crashed = left[0]
            unit[crashed] = True
            self.workqueue.update(
                {name: unit for name, unit in units.items() if not all(unit.values())}
            )
            for other in self.assigned_work:
                self._reschedule(other)
            return str(crashed)

        def _assign_work_unit(self, node: Any) -> None:
            """The next one, or to the one that only computes the next that places no call."""
            # xdist drops processes that a small run has nothing for: whoever is left plays calls
            is_quiet = len(self.nodes) > 1 and node.gateway.id == _quiet(self.numnodes)
            for scope in self.workqueue:
                if not (is_quiet and _places_calls(config.rootpath / scope)):
                    self.workqueue.move_to_end(scope, last=False)
                    super()._assign_work_unit(node)
                    return
            node.shutdown()

    config.option.loadscopereorder = False
    return Scheduler(config, log)


def _quiet(processes: int) -> str:
    """Whose name it is that the one has which only computes; empty: there is none."""
    return f"gw{processes - 1}" if processes >= LEAST_FOR_A_QUIET_ONE else ""


@cache
def _places_calls(path: Path) -> bool:
    return path.name in LONGEST or "pytest.mark.e2e" in path.read_text(encoding="utf-8")


def is_quiet() -> bool:
    """Whether this is the process that only computes."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    return os.environ.get("PYTEST_XDIST_WORKER", "none") == _quiet(processes)


def give_way_if_quiet() -> None:
    """In each process: the one that only computes lets the others go first."""
    if is_quiet():
        os.nice(GIVES_WAY)


def place(item: pytest.Item) -> int:
    """Where a test stands in the order of processes: the later, the larger.

    First who is to be alone: later all others would come to an end, one by one, and wait.
    """
    if item.get_closest_marker("alone") is not None:
        return -1
    if item.path.name in LONGEST:
        return LONGEST.index(item.path.name)
    places_calls = item.get_closest_marker("e2e") is not None
    return len(LONGEST) + (0 if places_calls else 1 if item.path.name in COMPUTING else 2)


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """A test's time: with others in other processes, or while none of these plays one.

    Whoever is to be alone goes through the first lock and keeps it: the others come to an end, and
    none begins. Who only computes asks for no turn, and goes on: it gives way to whoever measures.

    Args:
        folder: one that all processes share.
        alone: whether nothing may be played beside it.
    """
    with (folder / "next").open("w") as door, (folder / "playing").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield


def is_side_by_side(config: pytest.Config) -> bool:
    """Whether this is one of several processes."""
    return hasattr(config, "workerinput")
