"""A call is placed beside others only while the processors have time left."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from callerside import host
from callerside.simulator.lanes.sip import headroom
from callerside.simulator.lanes.sip.headroom import Headroom
from callerside.simulator.lanes.sip.process_pair import LEAST_CALLS_AT_ONCE


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headroom, "LOOK_S", 0.0)


def machine(*idle_shares: float) -> tuple[Headroom, list[float]]:
    """Two processors that are idle for such parts of one look after the other; what is left."""
    left = list(idle_shares)

    def counted() -> Iterator[int]:
        while True:
            yield 0
            yield round(2 * 1_000_000 * left.pop(0))

    idle, now = counted(), count(0, 1_000_000)
    return Headroom(lambda: next(idle), lambda: next(now), processors=2), left


async def test_a_few_calls_are_always_carried() -> None:
    here, left = machine(0.0)
    await here.wait(lambda: LEAST_CALLS_AT_ONCE - 1)
    assert left == [0.0], "nobody looks"


async def test_one_more_waits_until_the_processors_have_time() -> None:
    here, left = machine(0.0, 0.1, 0.3, 0.0)
    await here.wait(lambda: LEAST_CALLS_AT_ONCE)
    assert left == [0.0]


async def test_or_until_others_are_over() -> None:
    here, _ = machine(*[0.0] * 100)
    under_way = iter([LEAST_CALLS_AT_ONCE + 1, LEAST_CALLS_AT_ONCE, LEAST_CALLS_AT_ONCE - 1])
    async with asyncio.timeout(5):
        await here.wait(lambda: next(under_way))


async def test_this_machine_counts() -> None:
    async with asyncio.timeout(60):
        await Headroom().wait(lambda: 0)
    assert host.idle_ns() > 0
