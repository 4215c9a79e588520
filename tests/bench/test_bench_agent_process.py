"""What a call costs an agent process: CPU, memory, and whether a thousand of them leave anything.

With `--benchmark-enable` four calls talk for twenty seconds and a thousand short ones follow;
otherwise one talks for a moment and a few follow, so that this file is known to work.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from agent_rig import PYTHON, Agent, fake_realtime, until
from pytest_benchmark.fixture import BenchmarkFixture
from sip_rig import Phone

from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions
from callerside.audio import resample
from callerside.speech.synthesis import synthesise

pytestmark = pytest.mark.e2e

Result = TypeVar("Result")

CALLER_HZ = 16_000
MAX_CPU_SHARE = 0.015
MAX_BYTES_A_CALL = 20e6
WARM_CALLS = 200
"""After so many, whatever is made once has been made."""
CALLS_A_SECOND = 6
"""PJSIP keeps a call's transactions for 32 s (RFC 3261 §17): at this pace those of 200 calls,
so that as many as there can be are there when the warm calls are over."""
MAX_GROWTH_BYTES = 5e6
"""From then on: an allocator that gives nothing back makes a step or two."""


def _once(benchmark: BenchmarkFixture, work: Callable[[], Result]) -> Result:
    """Run a benchmark that takes its own measurements."""
    result: Result = benchmark.pedantic(work, rounds=1)  # type: ignore[no-untyped-call]
    return result


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    replies = [{"say": "We are open from nine in the morning until six in the evening."}] * 3
    with fake_realtime(tmp_path, {"replies": replies}) as url:
        agent = Agent(tmp_path, {"realtime": {"url": url}}, runner=PYTHON)
        yield agent
        agent.close()


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone("caller", SipOptions())
    yield phone
    phone.close()


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def test_cpu_and_memory_of_a_call(agent: Agent, phone: Phone, benchmark: BenchmarkFixture) -> None:
    # The kernel counts CPU in ticks of 10 ms: over a second, one of them is a quarter of a limit.
    calls, length_s, idle_s = (4, 20.0, 5.0) if not benchmark.disabled else (1, 1.0, 1.0)
    process = psutil.Process(agent.process.pid)
    uri = agent.addresses[0].replace("sip:", "sip:100@")
    question = resample(synthesise("When do you open on Saturday?"), 24_000, CALLER_HZ)

    def talk() -> tuple[float, float]:
        idle_bytes, idle_cpu = process.memory_info().rss, idle_share(process, idle_s)
        numbers = [phone.dial(uri) for _ in range(calls)]
        for number in numbers:
            phone.wait_for(number, MediaReady)
        time.sleep(2 if not benchmark.disabled else 0)  # greetings are being played by now
        for number in numbers:
            phone.do(number, "play", question)
        before_s, began_s = cpu_s(process), time.monotonic()
        time.sleep(length_s)
        share = (cpu_s(process) - before_s) / (time.monotonic() - began_s) - idle_cpu
        used_bytes = process.memory_info().rss - idle_bytes
        for number in numbers:
            phone.do(number, "hang_up")
            phone.wait_for(number, HungUp)
        return share / calls, used_bytes / calls

    share, used_bytes = _once(benchmark, talk)
    benchmark.extra_info.update(cpu_share_a_call=share, bytes_a_call=used_bytes, calls=calls)
    if not benchmark.disabled:
        assert used_bytes <= MAX_BYTES_A_CALL
        assert share <= MAX_CPU_SHARE


def idle_share(process: psutil.Process, length_s: float) -> float:
    """The share of a core that the process takes without a call."""
    before_s, began_s = cpu_s(process), time.monotonic()
    time.sleep(length_s)
    return (cpu_s(process) - before_s) / (time.monotonic() - began_s)


@pytest.mark.peer
@pytest.mark.timeout(1500)
def test_a_thousand_short_calls_leave_nothing(agent: Agent, benchmark: BenchmarkFixture) -> None:
    sipp = shutil.which("sipp")
    if sipp is None:
        pytest.skip("sipp is not installed (Debian: apt install sip-tester)")
    warm, more = (WARM_CALLS, 800) if not benchmark.disabled else (6, 6)
    process = psutil.Process(agent.process.pid)

    def call(count: int) -> None:
        at = agent.addresses[0].removeprefix("sip:")
        pace = ["-l", "4", "-r", str(CALLS_A_SECOND), "-d", "100"]
        done = subprocess.run(
            [sipp, "-sn", "uac", at, "-m", str(count), *pace, "-nostdin", "-s", "100"],
            cwd=agent.folder,
            capture_output=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]

    def all_of_them() -> tuple[int, int, int]:
        call(warm)
        after_warm = process.memory_info().rss
        files = process.num_fds()
        call(more)
        until(lambda: len(agent.records()) == warm + more, "every call's record")
        return after_warm, process.memory_info().rss, process.num_fds() - files

    warm_bytes, end_bytes, files = _once(benchmark, all_of_them)
    growth = end_bytes - warm_bytes
    benchmark.extra_info.update(growth_bytes=growth, end_bytes=end_bytes, files=files)
    assert agent.metric("callerside_calls_active") == 0
    assert not agent.logged("call_failed")
    if not benchmark.disabled:
        assert growth <= MAX_GROWTH_BYTES
        assert files <= 2
