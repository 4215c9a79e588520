"""A caller whose media clock is not the agent's: heard all the same, and only played in memory."""

import pytest
from pydantic import ValidationError

from callerside.simulator.fuzz.play import play_scenario
from callerside.simulator.scenario.model import Scenario

CALL = {
    "about": "A drifting clock.",
    "lanes": ["virtual"],
    "steps": [
        {"expect": "greeting"},
        {"say": "What time do you open?"},
        {"expect": "reply"},
        {"pause": 20_000},
        {"say": "Are you still there?"},
        {"expect": "reply"},
        "hang_up",
    ],
}


@pytest.mark.parametrize("drift_ppm", [-1000.0, 1000.0])
def test_a_drifting_caller_is_understood(drift_ppm: float) -> None:
    scenario = Scenario.model_validate({**CALL, "network": {"drift_ppm": drift_ppm}}).named("drift")
    outcome = play_scenario(scenario, {})
    assert outcome.breaches == []
    assert "STREAMING_RESPONSE to LISTENING" in outcome.reached


def test_a_real_telephone_cannot_be_made_to_drift() -> None:
    with pytest.raises(ValidationError, match="it needs lanes: \\[virtual\\]"):
        Scenario.model_validate({**CALL, "lanes": ["sip"], "network": {"drift_ppm": 50.0}})
