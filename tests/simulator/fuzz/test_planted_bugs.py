"""The fuzzer finds each of eight planted bugs within a stated number of seeds, and no others."""

import planted_bugs
import pytest

from callerside.simulator.fuzz.play import Outcome, play_seed

# bug, the invariant that must catch it, and within how many seeds (from 0 on)
BUGS = [
    (planted_bugs.NoFlushAtBargeIn, "interrupted_audio_stops", 50),
    (planted_bugs.TruncatesByReceived, "truncations_are_true", 50),
    (planted_bugs.CommitsTwice, "one_commit_a_turn", 50),
    (planted_bugs.CachesACancelledGreeting, "only_whole_greetings_are_kept", 250),
    (planted_bugs.AsksForAResponseTooEarly, "one_response_at_a_time", 20),
    (planted_bugs.LosesWhatWasSaidBeforeTheSession, "nothing_appended_is_lost", 150),
    (planted_bugs.StaysStuckAfterAFailure, "recovers", 200),
    (planted_bugs.SpeaksAfterHangingUp, "nothing_after_the_end", 50),
]


def first_found(bug: type[planted_bugs.BrokenMachine], invariant: str, seeds: int) -> Outcome:
    """The first seed that breaks the invariant with the broken agent."""
    for seed in range(seeds):
        outcome = play_seed(seed, bug)
        if any(breach.invariant == invariant for breach in outcome.breaches):
            return outcome
    raise AssertionError(f"{bug.__name__}: {seeds} seeds, and {invariant} held in all of them")


@pytest.mark.parametrize(("bug", "invariant", "seeds"), BUGS, ids=lambda value: str(value)[-40:])
def test_a_planted_bug_is_found(
    bug: type[planted_bugs.BrokenMachine], invariant: str, seeds: int
) -> None:
    found = first_found(bug, invariant, seeds)
    # It is the bug that was found, and not something that is always there.
    healthy = play_seed(int(found.name.removeprefix("fuzz-")))
    assert [breach for breach in healthy.breaches if breach.invariant == invariant] == []
