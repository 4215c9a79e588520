"""What a caller may take for an answer, or not notice, by its ear alone: pauses, and rests."""

import json
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main

REST = """
version: 2
about: The rest of a greeting, behind its pause.
realtime:
  greeting: {say: "Hello. You have reached the city library, which has a million books."}
  replies: [{say: "We open at nine.", think_ms: THINKS}]
meanwhile: [{say: "When?", when: greeting start + 300ms}]
steps: [{pause: 2s}, {expect: EXPECTED, within: 4s}, hang_up]
budget: {turn_ms: off, agent_overhead_ms: off, downlink_ms: off}
"""
HOLE = """
version: 2
about: An answer that stands still for seconds, in what is one utterance for this caller.
realtime:
  replies: [{say: "We are open on Monday. We are open on Tuesday, on Thursday, and on Friday."}]
  faults: [{fault: stall, at: reply 1 + 1500ms, for_ms: 6000}]
  timing: {delta_ms: 200, pace: 1}
caller: {end_silence: 7s}
steps:
- {say: "When do you open?", when: greeting + 1s}
- {expect: reply start}
- {pause: 12s}
- hang_up
never: [{silence: LONGEST}]
budget: {gap_ms: off, turn_ms: off, agent_overhead_ms: off, downlink_ms: off}
"""


def behaviour(folder: Path, scenario: str) -> str:
    """What is wrong with it; empty: nothing."""
    (folder / "one.yaml").write_text(scenario)
    main(["run", str(folder / "one.yaml"), "--lane", "virtual", "--out", str(folder / "out")])
    (call,) = json.loads((folder / "out/latest/results.json").read_text())["scenarios"]
    assert call["verdict"] != "error"
    said = call["behaviour"]
    return "" if said["verdict"] == "passed" else str(said["detail"])


@pytest.mark.parametrize("expected", ["reply", "reply start"])
def test_the_rest_of_a_greeting_is_no_reply(tmp_path: Path, expected: str) -> None:
    late = REST.replace("EXPECTED", expected).replace("THINKS", "6000")
    assert "was the rest of what the agent had begun to say" in behaviour(tmp_path, late)


def test_a_reply_that_follows_the_rest_without_a_pause_is_one(tmp_path: Path) -> None:
    soon = REST.replace("EXPECTED", "reply").replace("THINKS", "200")
    assert behaviour(tmp_path, soon) == ""


@pytest.mark.parametrize(("longest", "happened"), [("3s", True), ("8s", False)])
def test_silence_within_an_utterance_is_silence(
    tmp_path: Path, longest: str, happened: bool
) -> None:
    """Whatever the caller waits for until it takes an utterance to be over."""
    said = behaviour(tmp_path, HOLE.replace("LONGEST", longest))
    assert ("of silence, and yet it happened" in said) is happened, said
