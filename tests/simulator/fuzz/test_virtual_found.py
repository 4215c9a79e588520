"""What the fuzzer found once stays fixed: every scenario of scenarios/found holds."""

from pathlib import Path

import pytest

from callerside.simulator.fuzz.play import play_scenario
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Scenario

FOUND = loader.load([Path(__file__).parents[3] / "scenarios" / "found"])


@pytest.mark.parametrize("scenario", FOUND, ids=lambda scenario: scenario.name)
def test_stays_fixed(scenario: Scenario) -> None:
    assert play_scenario(scenario, {}).breaches == []


@pytest.mark.parametrize("scenario", FOUND, ids=lambda scenario: scenario.name)
def test_says_what_it_protects(scenario: Scenario) -> None:
    assert scenario.path is not None
    assert scenario.path.read_text(encoding="utf-8").startswith("# Protects: ")
    assert scenario.lanes == ("virtual",)
