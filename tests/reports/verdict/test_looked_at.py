"""Of a run of many calls, pages for those that somebody will look at; the others by a command."""

import html
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from synthetic_call import SyntheticCall, TurnTruth

from callerside.reports.formats.write import write_judged
from callerside.reports.verdict.call_result import CallResult, judge_call
from callerside.reports.verdict.looked_at import FEW, SLOWEST, looked_at
from callerside.reports.verdict.outcome import told_of_warnings
from callerside.reports.verdict.results import RunInfo
from callerside.simulator.cli.main import main

SCHEMA = Path(__file__).parents[3] / "reports" / "verdict" / "results.schema.json"
FAILED, SLOW = "call-7", "call-9"


@pytest.fixture(scope="module")
def calls() -> list[CallResult]:
    """Of which one failed, and one is slow."""
    call = SyntheticCall().build()
    slow = SyntheticCall(turns=[TurnTruth(think_ms=340)]).build()
    limits = {"turn_ms": 9000}

    def named(name: str) -> CallResult:
        verdict = "failed" if name == FAILED else "passed"
        info = call.info.model_copy(update={"name": name, "verdict": verdict, "limits": limits})
        return judge_call(replace(slow if name == SLOW else call, info=info))

    return [named(f"call-{number}") for number in range(12)]


def test_each_of_few_is(calls: list[CallResult]) -> None:
    assert looked_at(calls[:FEW]) == {call.slug for call in calls[:FEW]}


def test_of_many_the_first_the_slowest_and_what_is_not_well(calls: list[CallResult]) -> None:
    assert [call.slug for call in calls if call.verdict != "passed"] == [FAILED]
    shown = looked_at(calls)
    assert {calls[0].slug, FAILED, SLOW} <= shown
    assert len(shown) <= 2 + SLOWEST


def test_a_row_without_a_page_shows_the_command_that_writes_it(
    calls: list[CallResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "two words"
    shown = looked_at(calls)
    write_judged(folder, RunInfo(started_at="", duration_s=1), calls, pages=shown)
    there = {path.parent.name for path in folder.glob("calls/*/call.html")}
    assert there == shown

    data = json.loads((folder / "results.json").read_text())
    jsonschema.validate(data, json.loads(SCHEMA.read_text()))
    pages = {one["name"]: one["artifacts"]["page"] for one in data["scenarios"]}
    assert {name for name, page in pages.items() if page} == shown
    assert all((folder / page).is_file() for page in pages.values() if page)

    index = (folder / "index.html").read_text()
    assert set(re.findall(r'<a href="calls/([^/]*)/call.html', index)) == shown
    served = set(re.findall(r'<a class="served" href="calls/([^/]*)/call.html', index))
    assert served == {call.slug for call in calls} - shown, "what somebody serves is a click away"
    commands = [html.unescape(one) for one in re.findall(r'<code class="soft">(.*?)</code>', index)]
    assert len(commands) == len(calls) - len(shown)
    program, *arguments = shlex.split(commands[0])
    assert program == "callerside"
    assert main(arguments) == 0
    made = Path(capsys.readouterr().out.rpartition(": ")[2].strip())
    (page,) = made.parent.glob("calls/*/call.html")
    assert "<audio" in page.read_text()


def test_a_warning_of_a_call_that_passed_is_in_every_form_of_the_run(
    calls: list[CallResult], tmp_path: Path
) -> None:
    warning = "the answer of turn 1 failed; the agent made up for it"

    def warned(call: CallResult) -> CallResult:
        info = call.evidence.info.model_copy(update={"warnings": [warning]})
        return replace(call, evidence=replace(call.evidence, info=info))

    run = [warned(call) if call.slug in ("call-5", FAILED) else call for call in calls]
    assert "call-5" in looked_at(run)
    assert "call-5" not in looked_at(calls)
    write_judged(tmp_path, RunInfo(started_at="", duration_s=1), run, pages=looked_at(run))
    data = json.loads((tmp_path / "results.json").read_text())
    jsonschema.validate(data, json.loads(SCHEMA.read_text()))
    told = {one["name"]: one["warnings"] for one in data["scenarios"] if one["warnings"]}
    assert told == {"call-5": [warning]}  # what fails a call is told instead
    assert f'title="{warning}">1 warning</span>' in (tmp_path / "index.html").read_text()
    assert (
        f"**call-5** (passed, with a warning): {warning}" in (tmp_path / "summary.md").read_text()
    )
    junit = (tmp_path / "junit.xml").read_text()
    assert f'<property name="warning" value="{warning}"' in junit
    assert f"<system-out>Warning: {warning}.</system-out>" in junit
    assert told_of_warnings(run) == f"1 call has passed with a warning: call-5: {warning}"
    assert told_of_warnings(calls) == ""
    assert told_of_warnings([warned(call) for call in calls[:5]]) == (
        "5 calls have passed with warnings, told on their pages: call-0, call-1, call-2 and 2 more"
    )
