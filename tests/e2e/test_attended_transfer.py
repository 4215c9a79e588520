"""A caller is handed to somebody who has been told why, on each SIP engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sip_rig import open_phone

from callerside.agent.telephony.engine import EngineName
from callerside.agent.telephony.engines import survey
from callerside.agent.telephony.interface import (
    CallAnswered,
    CallLeg,
    CallReceived,
    HungUp,
    LegInput,
)
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
HERE = [one.name for one in survey() if not one.problem]


@pytest.mark.parametrize("engine", HERE)
def test_the_desk_is_told_and_the_transfer_names_its_call(
    engine: EngineName, tmp_path: Path
) -> None:
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


def ask_the_desk(leg: CallLeg, item: LegInput) -> None:
    """An agent that calls somebody at once, and leaves its caller if there is no place for that."""
    if isinstance(item, CallReceived):
        leg.answer()
    elif isinstance(item, CallAnswered):

        def told(event: LegInput) -> None:
            if isinstance(event, HungUp) and event.status == 486:
                leg.hang_up()

        leg.consult("sip:desk@127.0.0.1:9").start(told)


@pytest.mark.parametrize("engine", HERE)
def test_a_second_call_takes_a_place_and_is_not_placed_where_all_are_taken(
    engine: EngineName,
) -> None:
    with (
        open_phone("agent", SipOptions(max_calls=1), ask_the_desk, engine=engine) as agent,
        open_phone("caller") as caller,
    ):
        ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
        assert caller.wait_for(ours, HungUp).by == "agent"
