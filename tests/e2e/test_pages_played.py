"""The calls of the pages pass in both lanes, whatever the seed: `nox -s pages` plays them.

Where a block has steps alone it is played with the rest that a scenario has.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pages_yaml import SHOWN, kind, whole, write_what_is_named

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(1_800)]

SEEDS = 5


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("lane", ["virtual", "sip"])
def test_what_the_pages_show_passes(tmp_path: Path, lane: str, seed: int) -> None:
    write_what_is_named(tmp_path)
    for block in SHOWN:
        if kind(block) in ("scenario", "part") and "steps" in yaml.safe_load(block.text):
            name = block.name.replace(".", "_").replace(":", "_")
            (tmp_path / f"{name}.yaml").write_text(whole(block))
    run = [sys.executable, "-P", "-m", "callerside.simulator.cli", "run", ".", "--strict"]
    done = subprocess.run(
        [*run, "--lane", lane, "--seed", str(seed)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1_200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
