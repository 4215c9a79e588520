"""Scenarios as tests: a pytest within this one, in the virtual lane."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy.fft  # as below: numpy loads it when it is first used
import numpy.random  # noqa: F401 - as above
import pytest

import callerside.simulator.pytest.session_player  # noqa: F401 - a run within forgets what it imports; numpy must stay

Run = Callable[..., tuple[int, str]]

PASSES = """\
about: A call that goes well.
tags: [smoke]
agent: {greeting: {enabled: false}}
steps: [{expect: beep}, hang_up]
"""
FAILS = """\
about: A call that expects what does not come.
agent: {greeting: {enabled: false}}
caller: {patience: 2s}
steps: [{expect: greeting}]
"""
MATRIX = PASSES + "matrix: {caller.codec: [PCMU, G722]}\n"


pytest_plugins = ["pytester"]
LEFT_OUT = ("-p", "no:hypothesispytest", "-p", "no:benchmark")
"""Other people's plugins, which take as long as a call to load, in each process."""


@pytest.fixture
def calls(pytester: pytest.Pytester) -> Path:
    folder = pytester.mkdir("scenarios")
    pytester.makeini(
        "[pytest]\naddopts = --strict-markers\nasyncio_default_fixture_loop_scope = function\n"
    )
    (pytester.path / "notes.yaml").write_text("about: nothing to do with us\n")
    (folder / "suite.yaml").write_text("time_limit: 20s\n")
    return folder


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    plugin = () if _is_installed_as_plugin() else ("-p", "callerside.simulator.pytest.plugin")
    options = ("-v", "--callerside-lane", "virtual", "--callerside-out", "out", *LEFT_OUT)

    def inside(*arguments: str) -> tuple[int, str]:
        done = pytester.runpytest_inprocess(*plugin, *options, *arguments)
        return int(done.ret), done.stdout.str()

    return inside


def _is_installed_as_plugin() -> bool:
    plugins = entry_points(group="pytest11")
    return any(plugin.value == "callerside.simulator.pytest.plugin" for plugin in plugins)


def test_each_file_and_each_cell_is_a_test(calls: Path, run: Run) -> None:
    (calls / "good.yaml").write_text(PASSES)
    (calls / "codecs.yaml").write_text(MATRIX)
    code, told = run("--junitxml=junit.xml")

    assert code == 0, told
    assert "3 passed" in told
    cases = ET.parse(calls.parent / "junit.xml").iter("testcase")  # noqa: S314 - our own file
    metrics = {case.get("name"): {p.get("name") for p in case.iter("property")} for case in cases}
    assert set(metrics) == {"good", "codecs-PCMU", "codecs-G722"}
    assert all({"answer_ms", "beep_hz", "report"} <= names for names in metrics.values())
    report = re.search(r"callerside report: (\S+)", told)
    assert report is not None
    assert (calls.parent / report[1]).is_file()


def test_a_failure_says_what_was_expected_and_where_its_page_is(calls: Path, run: Run) -> None:
    (calls / "bad.yaml").write_text(FAILS)
    code, told = run()

    assert code == 1
    assert "expected greeting within 2 s, but this agent is set not to greet; heard since" in told
    assert "Traceback" not in told
    page = re.search(r"see (\S+call\.html)", told)
    assert page is not None
    assert (calls.parent / page[1]).is_file()


def test_functions_that_are_not_there_fail_their_own_test_alone(calls: Path, run: Run) -> None:
    (calls / "good.yaml").write_text(PASSES)
    (calls / "bad.yaml").write_text(
        PASSES.replace("agent: {", "agent: {tools: {module: no_such_module}, ")
    )
    code, told = run()
    assert code == 1, told
    assert "1 failed, 1 passed" in told
    assert "bad.yaml:3:" in told
    assert "'no_such_module' cannot be imported" in " ".join(told.split())


def test_each_test_has_the_link_of_its_own_page(calls: Path, run: Run) -> None:
    (calls / "codecs.yaml").write_text(MATRIX)
    code, told = run("-rP", "--junitxml=junit.xml")

    assert code == 0, told
    cases = ET.parse(calls.parent / "junit.xml").iter("testcase")  # noqa: S314 - our own file
    pages = {
        case.get("name"): str(p.get("value"))
        for case in cases
        for p in case.iter("property")
        if p.get("name") == "report"
    }
    for name, codec in (("codecs-PCMU", "PCMU"), ("codecs-G722", "G722")):
        assert pages[name].endswith(f"/calls/codecs-{codec}/call.html")
        assert (calls.parent / pages[name]).is_file()
        assert pages[name] in told


