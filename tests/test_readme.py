"""The README tells the truth: its commands are those of CI, its examples work, its links lead."""

import re
from pathlib import Path

from callerside.agent.config import loader as config
from callerside.reports.metrics.registry import METRICS
from callerside.simulator.scenario import loader

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_ci_calls_the_readmes_two_commands() -> None:
    commands = [block.strip() for block in blocks("sh") if "nox -s" in block]
    assert len(commands) == 2
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [command for command in commands if command not in ci] == []


def test_the_scenario_shown_is_valid(tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(blocks("yaml")[0])
    (scenario,) = loader.load([tmp_path / "shown.yaml"])
    assert len(scenario.steps) == 5


def test_the_configuration_shown_is_valid(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(blocks("yaml")[1])
    settings = config.load(tmp_path / "agent.yaml", env={"OPENAI_API_KEY": "any"})
    assert settings.for_call("100").voice == "marin"


def test_the_library_is_as_large_as_it_says() -> None:
    told = re.search(r"carry the tag `core` \((\d+) of (\d+):", README)
    assert told is not None
    library = loader.load([ROOT / "scenarios"])
    core = [scenario for scenario in library if "core" in scenario.tags]
    assert (int(told[1]), int(told[2])) == (len(core), len(library))


def test_links_and_pictures_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_measured_table_is_of_real_metrics_and_its_command_of_real_scenarios() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert len(rows) >= 8
    assert [name for name in rows if name not in METRICS] == []
    (command,) = [block for block in blocks("console") if "callerside run scenarios" in block]
    files = [word for word in command.split() if word.endswith(".yaml")]
    assert [scenario.name for scenario in loader.load([ROOT / name for name in files])] == [
        "first_call",
        "second_call",
        "barge_in",
    ]
