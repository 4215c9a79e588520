"""Fifty calls in a row through one agent leave nothing behind: no process, port, or memory."""

import asyncio
import random
from pathlib import Path

import psutil
import pytest

from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.sip.child_process import ChildProcess
from callerside.simulator.lanes.sip.lane import SipLane
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CALLS = 50
WARM_UP = 20
"""Calls after which pools and caches are filled."""
GROWTH_MIB = 8.0
"""Over the last thirty calls, each process: a leak of one call's audio would be ten times this."""

SCENARIO = """\
about: A short call.
realtime:
  greeting: {say: "Hello."}
  timing: {think_ms: 100}
steps:
  - pause: 800ms
  - hang_up
"""


def memory_mib(process: ChildProcess) -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / 2**20


def sockets(process: ChildProcess) -> int:
    return len(psutil.Process(process.pid).net_connections("inet"))


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(SCENARIO)
    planned_calls = plan(
        load([tmp_path / "short.yaml"]), repeat=CALLS, seed=random.Random(1).getrandbits(32)
    )
    lane = SipLane(planned_calls, tmp_path, lambda *_: None)
    async with lane:
        await play_all(lane, planned_calls[:WARM_UP])
        before = {p.name: (memory_mib(p), sockets(p)) for p in lane.processes}
        await play_all(lane, planned_calls[WARM_UP:])
        await asyncio.sleep(1)
        after = {p.name: (memory_mib(p), sockets(p)) for p in lane.processes}
        pids = [p.pid for p in lane.processes]
    for name in before:
        grown = after[name][0] - before[name][0]
        assert grown < GROWTH_MIB, f"{name} grew by {grown:.1f} MiB over {CALLS - WARM_UP} calls"
        assert after[name][1] <= before[name][1], f"{name} has more sockets than before"
    assert [pid for pid in pids if psutil.pid_exists(pid or -1)] == []
    assert [process.exit_code for process in lane.processes] == [0, 0, 0]


async def play_all(lane: SipLane, planned_calls: list[PlannedCall]) -> None:
    """Four at a time; each must go as scripted."""
    places = asyncio.Semaphore(4)

    async def one(planned: PlannedCall) -> None:
        async with places:
            played = await lane.play(planned)
            assert played.verdict == "passed", played.detail

    async with asyncio.TaskGroup() as group:
        for planned in planned_calls:
            group.create_task(one(planned))
