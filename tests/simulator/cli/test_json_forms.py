"""Every command that prints figures also prints JSON, and nothing else, on standard output."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from callerside.reports.verdict.calibration import Calibration, error_of
from callerside.reports.verdict.capacity import CapacityResult, Load, Step
from callerside.simulator.calibration.calibrate import Calibrated
from callerside.simulator.cli import calibrate, capacity, main
from callerside.simulator.lanes.sip.process_pair import calls_at_once

ROOT = Path(__file__).parents[3]
SCENARIO = ROOT / "scenarios" / "first_call.yaml"
LOAD = Load(cpu_cores=0.1, memory_mib=70)
PERCENTILES = {"p50": 20.0, "p95": 30.0, "p99": 31.0}


def step(calls: int, *, within: bool) -> Step:
    return Step(
        calls=calls,
        finished=calls,
        placed=calls,
        turns=6 * calls,
        turn_ms=PERCENTILES,
        overhead_ms=PERCENTILES,
        barge_in_stop_ms=PERCENTILES,
        harness_lag_ms=2,
        stalled_ms=0,
        hops_ms={"RTP to agent": 12.0},
        workers=1,
        agent=LOAD,
        harness=LOAD,
        within=within,
    )


def test_each_such_command_has_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("calibrate", "knee", "compare", "fuzz", "run"):
        with pytest.raises(SystemExit):
            main.main([command, "--help"])
        assert "--json" in capsys.readouterr().out, command


def test_run_prints_what_is_in_results_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--lane", "virtual", str(SCENARIO), "--json", "--out", str(tmp_path)]
    assert main.main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "latest" / "results.json").read_text())
    jsonschema.validate(
        told, json.loads((ROOT / "reports/verdict/results.schema.json").read_text())
    )


@pytest.mark.parametrize(("within", "code"), [(True, 0), (False, 1)])
def test_knee_prints_what_is_in_knee_json(
    within: bool,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: dict[str, Any] = {}

    async def find(_scenario: Path, _directory: Path, **options: Any) -> CapacityResult:
        asked.update(options)
        options["progress"]("1 call: ...")
        return CapacityResult(
            measured_at="2026-08-01T12:00:00+00:00",
            machine="Linux x86_64",
            cores=2,
            limit_ms=40,
            steps=(step(4, within=within),),
            error_ms=options["error_ms"],
        )

    monkeypatch.setattr(capacity, "find_knee", find)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    arguments = ["knee", "--steps", "4", "--calls-a-worker", "2", "--json", "--out", str(tmp_path)]
    assert main.main(arguments) == code
    told = json.loads(capsys.readouterr().out)
    (written,) = tmp_path.glob("knee-*/knee.json")
    assert told == json.loads(written.read_text())
    assert written.with_name("knee.html").is_file()
    assert (asked["steps"], asked["calls_a_worker"], asked["error_ms"]) == ((4,), 2, None)


@pytest.mark.parametrize(
    ("given", "calls", "at_once"),
    [
        ([], 24, calls_at_once()),
        (["--quick"], calls_at_once(), calls_at_once()),
        (["--quick", "--jobs", "2"], 2, 2),
        (["--calls", "6"], 6, calls_at_once()),
    ],
)
@pytest.mark.parametrize(("error_ms", "code"), [(3.0, 0), (30.0, 1)])
def test_calibrate_keeps_what_it_prints(
    given: list[str],
    calls: int,
    at_once: int,
    error_ms: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def measure(_directory: Path, **options: Any) -> Calibrated:
        assert (options["calls"], options["concurrency"]) == (calls, at_once)
        options["progress"]("call1: passed")
        measured = Calibration(
            measured_at="2026-08-01",
            machine="",
            calls=calls,
            concurrency=at_once,
            metrics=(error_of("turn_ms", "ms", [0.0, 0.0, error_ms]),),
            path_ms={},
        )
        return Calibrated(calibration=measured, untold={})

    monkeypatch.setattr(calibrate, "calibrate", measure)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main.main(["calibrate", "--json", *given]) == code
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "callerside" / "calibration.json").read_text())
