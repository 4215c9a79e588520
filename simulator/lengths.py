"""How long calls take, before they are made: what they need at least, and what they may take.

A run begins the longest calls first, so that none of them comes last and alone. That is a guess
from what is said and waited for; only the order of a run depends on it.
"""

from collections.abc import Sequence

from agent.audio import duration_ms
from fakes import repertoire
from simulator import phrases
from simulator.happenings import Silence
from simulator.scenario import Scenario
from simulator.stage import Stage
from simulator.steps import Expect, Pause, Say, Step

_RATE_HZ = 16_000
_FAKE_RATE_HZ = 24_000
_AROUND_MS = 2_000.0
"""Dialling, the beep, hanging up."""
_TURN_MS = 700.0
"""From the end of a turn to its answer, without the think time."""
_VANISHED_MS = 33_000.0
"""Until the agent has missed a caller that vanished (RFC 3261: timer H)."""


def longest_first(stages: Sequence[Stage]) -> list[Stage]:
    """The stages of a plan in the order in which to begin them.

    What waits for another stage counts with the one that it waits for.
    """
    own = {stage.name: expected_ms(stage.scenario) for stage in stages}
    whole = dict(own)
    for stage in reversed(stages):  # a plan has each stage behind the one that it comes after
        if stage.after is not None:
            whole[stage.after] = max(whole[stage.after], own[stage.after] + whole[stage.name])
    return sorted(stages, key=lambda stage: -whole[stage.name])


def least_ms(scenario: Scenario) -> float:
    """What the caller's own steps take: no call of the scenario is shorter."""
    audio = phrases.prepare(scenario, _RATE_HZ)
    return sum(
        _step_ms(step, duration_ms(audio.get(number, b""), _RATE_HZ))
        for number, step in enumerate(scenario.steps)
    )


def expected_ms(scenario: Scenario) -> float:
    """How long a call of the scenario is likely to take."""
    script = repertoire.prepare(scenario.realtime, scenario.folder)
    turns = sum(isinstance(step, Say) for step in scenario.steps)
    lines = [script.reply(number) for number in range(1, turns + 1)]
    spoken = [*lines, script.greeting] if scenario.greets else lines
    said_ms = sum(duration_ms(line.pcm, _FAKE_RATE_HZ) for line in spoken)
    think_ms = [line.reply.think_ms for line in lines]
    usual_ms = scenario.realtime.timing.think_ms
    thought_ms = sum(usual_ms if own is None else own for own in think_ms)
    waited_ms = sum(map(_waited_ms, scenario.steps))
    return _AROUND_MS + said_ms + thought_ms + turns * _TURN_MS + least_ms(scenario) + waited_ms


def _step_ms(step: Step, own_ms: float) -> float:
    if isinstance(step, Pause):
        own_ms = step.pause
    if isinstance(step, Expect) and isinstance(step.expect, Silence):
        own_ms = step.expect.silence
    return own_ms + (step.when.offset_ms if step.when else 0.0)


def _waited_ms(step: Step) -> float:
    """What passes beside speech: the other side takes its time to end, or to miss a caller."""
    if step.action == "vanish":
        return _VANISHED_MS
    if isinstance(step, Expect) and step.expect == "hang_up":
        return step.within or 0.0
    return 0.0
