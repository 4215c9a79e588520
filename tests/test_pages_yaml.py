"""Every YAML block of README and docs is what it seems to be, and every scenario in them is played.

A block without `about` or `steps` is a part of a scenario: it is read as that of one that has the
rest. On pages about the agent, blocks are its settings; the one of fake-realtime.md is a script.
"""

from pathlib import Path

import pytest
from pages import Block
from pages_yaml import SHOWN, kind, whole, write_what_is_named

from callerside.agent.config import loader as settings
from callerside.fakes.script.loader import load_script
from callerside.reports.verdict.budget_file import read_budget
from callerside.simulator.cli.main import main
from callerside.simulator.lanes.sip import account
from callerside.simulator.scenario import loader


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With all files that the blocks name."""
    monkeypatch.chdir(tmp_path)
    write_what_is_named(tmp_path)
    return tmp_path


def of_kind(*wanted: str) -> pytest.MarkDecorator:
    shown = [one for one in SHOWN if kind(one) in wanted]
    return pytest.mark.parametrize("block", shown, ids=[one.name for one in shown])


def test_there_are_blocks_of_each_kind() -> None:
    assert {kind(one) for one in SHOWN} == {
        "script", "account", "budget", "settings", "scenario", "part",
    }  # fmt: skip


@of_kind("settings")
def test_settings_can_be_loaded(folder: Path, block: Block) -> None:
    (folder / "agent.yaml").write_text(block.text)
    settings.load(folder / "agent.yaml", env={})


@of_kind("script")
def test_a_script_can_be_loaded(folder: Path, block: Block) -> None:
    (folder / "script.yaml").write_text(block.text)
    assert load_script(folder / "script.yaml").replies


@of_kind("account")
def test_an_account_can_be_loaded(folder: Path, block: Block) -> None:
    (folder / "account.yaml").write_text(block.text)
    assert account.load(folder / "account.yaml", {})


@of_kind("budget")
def test_a_budget_can_be_loaded(folder: Path, block: Block) -> None:
    (folder / "budget.yaml").write_text(block.text)
    assert read_budget(folder / "budget.yaml")


@of_kind("part")
def test_a_part_of_a_scenario_can_be_read(folder: Path, block: Block) -> None:
    (folder / "shown.yaml").write_text(whole(block))
    assert loader.load([folder / "shown.yaml"])


@of_kind("scenario")
def test_a_scenario_is_played(
    folder: Path, block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "shown.yaml").write_text(block.text)
    assert main(["check", "shown.yaml"]) == 0
    code = main(["run", "shown.yaml", "--lane", "virtual"])
    assert code == 0, capsys.readouterr().out
