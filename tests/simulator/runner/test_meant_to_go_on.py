"""An agent that is not to be interrupted has nothing to stop: no limit is missed by that."""

import json
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main

OVER_THE_GREETING = """
version: 2
about: A caller who talks into the greeting.
agent: {greeting: {interruptible: INTERRUPTIBLE}}
meanwhile: [{say: "Hello? Hello?", when: greeting + 500ms}]
steps: [{expect: greeting}, {pause: 3s}, hang_up]
budget: {turn_ms: off, agent_overhead_ms: off}
"""
OVER_THE_ANSWER = """
version: 2
about: A caller who talks into an answer that goes on.
realtime:
  replies:
  - say: "At the harbour, at the station, and in the old town, all of them today."
agent: {turns: {barge_in: false}}
steps:
- {expect: greeting}
- {say: "When are you open?"}
- {say: "Stop, please.", when: reply + 1s}
- {pause: 6s}
- hang_up
budget: {turn_ms: off, agent_overhead_ms: off, downlink_ms: off}
"""


def measured(folder: Path, scenario: str) -> dict[str, dict[str, str]]:
    (folder / "one.yaml").write_text(scenario)
    assert main(["run", "one.yaml", "--lane", "virtual", "--out", str(folder / "out")]) == 0
    (call,) = json.loads((folder / "out/latest/results.json").read_text())["scenarios"]
    return {
        kind: {one["name"]: str(one.get("reason", "")) for one in call[kind]}
        for kind in ("metrics", "not_measured")
    }


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (OVER_THE_GREETING.replace("INTERRUPTIBLE", "false"), "greeting.interruptible: false"),
        (OVER_THE_ANSWER, "turns.barge_in: false"),
    ],
)
def test_what_is_meant_to_go_on_is_held_to_no_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = measured(tmp_path, scenario)
    assert "barge_in_stop_ms" not in found["metrics"]
    assert f"it is meant to go on ({why})" in found["not_measured"]["barge_in_stop_ms"]


def test_what_may_be_interrupted_is_held_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = measured(tmp_path, OVER_THE_GREETING.replace("INTERRUPTIBLE", "true"))
    assert "barge_in_stop_ms" in found["metrics"]
