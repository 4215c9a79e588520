"""The page of the benchmarks, from what pytest-benchmark writes."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_page import BenchError, bench_page, load_benches, main, saved


def bench(name: str, median_s: float, *, params: Any = None, **extra: Any) -> dict[str, Any]:
    return {
        "name": name,
        "params": params,
        "extra_info": extra,
        "stats": {"median": median_s, "iqr": median_s / 10, "rounds": 5},
    }


def step(calls: int, workers: int = 1) -> dict[str, Any]:
    percentiles = {"p50": 30.0, "p95": 35.0, "p99": 38.0}
    load = {"cpu_cores": 0.05 * calls, "memory_mib": 60.0 + 10 * calls}
    return {
        "calls": calls,
        "workers": workers,
        "turns": 6 * calls,
        "overhead_ms": percentiles,
        "barge_in_stop_ms": percentiles,
        "stalled_ms": 43.2,
        "agent": load,
        "harness": load,
    }


def written(path: Path) -> Path:
    bridge = "test_bench_a_turn_through_a_bridge"
    figures = {"uplink_ms": 50.0, "uplink_worst_ms": 80, "downlink_ms": 95, "gap_ms": 80}
    nothing = dict.fromkeys(figures, 0)
    data = {
        "commit_info": {"id": "0123456789abcdef"},
        "datetime": "2026-08-01T12:00:00.123",
        "machine_info": {"system": "Linux", "machine": "x86_64", "python_version": "3.11.7"},
        "benchmarks": [
            bench(f"{bridge}[files]", 1.2, params={"way": "files"}, **figures),
            bench(f"{bridge}[frames]", 0.01, params={"way": "frames"}, **nothing),
            bench("test_bench_calls_over_sip[4-2]", 22.0, **step(4, workers=2)),
            bench("test_bench_calls_over_sip[4-4]", 22.0, **step(4)),
            bench("test_bench_calls_over_sip[1-4]", 21.0, **step(1), error_ms=0.3),
            bench("test_bench_a_virtual_call", 0.05, call_s=21.5),
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def test_the_page_shows_what_the_design_bought(tmp_path: Path) -> None:
    benches = load_benches(written(tmp_path / "b.json"))
    assert [(s.files, s.frames) for s in benches.sides] == [
        (50, 0),
        (80, 0),
        (95, 0),
        (80, 0),
        (1200, 10),
    ]
    page = bench_page(benches)
    assert "What the design bought" in page
    assert page.count("<figure") == 4
    assert [label for _, label in benches.charts[0].x_ticks] == ["1", "4"]
    assert [(s["calls"], s["workers"]) for s in benches.steps] == [(1, 1), (4, 1), (4, 2)]
    assert "call_s 21.5" in page
    assert "part of a turn: 0.3 ms (p95)" in page
    assert "was not calibrated" in bench_page(replace(benches, error_ms=None))
    assert page.count('<td class="num">43</td>') == 3, "when the machine stood still"


def test_a_page_of_some_benchmarks_only(tmp_path: Path) -> None:
    path = written(tmp_path / "b.json")
    data = json.loads(path.read_text())
    data["benchmarks"] = data["benchmarks"][-1:]
    path.write_text(json.dumps(data))
    page = bench_page(load_benches(path))
    assert "What the design bought" not in page
    assert "a virtual call" in page


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"benchmarks": 3}'])
def test_what_is_no_benchmark_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(BenchError, match=r"b\.json: not the JSON of pytest-benchmark"):
        load_benches(tmp_path / "b.json")


def test_the_command_takes_the_newest_and_compares_it_with_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    first = written(tmp_path / ".benchmarks" / "Linux" / "0001_x.json")
    assert main([]) == 0
    page = tmp_path / "out" / "bench.html"
    assert "change" not in page.read_text()
    data = json.loads(first.read_text())
    data["commit_info"]["id"] = "fedcba9876"
    data["benchmarks"][-1]["stats"]["median"] = 0.06
    second = first.with_name("0002_y.json")
    second.write_text(json.dumps(data))
    os.utime(first, (1, 1))
    assert saved(tmp_path / ".benchmarks") == [second, first]
    assert main([]) == 0
    assert "0123456789" in page.read_text()
    assert "+20 %" in page.read_text()


def test_benchmarks_of_another_hour_are_compared_by_their_loops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".benchmarks" / "Linux"
    # The machine has become twice as slow, and the code a quarter faster.
    for number, (commit, median_s, loops) in enumerate(
        [("aaaaaaaaaa", 0.05, 0.1), ("bbbbbbbbbb", 0.075, 0.075)], 1
    ):
        path = written(folder / f"000{number}_x.json")
        data = json.loads(path.read_text())
        data["commit_info"]["id"] = commit
        data["benchmarks"] = [bench("test_bench_a_virtual_call", median_s, loops=loops)]
        path.write_text(json.dumps(data))
        os.utime(path, (number, number))
    (folder / "0003_half.json").write_text("{")
    os.utime(folder / "0003_half.json", (0, 0))
    assert main([]) == 0
    page = (tmp_path / "out" / "bench.html").read_text()
    assert "-25 %" in page
    assert "+50 %" not in page
    history = page.partition("Commit by commit")[2]
    assert re.findall(r'<th class="num">(\w+)</th>', history) == ["aaaaaaaaaa", "bbbbbbbbbb"]
    assert re.findall(r'<td class="num">([\d.]+)</td>', history) == ["0.1", "0.075"]


def test_ratios_to_an_earlier_commit_have_a_history_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in turn with it: what both took together says nothing of either."""
    monkeypatch.chdir(tmp_path)
    for number, ratio in enumerate((0.76, 0.5), 1):
        path = written(tmp_path / ".benchmarks" / "Linux" / f"000{number}_x.json")
        data = json.loads(path.read_text())
        data["commit_info"]["id"] = str(number) * 10
        figures = {"start_s_new": 3.9, "start_ratio": ratio, "loops_a_call_new": 0.36}
        data["benchmarks"] = [bench("test_bench_a_run_of_calls", 300.0, loops=900.0, **figures)]
        path.write_text(json.dumps(data))
        os.utime(path, (number, number))
    assert main([]) == 0
    page = (tmp_path / "out" / "bench.html").read_text()
    rows = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", page.partition("Commit by commit")[2])
    found = {name: re.findall(r">([\d.]+)<", cells) for name, cells in rows}
    assert found == {
        "a run of calls": ["900", "900"],
        "a run of calls: start_ratio": ["0.76", "0.5"],
        "a run of calls: loops_a_call_new": ["0.36", "0.36"],
    }


