"""The plan of a run: its calls, each with a name that no other call of the run has.

A scenario becomes one call, or several where it asks for repeats or for many callers. The plan
says which must wait for which: a scenario that comes `after` another uses the greeting that the
other's call has left in the cache.
"""

from collections.abc import Sequence

from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.scenario.loader import names_beside, no_forerunner
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Expect, Say

MOST_CALLS = 100_000
"""Of a run: a week of short calls, six at once. What is known of each is held at once."""

_LETTER_MS, _ANSWER_MS = 65.0, 3_000.0
"""Of what is said; and what is heard, with the wait for it."""


class PlanError(ValueError):
    """Scenarios that cannot be played together: says which, and why."""


def plan(scenarios: Sequence[Scenario], *, repeat: int | None, seed: int) -> list[PlannedCall]:
    """All calls of a run, each behind the one it comes after.

    `repeat` overrides what the scenarios say. Every call gets its own seed, made from `seed` and
    its name, so that it does not depend on what else is played.

    Raises:
        PlanError: scenarios with one name, or an `after` that is not among them or is circular: a
            line each; or more than `MOST_CALLS`.
    """
    by_name: dict[str, Scenario] = {}
    mistakes: list[str] = []
    for scenario in scenarios:
        other = by_name.setdefault(scenario.name, scenario)
        if other is not scenario:
            mistakes.append(
                f"{scenario.at()}: a scenario named {scenario.name} is in "
                f"{other.path} already; rename one of the files"
            )
    ordered: list[Scenario] = []
    for scenario in scenarios:
        try:
            _append_after_its_forerunners(scenario, by_name, ordered, ())
        except PlanError as error:
            mistakes.append(str(error))
    if mistakes:
        raise PlanError("\n".join(dict.fromkeys(mistakes)))
    _check_count(ordered, repeat)
    planned_calls: dict[str, PlannedCall] = {}
    for scenario in ordered:
        forerunner = by_name[scenario.after] if scenario.after else None
        for number in range(1, (repeat or scenario.repeat) + 1):
            after = _call_name(forerunner, number, 1, repeat) if forerunner else None
            for caller in range(1, scenario.callers.count + 1):
                name = _call_name(scenario, number, caller, repeat)
                if name in planned_calls:
                    raise PlanError(_clash(name, scenario, planned_calls[name].scenario))
                planned_calls[name] = PlannedCall(
                    name=name,
                    scenario=scenario,
                    seed=_seed_of(seed, name),
                    repeat=number,
                    greeting_cache=planned_calls[after].greeting_cache if after else name,
                    after=after,
                    together=f"{scenario.name} {number}",
                    start_delay_ms=scenario.callers.spread
                    * (caller - 1)
                    / max(1, scenario.callers.count - 1),
                )
    return list(planned_calls.values())


def expected_ms(scenario: Scenario) -> float:
    """How long a call will last, roughly: enough to tell long ones from short ones."""
    steps = scenario.steps
    said = sum(len(step.say.text or "") for step in steps if isinstance(step, Say))
    heard = sum(isinstance(step, Expect) for step in steps)
    return sum(step.least_ms for step in steps) + said * _LETTER_MS + heard * _ANSWER_MS


def with_forerunners(chosen: Sequence[Scenario], everything: Sequence[Scenario]) -> list[Scenario]:
    """The chosen scenarios, and those of `everything` that they come after, in its order."""
    by_name = {scenario.name: scenario for scenario in everything}
    wanted = {scenario.name for scenario in chosen}
    queue = list(chosen)
    while queue:
        after = queue.pop().after
        if after in by_name and after not in wanted:
            wanted.add(after)
            queue.append(by_name[after])
    return [scenario for scenario in everything if scenario.name in wanted]


def _clash(name: str, scenario: Scenario, other: Scenario) -> str:
    """A call is known by its name alone: of two that have one, only one would be played."""
    return (
        f"{scenario.at()}: a call of {scenario.name} would be called {name}, as one of "
        f"{other.name} ({other.at()}) is; rename one of the files"
    )


def _check_count(scenarios: Sequence[Scenario], repeat: int | None) -> None:
    counts = {one.name: (repeat or one.repeat) * one.callers.count for one in scenarios}
    total = sum(counts.values())
    if total > MOST_CALLS:
        name = max(counts, key=lambda one: counts[one])
        raise PlanError(
            f"a run of {total} calls ({counts[name]} of them {name}): expected at most "
            f"{MOST_CALLS}; choose fewer (-k), or let `repeat` or `callers` be less"
        )


def _append_after_its_forerunners(
    scenario: Scenario,
    by_name: dict[str, Scenario],
    ordered: list[Scenario],
    waiting: tuple[str, ...],
) -> None:
    if scenario in ordered:
        return
    if scenario.name in waiting:
        circle = waiting[waiting.index(scenario.name) :]
        first = circle.index(min(circle))  # whichever of them was looked at
        words = " after ".join((*circle[first:], *circle[: first + 1]))
        raise PlanError(f"{by_name[min(circle)].at('after')}: comes after itself: {words}")
    if scenario.after is not None:
        forerunner = by_name.get(scenario.after)
        if forerunner is None:
            others = sorted(by_name.keys() - {scenario.name})
            known = f" (expected {', '.join(others)})" if others else ", and no other"
            what = no_forerunner(scenario.after, [*others, *names_beside(scenario)], known)
            raise PlanError(f"{scenario.at('after')}: {what}")
        _append_after_its_forerunners(forerunner, by_name, ordered, (*waiting, scenario.name))
    ordered.append(scenario)


def _call_name(scenario: Scenario, number: int, caller: int, repeat: int | None) -> str:
    """Of one repeat and caller; of the last repeat, where there are fewer than `number`."""
    repeats = repeat or scenario.repeat
    return (
        scenario.name
        + (f"-r{min(number, repeats)}" if repeats > 1 else "")
        + (f"-c{caller}" if scenario.callers.count > 1 else "")
    )


def _seed_of(seed: int, name: str) -> int:
    """Python's own `hash` of a string differs between processes."""
    value = seed & 0xFFFFFFFF
    for byte in name.encode():
        value = (value * 1_000_003 ^ byte) & 0xFFFFFFFF
    return value
