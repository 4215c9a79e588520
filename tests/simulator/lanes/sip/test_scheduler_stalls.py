"""When the machine stood still: what is told of it, and to whom."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from callerside.simulator.lanes.sip import scheduler_stalls
from callerside.simulator.lanes.sip.scheduler_stalls import KEPT_STALLS, StallWatch, watch
from callerside.simulator.lanes.sip.stall import Stall


def test_a_tick_that_comes_late_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    naps = iter([0.001, 0.05, 0.001])
    nap = time.sleep
    monkeypatch.setattr(scheduler_stalls, "TICK_S", 0.001)
    monkeypatch.setattr(scheduler_stalls, "STALL_MS", 30.0)
    monkeypatch.setattr(time, "sleep", lambda _: nap(next(naps)))
    ticks = iter([False, False, False, True])
    told: list[Stall] = []
    before_ns = time.monotonic_ns()
    # In a thread of its own: it takes a priority above everything, and would keep it for the tests.
    watching = threading.Thread(target=watch, args=(None, told.append, lambda: next(ticks)))
    watching.start()
    watching.join()
    late = [stall for stall in told if stall.late_ms >= 45]
    assert late, "the second tick was 49 ms late"
    assert late[0].cpu == -1
    assert late[0].late_ms < late[0].within_ms < late[0].late_ms + 1.5, "and the nap before it"
    assert late[0].sure is (os.geteuid() == 0)
    assert before_ns + 50_000_000 <= late[0].at_ns <= time.monotonic_ns()


def test_nothing_else_gets_the_watchers_priority() -> None:
    before = os.sched_getscheduler(0)
    inherited: list[int] = []
    ticks = iter([True])

    def watching() -> None:
        watch(None, lambda _: None, lambda: next(ticks))
        child = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"],
            capture_output=True,
            text=True,
            check=True,
        )
        inherited.append(int(child.stdout))

    thread = threading.Thread(target=watching)
    thread.start()
    thread.join()
    assert os.sched_getscheduler(0) == before
    assert inherited == [os.SCHED_OTHER]


async def test_the_watcher_runs_beside_the_run_and_ends_with_it() -> None:
    async with StallWatch() as watching:
        process = watching._process
        assert process is not None
        await asyncio.sleep(0.05)
        assert process.returncode is None
    assert process.returncode is not None


@pytest.fixture
def competitors() -> Iterator[list[int]]:
    """Two processes that want one processor: each waits while the other runs."""
    burning = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
    running = [subprocess.Popen([sys.executable, "-c", burning]) for _ in range(2)]
    yield [one.pid for one in running]
    for one in running:
        one.kill()
        one.wait()


async def test_the_watcher_looks_at_the_processes_that_it_is_told(competitors: list[int]) -> None:
    async with StallWatch() as watching:
        watching.look_at({"caller": competitors[0]})
        told: list[Stall] = []
        for _ in range(1_000):
            told = [stall for stall in watching.between(0, time.monotonic_ns()) if stall.process]
            if told:
                break
            await asyncio.sleep(0.02)
    assert {stall.process for stall in told} == {"caller"}
    assert all(stall.within_ms > stall.late_ms for stall in told)


async def test_stalls_are_kept_by_time_and_not_without_end() -> None:
    watching = StallWatch()
    lines = asyncio.StreamReader()
    for n in range(KEPT_STALLS + 5):
        lines.feed_data(json.dumps({"at_ns": n, "late_ms": 4.0, "cpu": 1}).encode() + b"\n")
    lines.feed_eof()
    await watching._read(lines)
    assert watching.between(0, 4) == []
    assert [stall.at_ns for stall in watching.between(7, 9)] == [7, 8, 9]
    assert watching.between(5, 5) == [Stall(at_ns=5, late_ms=4.0, cpu=1)]
    assert len(watching.between(0, KEPT_STALLS + 5)) == KEPT_STALLS


async def test_it_waits_for_calm_as_long_as_there_is_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_stalls, "CALM_S", 0.04)
    monkeypatch.setattr(scheduler_stalls, "MOST_WAIT_S", 0.1)
    monkeypatch.setattr(scheduler_stalls, "PATIENCE_S", 0.15)
    watching = StallWatch()
    future = Stall(at_ns=time.monotonic_ns() + 10**12, late_ms=50.0)
    watching._stalls.append(future)  # no matter
    await watching.calm()
    assert watching._patience_s == 0.15
    monkeypatch.setattr(watching, "_is_calm", lambda _now_ns: False)
    for left_s in (0.05, 0.0, 0.0):
        await watching.calm()
        assert watching._patience_s == pytest.approx(left_s, abs=0.011)
