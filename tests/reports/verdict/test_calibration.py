"""The harness's own error: its statistics, and how it is kept."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.calibration import (
    MOVED,
    Calibration,
    CalibrationError,
    error_of,
    from_data,
    table,
    to_data,
)
from callerside.reports.verdict.calibration_file import default_path, load, save


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
        remarks={"connect_ms": METRICS["connect_ms"].without_error},
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


@pytest.mark.parametrize("bias", [15.0, -15.0])
def test_a_bias_that_no_constant_of_the_harness_explains_is_not_taken_off(bias: float) -> None:
    """Taken off it would be an error of 0 ms, of a responder that lies or of a late detector."""
    wrong = replace(calibration(), metrics=(error_of("turn_ms", "ms", [bias] * 24),))
    assert wrong.biases_ms == {}
    assert wrong.errors_ms == {"turn_ms": 15.0}
    assert wrong.beyond(10) == ["turn_ms"]
    assert "+15.00" in table(wrong) or "-15.00" in table(wrong)
    assert wrong.line.startswith("15.0 ms for turn_ms (p95)")


def test_what_is_not_the_harness_alone_is_not_taken_off() -> None:
    """In `answer_ms` the other side's stack has a part: what it takes is the agent's own."""
    bound = replace(calibration(), metrics=(error_of("answer_ms", "ms", [4.0, 4.0, 6.0]),))
    assert bound.biases_ms == {}
    assert bound.errors_ms == {"answer_ms": 6.0}


def test_every_time_is_held_to_the_goal_and_so_is_the_path() -> None:
    good, late = error_of("turn_ms", "ms", [0.1]), error_of("missing_ms", "ms", [0.0, 60.0])
    pitch = error_of("beep_hz", "Hz", [0.0, 60.0])
    assert replace(calibration(), metrics=(good, pitch)).beyond(10) == []
    assert replace(calibration(), metrics=(good, late)).beyond(10) == ["missing_ms"]
    moved = replace(calibration(), metrics=(good,), path_ms={MOVED: 15.0})
    assert moved.beyond(10) == ["the telephone's path within a call"]


def test_what_was_kept_before_there_were_remarks_is_read() -> None:
    data = to_data(calibration())
    del data["remarks"]
    assert from_data(data) == replace(calibration(), remarks={})


def test_it_is_as_the_published_schema_says() -> None:
    schema = json.loads(
        files("callerside.reports.verdict").joinpath("results.schema.json").read_text()
    )
    defined = {**schema["$defs"]["calibration"], "$defs": schema["$defs"]}
    jsonschema.validate(json.loads(json.dumps(to_data(calibration()))), defined)


def test_one_of_metrics_that_there_are_no_more_is_refused() -> None:
    data = to_data(calibration())
    data["metrics"][0]["name"] = "delay_ms"
    with pytest.raises(ValueError, match="no metric is called delay_ms"):
        from_data(data)


def test_it_is_told_in_a_line_and_in_a_table() -> None:
    line = calibration().line
    assert line.startswith("10.0 ms for turn_ms (p95)")
    assert "5 calls, 4 at once, 2026-08-01" in line
    rows = table(calibration()).splitlines()
    assert rows[2].split() == ["turn_ms", "5", "+2.00", "0.50", "10.00", "10.00", "ms"]
    assert rows[-2].split(maxsplit=1) == ["connect_ms", METRICS["connect_ms"].without_error]
    assert "41.0 ms" in rows[-1]


def test_it_lies_in_the_users_own_directory(tmp_path: Path) -> None:
    assert default_path({"XDG_STATE_HOME": str(tmp_path)}).is_relative_to(tmp_path)
    assert default_path({}).is_relative_to(Path.home())
