"""The benchmarks of a commit as a page: `out/bench.html` from pytest-benchmark's JSON.

`nox -s bench` makes it of the newest in .benchmarks/, beside the one before it, with the history of
all commits there: in loops of reference work, and in ratios to an earlier commit in the same run.

Benchmarks leave their own figures in `extra_info`; those of whole calls are the steps of
`reports.verdict.capacity`, those of a turn through files and through frames stand side by side.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

from callerside.atomic_files import write_atomically
from callerside.files import regular
from callerside.reports.pages.line_chart import Chart, Series, line_chart

_PAGES = Environment(
    loader=ChoiceLoader(
        [FileSystemLoader(Path(__file__).parent), PackageLoader("callerside.reports.pages")]
    ),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_COMMITS = 10
"""Of the history."""
_BRIDGE = "test_bench_a_turn_through_a_bridge"
_CALLS = "test_bench_calls_over_sip"
_BRIDGE_ROWS = (
    ("uplink_ms", "from the caller's mouth to the append, mean, ms"),
    ("uplink_worst_ms", "the same, worst, ms"),
    ("downlink_ms", "from the first delta to its first frame, mean, ms"),
    ("gap_ms", "longest hole in the answer, ms"),
)


class BenchError(ValueError):
    """A file that holds no benchmarks."""


@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark."""

    name: str
    median_ms: float
    spread_ms: float
    """Between the quartiles."""
    rounds: int
    extra: str
    loops: float | None = None
    """The median in loops of reference work in the same run (`reference_work`): what can
    be compared with another hour, and another machine."""
    before: float | None = None
    """The same of another commit; its milliseconds, where one of both has no loops."""
    ratios: Mapping[str, float] = field(default_factory=dict)
    """Its own figures that are ratios within the same run: to an earlier commit, or to loops."""

    @property
    def compared(self) -> dict[str, float]:
        """All that can be compared with another hour, and another machine, by what it is of."""
        loops = {} if self.loops is None else {self.name: self.loops}
        return loops | {f"{self.name}: {name}": value for name, value in self.ratios.items()}

    @property
    def change_percent(self) -> float | None:
        """How much longer it takes than before."""
        if not self.before:
            return None
        return 100 * ((self.median_ms if self.loops is None else self.loops) / self.before - 1)


@dataclass(frozen=True, slots=True)
class Side:
    """One figure of both ways to carry audio."""

    name: str
    files: float
    frames: float


@dataclass(frozen=True)
class Benches:
    """Everything on the page."""

    commit: str
    measured_at: str
    machine: str
    rows: list[Row]
    sides: list[Side]
    charts: list[Chart]
    steps: list[dict[str, Any]]
    """Those of calls over SIP, as `reports.verdict.capacity.Step` has them."""
    error_ms: float | None = None
    """The harness's own error in these (p95), if the machine was calibrated."""
    before: str = ""
    """The other commit, if there is one to compare with."""
    history: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    """By commit, the oldest first: what can be compared of each benchmark (`Row.compared`)."""


