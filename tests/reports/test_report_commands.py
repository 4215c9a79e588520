"""`report`, `compare` and `baseline`, and what they read and write."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import soundfile
from msgspec import structs
from synthetic_call import SyntheticCall, TurnTruth

from callerside.marks import Mark
from callerside.reports.evidence import save_evidence
from callerside.reports.formats.markdown import markdown
from callerside.reports.formats.write import write_run
from callerside.reports.verdict.calibration import Calibration, error_of
from callerside.reports.verdict.call_result import judge_call
from callerside.reports.verdict.results import RunInfo, results
from callerside.simulator.cli.main import main

SCHEMA = Path(__file__).parents[2] / "reports" / "verdict" / "results.schema.json"


def callerside(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def make_run(folder: Path, *, downlink_ms: float = 15, calls: int = 3) -> Path:
    evidence = [
        SyntheticCall(
            name="talk",
            seed=seed,
            turns=[TurnTruth(downlink_ms=downlink_ms + seed)],
            info={"repeat": seed, "limits": {"agent_overhead_ms": 500, "turn_ms": 5000}},
        ).build()
        for seed in range(1, calls + 1)
    ]
    write_run(folder, RunInfo(started_at="2026-08-01T12:00:00+00:00", seed=7), evidence)
    return folder


def test_results_fit_their_published_schema(tmp_path: Path) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    barge_in = SyntheticCall(
        turns=[TurnTruth(), TurnTruth(barge_in_after_ms=500)], name="b"
    ).build()
    silent = replace(barge_in, recording=barge_in.recording[:0])
    limits = {"turn_ms": {"p95": 900, "max": 2000}}
    with_limits = SyntheticCall(info={"limits": limits, "seed": 3}).build()
    calls = [judge_call(e) for e in (barge_in, silent, with_limits)]
    jsonschema.validate(results(RunInfo(started_at="", duration_s=1.5), calls), schema)


def test_a_run_is_built_anew_from_its_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    before = (run / "results.json").read_bytes()
    for page in run.rglob("*.html"):
        page.unlink()
    (run / "results.json").write_bytes(before)
    assert callerside("report", run) == 0
    assert (run / "results.json").read_bytes() == before
    assert "3 calls, passed" in capsys.readouterr().out
    assert len(list(run.rglob("call.html"))) == 3


def test_an_attempt_that_does_not_count_stays_out_of_the_new_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    before = (run / "results.json").read_bytes()
    late = SyntheticCall(name="late", turns=[TurnTruth(downlink_ms=900)])
    save_evidence(late.build(), run / "calls" / "late")
    assert callerside("report", run) == 0
    assert "3 calls, passed" in capsys.readouterr().out
    assert (run / "results.json").read_bytes() == before
    (run / "results.json").unlink()
    assert callerside("report", run) == 1, "nobody knows any more which calls count"
    assert "4 calls, failed" in capsys.readouterr().out


def test_an_agents_timelines_are_a_report_too(tmp_path: Path) -> None:
    for name in ("100-a", "100-b"):
        marks = [m for m in SyntheticCall(name=name).build().marks if m.source == "agent"]
        lines = "".join(m.to_json() + "\n" for m in marks)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    assert callerside("report", tmp_path) == 0
    data = json.loads((tmp_path / "report" / "results.json").read_text())
    assert {s["name"]: s["lane"] for s in data["scenarios"]} == {
        "100-a": "production",
        "100-b": "production",
    }
    jsonschema.validate(data, json.loads(SCHEMA.read_text()))


def test_a_call_that_has_just_begun_hides_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An agent writes 64 marks at once: until then the file is there, and empty."""
    marks = [m for m in SyntheticCall(name="a").build().marks if m.source == "agent"]
    (tmp_path / "100-a.jsonl").write_text("".join(m.to_json() + "\n" for m in marks))
    (tmp_path / "100-b.jsonl").touch()
    assert callerside("report", tmp_path) == 0
    data = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [one["name"] for one in data["scenarios"]] == ["100-a"]
    assert "100-b.jsonl: left out" in caplog.text


