"""The command line, from the arguments to the exit code, in the virtual lane."""

import json
import os
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import soundfile
from msgspec.structs import replace as mark_with
from rich.console import Console

from callerside.agent.telephony.options import SipAccount
from callerside.reports.evidence import CallEvidence, EvidenceError
from callerside.reports.metrics import measures
from callerside.reports.metrics.heard_call import HeardCall
from callerside.reports.metrics.measurement import Measurement, Unmeasured
from callerside.reports.verdict.calibration import Calibration
from callerside.reports.verdict.call_result import CallResult, judge_call
from callerside.simulator.cli.main import main
from callerside.simulator.cli.run import play, show, write_report
from callerside.simulator.runner.run import Run, RunOptions

ROOT = Path(__file__).parents[3]
GOOD = "about: A call that goes well.\ntags: [smoke]\nagent: {greeting: {enabled: false}}\n"
STEPS = "steps: [{expect: beep}, hang_up]\n"

Callerside = Callable[..., int]


@pytest.fixture
def callerside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callerside:
    """Run a command in a folder of its own, where `scenarios/` has two calls."""
    monkeypatch.chdir(tmp_path)
    Path("scenarios").mkdir()
    Path("scenarios/good.yaml").write_text(GOOD + STEPS)
    Path("scenarios/other.yaml").write_text(GOOD.replace("smoke", "slow") + STEPS)
    return lambda *arguments: main(arguments)


def verdicts() -> dict[str, str]:
    data = json.loads(Path("out/latest/results.json").read_text())
    return {scenario["name"]: scenario["verdict"] for scenario in data["scenarios"]}


def run_virtual(callerside: Callerside, *arguments: str) -> int:
    return callerside("run", *arguments, "--lane", "virtual")


def test_a_run_that_passes_is_exit_0_and_leaves_its_pages(callerside: Callerside) -> None:
    assert run_virtual(callerside) == 0
    assert verdicts() == {"good": "passed", "other": "passed"}
    for name in ("index.html", "junit.xml", "summary.md", "calls/good/call.html"):
        assert Path("out/latest", name).stat().st_size > 0


def test_a_call_that_fails_is_exit_1_and_the_summary_says_why(callerside: Callerside) -> None:
    Path("scenarios/bad.yaml").write_text(
        GOOD + "caller: {patience: 1s}\nsteps: [{expect: {silence: 1s}}, {expect: reply}]\n"
    )
    assert run_virtual(callerside) == 1
    summary = Path("out/latest/summary.md").read_text()
    assert "2 passed, 1 failed (virtual lane)." in summary
    assert "- **bad** (failed): step 2: expected reply within 1 s, but heard" in summary


def test_a_call_that_cannot_be_measured_is_on_the_page_as_an_error(
    callerside: Callerside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(evidence: CallEvidence, calibration: Calibration | None) -> CallResult:
        if evidence.info.stage == "good":
            raise EvidenceError("timeline.jsonl: nobody can read that")
        return judge_call(evidence, calibration)

    monkeypatch.setattr("callerside.simulator.runner.evaluate.judge_call", judge)
    assert run_virtual(callerside) == 2
    assert verdicts() == {"good": "error", "other": "passed"}
    for name in ("index.html", "junit.xml", "summary.md", "calls/good/call.html"):
        assert "nobody can read that" in Path("out/latest", name).read_text(), name


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("budget: {intelligibility: 90}", 0),
        ("network: {loss: 20%}\nbudget: {intelligibility: 95, gap_ms: off}", 1),
    ],
)
def test_how_well_an_answer_is_understood_is_held_to_a_limit_in_memory_too(
    callerside: Callerside, limit: str, code: int
) -> None:
    text = (
        "about: x\nrealtime: {replies: [{say: We are open from nine to five on every day.}]}\n"
        "steps: [{expect: greeting}, {say: When do you open?}, {expect: reply}, hang_up]\n"
    )
    Path("scenarios/good.yaml").write_text(f"{text}{limit}\n")
    assert run_virtual(callerside, "-k", "good") == code


