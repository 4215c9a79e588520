"""Plays one generated call and judges it: from a seed, or from choices, to a verdict."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.clock import NS_PER_S
from callerside.simulator.caller.audio import utterances
from callerside.simulator.fuzz.calls import GREETED, GREETED_NAME, generate
from callerside.simulator.fuzz.choices import ReplayedChoices, SeededChoices
from callerside.simulator.fuzz.coverage import reached
from callerside.simulator.fuzz.shrink import shrink, simplicity
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.virtual.audio_invariants import ALL
from callerside.simulator.lanes.virtual.call import VirtualCall, options_for, play_call
from callerside.simulator.lanes.virtual.invariants import (
    Breach,
    Invariant,
    TracedCall,
    check,
    recovers,
)
from callerside.simulator.lanes.virtual.trace import TracedMachine
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.model import Scenario

CRASHED = "no_exceptions"
"""The invariant that a machine or adapter that raised an exception has broken."""
INVARIANTS: Mapping[str, Invariant] = {**ALL, "recovers": recovers}

_GREETED = Scenario.model_validate(GREETED).named(GREETED_NAME)

MAX_PLAYS = 150
"""For shrinking one call: a minute or so."""

MakeMachine = Callable[..., TracedMachine]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one generated call."""

    name: str
    data: Mapping[str, Any]
    """The scenario as YAML has it."""
    choices: Sequence[int]
    breaches: Sequence[Breach]
    reached: frozenset[str]
    virtual_s: float
    """How long the call lasted on its own clock."""


def play_seed(seed: int, make_machine: MakeMachine = TracedMachine) -> Outcome:
    """Generate and play the call of a seed."""
    return play_choices(f"fuzz-{seed}", SeededChoices(seed), make_machine)


def play_choices(
    name: str, choices: SeededChoices | ReplayedChoices, make_machine: MakeMachine = TracedMachine
) -> Outcome:
    """Generate and play a call from choices."""
    data = generate(choices)
    scenario = Scenario.model_validate(data).named(name)
    return play_scenario(scenario, data, choices.made, make_machine)


def play_scenario(
    scenario: Scenario,
    data: Mapping[str, Any],
    choices: Sequence[int] = (),
    make_machine: MakeMachine = TracedMachine,
) -> Outcome:
    """Play a scenario as a run with seed 0 would, and check every invariant.

    If it comes after the call that fills the cache, that one is played first, and not judged.
    """
    forerunners = [_GREETED] if scenario.after else []
    prompts = MemoryPrompts()
    call = None
    try:
        *before, planned = plan([*forerunners, scenario], repeat=1, seed=0)
        for forerunner in before:
            _play(forerunner, prompts, make_machine)
        call = _play(planned, prompts, make_machine)
        settings = CallSettings.model_validate(scenario.agent)
        breaches = check(TracedCall(scenario=scenario, settings=settings, call=call), INVARIANTS)
    except Exception as error:
        breaches = [Breach(invariant=CRASHED, detail=_crash(error))]
    return Outcome(
        name=scenario.name,
        data=data,
        choices=choices,
        breaches=breaches,
        reached=reached(call) if call else frozenset(),
        virtual_s=call.ended_ns / NS_PER_S if call else 0.0,
    )


def _play(planned: PlannedCall, prompts: MemoryPrompts, make_machine: MakeMachine) -> VirtualCall:
    settings = CallSettings.model_validate(planned.scenario.agent)
    options = options_for(planned.scenario, settings, planned.seed)
    return play_call(
        planned.scenario,
        utterances.prepare(planned.scenario, options.line.sample_rate_hz),
        call=planned.name,
        seed=planned.seed,
        settings=settings,
        prompts=prompts,
        options=options,
        make_machine=make_machine,
    )


def _crash(error: Exception) -> str:
    """The exception and the last place of ours that it came through."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"


def shrink_outcome(
    outcome: Outcome, make_machine: MakeMachine = TracedMachine, *, max_plays: int = MAX_PLAYS
) -> Outcome:
    """The simplest call found that breaks the same invariant as the first breach of `outcome`."""
    wanted = outcome.breaches[0].invariant
    simplest = outcome
    seen = {tuple(outcome.choices)}

    def fails(candidate: Sequence[int]) -> Sequence[int] | None:
        nonlocal simplest
        choices = ReplayedChoices(candidate)
        generate(choices)
        made = tuple(choices.made)
        if made in seen or len(seen) > max_plays:
            return None
        seen.add(made)
        tried = play_choices(outcome.name, ReplayedChoices(made), make_machine)
        if all(breach.invariant != wanted for breach in tried.breaches):
            return None
        if simplicity(made) < simplicity(simplest.choices):
            simplest = tried
        return made

    shrink(outcome.choices, fails)
    return simplest
