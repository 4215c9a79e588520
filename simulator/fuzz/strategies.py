"""Hypothesis strategies for whole calls and their parts, for tests of an agent or of the harness.

    from hypothesis import given
    from callerside.simulator.fuzz.strategies import calls

    @given(calls())
    def test_my_agent_survives(scenario): ...

They make what the fuzzer makes, and shrink towards a clean line and a short call: without faults,
at the pace of recorded sessions, with one question.
"""

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from pydantic import TypeAdapter

from callerside.fakes.script.model import Timing
from callerside.fakes.session.faults import Fault
from callerside.simulator.fuzz.calls import (
    generate,
    generate_faults,
    generate_network,
    generate_timing,
)
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.network import Network

_FAULTS: TypeAdapter[tuple[Fault, ...]] = TypeAdapter(tuple[Fault, ...])


class DrawnChoices:
    """Choices (`simulator.fuzz.choices`) that hypothesis makes, and shrinks."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def up_to(self, most: int) -> int:
        """See `simulator.fuzz.choices.Choices.up_to`."""
        return self._draw(st.integers(0, most))


@st.composite
def calls(draw: DrawFn) -> Scenario:
    """A scenario with everything in it, for the virtual lane; it comes after no other."""
    call = {**generate(DrawnChoices(draw)), "after": None}
    return Scenario.model_validate(call).named("generated")


@st.composite
def networks(draw: DrawFn) -> Network:
    """What the packets go through; a clean line is the simplest."""
    return Network.model_validate(generate_network(DrawnChoices(draw)))


@st.composite
def timings(draw: DrawFn) -> Timing:
    """When the fake does things; that of recorded sessions is the simplest."""
    return Timing.model_validate(generate_timing(DrawnChoices(draw)))


@st.composite
def faults(draw: DrawFn, turns: int = 3) -> tuple[Fault, ...]:
    """What goes wrong with the Realtime session in a call of so many turns; nothing at best."""
    return _FAULTS.validate_python(
        tuple(generate_faults(DrawnChoices(draw), turns=turns)), strict=False
    )
