"""The run before one, among those beside it."""

import json
from pathlib import Path
from typing import Any

import pytest

from callerside.reports.verdict.baselines import previous_run
from callerside.reports.verdict.results import RESULTS, RunInfo, results

OURS, THEIRS = "callerside's own", "sip:100@192.0.2.1"


def run_of(*names: str, lane: str = "virtual", agent: str = OURS) -> dict[str, Any]:
    info = RunInfo(started_at="2026-01-01T00:00:00+00:00", lane=lane, environment={"agent": agent})
    artifacts = {"timeline": "timeline.jsonl", "recording": None}
    calls = [{"name": name, "metrics": [], "artifacts": artifacts} for name in names]
    return {**results(info, []), "scenarios": calls}


def kept(folder: Path, day: int, data: dict[str, Any]) -> Path:
    path = folder / f"2026010{day}-000000"
    path.mkdir()
    (path / RESULTS).write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("name", ["20260102-000000", "latest"])
def test_the_latest_run_by_either_name_comes_after_the_one_before(
    tmp_path: Path, name: str
) -> None:
    for day in (1, 2):
        kept(tmp_path, day, run_of("hours"))
    (tmp_path / "latest").symlink_to("20260102-000000")
    found = previous_run(tmp_path / name, run_of("hours"))
    assert found is not None
    assert found[0] == "20260101-000000"


def test_the_first_comes_after_none(tmp_path: Path) -> None:
    assert previous_run(kept(tmp_path, 1, run_of("hours")), run_of("hours")) is None


@pytest.mark.parametrize(
    "other",
    [
        run_of("another"),
        run_of("hours", lane="sip"),
        run_of("hours", agent=THEIRS),
        {"run": "no results"},
    ],
    ids=["other calls", "other lane", "other agent", "unreadable"],
)
def test_one_that_cannot_be_compared_is_passed_over(tmp_path: Path, other: dict[str, Any]) -> None:
    now = run_of("first", "hours")
    kept(tmp_path, 1, run_of("hours", "more"))
    kept(tmp_path, 2, other)
    found = previous_run(kept(tmp_path, 3, now), now)
    assert found is not None
    assert found[0] == "20260101-000000"
