"""The harness's own error: its statistics, and how it is kept."""

from dataclasses import replace
from pathlib import Path

import pytest

from reports.calibration import (
    Calibration,
    CalibrationError,
    default_path,
    error_of,
    load,
    save,
    table,
)


def calibration() -> Calibration:
    errors = (
        error_of("turn_ms", "ms", [2.0, 2.5, 1.5, 2.0, 12.0]),
        error_of("beep_hz", "Hz", [0.01, -0.02]),
    )
    return Calibration(
        measured_at="2026-08-01T12:00:00+00:00",
        machine="Linux x86_64, 2 cores",
        calls=5,
        concurrency=4,
        metrics=errors,
        path_ms={"p50": 41.0, "p95": 60.5},
    )


def test_a_constant_error_is_the_bias_and_the_rest_is_what_remains() -> None:
    error = error_of("turn_ms", "ms", [2.0, 2.5, 1.5, 2.0, 12.0])
    assert (error.count, error.bias) == (5, 2.0)
    assert (error.p50, error.p95, error.p99) == (0.5, 10.0, 10.0)


def test_it_is_read_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "calibration.json"
    assert load(path) is None
    save(calibration(), path)
    assert load(path) == calibration()


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 9}', '{"version": 1, "metrics": [{}]}'])
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(CalibrationError, match="calibrate again"):
        load(path)


def test_a_bias_worth_correcting_is_a_millisecond() -> None:
    assert calibration().biases_ms == {"turn_ms": 2.0}
    assert calibration().errors_ms["turn_ms"] == 10.0


def test_a_bias_that_is_left_in_is_part_of_the_error() -> None:
    """Each number may be off by it: an error of 0.0 would be a lie."""
    steady = replace(calibration(), metrics=(error_of("turn_ms", "ms", [-0.4, -0.4, -0.4]),))
    assert steady.biases_ms == {}
    assert steady.errors_ms == {"turn_ms": 0.4}
    assert steady.line.startswith("0.4 ms for turn_ms (p95), at worst 0.4 ms (turn_ms)")


def test_it_is_told_in_a_line_and_in_a_table() -> None:
    line = calibration().line
    assert line.startswith("10.0 ms for turn_ms (p95)")
    assert "5 calls, 4 at once, 2026-08-01" in line
    rows = table(calibration()).splitlines()
    assert rows[2].split() == ["turn_ms", "5", "+2.00", "0.50", "10.00", "10.00", "ms"]
    assert "41.0 ms" in rows[-1]


def test_it_lies_in_the_users_own_directory(tmp_path: Path) -> None:
    assert default_path({"XDG_STATE_HOME": str(tmp_path)}).is_relative_to(tmp_path)
    assert default_path({}).is_relative_to(Path.home())
