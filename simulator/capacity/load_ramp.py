"""`callerside knee`: more and more calls at once, until the callers notice.

Every step starts its processes anew: a fake server, one agent with as many supervised workers as
it needs for so many calls, and as many callers. CPU and memory are read from the operating system
for agent and harness apart, so that the page can say whose limit was reached.
"""

import asyncio
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from callerside.agent.telephony.engine import EngineChoice
from callerside.reports.verdict.call_result import CallResult
from callerside.reports.verdict.capacity import CapacityResult, Load, Step, limit_ms, step_of
from callerside.simulator.caller.audio.utterances import prepare
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall
from callerside.simulator.lanes.sip.lane import SipLane
from callerside.simulator.lanes.sip.process_pair import LEAST_CALLS_AT_ONCE
from callerside.simulator.runner.evaluate import evaluate
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Scenario

if TYPE_CHECKING:
    import psutil

STEPS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
LEAST_CALLS = 4
"""In a step: fewer at once call again, so that its p95 is more than the worst of some turns."""
MOST_ATTEMPTS = 3
"""At a step that is beyond the budget while the machine stood still."""
SCENARIO = Path(__file__).parent / "knee.yaml"
SAMPLE_S = 0.5
SPREAD_S = 1.0
"""Over which the calls of a step begin, so that their turns do not fall together."""

_MIB = 1 << 20


class KneeError(ValueError):
    """What cannot be called more and more often: says why."""


@dataclass
class _Meter:
    """CPU and memory of some processes and their children, sampled while calls run."""

    pids: Sequence[int]
    started_s: float = 0.0
    cpu_at_start_s: float = 0.0
    memory_bytes: int = 0
    _known: dict[int, "psutil.Process"] = field(default_factory=dict)

    def start(self, now_s: float) -> None:
        self.started_s = now_s
        self.cpu_at_start_s = self._cpu_s()

    def sample(self) -> None:
        import psutil

        total = 0
        for process in self._processes():
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        self.memory_bytes = max(self.memory_bytes, total)

    def load(self, now_s: float) -> Load:
        used_s = self._cpu_s() - self.cpu_at_start_s
        return Load(
            cpu_cores=round(used_s / max(1e-3, now_s - self.started_s), 3),
            memory_mib=round(self.memory_bytes / _MIB, 1),
        )

    def _cpu_s(self) -> float:
        import psutil

        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total

    def _processes(self) -> Iterable["psutil.Process"]:
        import psutil

        for pid in self.pids:
            try:
                parent = self._known.setdefault(pid, psutil.Process(pid))
                yield parent
                yield from parent.children(recursive=True)
            except psutil.Error:
                continue


async def find_knee(
    scenario_path: Path,
    directory: Path,
    *,
    steps: Sequence[int] = STEPS,
    calls_a_worker: int = LEAST_CALLS_AT_ONCE,
    engine: EngineChoice = "auto",
    error_ms: float | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> CapacityResult:
    """Raise the number of calls step by step, up to the first step beyond the budget.

    Args:
        scenario_path: what every caller does.
        directory: where the evidence goes.
        steps: how many calls at once, rising.
        calls_a_worker: how many of them each of the agent's workers takes.
        engine: the SIP engine of agent and callers.
        error_ms: the harness's own error, as calibrated.
        progress: called with a line after each step.

    Raises:
        KneeError: the file is not one scenario.
        ScenarioError: the scenario cannot be read.
        VoiceError, AudioFileError: what the caller says cannot be made.
        ProcessError: a process died, or did not start.
    """
    scenarios = loader.load([scenario_path])
    if len(scenarios) != 1:
        raise KneeError(
            f"{scenario_path}: {len(scenarios)} scenarios, and all callers are to do the same: "
            f"expected one, without a matrix"
        )
    (scenario,) = scenarios
    await asyncio.to_thread(prepare, scenario, CALLER_RATE_HZ)
    done: list[Step] = []
    for calls in steps:
        for attempt in range(1, MOST_ATTEMPTS + 1):
            folder = directory / f"{calls:03}-{attempt}"
            step = await _step(scenario, folder, calls, calls_a_worker, engine)
            step = replace(step, attempt=attempt)
            progress(_sentence_about(step))
            if step.within or not step.disturbed:
                break
        done.append(step)
        if not step.within:
            break
    return CapacityResult(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        limit_ms=limit_ms(),
        steps=tuple(done),
        error_ms=error_ms,
    )


def _sentence_about(step: Step) -> str:
    stood = f", the machine stood still for {step.stalled_ms:.0f} ms" if step.disturbed else ""
    return (
        f"{step.calls} at once: agent's part of a turn p95 {step.overhead_ms['p95']:.1f} ms, "
        f"{step.finished} of {step.placed} calls finished{stood}"
    )


async def _step(
    scenario: Scenario, directory: Path, calls: int, calls_a_worker: int, engine: EngineChoice
) -> Step:
    rounds = -(-LEAST_CALLS // calls)
    planned_calls = [
        PlannedCall(
            name=f"call{caller}-{number}", scenario=scenario, seed=caller, greeting_cache="knee"
        )
        for caller in range(1, calls + 1)
        for number in range(1, rounds + 1)
    ]
    lane = SipLane(
        planned_calls,
        directory,
        lambda *_: None,
        calls_at_once=calls,
        calls_a_worker=calls_a_worker,
        engine=engine,
        caller_engine=engine,
    )
    async with lane:
        pids = {process.name: process.pid for process in lane.processes if process.pid}
        agent = _Meter([pid for name, pid in pids.items() if name.startswith("agent")])
        harness = _Meter([pid for name, pid in pids.items() if not name.startswith("agent")])
        loop = asyncio.get_running_loop()
        for meter in (agent, harness):
            meter.start(loop.time())
        sampler = asyncio.create_task(_sample((agent, harness)))
        callers = (
            planned_calls[first : first + rounds] for first in range(0, len(planned_calls), rounds)
        )
        played = await asyncio.gather(*(_play(lane, mine, calls) for mine in callers))
        loads = agent.load(loop.time()), harness.load(loop.time())
        sampler.cancel()
    results = await asyncio.to_thread(_judge, [one for mine in played for one in mine])
    workers = -(-calls // calls_a_worker)
    return step_of(calls, results, *loads, workers=workers, rounds=rounds)


async def _play(
    lane: SipLane, planned_calls: Sequence[PlannedCall], calls: int
) -> list[PlayedCall]:
    """One caller's calls, one after another."""
    await asyncio.sleep(SPREAD_S * planned_calls[0].seed / calls)
    return [await lane.play(planned) for planned in planned_calls]


async def _sample(meters: Sequence[_Meter]) -> None:
    while True:
        for meter in meters:
            meter.sample()
        await asyncio.sleep(SAMPLE_S)


def _judge(played: Sequence[PlayedCall]) -> list[CallResult]:
    judged = (evaluate(one, "sip").result for one in played)
    return [result for result in judged if result is not None]
