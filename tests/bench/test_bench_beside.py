"""Cost and delay beside an earlier commit, both in one run: what counts is the ratio.

With `--benchmark-enable` the earlier commits are installed under `.benchmarks/trees/`
(`CALLERSIDE_BENCH_AGAINST`: another one), and measured in turn with this one. Otherwise this commit
alone is measured, for a moment, so that this file is known to work.
"""

import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from agent_rig import Agent, fake_realtime
from other_commit import ROOT, command, other_tree, python
from process_cost import (
    CommandCost,
    answers_ms,
    call_cost,
    run_cost,
    seconds_of_calls,
    sent_intervals_ms,
    share,
)
from pytest_benchmark.fixture import BenchmarkFixture
from reference_work import loop_s
from sip_rig import ENGINES, Reaction, open_phone
from stalling import stalls, stalls_without_priority

from callerside.agent.telephony.options import SipOptions
from callerside.audio import resample
from callerside.speech.synthesis import synthesise

pytestmark = pytest.mark.e2e

Result = TypeVar("Result")

BEFORE_THE_HALVING = "70320d4"
"""What a run cost then is what its cost is measured by."""
BEFORE_THE_PATH = "2ffc2cc"
"""The last one with PJSUA2's bridge, clock and polls."""
CALLER_HZ = 16_000
CALLS = 4
ROUNDS = 2
REPLY = "On Saturday we open at nine in the morning and close at five."
TURN = """\
  - say: What time do you open on Saturday?
  - expect: reply
"""


def _once(benchmark: BenchmarkFixture, work: Callable[[], Result]) -> Result:
    """Run a benchmark that takes its own measurements."""
    result: Result = benchmark.pedantic(work, rounds=1)  # type: ignore[no-untyped-call]
    return result


