"""What is wrong with a file is told at once, as far as one mistake does not hide another."""

import re
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main
from callerside.simulator.scenario.loader import ScenarioError, load


def told(folder: Path, **files: str) -> list[str]:
    """The lines about `call.yaml`, and about what lies beside it."""
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem.replace('_', '.')}.{suffix}").write_text(text)
    with pytest.raises(ScenarioError) as raised:
        load([folder / "call.yaml"])
    return str(raised.value).replace(f"{folder}/", "").splitlines()


def places(lines: list[str]) -> list[str]:
    found = (re.match(r"[^:]+:\d+:\d+", line) for line in lines)
    return sorted(match[0] if match else "" for match in found)


def test_cells_of_a_table_and_the_rest_of_the_file(tmp_path: Path) -> None:
    table = "call,who,ms\nann,Ann,soon\nbob,,3\nann,Cy,late\nx,y\n!,Di,4\n"
    call = """\
about: <who> calls at <when>.
rows: people.csv
caller: {voce: heart}
steps:
  - say: "<who>"
    when: reply + <ms>ms
  - {pause: <ms>}
"""
    assert places(told(tmp_path, call_yaml=call, people_csv=table)) == [
        "call.yaml:1:8",  # no column `when`
        "call.yaml:3:10",  # voce
        "people.csv:2:9",  # soon: in a moment, and as a pause
        "people.csv:2:9",
        "people.csv:3:5",  # no value
        "people.csv:4:1",  # a second ann
        "people.csv:4:8",
        "people.csv:4:8",
        "people.csv:5:3",  # two cells
        "people.csv:6:1",  # no name
    ]


@pytest.mark.parametrize("table", [None, "who,\nAnn,3\n", 'who\n"Ann\n', "who\n", "who\nAnn,3\n"])
def test_a_table_that_gives_no_row_hides_its_values_alone(
    tmp_path: Path, table: str | None
) -> None:
    call = "rows: people.csv\ncaller: {speed_wpm: <who>, voce: heart}\nsteps: [hang_up, hang_up]\n"
    files = {} if table is None else {"people_csv": table}
    found = places(told(tmp_path, call_yaml=call, **files))
    assert found.pop(0) == "call.yaml:1:1"  # about is missing
    assert found[:2] == (
        ["call.yaml:1:7", "call.yaml:2:28"] if table is None else ["call.yaml:2:28", found[1]]
    )
    assert "call.yaml:3:18" in found


def test_an_include_that_is_not_there_hides_its_steps_alone(tmp_path: Path) -> None:
    call = """\
about: x
after: ghost
steps:
  - include: greet.steps.yaml
  - include: ask.steps.yaml
  - hang_up
  - {expct: beep}
meanwhile: [{include: noise.steps.yaml}, hang_up]
matrix: {steps.9.say: [a], caller.codec: 3, caller.0: [a]}
budget: {trun_ms: 3}
"""
    ask = "steps: [{include: more.steps.yaml, within: 3s}, {sya: a}]\nabout: x\n"
    assert places(told(tmp_path, call_yaml=call, ask_steps_yaml=ask)) == [
        "ask.steps.yaml:1:19",  # more.steps.yaml is not there
        "ask.steps.yaml:1:36",  # within
        "ask.steps.yaml:1:49",  # sya
        "ask.steps.yaml:2:1",  # about
        "call.yaml:10:10",  # trun_ms
        "call.yaml:2:8",  # ghost
        "call.yaml:4:14",  # greet
        "call.yaml:7:5",  # no step can follow hang_up
        "call.yaml:7:5",  # expct
        "call.yaml:8:23",  # noise
        "call.yaml:8:42",  # hang_up in meanwhile
        "call.yaml:9:42",  # no list
        "call.yaml:9:45",  # caller.0
    ]


def test_what_needs_something_wrong_is_not_made_up(tmp_path: Path) -> None:
    call = """\
about: x
lanes: [virtaul]
network: {drift_ppm: 100, los: 1%}
caller: {noise: {knd: pink, snr_db: 20}}
steps: [{say: {wav: a.wav, text: 3}}, hang_up]
"""
    assert places(told(tmp_path, call_yaml=call)) == [
        "call.yaml:2:9",  # not: drift_ppm needs lanes: [virtual]
        "call.yaml:3:27",
        "call.yaml:4:18",  # not: either kind or wav
        "call.yaml:5:34",
    ]


def test_what_the_parts_of_a_file_are_together_is_told_beside_a_part_that_is_wrong(
    tmp_path: Path,
) -> None:
    call = """\
about: x
network: {drift_ppm: 100}
caller: {noise: {snr_db: 20}, voce: a}
realtime: {replies: [{say: a, think: 3}], greting: {say: a}}
steps: [hang_up, {pause: 3 hours}]
"""
    assert places(told(tmp_path, call_yaml=call)) == [
        "call.yaml:2:22",
        "call.yaml:3:17",
        "call.yaml:3:31",
        "call.yaml:4:31",
        "call.yaml:4:43",
        "call.yaml:5:18",
        "call.yaml:5:26",
    ]


def test_a_suite_that_is_wrong_hides_nothing_of_the_call(tmp_path: Path) -> None:
    call = "about: x\ncaller: {voce: a}\nsteps: [hang_up, hang_up]\n"
    suite = "caller: {codec: MP3}\nabuot: x\nsteps: []\n"
    found = told(tmp_path, call_yaml=call, suite_yaml=suite)
    assert places(found) == [
        "call.yaml:2:10",
        "call.yaml:3:18",
        "suite.yaml:1:17",
        "suite.yaml:2:1",
        "suite.yaml:3:1",
    ]
    (tmp_path / "suite.yaml").write_text("caller: [\n")
    assert len(told(tmp_path, call_yaml=call)) == 2  # what is below the suite's keys may be its


def test_an_unknown_after_and_what_cannot_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, after in (("one", "ghost"), ("two", "spirit"), ("three", "four"), ("four", "three")):
        text = f"about: x\nafter: {after}\nsteps: [{{pause: 2min}}, hang_up]\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    assert main(["check", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.replace(f"{tmp_path}/", "").splitlines()
    assert len([line for line in lines if "longer than the time limit" in line]) == 4
    assert [line.partition(": after: there is")[0] for line in lines if "after: there" in line] == [
        "one.yaml:2:8",
        "two.yaml:2:8",
    ]
    assert [line for line in lines if "itself" in line] == [
        "four.yaml:2:8: comes after itself: four after three after four"
    ]


def test_a_forerunner_whose_file_is_wrong_is_there(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text("abuot: x\nsteps: [hang_up]\n")
    call = "about: x\nafter: first\nsteps: [{expct: beep}]\n"
    assert places(told(tmp_path, call_yaml=call)) == ["call.yaml:3:9"]


def test_an_agent_ends_in_memory_only(tmp_path: Path) -> None:
    ends = "version: 2\nabout: It ends.\nagent_ends: {after: 3s}\nsteps: [{pause: 5s}]\n"
    assert told(tmp_path, call_yaml=ends) == [
        "call.yaml:3:13: agent_ends: can be played in memory only: it needs lanes: [virtual]"
    ]
    assert places(told(tmp_path, call_yaml=ends + "lanes: [sip, virtuall]\n")) == [
        "call.yaml:5:14"  # and nothing of agent_ends
    ]
