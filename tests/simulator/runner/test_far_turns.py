"""An agent is judged by what it does, however far away its server is: late ones are found."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import dedent

import planted_bugs
import pytest

from callerside.reports.verdict.call_result import CallResult
from callerside.simulator.lanes.virtual import lane
from callerside.simulator.lanes.virtual.call import play_call
from callerside.simulator.runner.evaluate import evaluate
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load_file

Played = Callable[[str], CallResult]


@pytest.fixture
def played(tmp_path: Path) -> Played:
    """Play two turns and a barge-in with a server that is so far away."""

    def play(path: str) -> CallResult:
        text = f"""
        about: A test.
        realtime:
          path: {path}
          replies:
            - say: "Every day from Monday to Friday, from nine in the morning until six at night."
        caller: {{end_silence: 500ms}}
        steps:
          - expect: greeting
          - say: "When are you open?"
          - say: "On Saturday, I mean."
            when: reply + 1400ms
          - expect: reply
          - hang_up
        """
        file = tmp_path / "far.yaml"
        file.write_text(dedent(text))
        (scenario,) = load_file(file)
        planned = plan([scenario], repeat=1, seed=3)
        in_memory = lane.VirtualLane(planned, tmp_path / "out")
        result = evaluate(in_memory.play(planned[0]), "virtual").result
        assert result is not None
        return result

    return play


@pytest.mark.parametrize("path", ["{delay: 75ms}", "{delay: 150ms, jitter: 20ms}"])
def test_a_server_that_is_far_away_is_no_fault_of_the_agents(path: str, played: Played) -> None:
    result = played(path)
    assert result.verdict == "passed", result.detail
    judged = {one.name: one for one in result.judged if one.turn == 2}
    assert judged["turn_ms"].value > 1150, "or it was not far away"
    stop = judged["barge_in_stop_ms"]
    assert stop.own_ms is not None
    assert stop.value > stop.own_ms >= 150
    for turn in result.measured.turns:
        assert {"way to the model", "way back"} <= {hop.name for hop in turn.hops}


@pytest.mark.parametrize("path", ["{delay: 75ms}", "{delay: 75ms, jitter: 20ms}"])
def test_an_agent_that_is_late_besides_is_over_its_budget(
    path: str, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted_bugs, "LATE_MS", 60)
    late = partial(play_call, make_machine=planted_bugs.AnswersLate)
    monkeypatch.setattr(lane, "play_call", late)
    over = {(one.name, one.turn) for one in played(path).judged if one.verdict == "failed"}
    assert over >= {
        (name, turn) for name in ("turn_ms", "agent_overhead_ms", "downlink_ms") for turn in (1, 2)
    }