def test_a_metric_that_raises_is_the_error_of_its_call_alone(
    callerside: Callerside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rightly = measures.setup

    def setup(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
        if call.evidence.info.name == "good":
            raise RuntimeError("a bug in a metric")
        yield from rightly(call)

    monkeypatch.setattr(measures, "setup", setup)
    assert run_virtual(callerside) == 2
    assert verdicts() == {"good": "error", "other": "passed"}
    assert "a bug in a metric" in Path("out/latest/calls/good/call.html").read_text()


def test_a_metric_whose_function_is_missing_leaves_a_report(
    callerside: Callerside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(measures, "setup")
    assert run_virtual(callerside) == 2
    assert verdicts() == {"good": "error", "other": "error"}
    assert "has no attribute 'setup'" in Path("out/latest/summary.md").read_text()


def test_a_limit_that_is_not_kept_is_exit_1(callerside: Callerside) -> None:
    Path("scenarios/good.yaml").write_text(GOOD + STEPS + "budget: {beep_ms: 10}\n")
    assert run_virtual(callerside) == 1
    assert verdicts() == {"good": "failed", "other": "passed"}


def test_a_limit_of_its_own_that_nothing_is_held_to_is_exit_2(callerside: Callerside) -> None:
    Path("scenarios/good.yaml").write_text(GOOD + STEPS + "budget: {barge_in_stop_ms: 200}\n")
    Path("scenarios/other.yaml").write_text(GOOD + STEPS + "budget: {barge_in_stop_ms: off}\n")
    assert run_virtual(callerside) == 2
    assert verdicts() == {"good": "not measured", "other": "passed"}
    assert "barge_in_stop_ms has a limit, and nothing" in Path("out/latest/summary.md").read_text()
    lossy = "budget: {barge_in_stop_ms: 200}\nnetwork: {loss: 1%}\n"
    Path("scenarios/good.yaml").write_text(GOOD + STEPS + lossy)
    assert run_virtual(callerside) == 0, "on a bad network it may have been lost"
    Path("scenarios/good.yaml").write_text(GOOD + STEPS)
    Path("scenarios/suite.yaml").write_text("budget: {barge_in_stop_ms: 200}\n")
    assert run_virtual(callerside) == 0, "a suite's limit is for those that it fits"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["-k", "nothing"], "no scenario that the virtual lane plays and that fits -k 'nothing'"),
        (["-k", "godo"], "that fits -k 'godo'; did you mean \"good\"?"),
        (["-k", "a and"], "expected words joined by and, or, not and parentheses"),
        (["--agent", "sip:1@127.0.0.1"], "--agent is called over SIP: it needs --lane sip"),
    ],
)
def test_what_cannot_be_run_is_exit_2_with_the_reason(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert run_virtual(callerside, *arguments) == 2
    assert complaint in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_cell_is_chosen_by_the_name_that_a_run_prints(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scenarios/codecs.yaml").write_text(
        GOOD + "matrix: {caller.codec: [PCMA, G722]}\n" + STEPS
    )
    assert callerside("list") == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"codecs-PCMA", "codecs-G722"} <= set(listed)
    assert run_virtual(callerside, "-k", "codecs-G722") == 0
    told = capsys.readouterr().out
    assert "codecs-G722" in told
    assert "codecs-PCMA" not in told


