"""What a call costs on the telephone's side alone: processor, memory, and the inbox's delay.

The limits are the design's, for the whole agent: 1.5 % of a core and 20 MB a call. With
`--benchmark-enable` they are judged; otherwise a moment of it shows that this file works.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sip_rig import Phone

from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
)
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.playout_buffer import PlayoutBuffer

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


def test_a_minute_of_playout(benchmark: BenchmarkFixture) -> None:
    """A minute at 24 kHz, written at once and read frame by frame."""
    minute = bytes(2 * 24_000 * 60)

    def play() -> int:
        buffer = PlayoutBuffer(24_000 * 60)
        buffer.write(minute)
        return sum(samples for _ in range(3_000) for _, samples in buffer.read(480)[1])

    assert benchmark(play) == 24_000 * 60
