"""Every YAML block of README and docs is what it seems to be, and every scenario in them is played.

A block without `about` or `steps` is a part of a scenario: it is read as that of one that has the
rest. On pages about the agent, blocks are its settings; the one of fake-realtime.md is a script.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from pages import PAGES, ROOT, Block, blocks

from callerside.agent.config import loader as settings
from callerside.agent.config.settings import Settings
from callerside.audio_files import write_wav
from callerside.fakes.script.loader import load_script
from callerside.reports.verdict.budget_file import read_budget
from callerside.simulator.cli.main import main
from callerside.simulator.lanes.sip import account
from callerside.simulator.scenario import loader

SHOWN = [one for page in PAGES for one in blocks(page) if one.language == "yaml"]
OF_THE_AGENT = ("README.md", "call.md", "deploy.md", "operating.md", "settings.md")

REST = {
    "about": "What a page shows a part of.",
    "realtime": {
        "default_reply": {
            "say": "We are open from nine to six on every day of the week, and at the station "
            "until midnight."
        }
    },
    "steps": [{"expect": "greeting"}, "hang_up"],
}
"""Of a scenario of which a block shows the other part."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With all files that the blocks name."""
    monkeypatch.chdir(tmp_path)
    wave = (1000 * np.sin(np.arange(8_000) / 5)).astype(np.int16)
    for name in ("street.wav", "recorded.wav", "sounds/laugh.wav", "order.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_wav(tmp_path / name, wave, 8_000)
    (table,) = (one.text for one in blocks(ROOT / "docs" / "scenarios.md") if one.language == "csv")
    (tmp_path / "bookings.csv").write_text(table)
    shutil.copy(ROOT / "scenarios" / "first_call.yaml", tmp_path)
    return tmp_path


def kind(block: Block) -> str:
    keys = set(yaml.safe_load(block.text)) - {"version"}
    if block.page.name == "fake-realtime.md":
        return "script"
    if block.file in ("account.yaml", "budget.yaml"):
        return block.file.removesuffix(".yaml")
    if block.page.name in OF_THE_AGENT and keys <= set(Settings.model_fields):
        return "settings"
    return "scenario" if {"about", "steps"} <= keys else "part"


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
    part = yaml.safe_load(block.text)
    (folder / "shown.yaml").write_text(yaml.safe_dump({"version": 2, **REST, **part}))
    assert loader.load([folder / "shown.yaml"])


@of_kind("scenario")
def test_a_scenario_is_played(
    folder: Path, block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "shown.yaml").write_text(block.text)
    assert main(["check", "shown.yaml"]) == 0
    code = main(["run", "shown.yaml", "--lane", "virtual"])
    assert code == 0, capsys.readouterr().out