def test_what_cannot_be_said_is_told_before_a_call_is_made(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scenarios/mute.yaml").write_text(
        "about: x\nrealtime: {replies: [{wav: no.wav}]}\nsteps: [{say: {wav: none.wav}}]\n"
    )
    assert run_virtual(callerside) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in told] == [
        "scenarios/mute.yaml:3:21",
        "scenarios/mute.yaml:2:28",
    ]
    assert not list(Path("out").iterdir()), "no run was begun"


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("sip:1@nowhere.invalid", "sip:1@nowhere.invalid: cannot be dialled from here: "),
        ("sip:1@127.0.0.1", "scenarios/bad_line.yaml:6:10: bad_line"),
    ],
)
def test_what_cannot_be_played_to_another_agent_is_refused(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], uri: str, complaint: str
) -> None:
    Path("scenarios/bad_line.yaml").write_text(GOOD + "\n" + STEPS + "network: {loss: 1%}\n")
    assert callerside("run", "--agent", uri) == 2
    assert complaint in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_told(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_virtual(callerside, "--out", "scenarios/good.yaml") == 2
    assert "scenarios/good.yaml: cannot write reports there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--agent", "shop"], ["--agent", "sip:127.0.0.1"], ["--jobs", "0"], ["--lane", "both"]],
)
def test_arguments_that_cannot_be_are_exit_2(callerside: Callerside, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        callerside("run", *arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "word"), [(["rum"], "run"), (["run", "--lane", "virtul"], "virtual")]
)
def test_a_word_that_is_none_has_the_nearest_right_one_beside_it(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        callerside(*arguments)
    assert ended.value.code == 2
    assert f'did you mean "{word}"?' in capsys.readouterr().err


def test_words_choose_by_name_and_by_tag(callerside: Callerside) -> None:
    assert run_virtual(callerside, "-k", "smoke or nothing") == 0
    assert verdicts() == {"good": "passed"}
    assert run_virtual(callerside, "-k", "not good") == 0
    assert verdicts() == {"other": "passed"}


def test_a_file_by_itself_brings_the_one_that_it_comes_after(callerside: Callerside) -> None:
    Path("scenarios/later.yaml").write_text(GOOD + "after: good\n" + STEPS)
    assert run_virtual(callerside, "scenarios/later.yaml") == 0
    assert verdicts() == {"good": "passed", "later": "passed"}


def test_repeats_and_the_seed_are_as_asked_for(callerside: Callerside) -> None:
    assert run_virtual(callerside, "scenarios/good.yaml", "--repeat", "3", "--seed", "7") == 0
    assert sorted(path.name for path in Path("out/latest/calls").iterdir()) == [
        "good-r1",
        "good-r2",
        "good-r3",
    ]
    data = json.loads(Path("out/latest/results.json").read_text())
    assert data["run"]["seed"] == 7
    assert [(call["name"], call["repeat"]) for call in data["scenarios"]] == [
        ("good", 1),
        ("good", 2),
        ("good", 3),
    ]


def test_the_percentiles_of_repeats_are_judged_over_all_of_them(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scenarios/good.yaml").write_text(
        GOOD + STEPS + "repeat: 5\nbudget: {beep_ms: {p95: 10, max: 500}}\n"
    )
    assert run_virtual(callerside, "scenarios/good.yaml") == 1
    assert "over budget: beep_ms p95 of 5 values is " in Path("out/latest/summary.md").read_text()
    suite = ET.parse("out/latest/junit.xml").getroot()[0]  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures")) == ("5", "1")
    told = capsys.readouterr().out
    assert "4 passed, 1 failed" in told
    assert "failed  good-r5  over budget: beep_ms p95 of 5 values is " in told


def test_the_limits_of_a_suite_hold_for_each_scenario_that_has_none_of_its_own(
    callerside: Callerside,
) -> None:
    Path("scenarios/suite.yaml").write_text("budget: {beep_ms: {p50: 10}, answer_ms: 500}\n")
    Path("scenarios/other.yaml").write_text(GOOD + STEPS + "budget: {beep_ms: off}\n")
    assert run_virtual(callerside, "--repeat", "2") == 1
    data = json.loads(Path("out/latest/results.json").read_text())
    details = {scenario["name"]: scenario["detail"] for scenario in data["scenarios"]}
    assert details["good"].startswith("over budget: beep_ms p50 of 2 values is ")
    assert verdicts()["other"] == "passed"


def test_a_matrix_and_callers_are_calls_of_their_own(callerside: Callerside) -> None:
    Path("scenarios/good.yaml").write_text(
        GOOD + STEPS + "callers: {count: 3, spread: 2s}\nmatrix: {caller.codec: [PCMU, PCMA]}\n"
    )
    assert run_virtual(callerside, "scenarios/good.yaml") == 0
    names = {path.name for path in Path("out/latest/calls").iterdir()}
    assert names == {f"good-{codec}-c{n}" for codec in ("PCMU", "PCMA") for n in (1, 2, 3)}


def test_out_open_and_json(
    callerside: Callerside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert run_virtual(callerside, "-k", "good", "--out", "elsewhere", "--open", "--json") == 0
    (page,) = opened
    assert page.startswith("file:///")
    assert page.endswith("/index.html")
    assert json.loads(capsys.readouterr().out)["run"]["verdict"] == "passed"
    assert Path("elsewhere/latest/index.html").is_file()


def test_checking_tells_every_mistake_and_makes_no_call(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callerside("check") == 0
    assert "2 scenarios are well-formed" in capsys.readouterr().out
    Path("scenarios/good.yaml").write_text(GOOD + "steps: [{expct: beep}]\n")
    Path("scenarios/other.yaml").write_text(GOOD + "steps: [hang_up]\nrepeat: 0\n")
    assert callerside("check") == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[0] for line in told] == [
        "scenarios/good.yaml:4:9:",
        "scenarios/other.yaml:5:9:",
    ]
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("[{say: a}, {pause: 900ms}, {say: b}]", "a pause of 900 ms ends the caller's turn"),
        ("[{say: a}, {expect: {transcript: b}}]", 'no reply of realtime says "b"'),
        ("[{say: a}, {expect: {function_call: b}}]", 'calls the function "b"'),
        ("[{say: a}, {expect: reply}, {say: b, when: reply end + 1s}]", "this is the next reply"),
    ],
)
def test_a_warning_is_told_as_one_and_is_no_failure_unless_strictly(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], steps: str, told: str
) -> None:
    Path("scenarios/other.yaml").write_text(GOOD + f"steps: {steps}\n")
    for arguments, code in ((), 0), (("--strict",), 2):
        assert callerside("check", *arguments) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("scenarios/other.yaml:4:")
        assert told in line
        assert line.endswith(" (a warning)")


