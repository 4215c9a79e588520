"""The fuzzer finds each of eight planted bugs within a stated number of seeds, and no others."""

import pytest
from planted_bugs import BUGS, BrokenMachine

from callerside.simulator.fuzz.play import Outcome, play_seed


def found_by(bug: type[BrokenMachine], invariant: str, seeds: int, known: int) -> Outcome:
    """A seed that breaks the invariant with the broken agent: the known one, or the first."""
    assert known < seeds
    for seed in (known, *range(seeds)):
        outcome = play_seed(seed, bug)
        if any(breach.invariant == invariant for breach in outcome.breaches):
            return outcome
    raise AssertionError(f"{bug.__name__}: {seeds} seeds, and {invariant} held in all of them")


@pytest.mark.parametrize(
    ("bug", "invariant", "seeds", "known"), BUGS, ids=lambda value: str(value)[-40:]
)
def test_a_planted_bug_is_found(
    bug: type[BrokenMachine], invariant: str, seeds: int, known: int
) -> None:
    found = found_by(bug, invariant, seeds, known)
    # It is the bug that was found, and not something that is always there.
    healthy = play_seed(int(found.name.removeprefix("fuzz-")))
    assert [breach for breach in healthy.breaches if breach.invariant == invariant] == []
