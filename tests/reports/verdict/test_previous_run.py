"""The run before one, among those beside it."""

import json
from pathlib import Path

import pytest

from callerside.reports.verdict.baselines import previous_run
from callerside.reports.verdict.results import RESULTS, RunInfo, results


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name in ("20260101-000000", "20260102-000000"):
        (tmp_path / name).mkdir()
        data = results(RunInfo(started_at="2026-01-01T00:00:00+00:00", lane="virtual"), [])
        (tmp_path / name / RESULTS).write_text(json.dumps(data))
    (tmp_path / "latest").symlink_to("20260102-000000")
    return tmp_path


@pytest.mark.parametrize("name", ["20260102-000000", "latest"])
def test_the_latest_run_by_either_name_comes_after_the_one_before(out: Path, name: str) -> None:
    found = previous_run(out / name, "virtual")
    assert found is not None
    assert found[0] == "20260101-000000"


def test_the_first_comes_after_none(out: Path) -> None:
    assert previous_run(out / "20260101-000000", "virtual") is None