def test_a_benchmark_beyond_its_limit_stands_beside_reference_work_too() -> None:
    path = Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("conftest_of_tests", path)
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    stats = SimpleNamespace(stats=SimpleNamespace(median=2.0))
    benchmark = SimpleNamespace(disabled=False, stats=stats, extra_info={})
    hook = conftest.pytest_runtest_call(SimpleNamespace(funcargs={"benchmark": benchmark}))
    next(hook)
    with pytest.raises(AssertionError, match="beyond its limit"):
        hook.throw(AssertionError("beyond its limit"))
    figures = benchmark.extra_info
    assert figures["loops"] == pytest.approx(2.0 / figures["reference_loop_s"])


def test_each_benchmark_stands_beside_reference_work(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "tests/bench/test_bench_reports.py", "-k", "drawn", "--benchmark-enable",
            "--benchmark-max-time=0.1", "--benchmark-min-rounds=2", f"--benchmark-json={out}",
        ],
        cwd=Path(__file__).parents[1], check=True, capture_output=True,
        # of several processes of pytest none measures
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")},
    )  # fmt: skip
    (one,) = json.loads(out.read_text())["benchmarks"]
    figures = one["extra_info"]
    assert figures["loops"] == pytest.approx(
        one["stats"]["median"] / figures["reference_loop_s"], rel=1e-6
    )
