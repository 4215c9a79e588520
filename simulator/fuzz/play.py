"""Plays one generated call and judges it: from a seed, or from choices, to a verdict."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.tools.toolboxes import stubs
from callerside.clock import NS_PER_S
from callerside.simulator.caller.audio import utterances
from callerside.simulator.fuzz import clients, wrong
from callerside.simulator.fuzz.calls import (
    GREETED,
    generate,
    generate_before,
    generate_end,
)
from callerside.simulator.fuzz.choices import ReplayedChoices, SeededChoices
from callerside.simulator.fuzz.coverage import pairs, reached
from callerside.simulator.fuzz.sayings import QUESTION
from callerside.simulator.fuzz.shrink import shrink, simplicity
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.virtual.call import VirtualCall, options_for, play_call
from callerside.simulator.lanes.virtual.invariants import Breach, TracedCall, check, recovers
from callerside.simulator.lanes.virtual.lane import INVARIANTS
from callerside.simulator.lanes.virtual.trace import TracedMachine
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.model import Scenario

WRONG_EVERY = 8
"""One seed in so many draws a plain scenario, and one that must fail: `simulator.fuzz.wrong`."""
CRASHED = "no_exceptions"
"""The invariant that a machine or adapter that raised an exception has broken."""
RIGHT_PASSES, WRONG_FAILS = "right_scenarios_pass", "wrong_scenarios_fail"
"""What the harness breaks: of a scenario whose words come true, and of one whose words do not."""
CLIENT_IS_SERVED = "clients_are_served"
"""What the fake breaks: what a client gets adds up."""
OTHERS = (CRASHED, RIGHT_PASSES, WRONG_FAILS, CLIENT_IS_SERVED)
"""What is no invariant of a call."""
_MOST_TOLD = 3
_WRONGS_A_CALL = 3
_CLIENTS_A_SEED = 8
"""Of the fake: all of them take half as long as a call."""

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
    pairs: frozenset[str]
    """What came together; see `simulator.fuzz.coverage`."""
    virtual_s: float
    """How long the call lasted on its own clock."""
    game: Literal["call", "wrong", "client"] = "call"
    """`wrong`: a scenario that must fail, or the
    plain one that it was to be made of. `client`: a client of the fake, without a call."""
    before: Mapping[str, Any] | None = None
    """The call before it, of the same cache."""


def play_seed(seed: int, make_machine: MakeMachine = TracedMachine) -> Outcome:
    """Generate and play the call of a seed; of some, a scenario that must fail, or a client."""
    if seed % WRONG_EVERY == WRONG_EVERY - 1:
        return play_wrong(f"wrong-{seed}", SeededChoices(f"wrong {seed}"))
    if seed % WRONG_EVERY == WRONG_EVERY - 2:
        for number in range(_CLIENTS_A_SEED):
            name = f"client-{seed}-{number}"
            client = play_client_of(name, SeededChoices(f"client {seed} {number}"))
            if client.breaches:
                return client
    return play_choices(f"fuzz-{seed}", SeededChoices(seed), make_machine)


def play_client_of(name: str, choices: SeededChoices | ReplayedChoices) -> Outcome:
    """Play a client of the fake, in memory; there is no call, and no scenario of it."""
    return _play_client(name, clients.generate_client(choices), choices.made)


def _play_client(name: str, data: dict[str, Any], choices: Sequence[int]) -> Outcome:
    try:
        told = list(islice(clients.play_client(data), _MOST_TOLD))
        breaches = [Breach(invariant=CLIENT_IS_SERVED, detail=one) for one in told]
    except Exception as error:
        breaches = [Breach(invariant=CRASHED, detail=_crash(error))]
    return Outcome(
        name=name,
        data=data,
        choices=choices,
        breaches=breaches,
        reached=frozenset(),
        pairs=frozenset(),
        virtual_s=0.0,
        game="client",
    )


def play_wrong(name: str, choices: SeededChoices | ReplayedChoices) -> Outcome:
    """Play a plain scenario, which must pass, and the same with something wrong, which must not.

    Up to three things are made wrong, each alone, as each costs one call more.
    """
    right_data = wrong.generate_right(choices)
    data: Mapping[str, Any] = right_data
    calls: list[VirtualCall] = []
    breaches: list[Breach] = []
    try:
        right = wrong.play(right_data, name)
        calls.append(right.call)
        if not (right.passed and right.passed_by_ear):
            detail = right.played.detail if not right.passed else "where the agent is not ours"
            breaches = [Breach(invariant=RIGHT_PASSES, detail=detail)]
        while not breaches and len(calls) <= _WRONGS_A_CALL:
            made = wrong.make_wrong(choices, right, right_data)
            if made is not None:
                data = made.data
                again = wrong.play(data, name)
                calls.append(again.call)
                if passed := made.passes(again):
                    breaches = [Breach(invariant=WRONG_FAILS, detail=passed)]
            if not choices.up_to(2):
                break
    except Exception as error:
        breaches = [Breach(invariant=CRASHED, detail=_crash(error))]
    return Outcome(
        name=name,
        data=data,
        choices=choices.made,
        breaches=breaches,
        reached=frozenset().union(*map(reached, calls)),
        pairs=frozenset().union(*map(pairs, calls)),
        virtual_s=sum(call.ended_ns for call in calls) / NS_PER_S,
        game="wrong",
    )


def play_choices(
    name: str, choices: SeededChoices | ReplayedChoices, make_machine: MakeMachine = TracedMachine
) -> Outcome:
    """Generate and play a call from choices, and the one that comes before it, if one does."""
    data, before = generated(name, choices)
    scenario = Scenario.model_validate(data).named(name)
    return play_scenario(scenario, data, choices.made, make_machine, before=before)


def generated(
    name: str, choices: SeededChoices | ReplayedChoices
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A call as its file has it, and the one before it that shares its cache."""
    data = generate(choices)
    before = generate_before(choices) if "after" in data else None
    if before not in (None, GREETED):
        data["after"] = f"{name}-before"
    if ends := generate_end(choices):
        data |= {"agent_ends": ends, "lanes": ["virtual"]}
    return {**data, "judged_by": "invariants"}, before