def _p(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def trees_beside(commit: str, in_full: bool) -> dict[str, Path]:
    """An earlier commit's and this one's; this one's alone, where nothing is to be compared."""
    return {"old": other_tree(commit), "new": ROOT} if in_full else {"new": ROOT}


# ---- a run as a whole


def scenario(folder: Path, turns: int) -> Path:
    """A call of so many turns."""
    path = folder / f"turns{turns}.yaml"
    path.write_text(
        f"about: {turns} turns.\n"
        f"realtime:\n  greeting: {{say: {REPLY}}}\n  default_reply: {{say: {REPLY}}}\n"
        f"steps:\n  - expect: beep\n  - expect: greeting\n{TURN * turns}  - hang_up\n"
        "time_limit: 180000\n"
    )
    return path


def role(named: Sequence[str]) -> str:
    """Of a process of a run, by its name and its command line."""
    text = " ".join(named)
    if re.match(r"caller\d* |caller-", text) or "sip.worker" in text or "caller_process" in text:
        return "caller"
    return "agent" if "serve --config" in text else "others"


def cost_of_run(
    tree: Path, path: Path, out: Path, repeat: int, *options: str
) -> tuple[CommandCost, float]:
    """What a run costs, and how long its calls were together."""
    line = [*command(tree), "run", str(path), "--repeat", str(repeat), "--out", str(out), *options]
    cost, seconds = run_cost(line, role, out.parent), seconds_of_calls(out)
    assert seconds, f"it made no recording: {' '.join(line)}"
    return cost, seconds


def test_bench_a_run_of_calls(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """All processes: a second of a call, and a run's start and end."""
    in_full = not benchmark.disabled
    trees = trees_beside(BEFORE_THE_HALVING, in_full)
    short, long = scenario(tmp_path, 0), scenario(tmp_path, 6 if in_full else 1)
    sizes = ((short, 1), (long, 1), (long, 6)) if in_full else ((short, 1),)
    options = () if in_full else ("--lane", "virtual")

    def play() -> dict[str, dict[tuple[str, int], list[tuple[CommandCost, float]]]]:
        found: dict[str, dict[tuple[str, int], list[tuple[CommandCost, float]]]] = {}
        for name, tree in trees.items():  # what is said is synthesised once, and kept
            cost_of_run(tree, long, tmp_path / f"{name}-first", 1, "--lane", "virtual")
        for number in range(ROUNDS if in_full else 1):
            for name, tree in trees.items():
                for path, repeat in sizes:
                    out = tmp_path / f"{name}-{number}-{path.stem}-{repeat}"
                    costs = found.setdefault(name, {}).setdefault((path.stem, repeat), [])
                    costs.append(cost_of_run(tree, path, out, repeat, *options))
        return found

    found = _once(benchmark, play)
    figures: dict[str, float] = {}
    for name, by_size in found.items():
        (start,) = [_median(cost.cpu_s for cost, _ in by_size[short.stem, 1])]
        figures[f"start_and_end_s_{name}"] = start
        for repeat in [size[1] for size in sizes if size[0] is long]:
            costs = by_size[long.stem, repeat]
            figures[f"a_call_second_of_{repeat}_{name}"] = _median(
                (cost.cpu_s - start) / seconds for cost, seconds in costs
            )
            figures[f"caller_a_second_of_{repeat}_{name}"] = _median(
                cost.by_role.get("caller", 0.0) / seconds for cost, seconds in costs
            )
    benchmark.extra_info.update(_with_ratios(figures))


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)


def _with_ratios(figures: dict[str, float]) -> dict[str, float]:
    """Of the new to the old, behind each pair."""
    ratios = {
        f"{name.removesuffix('_new')}_ratio": value / old
        for name, value in figures.items()
        if name.endswith("_new") and (old := figures.get(f"{name.removesuffix('_new')}_old"))
    }
    return {**figures, **ratios}


def test_bench_the_virtual_lane(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The whole command over the library, pages in, in loops of reference work a call.

    Each commit plays its own library. CPU is that of all processes; beside it the time that the
    command takes. What is said is synthesised before, and kept.
    """
    in_full = not benchmark.disabled
    figures: dict[str, float] = {}

    def play() -> None:
        for name, tree in trees_beside(BEFORE_THE_HALVING, in_full).items():
            path = tree / "scenarios" if in_full else scenario(tmp_path, 1)
            out = tmp_path / name
            if in_full:
                cost_of_run(tree, path, out, 1, "--lane", "virtual")
            before_s, began_s = loop_s(), time.monotonic()
            cost, _ = cost_of_run(tree, path, out, 1, "--lane", "virtual")
            took_s = time.monotonic() - began_s
            loop = (before_s + loop_s()) / 2
            calls = len(list((out / "latest" / "calls").iterdir()))
            figures[f"loops_a_call_{name}"] = cost.cpu_s / calls / loop
            figures[f"loops_of_time_a_call_{name}"] = took_s / calls / loop

    _once(benchmark, play)
    benchmark.extra_info.update(_with_ratios(figures))


def test_bench_a_caller(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The caller's process, with four calls at once: a second of a call."""
    in_full = not benchmark.disabled
    path = scenario(tmp_path, CALLS if in_full else 0)
    options = () if in_full else ("--lane", "virtual")
    found: dict[str, list[float]] = {}

    def play() -> None:
        trees = trees_beside(BEFORE_THE_PATH, in_full)
        for name, tree in trees.items():  # what is said is synthesised once, and kept
            cost_of_run(tree, path, tmp_path / f"{name}-first", 1, "--lane", "virtual")
        for number in range(ROUNDS if in_full else 1):
            for name, tree in trees.items():
                out = tmp_path / f"{name}-{number}"
                cost, seconds = cost_of_run(tree, path, out, CALLS, *options)
                of_a_core = cost.by_role.get("caller", 0.0) / seconds
                found.setdefault(f"caller_share_a_call_{name}", []).append(of_a_core)

    _once(benchmark, play)
    told = {name: statistics.median(shares) for name, shares in found.items()}
    benchmark.extra_info.update(_with_ratios(told))


# ---- the agent's process


@contextmanager
def agents(folder: Path, in_full: bool) -> Iterator[dict[str, Agent]]:
    """The earlier commit's agent and this one's, with one server."""
    trees = trees_beside(BEFORE_THE_PATH, in_full)
    with fake_realtime(folder, {"default_reply": {"say": REPLY}}) as url:
        started: dict[str, Agent] = {}
        try:
            for name, tree in trees.items():
                started[name] = _agent(folder / name, tree, url)
            yield started
        finally:
            for agent in started.values():
                agent.close()


def _agent(folder: Path, tree: Path, url: str) -> Agent:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"realtime": {"url": url}, "timeline": {"dir": str(folder)}}
    runner = (python(tree), "-P", "-m")
    return Agent(folder, settings, runner=runner)


def test_bench_an_agent(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """CPU and memory of a call, CPU without one, INVITE to 200, start to ready."""
    in_full = not benchmark.disabled
    length_s, idle_s, invites = (15.0, 180.0, 60) if in_full else (1.0, 0.5, 3)
    question = resample(synthesise("When do you open on Saturday?"), 24_000, CALLER_HZ)
    figures: dict[str, list[float]] = {}

    def note(what: str, name: str, *values: float) -> None:
        figures.setdefault(f"{what}_{name}", []).extend(values)

    def measure() -> None:
        with agents(tmp_path, in_full) as both, open_phone("caller", SipOptions()) as phone:
            phone.keep_audio(False)
            processes = [psutil.Process(agent.process.pid) for agent in both.values()]
            idle = dict(zip(both, share(processes, idle_s), strict=True))
            for name, agent in both.items():
                note("idle_share", name, idle[name])
                cost = call_cost(agent, phone, CALLS, length_s, question, idle[name])
                note("cpu_share_a_call", name, cost.share)
                note("cpu_share_of_four_calls", name, CALLS * cost.share + idle[name])
                note("resident_mb_a_call", name, cost.resident_bytes / 1e6)
            for _ in range(ROUNDS - 1 if in_full else 0):
                for name, agent in both.items():
                    cost = call_cost(agent, phone, CALLS, length_s, question, idle[name])
                    note("cpu_share_a_call", name, cost.share)
            for name, agent in both.items():
                note("answer_ms", name, *answers_ms(agent, invites))
        for number in range(ROUNDS if in_full else 1):
            for name, tree in trees_beside(BEFORE_THE_PATH, in_full).items():
                began_s = time.monotonic()
                agent = _agent(tmp_path / f"{name}{number}", tree, "ws://127.0.0.1:9/v1/realtime")
                note("start_to_ready_s", name, time.monotonic() - began_s)
                agent.close()

    _once(benchmark, measure)
    told = {name: statistics.median(values) for name, values in figures.items()}
    told.update({f"{n}_p95": _p(v, 95) for n, v in figures.items() if n.startswith("answer_ms")})
    benchmark.extra_info.update(_with_ratios(told))


@pytest.mark.parametrize("reaction", [stalls, stalls_without_priority])
def test_bench_the_pace_of_a_loop_that_stalls(
    reaction: Reaction, benchmark: BenchmarkFixture
) -> None:
    """Packets as they came to the other side, while the sender's loop stands still now and then."""
    if not sys.platform.startswith("linux") or os.geteuid():
        pytest.skip("only root on Linux has a priority to give away")
    length_s = 20.0 if not benchmark.disabled else 1.0

    def listen() -> list[float]:
        with open_phone("agent", SipOptions(), reaction) as agent, open_phone("caller") as caller:
            agent.keep_audio(False)
            return sent_intervals_ms(agent, caller, length_s)

    found = _once(benchmark, listen)
    benchmark.extra_info.update(
        engine=ENGINES["agent"], p50_ms=_p(found, 50), p99_ms=_p(found, 99), most_ms=max(found)
    )
    assert found
