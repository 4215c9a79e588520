"""`python tools/scorers.py FOLDER [FILE.json]`: who was how far off, and whose verdicts differ.

Of the calls that tests/scorers/ has made and had scored (`nox -s scorers`). Prints the tables, and
keeps what they are made of: docs/scorers.json, of which docs/metrics.md is made.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

LIMITS_MS = {"gap_ms": 1000.0, "stop_ms": 300.0}
"""An answer within a second, and silence 300 ms after an interruption (the default budget)."""
NOISY = ("noise, 10 dB", "noise, 5 dB")

Scores = Mapping[str, Mapping[str, float | None]]


def compared(folder: Path) -> dict[str, Any]:
    """Errors and verdicts of every scorer, in quiet and in noise."""
    calls = [
        (json.loads(path.read_text()), json.loads((path.parent / "theirs.json").read_text()))
        for path in sorted(folder.glob("*/truth.json"))
    ]
    told = [
        (truth, {**{f"callerside, {way}": one for way, one in truth["callerside"].items()}, **them})
        for truth, them in calls
    ]
    rows = [
        _row(told, scorer, metric, noisy=noisy)
        for metric in LIMITS_MS
        for noisy in (False, True)
        for scorer in told[0][1]
    ]
    return {"calls": len(calls), "rows": rows, "differ": [*_differing(told)]}


def _row(told: Any, scorer: str, metric: str, *, noisy: bool) -> dict[str, Any]:
    errors, missing, wrong, undecided, count = [], 0, 0, 0, 0
    for truth, scores in told:
        if (truth["line"] in NOISY) != noisy:
            continue
        count += 1
        value = scores[scorer][metric]
        if value is None:
            missing += 1
            continue
        errors.append(abs(value - truth[metric]))
        passed, right = value <= LIMITS_MS[metric], truth[metric] <= LIMITS_MS[metric]
        bound = scores[scorer].get(metric.replace("_ms", "_bound_ms"))
        if bound is not None and abs(value - LIMITS_MS[metric]) <= bound:
            undecided += 1
        elif passed != right:
            wrong += 1
    sizes = {
        name: round(float(np.percentile(errors, percent, method="inverted_cdf")), 1)
        if errors
        else None
        for name, percent in (("p50", 50), ("p95", 95), ("max", 100))
    }
    return {
        "scorer": scorer, "metric": metric, "noisy": noisy, "calls": count,
        **sizes, "missing": missing, "undecided": undecided, "wrong": wrong,
    }  # fmt: skip


def _differing(told: Any) -> Iterator[dict[str, Any]]:
    """Where one passes a call that the other fails: how often, and who is right."""
    ours = "callerside, any agent"
    for scorer in ("hotato", "callback-voice"):
        for metric, limit in LIMITS_MS.items():
            counts = {"we right": 0, "they right": 0, "nearer: we": 0, "nearer: they": 0}
            for truth, scores in told:
                here, there = scores[ours][metric], scores[scorer][metric]
                if here is None or there is None:
                    continue
                off = [abs(value - truth[metric]) for value in (here, there)]
                if off[0] != off[1]:
                    counts["nearer: we" if off[0] < off[1] else "nearer: they"] += 1
                if (here <= limit) != (there <= limit):
                    right = (here <= limit) == (truth[metric] <= limit)
                    counts["we right" if right else "they right"] += 1
            yield {"scorer": scorer, "metric": metric, **counts}


def as_markdown(data: Mapping[str, Any]) -> str:
    """Both tables."""
    names = {"gap_ms": "answer", "stop_ms": "stop"}
    lines = [
        f"{data['calls']} calls.",
        "",
        "| what | lines | scorer | p50 | p95 | max | no value | undecided | wrong verdict |",
        "|---|---|---|" + "--:|" * 6,
    ]
    for row in data["rows"]:
        where = "noise at 10 and 5 dB" if row["noisy"] else "all others"
        cells = [row[key] for key in ("p50", "p95", "max", "missing", "undecided", "wrong")]
        shown = " | ".join("" if cell is None else str(cell) for cell in cells)
        of = f"{where} ({row['calls']})"
        lines.append(f"| {names[row['metric']]} | {of} | {row['scorer']} | {shown} |")
    lines += [
        "",
        "| beside | what | we nearer | they nearer | verdicts differ, we right | they right |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in data["differ"]:
        cells = [one[key] for key in ("nearer: we", "nearer: they", "we right", "they right")]
        shown = " | ".join(map(str, cells))
        lines.append(f"| {one['scorer']} | {names[one['metric']]} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Print it, and keep it where that is asked for."""
    data = compared(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(data, indent=1) + "\n")
    sys.stdout.write(as_markdown(data) + "\n")


if __name__ == "__main__":
    main()
