"""Who waited for a processor, and for how long."""

import asyncio
import subprocess
import sys

import pytest

from callerside import host
from callerside.simulator.lanes.sip import cpu_wait
from callerside.simulator.lanes.sip.cpu_wait import WaitWatch
from callerside.simulator.lanes.sip.scheduler_stalls import Stall

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="schedstat is Linux's")


AGENT, CALLER, CHILD, WORKER = 1, 2, 3, 4


class Counters:
    """The system's counters, in milliseconds, as a test turns them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.main_ran = dict.fromkeys((AGENT, CALLER, WORKER), 0)
        self.waited = dict.fromkeys((AGENT, CALLER, WORKER), 0)
        self.ran = dict.fromkeys((AGENT, CHILD, WORKER), 0)
        self.gone = dict.fromkeys((AGENT, WORKER), 0)
        self.children: dict[int, list[int]] = {}
        self.told: list[tuple[str, float]] = []
        pids = {"agent": AGENT, "agent2": WORKER, "caller": CALLER}
        self.watching = WaitWatch(
            lambda: pids, lambda stall: self.told.append((stall.process, stall.late_ms))
        )
        ns = 1_000_000
        monkeypatch.setattr(
            host, "scheduled_ns", lambda pid: (self.main_ran[pid] * ns, self.waited[pid] * ns)
        )
        monkeypatch.setattr(host, "ran_ns", lambda pid: self.ran[pid] * ns)
        monkeypatch.setattr(host, "ran_by_gone_children_ns", lambda pid: self.gone[pid] * ns)
        monkeypatch.setattr(host, "children", lambda pid: self.children.get(pid, []))
        self.watching.look(1)

    def look(self) -> list[tuple[str, float]]:
        """What is told now."""
        self.told.clear()
        self.watching.look(2)
        return self.told


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    return Counters(monkeypatch)


def test_what_is_waited_behind_foreign_work_is_told(counters: Counters) -> None:
    counters.waited[AGENT] += 40
    counters.waited[CALLER] += 9
    counters.ran[AGENT] += 6
    counters.main_ran[AGENT] += 6
    assert counters.look() == [("agent", 40.0)], "6 of the caller's 9 may be the agent's"
    assert counters.look() == [], "since the last look"


def test_a_busy_loop_and_a_collection_of_the_agents_are_no_waits(counters: Counters) -> None:
    """It runs all the while, and its caller waits behind it."""
    counters.ran[AGENT] += 50
    counters.main_ran[AGENT] += 50
    counters.waited[CALLER] += 50
    assert counters.look() == []


def test_a_lock_that_a_thread_of_the_agent_holds_is_no_wait(counters: Counters) -> None:
    """The thread that has it runs; the main thread cannot, and so does not wait to."""
    counters.ran[AGENT] += 45
    counters.waited[AGENT] += 4
    counters.waited[CALLER] += 48
    assert counters.look() == []


@pytest.mark.parametrize("before", [True, False])
def test_what_is_waited_behind_a_child_of_the_agent_is_the_agents(
    counters: Counters, before: bool
) -> None:
    if before:
        counters.children[AGENT] = [CHILD]
        counters.look()
    counters.children[AGENT] = [CHILD]
    counters.ran[CHILD] += 40
    counters.waited[AGENT] += 40
    counters.waited[CALLER] += 43
    assert counters.look() == []


def test_a_child_that_has_ended_meanwhile_has_run_too(counters: Counters) -> None:
    counters.gone[AGENT] += 40
    counters.waited[AGENT] += 40
    assert counters.look() == []


def test_what_is_waited_behind_another_process_of_the_agent_is_the_agents(
    counters: Counters,
) -> None:
    counters.ran[WORKER] += 40
    counters.main_ran[WORKER] += 40
    counters.waited[AGENT] += 40
    counters.waited[CALLER] += 40
    assert counters.look() == []


def test_a_process_that_is_gone_has_not_waited() -> None:
    told: list[Stall] = []
    WaitWatch(lambda: {"agent-gone": 2**22 + 1}, told.append).look(1)
    assert host.scheduled_ns(2**22 + 1) is None
    assert told == []


BURNS = """
import subprocess, sys, threading, time
def burn(until):
    while time.process_time() < until: pass
if "child" in sys.argv:
    burn(0.2)
else:
    thread = threading.Thread(target=burn, args=(0.2,)); thread.start(); thread.join()
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1], "child"])
    print("on", flush=True); sys.stdin.readline()
    child.wait()
    print("over", flush=True); sys.stdin.readline()
"""


@needs_linux
def test_the_system_counts_threads_and_children() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURNS, BURNS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert host.ran_ns(process.pid) >= 200_000_000, "a thread that is not the main one"
        counted = host.scheduled_ns(process.pid)
        assert counted is not None
        assert counted[0] < host.ran_ns(process.pid)
        assert len(host.children(process.pid)) == 1
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert host.children(process.pid) == []
        assert host.ran_by_gone_children_ns(process.pid) >= 150_000_000
        process.stdin.write(b"\n")


async def test_it_looks_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    third = asyncio.Event()

    def processes() -> dict[str, int]:
        looks.append(1)
        if len(looks) == 3:
            third.set()
        return {}

    monkeypatch.setattr(cpu_wait, "WINDOW_S", 0.001)
    async with WaitWatch(processes, lambda _: None):
        await third.wait()
    seen = len(looks)
    await asyncio.sleep(0.01)
    assert len(looks) == seen
