"""A run on disk: evidence, results, JUnit, pages."""

import json
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from msgspec import structs
from synthetic_call import SyntheticCall, TurnTruth

from callerside.marks import Mark
from callerside.reports.evidence import (
    CallEvidence,
    CallInfo,
    EvidenceError,
    load_evidence,
    save_evidence,
)
from callerside.reports.formats.junit import junit
from callerside.reports.formats.rebuild import rebuild
from callerside.reports.formats.write import call_directory, write_judged, write_page, write_run
from callerside.reports.metrics.measurement import percentile
from callerside.reports.metrics.metrics import measure
from callerside.reports.pages.html import call_page, index_page
from callerside.reports.verdict.baselines import StoredError
from callerside.reports.verdict.calibration import Calibration, error_of
from callerside.reports.verdict.call_result import judge_call, judge_together
from callerside.reports.verdict.results import VERSION, RunInfo, results, summarise, to_json
from callerside.timelines import TimelineError

INFO = RunInfo(started_at="2026-08-01T12:00:00+00:00", command="callerside run")
MOST_BYTES = 2_000_000


def slow_call(**info: object) -> SyntheticCall:
    turns = [TurnTruth(), TurnTruth(downlink_ms=90)]
    return SyntheticCall(name="slow", turns=turns, info=dict(info))


def test_evidence_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = SyntheticCall(info={"limits": {"turn_ms": 900}, "verdict": "failed"}).build()
    save_evidence(written, tmp_path)
    read = load_evidence(tmp_path)
    assert read.info == written.info
    assert read.marks == written.marks
    assert np.array_equal(read.recording, written.recording)
    assert read.recording_start_ns == written.recording_start_ns
    assert read.server_heard is not None
    assert written.server_heard is not None
    assert np.array_equal(read.server_heard.samples, written.server_heard.samples)


def test_a_timeline_alone_is_evidence(tmp_path: Path) -> None:
    full = SyntheticCall().build()
    lines = "".join(m.to_json() + "\n" for m in full.marks if m.source == "agent")
    (tmp_path / "timeline.jsonl").write_text(lines)
    read = load_evidence(tmp_path)
    assert (read.info.lane, read.recorded) == ("production", False)
    page = call_page(INFO, judge_call(read))
    assert "LISTENING" in page
    assert "<audio" not in page