def play_scenario(
    scenario: Scenario,
    data: Mapping[str, Any],
    choices: Sequence[int] = (),
    make_machine: MakeMachine = TracedMachine,
    *,
    before: Mapping[str, Any] | None = None,
) -> Outcome:
    """Play a scenario as a run with seed 0 would, and check every invariant.

    If it comes after a call that fills the cache, that one (`before`, or the plain one) is played
    first; what is true of every call is true of it, too.
    """
    first = []
    if scenario.after:
        before = before or GREETED
        first = [Scenario.model_validate(before).named(scenario.after)]
    prompts = MemoryPrompts()
    calls: list[VirtualCall] = []
    breaches: list[Breach] = []
    try:
        for planned in plan([*first, scenario], repeat=1, seed=0):
            call = play_planned(planned, prompts, make_machine)
            calls.append(call)
            settings = CallSettings.model_validate(planned.scenario.agent)
            traced = TracedCall(scenario=planned.scenario, settings=settings, call=call)
            breaches += check(traced, INVARIANTS)
    except Exception as error:
        breaches = [Breach(invariant=CRASHED, detail=_crash(error))]
    return Outcome(
        name=scenario.name,
        data=data,
        before=before,
        choices=choices,
        breaches=breaches,
        reached=frozenset().union(*map(reached, calls)),
        pairs=frozenset().union(*map(pairs, calls)),
        virtual_s=sum(call.ended_ns for call in calls) / NS_PER_S,
    )


