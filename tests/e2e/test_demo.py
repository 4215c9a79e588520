"""`callerside demo`: one call with a function and an interruption, from an empty folder."""

import json
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from callerside.agent.telephony import engines
from callerside.agent.telephony.engines import Found
from callerside.reports.metrics.registry import METRICS
from callerside.simulator.cli.main import main
from callerside.simulator.scenario.loader import load_file

pytestmark = pytest.mark.e2e


def told_by(folder: Path) -> dict[str, object]:
    results = json.loads((folder / "out" / "latest" / "results.json").read_text())
    call: dict[str, object] = results["scenarios"][0]
    return call


def test_a_stranger_sees_a_call(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callerside.simulator.cli.main", "demo", "--no-open"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "out/latest/index.html" in done.stdout, done.stderr
    assert (tmp_path / "out" / "latest" / "index.html").is_file()
    assert told_by(tmp_path)["lane"] == "sip"
    page = "".join(path.read_text() for path in (tmp_path / "out" / "latest").rglob("*.html"))
    assert "opening_hours" in page


def test_no_time_decides_that_a_busy_machine_can_stretch() -> None:
    """It is the first command of whoever is new here."""
    with as_file(files("callerside.simulator.demo") / "harbour.yaml") as path:
        (scenario,) = load_file(path)
    lifted = {name for name, limit in scenario.budget.items() if limit == "off"}
    timed = {one.name for one in METRICS.values() if one.unit == "ms" and one.budget is not None}
    assert timed, "there are such limits"
    assert not timed - lifted


def test_without_an_engine_it_is_made_in_memory_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    absent = Found(name="pjsua2", problem="pjsua2 is not installed")
    monkeypatch.setattr(engines, "_look", lambda _name: absent)
    assert main(["demo", "--no-open"]) == 0
    assert "No SIP here, so the call is made in memory (pjsua2 is not" in capsys.readouterr().out
    call = told_by(tmp_path)
    assert call["lane"] == "virtual"
    (stop_ms,) = (
        one["value"]
        for one in call["metrics"]  # type: ignore[attr-defined]
        if one["name"] == "barge_in_stop_ms"
    )
    assert stop_ms > 20, "it was in a pause that the caller spoke: nobody was interrupted"