def test_an_agents_recording_is_measured_with_its_timeline(tmp_path: Path) -> None:
    full = SyntheticCall().build()
    started = structs.replace(
        next(m for m in full.marks if m.name == "recording_started"), source="agent"
    )
    marks = [started, *(m for m in full.marks if m.source == "agent")]
    lines = "".join(m.to_json() + "\n" for m in marks)
    (tmp_path / "100-a.jsonl").write_text(lines)
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "100-a.wav", full.recording, full.rate_hz, subtype="PCM_16")
    assert callerside("report", tmp_path, "--recordings", folder) == 0
    data = json.loads((tmp_path / "report" / "results.json").read_text())
    turns = [m for m in data["scenarios"][0]["metrics"] if m["name"] == "turn_ms"]
    assert [turn["value"] for turn in turns] == [pytest.approx(847, abs=6)] * 2
    undecided = [m for m in data["scenarios"][0]["metrics"] if m["verdict"] == "not measured"]
    assert undecided, "a default limit lies within the bound of what the sound alone tells"
    budget = tmp_path / "budget.yaml"
    for limit, code in ((1000, 0), (850, 2), (700, 1)):
        budget.write_text(f"turn_ms: {limit}\n")
        asked = callerside("report", tmp_path, "--recordings", folder, "--budget", budget)
        assert asked == code, "a limit that somebody asked for must be decided"