@pytest.mark.parametrize("dist", ["load", "loadfile", "worksteal"])
def test_of_several_processes_one_plays_all_scenarios(calls: Path, run: Run, dist: str) -> None:
    for number in range(4):
        (calls / f"good{number}.yaml").write_text(PASSES)
    (calls.parent / "test_other.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    code, told = run("-n", "2", "--dist", dist)

    assert code == 0, told
    assert "6 passed" in told
    (played,) = (calls.parent / "out").glob("2*")
    assert len(list(played.glob("calls/*"))) == 4
    assert f"callerside report: out/{played.name}/index.html" in told


def test_of_several_processes_too_little_that_was_measured_is_told(calls: Path, run: Run) -> None:
    (calls / "good.yaml").write_text(PASSES + "budget: {barge_in_stop_ms: 300}\n")
    code, told = run("-n", "2")
    assert code == 2, told
    assert "too little was measured: 1 of 1 calls are not measured" in told
    assert "good (barge_in_stop_ms: nothing to measure it by has happened)" in told


def test_percentiles_are_judged_over_the_calls_of_the_test(calls: Path, run: Run) -> None:
    (calls / "many.yaml").write_text(PASSES + "repeat: 3\nbudget: {beep_ms: {p50: 10}}\n")
    code, told = run()
    assert code == 1
    assert "many-r3: over budget: beep_ms p50 of 3 values is " in told


def test_waiting_for_other_calls_is_no_timeout(calls: Path, run: Run) -> None:
    """A call ends by its own limits; pytest-timeout would count the calls before it as well."""
    (calls / "good.yaml").write_text(PASSES)
    code, told = run("--timeout=0.01")
    assert code == 0, told


def test_names_and_tags_choose(calls: Path, run: Run) -> None:
    (calls / "good.yaml").write_text(PASSES)
    (calls / "bad.yaml").write_text(FAILS)
    for choice in (("-k", "good"), ("-m", "smoke")):
        code, told = run(*choice)
        assert code == 0, told
        assert "1 passed, 1 deselected" in told


def test_a_forerunner_is_played_even_if_it_is_not_chosen(calls: Path, run: Run) -> None:
    (calls / "first.yaml").write_text("about: x\nsteps: [{expect: greeting}]\n")
    (calls / "second.yaml").write_text(
        "about: x\nafter: first\n"
        "steps: [{expect: greeting}, {expect: {mark: greeting_started, fields: {origin: cache}}}]\n"
    )
    code, told = run("-k", "second")
    assert code == 0, told


def test_a_broken_file_is_an_error_with_its_place(calls: Path, run: Run) -> None:
    (calls / "broken.yaml").write_text("about: x\nsteps: [{expct: beep}]\n")
    code, told = run()

    assert code == 2
    assert 'broken.yaml:2:9: step 1: "expct"; did you mean "expect"?' in told


def test_other_yaml_files_are_left_alone(calls: Path, run: Run) -> None:
    code, told = run()
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED, told


def test_a_project_may_lie_in_a_folder_of_that_name(calls: Path, run: Run) -> None:
    project = calls / "project"
    (project / "deploy").mkdir(parents=True)
    (project / "deploy" / "compose.yaml").write_text("services: {}\n")
    code, told = run("--rootdir", str(project), str(project))
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED, told


def test_two_files_of_one_name_are_not_taken_for_each_other(calls: Path, run: Run) -> None:
    (calls / "sub").mkdir()
    for folder in (calls, calls / "sub"):
        (folder / "same.yaml").write_text(PASSES)
    code, told = run()
    assert code == 1
    assert "same.yaml:1:1: the name same is taken by" in told


def test_a_number_of_calls_that_cannot_be_is_refused(
    calls: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (calls / "good.yaml").write_text(PASSES)
    code, _ = run("--callerside-jobs=-3")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "argument --callerside-jobs: -3: expected 1 or more" in capsys.readouterr().err


def test_the_agent_that_was_called_is_named(calls: Path, run: Run) -> None:
    (calls / "good.yaml").write_text(PASSES)
    for several in ((), ("-n", "2")):
        _, told = run(*several)
        assert "The agent that was called: callerside's own" in told, several
        assert "(yours: --callerside-agent URI)" in told, several


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            ["--callerside-agent", "sip:1@127.0.0.1"],
            "--callerside-agent is called over SIP: it needs --callerside-lane sip",
        ),
        (
            ["--callerside-account", "account.yaml"],
            "--callerside-account is for an agent that runs elsewhere: it needs --callerside-agent",
        ),
        (
            ["--callerside-agent=sip:1@127.0.0.1", "--callerside-lane=sip",
             "--callerside-account=none.yaml"],
            "none.yaml",
        ),
        (
            ["--callerside-engine=baresip"],
            "--callerside-engine and --callerside-caller-engine need --callerside-lane sip",
        ),
        (
            ["--callerside-caller-engine=baresip"],
            "--callerside-engine and --callerside-caller-engine need --callerside-lane sip",
        ),
    ],
)  # fmt: skip
def test_an_agent_that_cannot_be_called_so_is_told(
    calls: Path, run: Run, given: list[str], complaint: str
) -> None:
    (calls / "good.yaml").write_text(PASSES)
    code, told = run(*given)
    assert code == 1
    assert complaint in " ".join(told.split())
    assert "Traceback" not in told
    assert not (calls.parent / "out").exists()


def test_what_an_engine_cannot_do_is_refused_before_a_call(calls: Path, run: Run) -> None:
    (calls / "opus.yaml").write_text(PASSES + "caller: {codec: OPUS}\n")
    code, told = run("--callerside-lane=sip", "--callerside-engine=pjsua2")
    assert code == 1
    assert "opus.yaml:5:17: opus: pjsua2 " in told
    code, told = run(
        "--callerside-lane=sip", "--callerside-engine=baresip", "--callerside-caller-engine=pjsua2"
    )
    assert code == 1
    assert "opus.yaml:5:17: opus: pjsua2 " in told
    assert not (calls.parent / "out").exists()


def test_an_engine_that_there_is_not_is_refused(
    calls: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (calls / "good.yaml").write_text(PASSES)
    code, _ = run("--callerside-engine=asterisk")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "'asterisk': expected one of auto, pjsua2, baresip" in capsys.readouterr().err


def test_an_address_that_is_none_is_refused(
    calls: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (calls / "good.yaml").write_text(PASSES)
    code, _ = run("--callerside-agent=staging")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "argument --callerside-agent: 'staging': expected sip:" in capsys.readouterr().err


def test_a_sound_file_that_is_not_there_is_told_with_its_place(calls: Path, run: Run) -> None:
    (calls / "mute.yaml").write_text("about: x\nsteps: [{say: {wav: none.wav}}]\n")
    code, told = run()
    assert code == 1
    assert "mute.yaml:2:21: the caller cannot say this: " in told
    assert "Traceback" not in told