def test_what_is_doubtful_in_one_file_is_told_beside_what_is_wrong_in_another(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    doubtful = GOOD + "steps: [{say: One.}, {pause: 900ms}, {say: Two.}, hang_up]\n"
    Path("scenarios/good.yaml").write_text(doubtful)
    Path("scenarios/other.yaml").write_text(GOOD + "steps: [{say: {wav: gone.wav}}, hang_up]\n")
    assert callerside("check", "scenarios") == 2
    told = capsys.readouterr().err.splitlines()
    assert any("good.yaml" in line and line.endswith("(a warning)") for line in told), told
    assert any("gone.wav: there is no such file" in line for line in told), told


def test_checking_tells_of_a_forerunner_that_is_not_there(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scenarios/later.yaml").write_text(GOOD + "after: god\n" + STEPS)
    assert callerside("check") == 2
    told = capsys.readouterr().err
    assert "scenarios/later.yaml:4:8: after: there is no scenario 'god' here" in told
    assert 'did you mean "good"?' in told


def test_the_list_says_what_each_is_about_and_where_it_can_be_played(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scenarios/other.yaml").write_text(GOOD + STEPS + "lanes: [virtual]\n")
    assert callerside("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "good   A call that goes well. #smoke",
        "other  A call that goes well. (virtual lane only) #smoke",
    ]


NAMES = ["my_call", "my_call.yaml", "scenarios/my_call", "scenarios/my_call.yaml"]


@pytest.mark.parametrize("folder", [".", "elsewhere", "scenarios", "a/scenarios", "my_call"])
@pytest.mark.parametrize("name", NAMES)
def test_new_check_and_run_are_five_minutes_of_a_newcomer(
    callerside: Callerside,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    folder: str,
) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    assert callerside("new", name) == 0
    printed = capsys.readouterr().out
    written = printed.partition(":")[0]
    assert f"callerside check {written} && callerside run {written}" in printed
    assert Path(written).is_file()
    assert callerside("check", name) == 0
    assert callerside("check", written) == 0
    assert callerside("list", name) == 0
    assert run_virtual(callerside, name) == 0
    assert verdicts() == {"my_call": "passed"}
    assert callerside("new", name) == 2
    assert f"{written}: there is one already" in capsys.readouterr().err


def test_each_way_to_write_a_name_is_the_same_file(callerside: Callerside) -> None:
    """Whichever of them wrote it; none writes scenarios/scenarios/."""
    for name in NAMES:
        assert callerside("new", name) == 0
        for other in NAMES:
            assert callerside("check", other) == 0
        Path("scenarios/my_call.yaml").unlink()


def test_a_name_is_found_wherever_it_lies_among_the_scenarios(callerside: Callerside) -> None:
    assert callerside("new", "scenarios/deep/down/my_call") == 0
    assert callerside("check", "my_call") == 0
    assert callerside("check", "deep/down/my_call") == 0


def test_a_name_that_may_be_several_is_asked_about(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("good.yaml").write_text("steps: []\n")
    assert callerside("check", "good") == 2
    told = capsys.readouterr().err
    assert told == "good: which one is meant, good.yaml or scenarios/good.yaml?\n"
    assert callerside("check", "scenarios/good") == 0
    assert callerside("check", "good.yaml") == 2  # as it is written
    assert capsys.readouterr().err.startswith("good.yaml:1:1: ")


def test_a_name_that_is_a_folders_too(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("good").mkdir()
    assert callerside("check", "good") == 0  # nothing is in it
    Path("good/one.yaml").write_text(GOOD + STEPS)
    assert callerside("check", "good") == 2
    told = capsys.readouterr().err
    assert told == "good: which one is meant, good/ or scenarios/good.yaml?\n"
    assert callerside("list", "good/") == 0
    assert capsys.readouterr().out.startswith("one ")
    Path("scenarios/scenarios.yaml").write_text(GOOD + STEPS)
    assert callerside("check") == 0


def test_a_name_that_is_nowhere_says_where_it_was_looked_for(
    callerside: Callerside, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callerside("check", "my_cal") == 2
    assert capsys.readouterr().err == (
        f"my_cal: no such file or folder (looked for my_cal and my_cal.yaml in {tmp_path}, "
        f"{tmp_path}/scenarios); callerside new NAME writes a scenario to start from\n"
    )


@pytest.mark.parametrize("name", ["frist_call", "frist_call.yaml", "scenarios/frist_call.yaml"])
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_name_with_a_slip_proposes_the_nearest(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    Path("scenarios/first_call.yaml").write_text(GOOD + STEPS)
    assert callerside(command, name) == 2
    told = capsys.readouterr().err
    assert 'did you mean "first_call"?' in told
    assert "frist_call.yaml and frist_call.yaml" not in told
    assert told.count(f"{Path.cwd()}/scenarios") == 1


@pytest.mark.parametrize(
    ("name", "plays"),
    [
        ("codecs-PCMA", ["codecs-PCMA"]),
        ("scenarios/codecs-PCMA.yaml", ["codecs-PCMA"]),
        ("codecs-PCMA-r2", ["codecs-PCMA"]),
        ("four-c2", 4 * ["four"]),
    ],
)
def test_the_name_of_a_call_plays_it(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], name: str, plays: list[str]
) -> None:
    matrix = "matrix: {caller.codec: [PCMA, PCMU]}\n"
    Path("scenarios/codecs.yaml").write_text(GOOD + matrix + STEPS)
    Path("scenarios/four.yaml").write_text(GOOD + "callers: {count: 4}\n" + STEPS)
    assert callerside("run", "--lane", "virtual", "--json", name) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["scenarios"]] == plays
    assert callerside("check", "codecs-PCM") == 2
    told = capsys.readouterr().err
    assert 'codecs-PCM: scenarios/codecs.yaml has no such call; did you mean "codecs-PCM' in told
    assert "callerside list scenarios/codecs.yaml names" in told
    assert callerside("list", "-k", "codecs-PCMA") == 0
    assert callerside("run", "--lane", "virtual", "-k", "four-c2") == 2
    assert "four plays all of its calls: -k four" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "scenarios/", ".yaml", "a b", "x\x1b[2J"])
def test_what_is_no_name_is_refused(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert callerside("new", name) == 2
    assert "is no name: expected letters, digits, _ and -" in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_one_line(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callerside("new", "scenarios/good.yaml/x") == 2
    assert capsys.readouterr().err == (
        "scenarios/good.yaml/x.yaml: cannot be written: scenarios/good.yaml: File exists\n"
    )
    assert callerside("new", "scenarios/x", "--folder", "y") == 2
    assert "it names a folder, and so does --folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("sound", ["x.raw", "nan.wav", "pipe.wav"])
def test_a_sound_that_cannot_be_used_is_one_line_with_its_place(
    callerside: Callerside, capsys: pytest.CaptureFixture[str], command: str, sound: str
) -> None:
    Path("scenarios/x.raw").write_bytes(bytes(8000))
    soundfile.write("scenarios/nan.wav", np.full(800, np.nan), 8000, subtype="FLOAT")
    os.mkfifo("scenarios/pipe.wav")
    Path("scenarios/plays.yaml").write_text(
        f"about: x\nsteps:\n  - expect: beep\n  - say: {{wav: {sound}}}\n"
    )
    lane = ["--lane", "virtual"] if command == "run" else []
    assert callerside(command, "plays", *lane) == 2
    (line,) = capsys.readouterr().err.splitlines()
    place = "scenarios/plays.yaml:4:16: the caller cannot say this: "
    assert line.startswith(f"{place}scenarios/{sound}: ")


@pytest.mark.parametrize("python", ["console script", "-m"])
def test_names_are_text_where_python_was_told_that_all_is_ascii(
    tmp_path: Path, python: str
) -> None:
    folder = tmp_path / "Bäckerei"
    (folder / "scenarios").mkdir(parents=True)
    (folder / "scenarios" / "grüße.yaml").write_text("about: Grüße\n" + STEPS, encoding="utf-8")
    script = Path(sys.executable).with_name("callerside")
    command = (
        [str(script)]
        if python == "console script"
        else [sys.executable, "-m", "callerside.simulator.cli.main"]
    )
    for words in (["list"], ["run", "grüße", "--lane", "virtual"], ["report", "out/latest"]):
        done = subprocess.run(
            [*command, *words],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), words
        assert words[0] == "report" or "grüße" in done.stdout or "gr-e" in done.stdout
    assert "grüße" in (folder / "out/latest/index.html").read_text(encoding="utf-8")


def test_a_name_that_is_no_text_is_refused(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(b"scenarios/good.yaml", b"scenarios/g\xff.yaml")  # noqa: PTH104 - bytes
    assert callerside("check") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("'scenarios/g\\udcff.yaml': a scenario is called as its file is")


def test_a_text_is_spoken_into_a_file(
    callerside: Callerside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callerside("say", "Good morning.", "-o", "x.wav", "--voice", "en-us+f3") == 0
    assert capsys.readouterr().out.startswith("x.wav: ")
    assert Path("x.wav").stat().st_size > 10_000
    assert callerside("say", "Good morning.", "-o", "y.wav", "--voice", "xx") == 2
    assert "xx" in capsys.readouterr().err


def test_that_no_call_was_answered_is_said_where_none_was_and_nobody_ended_the_run(
    tmp_path: Path,
) -> None:
    scenario = tmp_path / "asked.yaml"
    scenario.write_text("version: 2\nabout: A call.\nsteps: [{expect: beep}, hang_up]\n")
    made = RunOptions(paths=[scenario], lane="virtual", out=tmp_path / "out", keep=0)
    done = play(made, Console(file=StringIO()))
    report = write_report(done, made, "callerside run")
    (call,) = done.calls
    assert call.result is not None
    unmeasured = replace(done, calls=[replace(call, result=replace(call.result, judged=[]))])
    account, uri = SipAccount(user="2001"), "sip:100@127.0.0.1"
    options = replace(made, agent_uri=uri, account=account, account_file=Path("my account.yaml"))

    def told(run: Run) -> str:
        text = StringIO()
        show(Console(file=text, width=1000), run, options, report)
        return text.getvalue()

    assert "No call was answered" not in told(unmeasured)
    nobody = replace(done, calls=[])
    said = told(nobody)
    assert f"No call was answered: callerside doctor {uri} --account 'my account.yaml' says" in said
    assert "CALLERSIDE_CALLER_PASSWORD is not set in the environment" in said
    assert "No call was answered" not in told(replace(nobody, interrupted=True))


def test_a_call_without_a_packet_and_one_refused_as_busy_are_told_with_what_to_do(
    tmp_path: Path,
) -> None:
    scenario = tmp_path / "asked.yaml"
    scenario.write_text("version: 2\nabout: A call.\nsteps: [{expect: beep}, hang_up]\n")
    made = RunOptions(paths=[scenario], lane="virtual", out=tmp_path / "out", keep=0, jobs=4)
    done = play(made, Console(file=StringIO()))
    report = write_report(done, made, "callerside run")
    uri = "sip:100@127.0.0.1"
    (call,) = done.calls
    assert call.result is not None
    result = call.result
    end = result.evidence.last("caller", "call_ended")
    assert end is not None
    counted = {"received_packets": 0, "lost_packets": 0, "jitter_ms": 0.0}
    none_came = mark_with(end, name="rtp_measured", fields=counted)
    failed = result.evidence.info.model_copy(update={"verdict": "failed", "detail": "step 1"})
    answered = [one for one in result.evidence.marks if one.name != "rtp_measured"]
    refused = [one for one in answered if one.name not in ("call_answered", "call_ended")]
    refused.append(mark_with(end, fields={**end.fields, "status": 486}))

    def told(*marks: Any, jobs: int = 4, agent_uri: str | None = uri) -> str:
        calls = [
            replace(
                call,
                result=replace(
                    result, evidence=replace(result.evidence, info=failed, marks=list(one))
                ),
            )
            for one in marks
        ]
        text, options = StringIO(), replace(made, agent_uri=agent_uri, jobs=jobs)
        show(Console(file=text, width=1000), replace(done, calls=calls), options, report)
        return text.getvalue()

    mute = told([*answered, none_came])
    assert "1 call was answered, and not one packet came of the sound that was agreed to" in mute
    assert f"see its log; callerside doctor {uri} looks at such a call" in mute
    assert "not one packet" not in told(answered)
    some = mark_with(none_came, fields={**counted, "received_packets": 1})
    assert "not one packet" not in told([*answered, some])
    assert "nothing was to be heard" not in told([*answered, some])
    deaf = [one for one in answered if one.name not in ("speech_heard", "beep_heard")]
    assert "1 call was answered, packets came, and nothing was to be" in told([*deaf, some])
    assert "nothing was to be heard" not in mute
    unmet = [one for one in answered if one.name != "call_ended"]
    unmet.append(mark_with(end, fields={**end.fields, "by": "network", "status": 488}))
    assert "not one packet" not in (said := told([*unmet, none_came]))
    assert f"1 call was answered with no audio that was offered: callerside doctor {uri}" in said
    assert "no audio that was offered" not in told(answered)
    unknown = [*refused[:-1], mark_with(end, fields={**end.fields, "status": 401})]
    assert "1 call was refused by somebody who asks who calls (401, 407)" in told(unknown)
    assert "who asks who calls" not in told(refused)
    busy = told(refused, answered)
    assert "1 call was refused as by somebody busy (486, 503, 600)" in busy
    assert "up to 4 at once: for an agent that takes one, add --jobs 1" in busy
    assert "--jobs 1" not in told(refused, answered, jobs=1)
    assert "--jobs 1" not in told(refused)  # alone
    assert "--jobs 1" not in told(answered, answered)
    assert f"The agent that was called: {uri}" in busy
    ours = told(refused, answered, agent_uri=None)
    assert "The agent that was called: callerside's own" in ours
    assert "--jobs 1" not in ours
    assert report.data["run"]["environment"]["agent"] == "callerside's own"