def test_a_recording_is_flac_and_wav_by_export(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    call = run / "calls" / "talk-2"
    kept, rate_hz = soundfile.read(call / "call.flac", dtype="int16")
    assert kept.shape[1] == 2
    assert not (call / "call.wav").exists()
    assert callerside("report", run, "--wav") in (0, 1)
    exported, exported_hz = soundfile.read(call / "call.wav", dtype="int16")
    assert exported_hz == rate_hz
    assert (exported == kept).all()
    before = (run / "results.json").read_bytes()
    (call / "call.flac").unlink()
    (call / "call.wav").rename(call / "call.flac")  # what a file is its header says
    assert callerside("report", run) in (0, 1)
    assert (run / "results.json").read_bytes() == before


@pytest.mark.parametrize("name", ["timeline.jsonl", "call.flac"])
def test_a_call_whose_evidence_is_gone_is_not_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It may be the one that failed."""
    run = make_run(tmp_path / "run")
    before = (run / "results.json").read_bytes()
    (run / "calls" / "talk-2" / name).unlink()
    assert callerside("report", run) == 2
    told = capsys.readouterr().err
    assert "calls/talk-2/" + name in told
    assert "results.json names it" in told
    assert (run / "results.json").read_bytes() == before


@pytest.mark.parametrize("key", ["stage", "name"])
@pytest.mark.parametrize("name", ["../../elsewhere", "/srv/elsewhere", "..", "a\0b"])
def test_a_folder_of_a_run_does_not_choose_where_pages_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, name: str
) -> None:
    """Somebody has sent it."""
    run = make_run(tmp_path / "run", calls=1)
    file = run / "calls" / "talk" / "call.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: name}))
    (run / "results.json").unlink()
    before = sorted(tmp_path.rglob("*"))
    assert callerside("report", run) == 2
    assert "no name of a folder" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["/etc/passwd", "../../other/timeline.jsonl"])
@pytest.mark.parametrize("key", ["timeline", "recording"])
def test_results_name_nothing_beyond_their_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, place: str
) -> None:
    run = make_run(tmp_path / "run", calls=1)
    data = json.loads((run / "results.json").read_text())
    data["scenarios"][0]["artifacts"][key] = place
    (run / "results.json").write_text(json.dumps(data))
    assert callerside("compare", run, run) == 2
    assert "does not stay within its folder" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["results.json", "calls/talk/call.json"])
def test_what_is_nested_without_end_is_bad_input(tmp_path: Path, file: str) -> None:
    run = make_run(tmp_path / "run", calls=1)
    (run / file).write_text("[" * 100_000)
    assert callerside(*(("compare", run, run) if file == "results.json" else ("report", run))) == 2


def test_a_report_keeps_its_lane_and_its_calibration(tmp_path: Path) -> None:
    calibration = Calibration(
        measured_at="2026-08-01",
        machine="",
        calls=1,
        concurrency=1,
        metrics=(error_of("turn_ms", "ms", [5.0]),),
        path_ms={},
    )
    info = RunInfo(started_at="2026-08-01T12:00:00+00:00", calibration=calibration)
    virtual = SyntheticCall(name="v", info={"lane": "virtual"}).build()
    write_run(tmp_path / "sip", info, [SyntheticCall().build()])
    write_run(tmp_path / "virtual", replace(info, lane="virtual"), [virtual])

    def told(folder: Path) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((folder / "results.json").read_text())
        return data

    of_run = told(tmp_path / "sip")
    call = tmp_path / "sip" / "calls" / "synthetic"
    assert callerside("report", call) == 0
    assert told(call / "report")["scenarios"][0]["metrics"] == of_run["scenarios"][0]["metrics"]
    (tmp_path / "virtual" / "results.json").unlink()
    assert callerside("report", tmp_path / "virtual") == 0
    assert told(tmp_path / "virtual")["run"]["lane"] == "virtual"


def test_where_nothing_can_be_written_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", calls=1)
    (tmp_path / "file").write_text("")
    assert callerside("report", run, "--out", tmp_path / "file") == 2
    assert "file" in capsys.readouterr().err


def test_nothing_to_report_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert callerside("report", tmp_path) == 2
    assert "nothing to report" in capsys.readouterr().err
    (tmp_path / "x.jsonl").write_text("what?\n")
    assert callerside("report", tmp_path) == 2
    assert "x.jsonl:1" in capsys.readouterr().err
    (tmp_path / "x.jsonl").write_text("")
    assert callerside("report", tmp_path) == 2


def test_a_regression_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = make_run(tmp_path / "good")
    bad = make_run(tmp_path / "bad", downlink_ms=60)
    assert callerside("compare", good, bad) == 1
    assert "a regression" in capsys.readouterr().out
    assert callerside("compare", bad, good) == 0
    assert callerside("compare", good, bad, "--tolerance", 100) == 0
    capsys.readouterr()
    assert callerside("compare", good, bad, "--tolerance", 100, "--tolerance", "turn_ms=1") == 1
    capsys.readouterr()
    assert callerside("compare", good, bad, "--json") == 1
    changes = json.loads(capsys.readouterr().out)["changes"]
    turn = next(c for c in changes if c["name"] == "turn_ms")
    assert turn["difference"] == pytest.approx(45, abs=2)
    assert callerside("compare", good, bad, "--markdown") == 1
    assert "| `turn_ms` |" in capsys.readouterr().out


def test_what_cannot_be_compared_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_run(tmp_path / "good")
    assert callerside("compare", good, tmp_path / "none") == 2
    assert "none" in capsys.readouterr().err
    for text, complaint in (
        ("{", "cannot be read"),
        ("[]", "not the results.json"),
        (json.dumps({"version": 99, "run": {}, "scenarios": []}), "version 99"),
        (json.dumps({"version": 2, "run": {}, "scenarios": []}), "in common"),
        (json.dumps({"version": 2, "run": 3, "scenarios": []}), "odd.json: run: "),
        (
            json.dumps({"version": 2, "run": {}, "scenarios": [{"name": "x"}]}),
            "odd.json: scenarios.0.metrics: ",
        ),
    ):
        (tmp_path / "odd.json").write_text(text)
        assert callerside("compare", good, tmp_path / "odd.json") == 2
        assert complaint in capsys.readouterr().err


def test_what_the_numbers_do_not_show_is_told_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call that broke down has no number that got worse."""
    talk, other = SyntheticCall(name="talk").build(), SyntheticCall(name="other").build()
    broken = SyntheticCall(name="talk", info={"verdict": "failed"}).build()
    write_run(tmp_path / "a", RunInfo(started_at=""), [talk, other])
    write_run(tmp_path / "b", RunInfo(started_at="", lane="virtual"), [broken])
    assert callerside("compare", tmp_path / "a", tmp_path / "b", "--json") == 0
    out, err = capsys.readouterr()
    told = [
        "the lanes differ: sip, then virtual",
        "only in the earlier run, and not compared: other",
        "passed before, and not now: talk",
    ]
    assert json.loads(out)["notes"] == told
    assert err.splitlines() == told
    assert callerside("compare", tmp_path / "a", tmp_path / "a") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("tolerance", ["x", "turn=5", "turn_ms=x", "nan", "turn_ms=-1"])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        callerside("compare", "a", "b", "--tolerance", tolerance)
    assert exit_.value.code == 2


def test_baselines_are_kept_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = make_run(tmp_path / "good"), make_run(tmp_path / "bad", downlink_ms=60)
    assert callerside("baseline", "check", "main", good) == 2
    assert callerside("baseline", "save", "main", good) == 0
    assert (tmp_path / "baselines" / "main.json").is_file()
    assert callerside("baseline", "check", "main", good) == 0
    assert callerside("baseline", "check", "main", bad) == 1
    assert callerside("baseline", "save", "../x", good) == 2
    assert "expected a name" in capsys.readouterr().err


def test_the_index_says_what_changed_since_the_run_before(tmp_path: Path) -> None:
    make_run(tmp_path / "20260801-120000")
    first = (tmp_path / "20260801-120000" / "index.html").read_text()
    assert "What changed" not in first
    make_run(tmp_path / "20260801-130000", downlink_ms=60)
    second = (tmp_path / "20260801-130000" / "index.html").read_text()
    assert "What changed against 20260801-120000" in second
    assert "worse" in second


def test_the_run_before_is_one_of_the_same_lane(tmp_path: Path) -> None:
    talk = SyntheticCall(name="talk").build()
    broken = SyntheticCall(name="talk", info={"verdict": "failed"}).build()
    for name, lane, call in (
        ("20260801-120000", "sip", talk),
        ("20260801-130000", "virtual", talk),
        ("20260801-140000", "sip", broken),
    ):
        write_run(tmp_path / name, RunInfo(started_at="", lane=lane), [call])
    assert "What changed" not in (tmp_path / "20260801-130000" / "index.html").read_text()
    index = (tmp_path / "20260801-140000" / "index.html").read_text()
    assert "What changed against 20260801-120000" in index
    assert "Passed before, and not now: talk." in index


def test_a_report_can_show_what_changed_against_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = make_run(tmp_path / "a" / "good"), make_run(tmp_path / "b" / "bad", downlink_ms=60)
    assert callerside("baseline", "save", "main", good) == 0
    assert callerside("report", bad, "--against", "main") == 1, "its downlink is over budget"
    assert "What changed against main" in (bad / "index.html").read_text()
    assert callerside("report", bad, "--against", "none") == 2


def test_a_run_before_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "20260801-110000").mkdir()
    (tmp_path / "20260801-110000" / "results.json").write_text("{")
    make_run(tmp_path / "20260801-120000", calls=1)
    assert "What changed" not in (tmp_path / "20260801-120000" / "index.html").read_text()


def test_the_markdown_cannot_be_broken_by_a_detail() -> None:
    info: dict[str, Any] = {"verdict": "failed", "detail": "a | b\n<img> c"}
    text = markdown(RunInfo(started_at=""), [judge_call(SyntheticCall(info=info).build())])
    assert "a \\| b &lt;img> c" in text
    assert text.startswith("## callerside: failed")


def test_marks_of_no_known_kind_do_no_harm(tmp_path: Path) -> None:
    mark = Mark(at_ns=1, source="agent", call="x", name="something_new", fields={"deep": [1, {}]})
    evidence = SyntheticCall().build()
    write_run(tmp_path, RunInfo(started_at=""), [replace(evidence, marks=[mark, *evidence.marks])])
    assert "something_new" in (tmp_path / "calls" / "synthetic" / "call.html").read_text()
