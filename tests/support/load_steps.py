"""Made-up steps of a load ramp, and what a ramp found."""

from callerside.reports.verdict.capacity import CapacityResult, Load, Step

HOPS_MS = {"RTP to agent": 12.0, "agent to append": 0.5, "append to server": 0.4}


def step(
    calls: int,
    p95: float,
    *,
    lag: float = 3,
    agent: float = 0.2,
    harness: float = 0.2,
    stalled_ms: float = 0,
    finished: int | None = None,
    hops_ms: dict[str, float] | None = None,
) -> Step:
    return Step(
        calls=calls,
        finished=calls if finished is None else finished,
        placed=calls,
        turns=2 * calls,
        turn_ms={"p50": 900, "p95": 950, "p99": 990},
        overhead_ms={"p50": p95 / 2, "p95": p95, "p99": p95 + 3},
        barge_in_stop_ms={"p50": 90, "p95": 110, "p99": 120},
        harness_lag_ms=lag,
        stalled_ms=stalled_ms,
        hops_ms=HOPS_MS if hops_ms is None else hops_ms,
        workers=-(-calls // 4),
        agent=Load(cpu_cores=agent, memory_mib=70),
        harness=Load(cpu_cores=harness, memory_mib=150),
        within=p95 <= 40,
    )


def knee(*steps: Step, error_ms: float | None = None) -> CapacityResult:
    return CapacityResult(
        measured_at="2026-08-01T12:00:00+00:00",
        machine="Linux x86_64",
        cores=4,
        limit_ms=40,
        steps=steps,
        error_ms=error_ms,
    )
