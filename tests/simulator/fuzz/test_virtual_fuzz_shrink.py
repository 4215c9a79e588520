from collections.abc import Callable, Sequence

import pytest

from callerside.simulator.fuzz.choices import (
    Choices,
    ReplayedChoices,
    SeededChoices,
    between,
    chance,
    one_of,
)
from callerside.simulator.fuzz.shrink import shrink


def numbers(choices: Choices) -> list[int]:
    values: list[int] = []
    while len(values) < 20 and choices.up_to(9):
        values.append(between(choices, 10, 100))
    return values


def failing(test: Callable[[list[int]], bool]) -> Callable[[Sequence[int]], Sequence[int] | None]:
    def fails(choices: Sequence[int]) -> Sequence[int] | None:
        replay = ReplayedChoices(choices)
        return replay.made if test(numbers(replay)) else None

    return fails


def found(test: Callable[[list[int]], bool]) -> list[int]:
    """The first of many seeds that fails."""
    for seed in range(1000):
        choices = SeededChoices(seed)
        if test(numbers(choices)):
            return choices.made
    raise AssertionError("no seed fails")


@pytest.mark.parametrize(
    ("test", "simplest"),
    [
        (lambda values: any(value > 70 for value in values), [71]),
        (lambda values: len(values) >= 3, [10, 10, 10]),
        (lambda values: sum(values) > 150, None),
        (lambda values: values is not None, []),
    ],
)
def test_shrinks_to_the_simplest_that_still_fails(
    test: Callable[[list[int]], bool], simplest: list[int] | None
) -> None:
    shrunk = numbers(ReplayedChoices(shrink(found(test), failing(test))))
    assert test(shrunk)
    if simplest is not None:
        assert shrunk == simplest
    else:
        assert len(shrunk) <= 3  # two would do, but only if both grew


def test_what_cannot_be_made_simpler_is_left_alone() -> None:
    assert shrink([2, 7, 9], lambda _: None) == [2, 7, 9]


def test_never_tries_more_than_it_may() -> None:
    tried = []

    def fails(choices: Sequence[int]) -> None:
        tried.append(choices)

    shrink(list(range(1, 100)), fails, max_tries=17)
    assert len(tried) == 17


def test_a_seed_makes_the_same_choices_again() -> None:
    assert numbers(SeededChoices(5)) == numbers(SeededChoices(5))
    first = SeededChoices(5)
    made = numbers(first)
    assert numbers(ReplayedChoices(first.made)) == made


def test_a_replay_stays_within_what_is_asked() -> None:
    replay = ReplayedChoices([99, 99])
    assert [replay.up_to(3), one_of(replay, "abc"), replay.up_to(7)] == [3, "c", 0]
    assert replay.made == [3, 2, 0]


def test_chances_come_as_often_as_they_should() -> None:
    seed = 3
    choices = SeededChoices(seed)
    hits = sum(chance(choices, 4) for _ in range(4000))
    assert 900 < hits < 1100, f"seed {seed}"
