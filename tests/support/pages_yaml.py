"""The YAML of the pages: of which kind each block is, and what it needs to be played."""

import shutil
from pathlib import Path

import numpy as np
import yaml
from pages import PAGES, ROOT, Block, blocks

from callerside.agent.config.settings import Settings
from callerside.audio_files import write_wav

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


def write_what_is_named(folder: Path) -> None:
    """All files that the blocks name."""
    wave = (1000 * np.sin(np.arange(8_000) / 5)).astype(np.int16)
    for name in ("street.wav", "recorded.wav", "sounds/laugh.wav", "order.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_wav(folder / name, wave, 8_000)
    (table,) = (one.text for one in blocks(ROOT / "docs" / "scenarios.md") if one.language == "csv")
    (folder / "bookings.csv").write_text(table)
    shutil.copy(ROOT / "scenarios" / "first_call.yaml", folder)


def kind(block: Block) -> str:
    keys = set(yaml.safe_load(block.text)) - {"version"}
    if block.page.name == "fake-realtime.md" or block.file == "model.yaml":
        return "script"
    if block.file in ("account.yaml", "budget.yaml"):
        return block.file.removesuffix(".yaml")
    if block.page.name in OF_THE_AGENT and keys <= set(Settings.model_fields):
        return "settings"
    return "scenario" if {"about", "steps"} <= keys else "part"


def whole(block: Block) -> str:
    """A block as a scenario: with what it leaves out, if it is a part of one."""
    if kind(block) == "scenario":
        return block.text
    return yaml.safe_dump({"version": 2, **REST, **yaml.safe_load(block.text)})
