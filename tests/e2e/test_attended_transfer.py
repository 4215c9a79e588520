"""A caller is handed to somebody who has been told why, on each SIP engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from callerside.agent.telephony.engines import survey

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
HERE = [one.name for one in survey() if not one.problem]


@pytest.mark.parametrize("engine", HERE)
def test_the_desk_is_told_and_the_transfer_names_its_call(engine: str, tmp_path: Path) -> None:
    """RFC 3891 §3: `to-tag` is the desk's own, `from-tag` ours."""
    scenario = str(ROOT / "scenarios" / "transfer_attended.yaml")
    command = [sys.executable, "-m", "callerside.simulator.cli", "run", scenario]
    done = subprocess.run(
        [*command, "--engine", engine, "--out", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (timeline,) = tmp_path.glob("2*/calls/transfer_attended/timeline.jsonl")
    marks = [json.loads(line) for line in timeline.read_text().splitlines()]
    (heard,) = [mark for mark in marks if mark["name"] == "transfer_heard"]
    call_id, _, tags = heard["fields"]["uri"].partition("Replaces=")[2].partition("%3B")
    assert len(call_id) > 8
    assert tags.startswith("to-tag%3Dtarget")
    assert "%3Bfrom-tag%3D" in tags
