"""The knee: how many calls at once an agent carries before its callers notice. Pure: no calls here.

Each step is so many calls at once. The budget allows a turn its server's own delay and 40 ms more;
the knee is the last step at which p95 of that rest, `agent_overhead_ms`, is within them. Who gave
way at the step after it is read off the hops: whose part of the turns grew most.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from callerside.reports.metrics import measurement
from callerside.reports.metrics.machine_stalls import stall_intervals
from callerside.reports.metrics.turn_path import LATENCY_PATH
from callerside.reports.pages.line_chart import Chart, Series, line_chart
from callerside.reports.verdict.budget import default_limits
from callerside.reports.verdict.call_result import CallResult

VERSION = 2
HARNESS_LAG_MS = 20.0
"""A caller's process that is later than this measures itself."""
_READERS = {"append to server": "harness", "playout to ear": "harness"}
"""Who reads at a hop's end, if not the agent. On one machine the way itself takes no time: what
arrives late was read late, by a loop or by a media clock."""
STALLED_MS = 10.0
"""A machine that stood still for longer at a time distorts what is measured on it."""
SATURATED = 0.9
"""Share of the machine's cores from which it, and nobody in particular, is what gave way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What a group of processes used during a step."""

    cpu_cores: float
    """Mean, in cores."""
    memory_mib: float
    """Resident, at most."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """So many calls at once, and what came of it."""

    calls: int
    finished: int
    """Calls that went as scripted (whatever their latency), of `placed`."""
    placed: int
    turns: int
    turn_ms: dict[str, float]
    """p50, p95, p99."""
    overhead_ms: dict[str, float]
    """The agent's part of them."""
    barge_in_stop_ms: dict[str, float]
    """Zeros where nobody interrupted."""
    harness_lag_ms: float
    """p95 over the calls of the harness's own worst lag."""
    stalled_ms: float
    """The longest time for which the machine stood still, by its own account (docs/marks.md)."""
    hops_ms: dict[str, float]
    """p95 of each of the turns' hops that are not the server's own delay."""
    workers: int
    """Of the agent, each a process."""
    agent: Load
    """Its workers, and what keeps them alive."""
    harness: Load
    """The callers and the fake server together."""
    within: bool
    """Whether every call finished and the overhead's p95 is within the budget."""
    attempt: int = 1
    """The one that counts: the machine stood still in those before."""

    @property
    def disturbed(self) -> bool:
        """Whether the machine distorted it, by standing still without being busy."""
        return self.stalled_ms > STALLED_MS


@dataclass(frozen=True, kw_only=True)
class CapacityResult:
    """All steps, up to the first that is not within the budget, or the last that was asked for."""

    measured_at: str
    machine: str
    cores: int
    limit_ms: float
    steps: tuple[Step, ...]
    error_ms: float | None = None
    """The harness's own error in `agent_overhead_ms` (p95), if this machine was calibrated."""
    version: int = field(default=VERSION)

    @property
    def calls(self) -> int:
        """How many calls at once the agent carries; 0 if not even the first step."""
        return max((step.calls for step in self.steps if step.within), default=0)

    @property
    def sentence(self) -> str:
        """The verdict, and who gave way first."""
        broken = next((step for step in self.steps if not step.within), None)
        within = f"{_calls(self.calls)} at once within the budget"
        if broken is None:
            return f"{within}; the knee is beyond."
        unsure = ""
        if self.error_ms and abs(broken.overhead_ms["p95"] - self.limit_ms) < self.error_ms:
            unsure = f" (closer to the limit than the harness's own error, {self.error_ms:.1f} ms)"
        if not self.calls:
            return (
                f"Not even {_calls(broken.calls)} within the budget: {self._who(broken)}{unsure}."
            )
        return f"{within}; at {broken.calls} {self._who(broken)}{unsure}."

    def _who(self, step: Step) -> str:
        used = step.agent.cpu_cores + step.harness.cpu_cores
        if used >= SATURATED * self.cores:
            return (
                f"the machine gave way: agent and harness share its {self.cores} cores and used "
                f"{used:.1f} of them (agent {step.agent.cpu_cores:.1f})"
            )
        if step.disturbed:
            return (
                f"nobody gave way: the machine stood still for {step.stalled_ms:.0f} ms at a time"
            )
        if step.harness_lag_ms > HARNESS_LAG_MS:
            return f"the harness gave way first: it was {step.harness_lag_ms:.0f} ms late itself"
        if step.finished < step.placed and step.overhead_ms["p95"] <= self.limit_ms:
            return f"{step.placed - step.finished} of {step.placed} calls did not go as scripted"
        if not step.hops_ms:
            return "no turn was heard"
        first = self.steps[0].hops_ms if self.steps[0] is not step else {}
        hop = max(step.hops_ms, key=lambda name: step.hops_ms[name] - first.get(name, 0.0))
        before = f", and {first[hop]:.0f} with {self.steps[0].calls}" if hop in first else ""
        return (
            f"the {_READERS.get(hop, 'agent')} gave way first: "
            f"{hop} took {step.hops_ms[hop]:.0f} ms (p95){before}"
        )


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


