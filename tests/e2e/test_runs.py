"""Whole runs, as a user starts them: real processes, SIP, RTP and WebSocket on loopback."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psutil
import pytest

from callerside.mark_registry import complaint
from callerside.timelines import read_timeline

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED = [
    ROOT / "scenarios" / f"{name}.yaml" for name in ("first_call", "second_call", "barge_in")
]

SECRET = "sk-this-must-not-be-found"

pytestmark = pytest.mark.e2e


def callerside(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "callerside.simulator.cli.main", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def our_processes() -> set[int]:
    """Descendants of this test, alive."""
    return {p.pid for p in psutil.Process().children(recursive=True) if p.status() != "zombie"}


@pytest.fixture(scope="module")
def shipped_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The three first scenarios, run once: the run's directory, and what was printed."""
    folder = tmp_path_factory.mktemp("run")
    before = our_processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", SECRET)
        done = callerside("run", *SHIPPED, cwd=folder)
    # Whether its numbers can be trusted on this machine is for `nox -s scenarios` to say.
    assert (folder / "out" / "latest" / "results.json").exists(), done.stdout + done.stderr
    assert our_processes() <= before, "a process of the run is left"
    return folder / "out" / "latest", done.stdout + done.stderr


@pytest.fixture(scope="module")
def results(shipped_run: tuple[Path, str]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((shipped_run[0] / "results.json").read_text())
    return data


def artifact(out: Path, results: dict[str, Any], scenario: str, kind: str) -> Path:
    """Of the attempt that counted: a call that a busy machine disturbed was played again."""
    call = next(s for s in results["scenarios"] if s["name"] == scenario)
    return out / str(call["artifacts"][kind])


def test_every_call_goes_as_scripted(results: dict[str, Any]) -> None:
    """The budget is judged by `nox -s scenarios`, on a machine that does nothing else."""
    off_script = {
        s["name"]: s["detail"]
        for s in results["scenarios"]
        if s["verdict"] != "passed" and "over budget" not in s["detail"]
    }
    assert off_script == {}
    assert {s["name"] for s in results["scenarios"]} == {path.stem for path in SHIPPED}


def test_each_call_shows_the_numbers_that_it_can_show(results: dict[str, Any]) -> None:
    shown = {s["name"]: {m["name"] for m in s["metrics"]} for s in results["scenarios"]}
    everywhere = {
        "answer_ms", "connect_ms", "media_ready_ms", "beep_ms", "beep_hz", "beep_length_ms",
        "greeting_ms", "ready_ms", "turn_ms", "agent_overhead_ms", "uplink_ms", "downlink_ms",
        "gap_ms", "append_interval_ms",
    }  # fmt: skip
    for name, metrics in shown.items():
        assert everywhere <= metrics, f"{name} lacks {everywhere - metrics}"
    assert {"barge_in_stop_ms", "heard_error_ms"} <= shown["barge_in"]


def test_the_evidence_is_there(shipped_run: tuple[Path, str], results: dict[str, Any]) -> None:
    out, printed = shipped_run
    for scenario in results["scenarios"]:
        for path in scenario["artifacts"].values():
            assert (out / path).stat().st_size > 0
        assert f"  {scenario['name']}" in printed
    suite = ET.fromstring((out / "junit.xml").read_bytes()).find("testsuite")  # noqa: S314 - ours
    assert suite is not None
    assert suite.get("tests") == "3"
    assert "<svg" in artifact(out, results, "first_call", "page").read_text()
    assert "first_call" in (out / "index.html").read_text()


def test_the_second_call_got_its_greeting_from_the_cache(
    shipped_run: tuple[Path, str], results: dict[str, Any]
) -> None:
    origins = {
        name: next(
            mark.fields["origin"]
            for mark in read_timeline(artifact(shipped_run[0], results, name, "timeline"))
            if mark.name == "greeting_started"
        )
        for name in ("first_call", "second_call")
    }
    assert origins == {"first_call": "generated", "second_call": "cache"}


def test_marks_are_those_of_their_registry(shipped_run: tuple[Path, str]) -> None:
    for timeline in (shipped_run[0] / "calls").glob("*/timeline.jsonl"):
        for mark in read_timeline(timeline):
            assert complaint(mark.source, mark.name, mark.fields) == "", timeline


def test_no_secret_is_in_what_a_run_leaves(shipped_run: tuple[Path, str]) -> None:
    out, printed = shipped_run
    assert SECRET not in printed
    left = [path for path in out.resolve().parent.rglob("*") if path.is_file()]
    assert left
    for path in left:
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_bad_scenario_is_exit_2_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("about: x\nsteps:\n  - expect: bep\n  - hang_up\n")
    done = callerside("run", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert re.match(r"bad\.yaml:3:\d+: ", done.stderr)
    assert "beep" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_agent_that_does_not_answer_in_time_is_a_failure_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "wait.yaml").write_text(
        "about: The caller waits for a third greeting that never comes.\n"
        "steps:\n  - expect: beep\n  - expect: greeting\n"
        "  - expect: reply\n    within: 1s\n  - hang_up\n"
    )
    done = callerside("run", "wait.yaml", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed" in done.stdout
    assert "reply" in done.stdout


def test_eight_callers_at_once_need_two_agents(tmp_path: Path) -> None:
    (tmp_path / "eight.yaml").write_text(
        "about: Eight callers within a second.\n"
        "callers: {count: 8, spread: 1s}\n"
        "steps:\n  - expect: beep\n  - expect: greeting\n  - hang_up\n"
        "budget: {beep_ms: off, beep_length_ms: off, gap_ms: off, append_interval_ms: off}\n"
    )
    done = callerside("run", "eight.yaml", cwd=tmp_path)
    out = tmp_path / "out" / "latest"
    timelines = [read_timeline(path) for path in sorted(out.glob("calls/eight-c?/timeline.jsonl"))]
    assert len(timelines) == 8, done.stdout + done.stderr
    dialed = [next(m.at_ns for m in t if m.name == "call_dialed") for t in timelines]
    ended = [next(m.at_ns for m in t if m.name == "hang_up_sent") for t in timelines]
    assert max(dialed) < min(ended), "all eight were in a call at the same time"
    assert (max(dialed) - min(dialed)) / 1e9 == pytest.approx(1.0, abs=0.3)
    assert len(list((out / "work" / "logs").glob("agent*.log"))) == 2
