"""What a call costs on the telephone's side alone: processor, memory, and the inbox's delay.

The limits are the design's, for the whole agent: 1.5 % of a core and 20 MB a call. With
`--benchmark-enable` they are judged; otherwise a moment of it shows that this file works.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sip_rig import Phone, open_phone

from callerside.agent.telephony.engine import EngineName
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
    PlayoutCleared,
)
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.agent.telephony.options import SipOptions
from callerside.audio import to_samples, tone

pytestmark = pytest.mark.e2e

Result = TypeVar("Result")

LIMIT_CORE_PER_CALL = 0.015
LIMIT_MB_PER_CALL = 20.0
CALLS_AT_ONCE = 4
FRAME_MS = 20


def answer_and_forget(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, FramePlayed):
        leg.play(bytes(FRAME_MS * leg.sample_rate_hz // 1000 * 2))


def _once(benchmark: BenchmarkFixture, work: Callable[[], Result]) -> Result:
    """Run a benchmark that takes its own measurements."""
    result: Result = benchmark.pedantic(work, rounds=1)  # type: ignore[no-untyped-call]
    return result


@pytest.fixture
def phones() -> Iterator[tuple[Phone, Phone]]:
    agent, caller = Phone("agent", SipOptions()), Phone("caller", SipOptions())
    agent.behave(answer_and_forget)
    for phone in (agent, caller):
        phone.keep_audio(False)
    yield agent, caller
    assert (agent.close(), caller.close()) == (0, 0)


@pytest.fixture
def in_full(request: pytest.FixtureRequest) -> bool:
    """Whether to measure, or only to show that it works."""
    return bool(request.config.getoption("--benchmark-enable"))


def test_four_calls_cost_little(
    phones: tuple[Phone, Phone], benchmark: BenchmarkFixture, in_full: bool
) -> None:
    agent, caller = phones
    uri = f"sip:100@127.0.0.1:{agent.port}"
    idle = agent.facts()
    span_s, idle_s = (20.0, 5.0) if in_full else (1.0, 0.2)
    time.sleep(idle_s)
    idle_cores = (agent.facts().cpu_s - idle.cpu_s) / idle_s
    calls = [caller.dial(uri) for _ in range(CALLS_AT_ONCE)]
    for call in calls:
        caller.wait_for(call, MediaReady)

    def talk() -> tuple[float, float]:
        before, begun_s = agent.facts().cpu_s, time.monotonic()
        time.sleep(span_s)
        after = agent.facts()
        cores = (after.cpu_s - before) / (time.monotonic() - begun_s)
        grown = after.resident_bytes - idle.resident_bytes
        return (cores - idle_cores) / CALLS_AT_ONCE, grown / CALLS_AT_ONCE / 1e6

    core_per_call, mb_per_call = _once(benchmark, talk)
    benchmark.extra_info.update(core_per_call=core_per_call, mb_per_call=mb_per_call)
    for call in calls:
        caller.do(call, "hang_up")
        caller.wait_for(call, HungUp)
    if in_full:
        assert core_per_call <= LIMIT_CORE_PER_CALL
        assert mb_per_call <= LIMIT_MB_PER_CALL


def test_a_frame_crosses_the_path(
    phones: tuple[Phone, Phone], benchmark: BenchmarkFixture, in_full: bool
) -> None:
    """From the media clock of one process to the loop of the same: what the inbox adds."""
    agent, caller = phones
    agent.keep_audio(True)
    theirs = agent.calls()
    call = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
    frames = 500 if in_full else 20

    def listen() -> list[float]:
        agent.wait_for(theirs, AudioReceived, count=frames, within_s=60)
        return [
            (told.at_ns - told.input.at_ns) / 1e6
            for told in agent.told(theirs)
            if isinstance(told.input, AudioReceived)
        ]

    waits_ms = _once(benchmark, listen)
    benchmark.extra_info.update(
        median_ms=statistics.median(waits_ms), p95_ms=statistics.quantiles(waits_ms, n=20)[-1]
    )
    caller.do(call, "hang_up")
    caller.wait_for(call, HungUp)


CLEARED_AT_FRAME = 60
LIMIT_AFTER_CLEAR_MS = 25.0
"""A packet that left just before, its 20 ms, and the filters of both ends."""


def sing_and_be_cleared(leg: CallLeg, item: LegInput) -> None:
    """Clears at some time between two packets that leave, another in each call."""
    if isinstance(item, CallReceived):
        leg.answer()
        _heard[leg] = 0
    elif isinstance(item, MediaReady):
        leg.play(tone(440, 5_000, leg.sample_rate_hz))
    elif isinstance(item, AudioReceived):
        _heard[leg] += 1
        if _heard[leg] == CLEARED_AT_FRAME:
            after_s = len(_heard) * 7 % 20 / 1000
            asyncio.get_running_loop().call_later(after_s, leg.clear)


LOUD = 500
"""Louder than what the filters of a tone's end leave."""
_heard: dict[CallLeg, int] = {}
"""Frames by call, in the agent's process."""


@pytest.mark.parametrize("engine", ["pjsua2", "baresip"])
def test_soon_after_a_clear_nothing_old_is_heard(
    engine: EngineName, benchmark: BenchmarkFixture, in_full: bool
) -> None:
    """As at a barge-in: from the agent's `clear` to the last sample at the caller's ear."""
    calls = 20 if in_full else 1

    def talk() -> list[float]:
        with (
            open_phone("agent", SipOptions(), sing_and_be_cleared, engine=engine) as agent,
            open_phone("caller", engine=engine) as caller,
        ):
            return [_heard_after_clear_ms(agent, caller) for _ in range(calls)]

    late_ms = _once(benchmark, talk)
    benchmark.extra_info.update(median_ms=statistics.median(late_ms), max_ms=max(late_ms))
    if in_full:
        assert max(late_ms) <= LIMIT_AFTER_CLEAR_MS


def _heard_after_clear_ms(agent: Phone, caller: Phone) -> float:
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
    agent.wait_for(theirs, PlayoutCleared)
    told = agent.told(theirs)
    cleared_ns = next(one.at_ns for one in told if isinstance(one.input, PlayoutCleared))
    time.sleep(0.2)  # what has left is there
    caller.do(ours, "hang_up")
    caller.wait_for(ours, HungUp)
    recorded = caller.recorded(ours)
    assert recorded.started_at_ns is not None
    loud = np.flatnonzero(np.abs(to_samples(recorded.ear).astype(int)) > LOUD)
    heard_ns = recorded.started_at_ns + int(loud[-1] + 1) * 1_000_000_000 // recorded.rate_hz
    return (heard_ns - cleared_ns) / 1e6


def test_a_minute_of_playout(benchmark: BenchmarkFixture) -> None:
    """A minute at 24 kHz, written at once and read frame by frame."""
    minute = bytes(2 * 24_000 * 60)

    def play() -> int:
        buffer = PlayoutBuffer(24_000 * 60)
        buffer.write(minute)
        return sum(samples for _ in range(3_000) for _, samples in buffer.read(480)[1])

    assert benchmark(play) == 24_000 * 60
