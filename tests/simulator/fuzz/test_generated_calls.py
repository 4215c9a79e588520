"""The published strategies: what they make is playable, holds the invariants, and shrinks well."""

from hypothesis import HealthCheck, find, given, settings

from callerside.fakes.script.model import Timing
from callerside.simulator.fuzz.play import play_scenario
from callerside.simulator.fuzz.strategies import calls, faults, networks, timings
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.network import Network

# The same examples on every machine: what is new is for `callerside fuzz` to find.
FEW = settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
SHRINK = settings(max_examples=2000, deadline=None, derandomize=True, database=None)


@FEW
@given(calls())
def test_every_invariant_holds_in_generated_calls(scenario: Scenario) -> None:
    assert play_scenario(scenario, {}).breaches == []


def test_calls_shrink_towards_a_clean_line_and_one_question() -> None:
    simplest = find(calls(), lambda _: True, settings=SHRINK)
    assert simplest.network is None
    assert simplest.realtime.faults == ()
    assert [step.action for step in simplest.steps] == [
        "pause",
        "pause",
        "say",
        "expect",
        "hang_up",
    ]


def test_a_call_that_needs_a_fault_shrinks_to_little_else() -> None:
    # Not `drop` or `stall`: they have a scene of their own, which takes fewer choices.
    simplest = find(
        calls(),
        lambda call: any(fault.fault == "close" for fault in call.realtime.faults),
        settings=SHRINK,
    )
    assert simplest.network is None
    assert simplest.realtime.faults[-1].fault == "close"
    assert sum(step.action == "say" for step in simplest.steps) == 1


def test_the_parts_shrink_to_their_defaults() -> None:
    assert find(networks(), lambda _: True, settings=SHRINK) == Network()
    assert find(timings(), lambda _: True, settings=SHRINK) == Timing()
    assert find(faults(), lambda _: True, settings=SHRINK) == ()


def test_a_lossy_network_shrinks_to_loss_alone() -> None:
    found = find(networks(), lambda network: network.loss > 0, settings=SHRINK)
    assert found == Network(loss=0.01)