PARTIES = {point.hop: point.party for point in LATENCY_PATH.values()}


def step_of(
    calls: int,
    results: Sequence[CallResult],
    agent: Load,
    harness: Load,
    *,
    workers: int = 1,
    rounds: int = 1,
) -> Step:
    """A step's numbers from its calls: `calls` at once, so many times over."""
    turns = _values(results, "turn_ms")
    overhead = _values(results, "agent_overhead_ms")
    lags = [
        float(mark.fields["worst_ms"])
        for result in results
        for mark in result.evidence.find("caller", "scheduling_lag")
    ]
    finished = sum(result.evidence.info.verdict == "passed" for result in results)
    limits = _percentiles(overhead)
    return Step(
        calls=calls,
        finished=finished,
        placed=calls * rounds,
        turns=len(turns),
        turn_ms=_percentiles(turns),
        overhead_ms=limits,
        barge_in_stop_ms=_percentiles(_values(results, "barge_in_stop_ms")),
        harness_lag_ms=measurement.percentile(lags, 95) if lags else 0.0,
        stalled_ms=_stalled_ms(results),
        hops_ms=_hops(results),
        workers=workers,
        agent=agent,
        harness=harness,
        within=finished == calls * rounds and bool(overhead) and limits["p95"] <= limit_ms(),
    )


def limit_ms() -> float:
    """The budget's limit for the agent's part of a turn."""
    high = default_limits()["agent_overhead_ms"].high
    if high is None:
        raise ValueError("the default budget has no upper limit for agent_overhead_ms")
    return high


def charts(knee: CapacityResult) -> list[Chart]:
    """Latency, CPU and memory against concurrency."""
    x_label = "calls at once"

    def latency(which: str) -> list[Series]:
        return [
            Series(p, [(s.calls, getattr(s, which)[p]) for s in knee.steps if s.turns], p)
            for p in ("p50", "p95", "p99")
        ]

    def load(what: str) -> list[Series]:
        return [
            Series(who, [(s.calls, getattr(getattr(s, who), what)) for s in knee.steps], who)
            for who in ("agent", "harness")
        ]

    return [
        line_chart(
            "agent's part of a turn, ms", x_label, latency("overhead_ms"), limit=knee.limit_ms
        ),
        line_chart("turn, ms", x_label, latency("turn_ms")),
        line_chart("CPU, cores", x_label, load("cpu_cores"), limit=float(knee.cores)),
        line_chart("memory, MiB", x_label, load("memory_mib")),
    ]


def table(knee: CapacityResult) -> str:
    """For people."""
    head = (
        "calls",
        "done",
        "turn p50",
        "p95",
        "p99",
        "agent p95",
        "lag",
        "CPU agent",
        "harness",
        "MiB agent",
    )
    lines = ["  ".join(f"{name:>9}" for name in head)]
    for s in knee.steps:
        cells = (
            f"{s.calls}",
            f"{s.finished}/{s.placed}",
            *(f"{s.turn_ms[p]:.0f}" for p in ("p50", "p95", "p99")),
            f"{s.overhead_ms['p95']:.1f}",
            f"{s.harness_lag_ms:.0f}",
            f"{s.agent.cpu_cores:.2f}",
            f"{s.harness.cpu_cores:.2f}",
            f"{s.agent.memory_mib:.0f}",
        )
        lines.append("  ".join(f"{cell:>9}" for cell in cells))
    return "\n".join([*lines, knee.sentence])


def to_json(knee: CapacityResult) -> str:
    """`knee.json`."""
    data: dict[str, Any] = asdict(knee) | {"calls": knee.calls, "sentence": knee.sentence}
    return json.dumps(data, indent=2)


def _values(results: Sequence[CallResult], name: str) -> list[float]:
    """As they were measured: under load all processors are wanted, and nothing is taken off."""
    return [
        one.as_measured
        for result in results
        for one in result.judged
        if one.name == name and one.statistic is None
    ]


def _stalled_ms(results: Sequence[CallResult]) -> float:
    stood = (one for result in results for one in stall_intervals(result.evidence.marks))
    return max((one.worst_ms for one in stood), default=0.0)


def _hops(results: Sequence[CallResult]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for result in results:
        for turn in result.measured.turns:
            for hop in turn.hops:
                if hop.party != "server":
                    found.setdefault(hop.name, []).append(hop.length_ms)
    return {name: round(measurement.percentile(lengths, 95), 1) for name, lengths in found.items()}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {
        f"p{percent}": round(measurement.percentile(values, percent), 1) if values else 0.0
        for percent in (50, 95, 99)
    }