def load_benches(path: Path) -> Benches:
    """Read what `pytest --benchmark-json` or `--benchmark-autosave` wrote.

    Raises:
        BenchError: it is not that.
    """
    try:
        data = json.loads(regular(path).read_bytes())
        benchmarks = data["benchmarks"]
        return Benches(
            commit=str(data["commit_info"].get("id", ""))[:10],
            measured_at=str(data["datetime"])[:19],
            machine=f"{data['machine_info']['system']} {data['machine_info']['machine']}, "
            f"Python {data['machine_info']['python_version']}",
            rows=[_row(one) for one in benchmarks],
            sides=_sides(benchmarks),
            charts=_charts(_steps(benchmarks)),
            steps=_steps(benchmarks),
            error_ms=max(
                (s["error_ms"] for s in _steps(benchmarks) if s.get("error_ms") is not None),
                default=None,
            ),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(f"{path}: not the JSON of pytest-benchmark: {error!r}") from None


def beside(benches: Benches, others: Benches) -> Benches:
    """The benchmarks with the medians of another commit beside theirs."""
    before = {row.name: row for row in others.rows}
    rows = [_beside(row, before.get(row.name)) for row in benches.rows]
    return replace(benches, rows=rows, before=others.commit or others.measured_at)


def _beside(row: Row, other: Row | None) -> Row:
    if other is None:
        return row
    if row.loops is None or other.loops is None:
        return replace(row, loops=None, before=other.median_ms)
    return replace(row, before=other.loops)


def history(files: Sequence[Path]) -> list[tuple[str, dict[str, float]]]:
    """By commit, the oldest first, the loops and ratios of each benchmark as measured last.

    Args:
        files: the newest first. One that holds no benchmarks is left out.
    """
    by_commit: dict[str, dict[str, float]] = {}
    for path in files:
        with contextlib.suppress(BenchError):
            benches = load_benches(path)
            known = by_commit.setdefault(benches.commit or benches.measured_at, {})
            for row in benches.rows:
                for name, value in row.compared.items():
                    known.setdefault(name, value)
        if len(by_commit) > _COMMITS:
            break
    told = [(commit, loops) for commit, loops in by_commit.items() if loops]
    return told[:_COMMITS][::-1]


def saved(folder: Path) -> list[Path]:
    """The files that `--benchmark-autosave` left below a folder, the newest first.

    Raises:
        BenchError: there is none.
    """
    found = sorted(folder.glob("*/*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    if not found:
        raise BenchError(f"{folder}: no benchmarks there; `nox -s bench` makes some")
    return found


def _row(one: Mapping[str, Any]) -> Row:
    stats = one["stats"]
    extra = {k: v for k, v in one["extra_info"].items() if not isinstance(v, dict | list)}
    loops = extra.pop("loops", None)
    return Row(
        name=one["name"].removeprefix("test_bench_").removeprefix("test_").replace("_", " "),
        median_ms=stats["median"] * 1000,
        spread_ms=stats["iqr"] * 1000,
        rounds=stats["rounds"],
        extra=", ".join(f"{key} {_short(value)}" for key, value in extra.items()),
        loops=loops,
        ratios={key: value for key, value in extra.items() if _is_ratio(key, value)},
    )


def _is_ratio(name: str, value: object) -> bool:
    return isinstance(value, float) and (name.endswith("_ratio") or name.startswith("loops_"))


def _sides(benchmarks: Sequence[Mapping[str, Any]]) -> list[Side]:
    by_way = {
        one["params"]["way"]: one for one in benchmarks if one["name"].startswith(f"{_BRIDGE}[")
    }
    if by_way.keys() != {"files", "frames"}:
        return []
    files, frames = by_way["files"], by_way["frames"]
    figures = [
        Side(text, files["extra_info"][key], frames["extra_info"][key])
        for key, text in _BRIDGE_ROWS
    ]
    cpu = Side(
        "CPU of one turn, ms", files["stats"]["median"] * 1e3, frames["stats"]["median"] * 1e3
    )
    return [*figures, cpu]


def _steps(benchmarks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = [one["extra_info"] for one in benchmarks if one["name"].startswith(f"{_CALLS}[")]
    return sorted(found, key=lambda step: (step["calls"], step["workers"]))


def _charts(all_steps: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Against concurrency, with no more workers than it takes."""
    steps = list({step["calls"]: step for step in reversed(all_steps)}.values())[::-1]
    if not steps:
        return []

    def percentiles(key: str) -> list[Series]:
        return [
            Series(p, [(step["calls"], step[key][p]) for step in steps], p)
            for p in ("p50", "p95", "p99")
        ]

    def a_call(key: str) -> list[Series]:
        return [
            Series(who, [(step["calls"], step[who][key] / step["calls"]) for step in steps], who)
            for who in ("agent", "harness")
        ]

    x_label = "calls at once"
    return [
        line_chart("agent's part of a turn, ms", x_label, percentiles("overhead_ms")),
        line_chart("barge-in stop, ms", x_label, percentiles("barge_in_stop_ms")),
        line_chart("CPU of a call, cores", x_label, a_call("cpu_cores")),
        line_chart("memory for each call, MiB", x_label, a_call("memory_mib")),
    ]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def bench_page(benches: Benches) -> str:
    """The page."""
    return _PAGES.get_template("bench.html").render(benches=benches)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; answers the exit code."""
    parser = argparse.ArgumentParser(description="Makes bench.html of what was measured last.")
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="JSON", help="default: the newest in .benchmarks"
    )
    parser.add_argument(
        "--against", type=Path, metavar="JSON", help="default: the one before, if there is one"
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench.html"), metavar="FILE")
    given = parser.parse_args(arguments)
    try:
        files = [given.file] if given.file else saved(Path(".benchmarks"))
        against = given.against or next(iter(files[1:]), None)
        benches = load_benches(files[0])
        if against is not None:
            benches = beside(benches, load_benches(against))
        if not given.file:
            benches = replace(benches, history=history(files))
        write_atomically(given.out, bench_page(benches).encode())
    except (BenchError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
