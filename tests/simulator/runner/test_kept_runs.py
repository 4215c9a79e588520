"""Which runs stay in `out/`, and what is never touched."""

import os
from pathlib import Path

import pytest

from callerside.simulator.runner.kept_runs import GOES_ON, remove_old_runs
from callerside.simulator.runner.run import begin_run

RESULTS = '{"version": 2, "run": {}, "summary": [], "scenarios": []}'


def make(out: Path, name: str, results: str | None = RESULTS) -> Path:
    run = out / name
    (run / "calls").mkdir(parents=True)
    if results is not None:
        (run / "results.json").write_text(results)
    return run


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_the_newest_runs_stay(tmp_path: Path) -> None:
    for name in ("20261129-100000", "20261129-100000-2", "20261129-100000-10", "20261128-235959"):
        make(tmp_path, name)
    remove_old_runs(tmp_path, 2)
    assert names(tmp_path) == ["20261129-100000-10", "20261129-100000-2"]


def test_the_run_that_latest_points_at_stays(tmp_path: Path) -> None:
    for day in range(10, 15):
        make(tmp_path, f"202611{day}-000000")
    (tmp_path / "latest").symlink_to("20261110-000000")
    remove_old_runs(tmp_path, 1)
    assert names(tmp_path) == ["20261110-000000", "20261114-000000", "latest"]


@pytest.mark.parametrize(
    "results", [None, "", "[]", "{}", '{"version": 2}', "\xff"], ids=lambda text: f"{text!r}"
)
def test_what_is_no_run_of_ours_is_never_removed(tmp_path: Path, results: str | None) -> None:
    make(tmp_path, "20200101-000000", results)
    for name in ("found", "my-20200101-000000", "20200101-000000-x", "20200102"):
        make(tmp_path, name)
    (tmp_path / "20200103-000000").write_text("a file")
    elsewhere = make(tmp_path.parent, f"{tmp_path.name}-elsewhere")
    (tmp_path / "20200104-000000").symlink_to(elsewhere)
    before = names(tmp_path)
    make(tmp_path, "20261129-100000")
    remove_old_runs(tmp_path, 1)
    assert names(tmp_path) == sorted([*before, "20261129-100000"])
    assert (elsewhere / "results.json").exists()


def test_none_is_removed_where_all_are_to_stay(tmp_path: Path) -> None:
    for day in range(10, 25):
        make(tmp_path, f"202611{day}-000000")
    remove_old_runs(tmp_path, 0)
    assert len(names(tmp_path)) == 15


def test_a_run_that_was_left_without_results_counts_and_one_that_goes_on_stays(
    tmp_path: Path,
) -> None:
    gone, newer, older = (begin_run(tmp_path) for _ in range(3))
    for number, run in enumerate((older, gone, newer), start=10):
        target = tmp_path / f"202611{number}-000000"
        run.directory.rename(target)
        (target / "work" / "logs").mkdir(parents=True)
    make(tmp_path, "20261129-000000")
    assert gone.held
    assert newer.held
    assert older.held
    os.close(gone.held)  # as when its process is killed
    remove_old_runs(tmp_path, 1)
    assert names(tmp_path) == ["20261110-000000", "20261112-000000", "20261129-000000"]
    os.close(newer.held)
    remove_old_runs(tmp_path, 2)
    assert "20261112-000000" in names(tmp_path)
    os.close(older.held)


def test_a_run_that_is_over_leaves_nothing_of_its_being_held(tmp_path: Path) -> None:
    run = begin_run(tmp_path)
    assert names(run.directory) == [GOES_ON]
    run.over()
    assert not names(run.directory)
    other = begin_run(tmp_path)
    other.withdraw()
    assert names(tmp_path) == [run.directory.name]
