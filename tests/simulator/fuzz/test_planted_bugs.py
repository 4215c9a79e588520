"""The fuzzer finds each of eight planted bugs within a stated number of seeds, and no others."""

import pytest
from planted_bugs import BUGS, BrokenMachine

from callerside.simulator.fuzz.play import Outcome, play_seed


def first_found(bug: type[BrokenMachine], invariant: str, seeds: int) -> Outcome:
    """The first seed that breaks the invariant with the broken agent."""
    for seed in range(seeds):
        outcome = play_seed(seed, bug)
        if any(breach.invariant == invariant for breach in outcome.breaches):
            return outcome
    raise AssertionError(f"{bug.__name__}: {seeds} seeds, and {invariant} held in all of them")


@pytest.mark.parametrize(("bug", "invariant", "seeds"), BUGS, ids=lambda value: str(value)[-40:])
def test_a_planted_bug_is_found(bug: type[BrokenMachine], invariant: str, seeds: int) -> None:
    found = first_found(bug, invariant, seeds)
    # It is the bug that was found, and not something that is always there.
    healthy = play_seed(int(found.name.removeprefix("fuzz-")))
    assert [breach for breach in healthy.breaches if breach.invariant == invariant] == []
