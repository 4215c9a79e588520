"""Steps that stand in a file of their own: where they go, and what is said of mistakes in them."""

from pathlib import Path

import pytest

from callerside.simulator.cli.main import main
from callerside.simulator.runner.lint import problems
from callerside.simulator.scenario.loader import ScenarioError, load, load_file
from callerside.simulator.scenario.model import Scenario

HEAD = "about: x\nsteps:\n  - {pause: 1s}\n  - include: greet.steps.yaml\n  - hang_up\n"
GREET = "steps:\n  - expect: beep\n  - say: Hello.\n"


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('_in_', '/')}.steps.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "call.yaml").write_text(files.pop("call", HEAD))
    return folder / "call.yaml"


def told(folder: Path, text: str = HEAD, **files: str) -> str:
    path = written(folder, **files)
    path.write_text(text)
    with pytest.raises(ScenarioError) as raised:
        load_file(path)
    return str(raised.value).replace(f"{folder}/", "")


def described(scenario: Scenario) -> list[str]:
    return [step.describe() for step in scenario.steps]


def test_the_steps_of_a_file_stand_where_it_is_included(tmp_path: Path) -> None:
    path = written(tmp_path, greet=GREET)
    scenario = load_file(path)[0]
    assert described(scenario) == ["pause 1 s", "expect beep", 'say "Hello."', "hang up"]
    places = [scenario.at("steps", number) for number in range(4)]
    shared = tmp_path / "greet.steps.yaml"
    assert places == [f"{path}:3:5", f"{shared}:2:5", f"{shared}:3:5", f"{path}:5:5"]


def test_a_file_of_steps_is_no_scenario(tmp_path: Path) -> None:
    written(tmp_path, greet=GREET)
    assert [one.name for one in load([tmp_path])] == ["call"]
    with pytest.raises(ScenarioError, match=r"greet\.steps\.yaml: it holds steps that scenarios"):
        load([tmp_path / "greet.steps.yaml"])


def test_files_include_files_and_meanwhile_does_too(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        greet="steps: [{expect: beep}, {include: common/hello.steps.yaml}]\n",
        common_in_hello="steps: [{say: {wav: hello.wav}}, {include: more.steps.yaml}]\n",
        common_in_more="version: 2\nsteps: [{pause: 2s}]\n",
    )
    path.write_text(HEAD + "meanwhile: [{include: common/more.steps.yaml}]\n")
    scenario = load_file(path)[0]
    assert described(scenario)[1:4] == ["expect beep", 'say "[common/hello.wav]"', "pause 2 s"]
    assert [step.describe() for step in scenario.meanwhile] == ["pause 2 s"]
    assert problems(scenario)[0].startswith(f"{tmp_path / 'common/hello.steps.yaml'}:1:")


def test_a_matrix_counts_steps_as_if_they_stood_there(tmp_path: Path) -> None:
    path = written(tmp_path, greet=GREET)
    path.write_text(HEAD + "matrix: {steps.2.say: [Hi., Ho.]}\n")
    assert [described(one)[2] for one in load_file(path)] == ['say "Hi."', 'say "Ho."']


@pytest.mark.parametrize(
    ("greet", "expected"),
    [
        (None, "call.yaml:4:14: include: there is no file 'greet.steps.yaml'"),
        ("", "greet.steps.yaml:1:1: expected a mapping with steps"),
        ("\ufeff", "greet.steps.yaml:1:"),
        ("- hang_up", "greet.steps.yaml:1:1: expected a mapping with steps"),
        ("steps: []", "greet.steps.yaml:1:8: steps: expected a list of at least one step"),
        ("version: 2", "greet.steps.yaml:1:1: steps: expected a list of at least one step"),
        ("about: x\nsteps: [{pause: 1}]", 'greet.steps.yaml:1:1: unknown key "about": a file of'),
        ("steps: [{expct: beep}]", 'greet.steps.yaml:1:9: step 2: "expct"; did you mean "expect"?'),
        ("steps: [{say: a, when: replay}]", 'greet.steps.yaml:1:24: when: "replay"; did you mean'),
        ("steps: [{inclde: x}]", 'greet.steps.yaml:1:9: step 2: "inclde"; did you mean "include"?'),
        ("steps: [hang_up]", "call.yaml:5:5: step 3: hang_up ends the call: no step can"),
        ("steps: [", "greet.steps.yaml:1:9: not YAML: "),
        (
            "steps: [{include: ./greet.steps.yaml}]",
            "greet.steps.yaml:1:19: include: 'greet.steps.yaml' includes 'greet.steps.yaml', which",
        ),
        (
            "steps: [{include: call.yaml}]",
            "greet.steps.yaml:1:19: include: 'call.yaml': expected a",
        ),
        ("steps: [include]", "greet.steps.yaml:1:9: include: expected a file called NAME.steps"),
        ("steps: [{include: 3}]", "greet.steps.yaml:1:19: include: 3: expected a file called NAME"),
        (
            "steps: [{include: b/a.steps.yaml, within: 3s}]",
            'greet.steps.yaml:1:35: unknown key "within": include stands alone; this belongs',
        ),
        (
            'steps: [{include: "a\\nb\\u202e.steps.yaml"}]',
            r"greet.steps.yaml:1:19: include: there is no file 'a\nb\u202e.steps.yaml'",
        ),
        (
            'steps: [{include: "a\\0.steps.yaml"}]',
            r"greet.steps.yaml:1:19: include: there is no file 'a\x00.steps.yaml'",
        ),
        (
            "steps: [{include: gret.steps.yaml}]",
            "include: there is no file 'gret.steps.yaml'; did you mean \"greet.steps.yaml\"?",
        ),
    ],
)
def test_a_mistake_is_told_with_the_file_that_has_it(
    tmp_path: Path, greet: str | None, expected: str
) -> None:
    files = {"b_in_a": "steps: [{pause: 1}]\n"} | ({} if greet is None else {"greet": greet})
    line = told(tmp_path, **files)
    assert expected in line
    assert len(line.splitlines()) == 1


def test_a_folder_and_a_pipe_are_no_files_of_steps(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "greet.steps.yaml").mkdir()
    assert "greet.steps.yaml: cannot be read: Is a directory" in told(tmp_path)
    (tmp_path / "greet.steps.yaml").rmdir()
    __import__("os").mkfifo(tmp_path / "greet.steps.yaml")
    assert "it is no file, but a named pipe" in told(tmp_path)


def test_files_that_include_each_other_twice_come_to_an_end(tmp_path: Path) -> None:
    files = {
        f"f{n}": f"steps: [{{include: f{n + 1}.steps.yaml}}, {{include: f{n + 1}.steps.yaml}}]\n"
        for n in range(18)
    }
    text = "about: x\nsteps: [{include: f0.steps.yaml}]\n"
    line = told(tmp_path, text, **files, f18="steps: [{pause: 1s}]\n")
    assert line.endswith("more than 10000 steps, with all that is included")
    deep = {f"f{n}": f"steps: [{{include: f{n + 1}.steps.yaml}}]\n" for n in range(40)}
    assert "include: more than 20 files within each other" in told(tmp_path, text, **deep)


def test_a_file_of_steps_is_migrated(tmp_path: Path) -> None:
    path = written(tmp_path, greet=GREET)
    assert main(["migrate", str(tmp_path)]) == 0
    assert (tmp_path / "greet.steps.yaml").read_text() == f"version: 2\n{GREET}"
    assert len(load_file(path)[0].steps) == 4
