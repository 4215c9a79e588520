"""What a scenario needs of SIP engines; what they lack is told with the scenario's line."""

from collections.abc import Iterator, Sequence

from callerside.agent.telephony.engine import (
    CODEC_NEEDS,
    PROFILES,
    Capability,
    EngineName,
    lack,
)
from callerside.simulator.runner.lint import Where, placed
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Press, Vanish


def missing(
    scenarios: Sequence[Scenario], *, agent: EngineName, caller: EngineName
) -> Iterator[str]:
    """One line for everything that an engine cannot do, with file, line and column."""
    for scenario in scenarios:
        for where, engine, capability in _needs(scenario, agent, caller):
            if capability not in PROFILES[engine].capabilities:
                yield f"{scenario.at(*where)}: {scenario.name}: {lack(engine, capability)}"


def _needs(
    scenario: Scenario, agent: EngineName, caller: EngineName
) -> Iterator[tuple[Where, EngineName, Capability]]:
    """Where, of whose engine, what."""
    if scenario.caller.codec in CODEC_NEEDS:
        for engine in dict.fromkeys((agent, caller)):
            yield ("caller", "codec"), engine, CODEC_NEEDS[scenario.caller.codec]
    if scenario.expects_transfer:
        yield ("steps",), caller, Capability.IS_TRANSFERRED
    for where, step in placed(scenario):
        if isinstance(step, Vanish):
            yield where, caller, Capability.VANISHES
        if isinstance(step, Press) and step.method == "info":
            yield where, caller, Capability.DTMF_BY_INFO
