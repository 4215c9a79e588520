"""Who waited for a processor, and for how long."""

import asyncio
import os
import sys

import pytest

from callerside import host
from callerside.simulator.lanes.sip import cpu_wait
from callerside.simulator.lanes.sip.cpu_wait import WaitWatch
from callerside.simulator.lanes.sip.scheduler_stalls import Stall

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="schedstat is Linux's")


def test_what_is_waited_between_two_looks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {1: iter([10_000_000, 12_000_000, 52_000_000]), 2: iter([0, 9_000_000, 9_000_000])}
    monkeypatch.setattr(host, "waited_ns", lambda pid: next(counted[pid]))
    told: list[Stall] = []
    watching = WaitWatch(lambda: {"agent": 1, "caller": 2}, told.append)
    for now_ns in (100, 200, 300):
        watching.look(now_ns)
    assert told == [Stall(200, 9.0, process="caller"), Stall(300, 40.0, process="agent")]


def test_a_process_that_is_gone_has_not_waited() -> None:
    told: list[Stall] = []
    WaitWatch(lambda: {"gone": 2**22 + 1}, told.append).look(1)
    assert host.waited_ns(2**22 + 1) is None
    assert told == []


@needs_linux
def test_the_system_counts_for_every_process() -> None:
    before_ns = host.waited_ns(os.getpid())
    assert before_ns is not None
    after_ns = host.waited_ns(os.getpid())
    assert after_ns is not None
    assert after_ns >= before_ns


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