def test_unreadable_evidence_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"timeline\.jsonl: no such file"):
        load_evidence(tmp_path)
    save_evidence(SyntheticCall().build(), tmp_path)
    (tmp_path / "call.json").write_text('{"name": "x", "verdict": "perhaps"}')
    with pytest.raises(EvidenceError, match=r"call\.json: verdict: "):
        load_evidence(tmp_path)
    (tmp_path / "call.json").unlink()
    (tmp_path / "call.flac").write_bytes(b"no sound")
    with pytest.raises(EvidenceError, match=r"call\.flac: cannot be read as sound"):
        load_evidence(tmp_path)
    for told in (b"{}\n", b'{"at_ns":1,"source":"agent","call":"x","name":"y","fields":3}\n'):
        (tmp_path / "timeline.jsonl").write_bytes(told)
        with pytest.raises(TimelineError, match=r"timeline\.jsonl:1"):
            load_evidence(tmp_path)
    (tmp_path / "timeline.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(TimelineError, match=r"timeline\.jsonl:1: not a mark"):
        load_evidence(tmp_path)


@pytest.mark.parametrize(
    ("name", "share", "complaint"),
    [
        ("timeline.jsonl", 0.5, r"timeline\.jsonl: cut short"),
        ("timeline.jsonl", 0, r"timeline\.jsonl: an empty timeline"),
        ("call.flac", 0.5, r"call\.flac: cannot be read as sound: cut short"),
        ("call.flac", 0.02, r"call\.flac: cannot be read as sound: cut short"),
        ("call.flac", 0.9999, r"call\.flac: cannot be read as sound: cut short"),
        ("server_sent.flac", 0.9, r"server_sent\.flac: cannot be read as sound: cut short"),
    ],
)
def test_half_of_the_evidence_of_a_call_is_not_judged(
    tmp_path: Path, name: str, share: float, complaint: str
) -> None:
    """What is not there is not beyond its limit: half a call would pass."""
    save_evidence(SyntheticCall().build(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(EvidenceError, match=complaint):
        load_evidence(tmp_path)


def test_a_mark_without_its_fields_is_told_with_its_call() -> None:
    full = SyntheticCall().build()
    marks = [structs.replace(m, fields={}) if m.name == "audio_received" else m for m in full.marks]
    with pytest.raises(EvidenceError, match=r"synthetic: cannot be measured: .*'samples'"):
        judge_call(replace(full, marks=marks))


def test_a_call_fails_by_its_own_verdict_or_by_the_budget() -> None:
    assert judge_call(SyntheticCall().build()).verdict == "passed"
    over = judge_call(slow_call().build())
    assert over.verdict == "failed"
    assert "agent_overhead_ms of turn 2 is " in over.detail
    assert judge_call(slow_call(verdict="error", detail="lost").build()).detail == "lost"
    relaxed = {"agent_overhead_ms": 120, "turn_ms": 2000, "downlink_ms": 100}
    assert judge_call(slow_call(limits=relaxed).build()).verdict == "passed"


def test_percentiles_are_judged_over_all_calls_of_a_scenario() -> None:
    """Four fast turns and two slow ones: half of them, and no single call, say so."""
    lifted = {"agent_overhead_ms": "off", "turn_ms": "off"}

    def fate(limit: object) -> list[tuple[str, str]]:
        info = {"limits": {**lifted, "downlink_ms": limit}}
        fast = SyntheticCall(name="many", info=info).build()
        slow = SyntheticCall(
            name="many", turns=[TurnTruth(downlink_ms=90), TurnTruth(downlink_ms=95)], info=info
        ).build()
        calls = judge_together([judge_call(call) for call in (slow, fast, fast)])
        again = judge_together(calls)
        assert [call.judged for call in again] == [call.judged for call in calls]
        return [(call.verdict, call.detail) for call in again]

    assert [verdict for verdict, _ in fate({"p50": 60, "p95": 100})] == ["passed"] * 3
    *others, (verdict, detail) = fate({"p50": 60, "p95": 80})
    assert [one for one, _ in others] == ["passed", "passed"]
    assert verdict == "failed"
    assert detail.startswith("over budget: downlink_ms p95 of ")
    assert detail.endswith("limit 80.0 ms")


def test_the_whole_report_of_a_run(tmp_path: Path) -> None:
    write_run(tmp_path, INFO, [SyntheticCall().build(), slow_call().build()])
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["run"]["verdict"] == "failed"
    assert [s["verdict"] for s in data["scenarios"]] == ["passed", "failed"]
    for scenario in data["scenarios"]:
        assert all((tmp_path / path).is_file() for path in scenario["artifacts"].values())
    turn = next(m for m in data["scenarios"][0]["metrics"] if m["name"] == "turn_ms")
    assert turn["turn"] == 1
    assert turn["verdict"] == "passed"
    hops = data["scenarios"][0]["turns"][0]["hops"]
    assert sum(h["length_ms"] for h in hops) == pytest.approx(turn["value"], abs=0.01)
    assert not list(tmp_path.rglob(".*")), "no temporary file is left"


def test_evidence_in_its_place_is_left_alone(tmp_path: Path) -> None:
    evidence = SyntheticCall().build()
    directory = call_directory(tmp_path, "synthetic")
    save_evidence(evidence, directory)
    before = (directory / "timeline.jsonl").stat().st_mtime_ns
    write_run(tmp_path, INFO, [evidence])
    assert (directory / "timeline.jsonl").stat().st_mtime_ns == before


def test_repeats_have_directories_of_their_own(tmp_path: Path) -> None:
    calls = [SyntheticCall(info={"repeat": n}).build() for n in (1, 2)]
    assert [call.slug for call in write_run(tmp_path, INFO, calls)] == ["synthetic", "synthetic-2"]


def test_junit_has_a_case_a_call_with_every_number(tmp_path: Path) -> None:
    log = ["the last words\x07"]
    failed = slow_call(log=log).build()
    error = replace(failed, info=CallInfo(name="e", verdict="error", detail="no answer", log=log))
    write_run(tmp_path, INFO, [SyntheticCall().build(), failed, error])
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    good, bad, broken = suite.iter("testcase")
    assert {p.get("name") for p in good.iter("property")} >= {"beep_hz", "turn_ms.turn1"}
    failure = bad.find("failure")
    assert failure is not None
    assert "agent_overhead_ms of turn 2" in str(failure.get("message"))
    assert "the last words" in str(failure.text)
    problem = broken.find("error")
    assert problem is not None
    assert problem.get("message") == "no answer"


def attempts(*verdicts: str, **info: Any) -> CallEvidence:
    """A call that was placed as often as there are verdicts, of its behaviour."""
    *earlier, last = (
        SyntheticCall(
            info={
                "verdict": verdict,
                "detail": "" if verdict == "passed" else "step 4: expected reply, but nothing",
                "attempt": number,
                **info,
            }
        ).build()
        for number, verdict in enumerate(verdicts, 1)
    )
    return replace(last, earlier=tuple(earlier))


def junit_of(folder: Path) -> ET.Element:
    return ET.parse(folder / "junit.xml").getroot()[0]  # noqa: S314 - our own file


def test_what_xml_cannot_hold_is_told_by_a_sign_for_it(tmp_path: Path) -> None:
    call = attempts("failed")
    info = call.info.model_copy(update={"detail": "said \uffff, \x00 and \x7f"})
    write_run(tmp_path, INFO, [replace(call, info=info)])
    (case,) = junit_of(tmp_path).iter("testcase")
    (failure,) = case.iter("failure")
    assert failure.get("message") == "said \ufffd, \ufffd and \x7f"


def test_a_call_that_was_placed_once_more_is_one_row_with_its_attempts_inside(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, INFO, [attempts("failed", "passed")])
    data = json.loads((tmp_path / "results.json").read_text())
    (row,) = data["scenarios"]
    assert (data["run"]["verdict"], row["verdict"], row["name"]) == ("passed", "flaky", "synthetic")
    assert row["detail"] == (
        "right when it was placed once more; before: step 4: expected reply, but nothing"
    )
    first, second = row["attempts"]
    assert [first["behaviour"]["verdict"], second["behaviour"]["verdict"]] == ["failed", "passed"]
    assert all((tmp_path / one["page"]).is_file() for one in (first, second))
    assert 'href="../../../index.html"' in (tmp_path / first["page"]).read_text()
    assert 'href="attempt-1/call.html"' in (tmp_path / second["page"]).read_text()
    suite = junit_of(tmp_path)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", "0", "0")
    (case,) = suite.iter("testcase")
    assert case.get("name") == "synthetic"
    assert case.find("flakyFailure") is not None
    assert "0 passed, 1 flaky" in (tmp_path / "summary.md").read_text()
    _, info, calls = rebuild(tmp_path)
    assert [call.verdict for call in calls] == ["flaky"], "a report that is made anew knows it"
    assert info.outcome(calls).exit_code == 0
    _, _, elsewhere = rebuild(tmp_path, tmp_path / "elsewhere")
    assert [call.verdict for call in elsewhere] == ["flaky"]


def stalled_in_its_last_answer(call: CallEvidence) -> CallEvidence:
    """The machine stood still for 90 ms from the last answer's first delta on."""
    delta_ns = max(mark.at_ns for mark in call.marks if mark.name == "first_delta")
    stood = Mark(
        at_ns=delta_ns + 90_000_000,
        source="caller",
        call="x",
        name="machine_stalled",
        fields={"late_ms": 90.0},
    )
    return replace(call, marks=sorted([*call.marks, stood], key=lambda mark: mark.at_ns))


def test_each_part_of_a_verdict_stands_apart(tmp_path: Path) -> None:
    """Behaviour, timing, and what was not measured: in results, JUnit and on the page."""
    slow = slow_call().build()
    stalled = stalled_in_its_last_answer(slow)
    rows = {
        ("passed", "passed", "passed"): SyntheticCall().build(),
        ("failed", "passed", "failed"): slow,
        ("not measured", "passed", "not measured"): stalled,
        ("failed", "failed", "failed"): slow_call(verdict="failed", detail="step 1: no").build(),
        ("failed", "failed", "not measured"): replace(
            stalled, info=CallInfo(name="slow", verdict="failed", detail="step 1: no")
        ),
        ("error", "error", "passed"): SyntheticCall(info={"verdict": "error"}).build(),
    }
    for number, (expected, evidence) in enumerate(rows.items()):
        folder = tmp_path / str(number)
        write_run(folder, INFO, [evidence])
        (row,) = json.loads((folder / "results.json").read_text())["scenarios"]
        told = row["verdict"], row["behaviour"]["verdict"], row["timing"]["verdict"]
        assert told == expected
        case = next(junit_of(folder).iter("testcase"))
        properties = {p.get("name"): p.get("value") for p in case.iter("property")}
        assert tuple(properties[k] for k in ("verdict", "behaviour", "timing")) == expected
        element = {"passed": None, "not measured": "skipped", "failed": "failure"}.get(
            expected[0], "error"
        )
        assert element is None or case.find(element) is not None
        page = (folder / row["artifacts"]["page"]).read_text()
        named = (expected[1], expected[2])
        shown = [f'<span class="verdict {one.replace(" ", "-")}">{one}</span>' for one in named]
        assert f"Behaviour {shown[0]} · timing {shown[1]}" in page


def test_what_was_not_measured_says_why_in_a_line(tmp_path: Path) -> None:
    slow = slow_call().build()
    write_run(tmp_path, INFO, [stalled_in_its_last_answer(slow)])
    data = json.loads((tmp_path / "results.json").read_text())
    (row,) = data["scenarios"]
    assert row["detail"].startswith("not measured: turn_ms of turn 2 is 922")
    assert "(the machine stood still, which explains it)" in row["detail"]
    assert "\n" not in row["detail"]
    reasons = {m["name"]: m.get("reason") for m in row["metrics"] if m["turn"] == 2}
    assert reasons["downlink_ms"] == "machine"
    assert data["run"]["verdict"] == "not measured", "of one call, none is measured"
    assert data["run"]["why"][0].startswith("1 of 1 calls are not measured, and 75% must be: slow")
    suite = junit_of(tmp_path)
    assert (suite.get("tests"), suite.get("errors"), suite.get("skipped")) == ("2", "1", "1")
    values = {one["name"]: one["count"] for one in data["summary"]}
    assert values["downlink_ms"] == 1, "what the machine took a part of is no value"
    assert "Too little was measured" in (tmp_path / "index.html").read_text()
    assert "Too little was measured" in (tmp_path / "summary.md").read_text()


def known(over: bool, **more: object) -> dict[str, Any]:
    day = {"reason": "issue 12", "until": "2027-03-01", "over": over}
    return {"known_failure": day, **more}


@pytest.mark.parametrize(
    ("over", "behaviour", "verdict", "detail", "code"),
    [
        (False, "failed", "known failure", "known until 2027-03-01 (issue 12): step 1: no", 0),
        (True, "failed", "failed", "known until 2027-03-01, which is over (issue 12): step 1", 1),
        (False, "passed", "failed", "it passes: take its known_failure out (issue 12)", 1),
        (
            *(True, "passed", "failed"),
            "it passes: take its known_failure out (issue 12); its day, 2027-03-01, is over, too",
            1,
        ),
        (False, "error", "error", "step 1: no", 2),
    ],
)
def test_a_known_failure_fails_nobody_until_it_passes_or_its_day_is_over(
    tmp_path: Path, over: bool, behaviour: str, verdict: str, detail: str, code: int
) -> None:
    info = known(over, verdict=behaviour, detail="step 1: no")
    calls = write_run(tmp_path, INFO, [SyntheticCall(info=info).build()])
    assert INFO.outcome(calls).exit_code == code
    (row,) = json.loads((tmp_path / "results.json").read_text())["scenarios"]
    assert row["verdict"] == verdict
    assert row["detail"].startswith(detail)
    assert row["known_failure"] == {"reason": "issue 12", "until": "2027-03-01", "over": over}
    (case,) = junit_of(tmp_path).iter("testcase")
    assert (case.find("skipped") is not None) == (code == 0)
    told = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert told["verdict"] == verdict
    assert ("1 known failure" in (tmp_path / "index.html").read_text()) == (code == 0)


@pytest.mark.parametrize("behaviour", ["failed", "error"])
def test_a_call_of_which_no_limit_came_to_be_measured_has_kept_none(
    tmp_path: Path, behaviour: str
) -> None:
    info = known(over=False, verdict=behaviour, detail="step 1: no")
    call = SyntheticCall(info=info).build()
    write_run(tmp_path, INFO, [CallEvidence(info=call.info, marks=call.marks[:1])])
    (case,) = junit_of(tmp_path).iter("testcase")
    told = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert told["timing"] == "not measured"
    assert (case.find("skipped") is not None) == (behaviour == "failed")


def test_a_call_of_which_no_limit_came_to_be_measured_is_not_measured(tmp_path: Path) -> None:
    """Right as it was, it has kept no budget: who leaves before the answer is held to none."""
    call = SyntheticCall(name="left").build()
    calls = write_run(tmp_path, INFO, [CallEvidence(info=call.info, marks=call.marks[:1])])
    (row,) = json.loads((tmp_path / "results.json").read_text())["scenarios"]
    why = "nothing that has a limit came to be measured"
    assert (row["behaviour"]["verdict"], row["verdict"]) == ("passed", "not measured")
    assert row["timing"] == {"verdict": "not measured", "detail": f"not measured: {why}"}
    assert INFO.outcome(calls).exit_code == 2
    assert INFO.outcome(calls).why[0].endswith(f"75% must be: left ({why})")
    fine = [judge_call(SyntheticCall(name=name).build()) for name in "abc"]
    assert INFO.outcome([*calls, *fine]).exit_code == 0
    assert replace(INFO, strict=True).outcome([*calls, *fine]).exit_code == 2


def test_a_call_that_was_given_up_before_an_answer_is_held_to_nothing(tmp_path: Path) -> None:
    call = SyntheticCall(name="left").build()
    dialled = call.marks[0]
    gone = Mark(
        at_ns=dialled.at_ns,
        source="caller",
        call=dialled.call,
        name="hang_up_sent",
        fields={"how": "cancel"},
    )
    evidence = CallEvidence(info=call.info, marks=[dialled, gone])
    (one,) = write_run(tmp_path, INFO, [evidence])
    assert (one.verdict, one.timing.verdict, one.not_measured) == ("passed", "passed", [])


def test_an_outline_is_small_and_its_page_the_same(tmp_path: Path) -> None:
    """A run in memory takes it from one process to another, for each call."""
    call = judge_call(SyntheticCall().build())
    assert call.measured.answers
    assert len(pickle.dumps(call.outline())) < 100_000 < len(pickle.dumps(call))
    for folder, one in (("whole", call), ("outline", call.outline())):
        save_evidence(call.evidence, tmp_path / folder)
        write_page(tmp_path / folder, INFO, one)
    whole, again = (tmp_path / folder / "call.html" for folder in ("whole", "outline"))
    assert whole.read_text() == again.read_text()


def test_one_call_that_nothing_was_held_to_is_told_once(tmp_path: Path) -> None:
    info = {"limits": {"barge_in_stop_ms": 300}, "own_limits": ["barge_in_stop_ms"]}
    info["should_yield"] = ["barge_in_stop_ms"]
    calls = write_run(tmp_path, INFO, [SyntheticCall(info=info).build()])
    fine = [judge_call(SyntheticCall(name=name).build()) for name in "abc"]
    assert len(INFO.outcome([*calls, *fine]).why) == 1
    (why,) = INFO.outcome(calls).why
    assert why.startswith("1 of 1 calls are not measured, and 75% must be: ")
    assert why.endswith("(barge_in_stop_ms: nothing to measure it by has happened)")


def test_each_cause_is_a_paragraph_of_the_summary(tmp_path: Path) -> None:
    limits = {"limits": {"barge_in_stop_ms": 300}}
    odd = [
        SyntheticCall(name="a", info={**limits, "should_yield": ["barge_in_stop_ms"]}),
        SyntheticCall(name="b", info={**limits, "own_limits": ["dtmf_ms"]}),
    ]
    fine = [SyntheticCall(name=name) for name in "cde"]
    calls = write_run(tmp_path, INFO, [call.build() for call in [*odd, *fine]])
    assert len(INFO.outcome(calls).why) == 2
    text = (tmp_path / "summary.md").read_text()
    assert text.count("**Too little was measured**") == len(INFO.outcome(calls).why)
    for part in text.split("\n\n"):
        assert part.count("Too little was measured") <= 1


def test_a_failed_step_leads_to_its_place() -> None:
    detail = "step 4: expected reply within 1 s, but it came after 1.2 s; heard: beep, greeting"
    full = SyntheticCall(info={"verdict": "failed", "detail": detail}).build()
    at_ns = full.marks[0].at_ns + 2_500_000_000
    fields = {"step": 3, "kind": "expect", "text": "expect reply"}
    step = Mark(at_ns=at_ns, source="caller", call="x", name="step_started", fields=fields)
    page = call_page(
        INFO, judge_call(replace(full, marks=sorted([*full.marks, step], key=by_time)))
    )
    assert detail in page
    assert "Step 4 began here: expect reply" in page
    assert 'data-ms="2500.0">hear it at 2.50 s' in page


def by_time(mark: Mark) -> int:
    return mark.at_ns


def test_a_run_that_could_not_go_on_has_not_passed(tmp_path: Path) -> None:
    """Its calls until then did; what was still to come is no success."""
    info = replace(INFO, failure="the agent's process died\nThe logs are in work/logs")
    write_run(tmp_path, info, [SyntheticCall().build()])
    data = json.loads((tmp_path / "results.json").read_text())["run"]
    assert (data["verdict"], data["failure"]) == ("error", info.failure)
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("errors")) == ("2", "1")
    problem = suite.find("testcase/error")
    assert problem is not None
    assert problem.get("message") == "the agent's process died"
    index = (tmp_path / "index.html").read_text()
    assert "<h1>The run could not go on after 1 call: 1 passed " in index
    assert "process died" in index
    assert "## callerside: error" in (tmp_path / "summary.md").read_text()
    assert "process died" in (tmp_path / "summary.md").read_text()


def test_a_virtual_run_has_no_error_of_the_telephones(tmp_path: Path) -> None:
    write_run(tmp_path, replace(INFO, lane="virtual"), [SyntheticCall().build()])
    assert "calibrated over SIP, and not that of this lane" in (tmp_path / "index.html").read_text()


def test_every_report_tells_the_harness_error(tmp_path: Path) -> None:
    error = error_of("turn_ms", "ms", [1.0, 2.0])
    told = Calibration(
        measured_at="2026-08-01", machine="", calls=2, concurrency=4, metrics=(error,), path_ms={}
    )
    for calibration, expected in ((told, "1.0 ms for turn_ms (p95)"), (None, "not calibrated")):
        folder = tmp_path / str(bool(calibration))
        write_run(folder, replace(INFO, calibration=calibration), [SyntheticCall().build()])
        for name in ("index.html", "calls/synthetic/call.html", "junit.xml", "summary.md"):
            assert expected in (folder / name).read_text(), name
        data = json.loads((folder / "results.json").read_text())["run"]["calibration"]
        assert (data is None) == (calibration is None)


def test_a_limit_within_the_error_bound_is_undecided_everywhere(tmp_path: Path) -> None:
    info = {"limits": {"agent_overhead_ms": 200}}
    call = SyntheticCall(turns=[TurnTruth(downlink_ms=150), TurnTruth()], info=info, said=False)
    write_run(tmp_path, INFO, [call.build()])
    data = json.loads((tmp_path / "results.json").read_text())
    metrics = [m for m in data["scenarios"][0]["metrics"] if m["name"] == "agent_overhead_ms"]
    assert [m["held"] for m in metrics] == ["undecided", "within"]
    assert (metrics[0]["verdict"], metrics[0]["reason"]) == ("not measured", "undecided")
    assert metrics[0]["bound"] > 200 - metrics[0]["value"]
    assert "an end by its energy" in metrics[0]["bound_from"]
    summary = next(s for s in data["summary"] if s["name"] == "agent_overhead_ms")
    assert (summary["failed"], summary["undecided"]) == (0, 1)
    assert "1 undecided" in (tmp_path / "index.html").read_text()
    page = (tmp_path / "calls" / "synthetic" / "call.html").read_text()
    undecided = [m for m in data["scenarios"][0]["metrics"] if m["held"] == "undecided"]
    assert page.count(">undecided<") == len(undecided)


def test_the_summary_shows_the_tightest_margin() -> None:
    calls = [judge_call(SyntheticCall().build()), judge_call(slow_call().build())]
    overhead = next(s for s in summarise(calls) if s.name == "agent_overhead_ms")
    assert (overhead.count, overhead.failed) == (4, 1)
    assert overhead.max > 90
    assert overhead.margin == pytest.approx(40 - overhead.max)


def test_of_intelligibility_the_least_is_told(tmp_path: Path) -> None:
    """Its greatest value hides the answer that nobody understood."""
    full = SyntheticCall(turns=[TurnTruth(answer_length_ms=2500)]).build()
    onset = full.sample_at(measure(full).turns[0].answer_ns or 0)
    noisy = full.recording.copy()
    loud = np.random.default_rng(1).normal(0, 3000, len(noisy) - onset)
    noisy[onset:, 1] = np.clip(noisy[onset:, 1] + loud, -32768, 32767)
    write_run(tmp_path, INFO, [full, replace(full, recording=noisy)])
    data = json.loads((tmp_path / "results.json").read_text())
    found = next(s for s in data["summary"] if s["name"] == "intelligibility")
    assert found["min"] == found["p95"] < found["max"] - 5
    assert f"min</span> {found['min']:.1f}" in (tmp_path / "index.html").read_text()
    assert f"| min {found['min']:.1f} %" in (tmp_path / "summary.md").read_text()


def limits_told(*limits: Any) -> str:
    calls = [judge_call(SyntheticCall(info={"limits": {"beep_ms": one}}).build()) for one in limits]
    return next(s for s in summarise(calls) if s.name == "beep_ms").limits


def test_the_summary_tells_all_limits_where_they_differ() -> None:
    assert limits_told(700) == limits_told(700, 700) == "≤ 700.0"
    assert limits_told(700, 3500) == "≤ 700.0 … 3500.0"
    assert limits_told({"min": 5}, {"min": 9}) == "≥ 5.0 … 9.0"
    assert limits_told({"target": 400, "within": 20}) == "380.0 … 420.0"
    assert limits_told({"target": 400, "within": 20}, {"target": 160, "within": 20}) == (
        "≥ 140.0 … 380.0, ≤ 180.0 … 420.0"
    )
    assert limits_told(700, "off") == "≤ 700.0, or none"
    assert limits_told("off", "off") == ""


def test_every_form_of_a_run_tells_the_range_of_limits(tmp_path: Path) -> None:
    calls = [
        SyntheticCall(name=f"limit{limit}", info={"limits": {"beep_ms": limit}}).build()
        for limit in (700, 3500)
    ]
    write_run(tmp_path, INFO, calls)
    for name in ("index.html", "summary.md"):
        assert "≤ 700.0 … 3500.0" in (tmp_path / name).read_text(), name
    data = json.loads((tmp_path / "results.json").read_text())
    beep = next(s for s in data["summary"] if s["name"] == "beep_ms")
    assert (beep["low"], beep["high"], beep["unlimited"]) == (None, [700, 3500], 0)
    assert beep["margin"] == pytest.approx(700 - beep["max"])


def test_pages_are_whole_and_need_no_network() -> None:
    calls = [
        judge_call(SyntheticCall(info={"about": "<b>&"}).build()),
        judge_call(slow_call().build()),
    ]
    pages = [index_page(INFO, calls), *(call_page(INFO, call) for call in calls)]
    for page in pages:
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert "https://" not in page
        assert "<b>&" not in page
        assert page.endswith("</html>")


def test_a_minute_of_call_is_a_page_below_two_megabytes() -> None:
    turns = [TurnTruth(says_ms=3000, answer_length_ms=4000) for _ in range(7)]
    evidence = SyntheticCall(turns=turns, noise_dbfs=-55).build()
    assert evidence.recording.shape[0] / evidence.rate_hz >= 60
    page = call_page(INFO, judge_call(evidence))
    assert 'id="sound"' in page
    assert len(page.encode()) < MOST_BYTES


def test_a_text_in_the_marks_cannot_break_out_of_the_page() -> None:
    evil = "</script><script>alert(1)</script>"
    evidence = SyntheticCall(name="evil").build()
    marks = [
        structs.replace(m, fields={**m.fields, "text": evil})
        if m.name == "utterance_started"
        else m
        for m in evidence.marks
    ]
    page = call_page(INFO, judge_call(replace(evidence, marks=marks)))
    assert evil not in page


@pytest.mark.parametrize("seed", range(12))
def test_every_part_of_the_evidence_may_be_missing(seed: int) -> None:
    """A call that broke down anywhere still gets its page: that is when it is needed."""
    rng = random.Random(seed)
    full = SyntheticCall(turns=[TurnTruth(), TurnTruth(barge_in_after_ms=500)]).build()
    names = sorted({(m.source, m.name) for m in full.marks})
    left = set(rng.sample(names, rng.randint(0, len(names) - 1)))
    evidence = replace(
        full,
        marks=[m for m in full.marks if (m.source, m.name) in left],
        recording=full.recording if rng.random() < 0.5 else full.recording[:0],
        server_heard=full.server_heard if rng.random() < 0.5 else None,
        server_sent=full.server_sent if rng.random() < 0.5 else None,
    )
    call = judge_call(evidence)
    page = call_page(INFO, call) + index_page(INFO, [call])
    assert page.count("</html>") == 2
    json.dumps(results(INFO, [call]), allow_nan=False)


def test_results_hold_no_number_that_json_lacks() -> None:
    data = results(INFO, [judge_call(SyntheticCall().build())])
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([5], 99, 5), ([1, 2, 3, 4], 50, 2), (list(range(1, 101)), 95, 95), ([3, 1, 2], 95, 3)],
)
def test_a_percentile_is_a_value_that_occurred(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_a_page_made_from_an_outline_is_the_whole_page(tmp_path: Path) -> None:
    whole = judge_call(SyntheticCall().build())
    save_evidence(whole.evidence, call_directory(tmp_path, whole.slug))
    outline = replace(whole, evidence=whole.evidence.outline())
    write_judged(tmp_path, INFO, [outline])
    page = call_directory(tmp_path, whole.slug) / "call.html"
    assert page.read_text() == call_page(INFO, whole)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored == json.loads(to_json(results(INFO, [whole])))
    assert junit(INFO, [outline]) == junit(INFO, [whole])


def test_results_of_a_later_version_are_left_as_they_are(tmp_path: Path) -> None:
    """What a newer callerside knew of the run would be lost."""
    file = tmp_path / "results.json"
    (tmp_path / "calls" / "one").mkdir(parents=True)
    (tmp_path / "calls" / "one" / "timeline.jsonl").write_text("")
    file.write_text(json.dumps({"version": VERSION + 1, "run": {}, "scenarios": []}))
    before = file.read_text()
    with pytest.raises(StoredError, match=r"results.json: version \d+, and this .* upgrade"):
        rebuild(tmp_path)
    assert file.read_text() == before
    assert not (tmp_path / "index.html").exists()
