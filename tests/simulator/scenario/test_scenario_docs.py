"""What docs/scenarios.md shows is what the loader takes."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.requirements import Requirement

from callerside.audio import to_samples, tone
from callerside.audio_files import write_wav
from callerside.simulator.caller.audio.utterances import prepare
from callerside.simulator.cli.main import parser
from callerside.simulator.scenario.expectations import DETAILED_EXPECTATIONS, Heard
from callerside.simulator.scenario.loader import load_file
from callerside.simulator.scenario.moments import Event
from callerside.simulator.scenario.steps import ACTIONS
from callerside.simulator.scenario.suite import SHARED_KEYS

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "scenarios.md").read_text()
TABLE = re.findall(r"^```csv\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def whole(block: str) -> str:
    """A block as a file: what a file needs is added where the block leaves it out."""
    added = "".join(f"{key}: {value}\n" for key, value in (("about", "x"), ("steps", "[hang_up]"))
                    if not re.search(rf"^{key}:", block, re.MULTILINE))  # fmt: skip
    return added + block


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_is_a_scenario(tmp_path: Path, block: str) -> None:
    (tmp_path / "bookings.csv").write_text(TABLE)
    path = tmp_path / "shown.yaml"
    path.write_text(whole(block))
    assert load_file(path)


def words() -> Iterator[str]:
    yield from ACTIONS
    yield from get_args(Event)
    yield from (word.split(" ")[0] for word in get_args(Heard))
    yield from DETAILED_EXPECTATIONS
    yield from SHARED_KEYS


@pytest.mark.parametrize("word", sorted(set(words())))
def test_every_word_of_the_language_is_on_the_page(word: str) -> None:
    assert re.search(rf"\b{word}\b", PAGE)


def test_the_workflow_runs_commands_that_exist() -> None:
    workflow = yaml.safe_load((DOCS / "github-actions.yml").read_text())
    steps = workflow["jobs"]["calls"]["steps"]
    commands = [
        step["run"].split() for step in steps if step.get("run", "").startswith("callerside")
    ]
    given = [parser().parse_args(command[1:]) for command in commands]
    assert [command[1] for command in commands] == ["check", "run", "run"]
    assert [(one.lane, str(one.out)) for one in given[1:]] == [
        ("virtual", "out/virtual"),
        ("sip", "out/sip"),
    ]


def test_the_workflow_calls_an_agent_of_ones_own_and_starts_its_model() -> None:
    workflow = yaml.safe_load((DOCS / "github-actions.yml").read_text())
    job = workflow["jobs"]["own"]
    runs = [step["run"] for step in job["steps"] if "run" in step]
    (call,) = [shlex.split(one) for one in runs if one.startswith("callerside run")]
    given = [job["env"]["AGENT"] if word == "$AGENT" else word for word in call[1:]]
    asked = parser().parse_args(given)
    assert (asked.agent, asked.jobs, asked.strict) == ("sip:100@127.0.0.1:5070", 1, True)
    (model,) = [shlex.split(one) for one in runs if one.startswith("fake-realtime")]
    assert model[-1] == "&"
    assert model[1:3] == ["serve", "--port"]
    assert int(model[3]) == urlsplit(job["env"]["MODEL"]).port
    assert any('callerside doctor "$AGENT"' in one for one in runs)


def test_the_workflow_needs_nothing_of_ours_in_the_repository_that_it_plays() -> None:
    """No checkout of callerside, and none of the files that setup-python's `cache` asks for."""
    workflow = yaml.safe_load((DOCS / "github-actions.yml").read_text())
    steps = workflow["jobs"]["calls"]["steps"]
    (install,) = [step["run"] for step in steps if step.get("run", "").startswith("pip ")]
    *command, given = shlex.split(install)
    assert command == ["pip", "install"]
    wanted = Requirement(given)
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    assert wanted.name == project["name"]
    assert wanted.extras <= set(project["optional-dependencies"])
    assert wanted.url == f"git+{project['urls']['Source']}"
    (python,) = [step["with"] for step in steps if "setup-python" in step.get("uses", "")]
    assert set(python) == {"python-version"}


def test_the_workflow_shows_the_summary_and_keeps_the_report_whatever_happened() -> None:
    workflow = yaml.safe_load((DOCS / "github-actions.yml").read_text())
    steps = {step.get("name"): step for step in workflow["jobs"]["calls"]["steps"]}
    assert steps["Summary"]["if"] == steps["Report"]["if"] == "always()"
    assert steps["Summary"]["run"].endswith('summary.md >> "$GITHUB_STEP_SUMMARY"')


def test_a_file_beside_the_scenario_is_found(tmp_path: Path) -> None:
    write_wav(tmp_path / "own.wav", to_samples(tone(300, 500, 44_100)), 44_100)
    path = tmp_path / "one.yaml"
    path.write_text("about: x\nsteps: [{say: {wav: own.wav}}]\n")
    (audio,) = prepare(load_file(path)[0], 16_000).values()
    assert len(audio) == pytest.approx(16_000, abs=1000)  # 500 ms, and up to a frame
