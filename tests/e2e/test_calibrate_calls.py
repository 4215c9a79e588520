"""The harness measures itself over real SIP and RTP, and finds the knee of an agent."""

import json
from pathlib import Path

import pytest
from shadows import write_shadows

from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.calibration import from_data
from callerside.simulator.cli.main import main

SHORT = """
about: One question, one answer.
realtime:
  greeting: {say: "Hello."}
  replies: [{say: "We open at nine.", think_ms: 300}]
steps:
  - expect: greeting
  - say: "When do you open?"
  - expect: reply
  - hang_up
"""

pytestmark = pytest.mark.e2e


@pytest.mark.alone
def test_calibrate_tells_the_harness_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    write_shadows(tmp_path)  # none of its processes takes them for Python's own
    monkeypatch.chdir(tmp_path)
    code = main(["calibrate", "--calls", "5", "--jobs", "5", "--json"])
    told = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "callerside" / "calibration.json").read_text())
    assert told == kept
    errors = {metric["name"]: metric for metric in told["metrics"]}
    assert errors.keys() == {name for name, metric in METRICS.items() if metric.truth}
    reasons = {m.name: m.without_error for m in METRICS.values() if m.without_error}
    assert told["remarks"].items() >= reasons.items(), "each metric has an error or a reason"
    assert errors["beep_hz"]["p99"] < 1
    assert abs(errors["turn_ms"]["bias"]) < 5
    assert code == (1 if from_data(told).beyond(10) else 0)


def test_calibrate_refuses_more_calls_at_once_than_a_process_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["calibrate", "--jobs", "13"]) == 2
    assert "expected" in capsys.readouterr().err


def test_calibrate_refuses_to_make_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["calibrate", "--calls", "0"])
    assert exit_.value.code == 2
    assert "--calls: 0: expected 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["4,1", "x", "0,1", "1,1", "1,97", ""])
def test_knee_refuses_steps_that_do_not_rise(steps: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["knee", "--steps", steps])
    assert exit_.value.code == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("matrix: {caller.voice: [heart, en-us]}\nsteps: [hang_up]\n", "2 scenarios, and all"),
        ("caller: {voice: nobody}\nsteps: [{say: Hi.}, hang_up]\n", "no voice 'nobody'"),
    ],
)
def test_knee_refuses_what_cannot_be_called_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "a.yaml").write_text(f"version: 2\nabout: x\n{text}")
    assert main(["knee", str(tmp_path / "a.yaml"), "--out", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_knee_loads_one_agent_with_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.yaml"
    short.write_text(SHORT)
    arguments = [str(short), "--steps", "2", "--calls-a-worker", "1", "--json"]
    code = main(["knee", *arguments, "--out", str(tmp_path)])
    told = json.loads(capsys.readouterr().out)
    (step,) = told["steps"]
    assert (step["calls"], step["workers"]) == (2, 2)
    assert (step["finished"], step["placed"], step["turns"]) == (4, 4, 4)
    assert step["agent"]["memory_mib"] > 100, "a supervisor and two workers"
    assert step["hops_ms"].keys() >= {"RTP to agent", "agent to append", "playout to ear"}
    assert code == (0 if step["within"] else 1)
    agents = list(tmp_path.glob("knee-*/*/work/logs/agent.log"))
    assert agents
    assert '"worker": 1' in agents[0].read_text()