def play_planned(
    planned: PlannedCall,
    prompts: MemoryPrompts,
    make_machine: MakeMachine = TracedMachine,
) -> VirtualCall:
    """Play one call of a plan; `prompts` is the cache that it shares with those before it."""
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
        tools=stubs(settings),
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
        made = tuple(candidate)
        if outcome.game == "call":  # what is wrong is drawn by what was heard in a call
            choices = ReplayedChoices(candidate)
            generated(outcome.name, choices)
            made = tuple(choices.made)
        if made in seen or len(seen) > max_plays:
            return None
        seen.add(made)
        replayed = ReplayedChoices(made)
        if outcome.game == "wrong":
            tried = play_wrong(outcome.name, replayed)
        elif outcome.game == "client":
            tried = play_client_of(outcome.name, replayed)
        else:
            tried = play_choices(outcome.name, replayed, make_machine)
        if all(breach.invariant != wanted for breach in tried.breaches):
            return None
        if simplicity(tried.choices) < simplicity(simplest.choices):
            simplest = tried
        return tried.choices

    shrink(outcome.choices, fails)
    if outcome.game == "wrong":
        return simplest  # with fewer steps it may be right
    if outcome.game == "client":
        return _with_fewer_requests(simplest, wanted)
    return _with_fewer_steps(simplest, wanted, make_machine)


def _with_fewer_requests(outcome: Outcome, wanted: str) -> Outcome:
    """The same client without what its breach does not need, whatever drew that."""
    place = 0
    while place < len(outcome.data["requests"]):
        requests = outcome.data["requests"]
        data = {**outcome.data, "requests": [*requests[:place], *requests[place + 1 :]]}
        tried = _play_client(outcome.name, data, outcome.choices)
        if len(requests) > 1 and any(breach.invariant == wanted for breach in tried.breaches):
            outcome, place = tried, 0
        else:
            place += 1
    return outcome


def _with_fewer_steps(outcome: Outcome, wanted: str, make_machine: MakeMachine) -> Outcome:
    """The same call without the steps that its breach does not need, whatever drew them."""
    tried = [outcome.data["steps"]]
    left = _simpler_steps(outcome, wanted)
    while (steps := next(left, None)) is not None:
        if steps in tried or not steps:
            continue
        tried.append(steps)
        data = {**outcome.data, "steps": steps}
        try:
            scenario = Scenario.model_validate(data).named(outcome.name)
        except ValidationError:  # what begins has an end, and a call ends once
            continue
        made = outcome.choices, make_machine
        again = play_scenario(scenario, data, *made, before=outcome.before)
        if any(breach.invariant == wanted for breach in again.breaches):
            outcome = again
            left = _simpler_steps(outcome, wanted)
    return outcome


def _simpler_steps(outcome: Outcome, wanted: str) -> Iterator[list[Any]]:
    """Pauses behind one another as one; then the steps without one of them, the last first."""
    steps: list[Any] = outcome.data["steps"]
    yield joined(steps)
    for place in _may_be_left_out(outcome, wanted):
        yield [*steps[:place], *steps[place + 1 :]]


def joined(steps: Sequence[Any]) -> list[Any]:
    """The steps with one pause where there were several; and none that lasts no time."""
    left: list[Any] = []
    for step in steps:
        if _is_pause(step) and left and _is_pause(left[-1]):
            left[-1] = {"pause": left[-1]["pause"] + step["pause"]}
        elif step != {"pause": 0}:
            left.append(step)
    return left


def _is_pause(step: Any) -> bool:
    return isinstance(step, dict) and step.keys() == {"pause"}


def _may_be_left_out(outcome: Outcome, wanted: str) -> list[int]:
    """Which steps, the last first: of a call that must recover, not its calm and its question."""
    steps = outcome.data["steps"]
    until = len(steps)
    if wanted == recovers.__name__:
        if outcome.data.get("realtime", {}).get("faults"):
            return []  # they are told by turns: with fewer of these they would strike in the calm
        until -= sum(not _is_pause(step) for step in QUESTION)
        while until > 0 and _is_pause(steps[until - 1]):
            until -= 1
    return [*range(until - 1, -1, -1)]
