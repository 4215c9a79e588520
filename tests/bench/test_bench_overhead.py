"""The agent's own part of a turn, over the library: the server thinks for as long as is drawn.

Without bad networks and without faults of the server's, whose delays are not the agent's. With
`--benchmark-enable` all of it is played; otherwise one call, so that this file is known to work.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rich.console import Console

from callerside.simulator.cli.run import write_report
from callerside.simulator.runner.run import RunOptions, run
from callerside.simulator.scenario.loader import load_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_800)]

LIBRARY = Path(__file__).parents[2] / "scenarios"
DRAWN = "realtime:\n  timing: {think_jitter_ms: 93}\n"
"""In no step with packets, which are 20 ms long."""
ONE = "codecs.yaml"
WAITS = {
    "agent_presses_keys": "keys are sent to their end before what is said behind them",
    "greeting_not_interruptible": "the answer waits for the end of the greeting",
    "mission_profile": "appends of 100 ms are asked for",
}
"""Calls in which the agent waits because it is told to: part of all, and told apart."""


def paths_of(folder: Path, *, in_full: bool) -> list[Path]:
    """A copy of the library in which think times are drawn; of it what has no bad network."""
    shutil.copytree(LIBRARY, folder)
    suite = folder / "suite.yaml"
    text = suite.read_text()
    assert text.count("realtime:\n") == 1
    suite.write_text(text.replace("realtime:\n", DRAWN))
    if not in_full:
        return [folder / ONE]
    every = [path for path in sorted(folder.rglob("*.yaml")) if path.name != suite.name]
    return [
        path
        for path in every
        if not any(one.network is not None or one.realtime.faults for one in load_file(path))
    ]


def test_bench_the_overhead_of_the_library(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """`agent_overhead_ms` and `uplink_ms` of all turns of our own agent, over SIP."""
    paths = paths_of(tmp_path / "scenarios", in_full=not benchmark.disabled)
    options = RunOptions(paths=paths, lane="sip", out=tmp_path / "out")

    def play() -> dict[str, Any]:
        done = asyncio.run(run(options, Console(quiet=True)))
        assert done.failure is None
        write_report(done, options, "overhead")
        told: dict[str, Any] = json.loads((done.directory / "results.json").read_text())
        return told

    told = benchmark.pedantic(play, rounds=1)  # type: ignore[no-untyped-call]
    calls = told["scenarios"]
    benchmark.extra_info.update(
        calls=len(calls), passed=sum(one["verdict"] == "passed" for one in calls)
    )
    names = {one["name"] for one in calls}
    assert benchmark.disabled or set(WAITS) <= names
    apart = [one for one in calls if one["name"] not in WAITS]
    for name in ("agent_overhead_ms", "uplink_ms"):
        for of, those in (("", calls), ("_without_waits", apart)):
            values = [m["value"] for one in those for m in one["metrics"] if m["name"] == name]
            assert values
            benchmark.extra_info.update(
                {f"{name}{of}_p{at}": float(np.percentile(values, at)) for at in (50, 95)}
            )
