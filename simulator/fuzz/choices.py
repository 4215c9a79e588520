"""Choices: the only source of randomness of a generated call; one generator, several drivers.

A generator asks for integers and nothing else. `SeededChoices` answers from a seed and writes down
what it answered; `ReplayedChoices` answers from such a list, which is how a failing call is shrunk:
the list is made shorter and its numbers smaller, and the generator makes a simpler call of it. The
hypothesis strategies answer from `draw`. Everywhere 0 is the simplest choice.
"""

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Choices(Protocol):
    """Answers a generator's questions."""

    def up_to(self, most: int) -> int:
        """A whole number from 0 to `most`, both included; 0 is the simplest."""


class SeededChoices:
    """Answers from a seed, uniformly; `made` is the list of answers."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)
        self.made: list[int] = []

    def up_to(self, most: int) -> int:
        """See `Choices.up_to`."""
        choice = self._random.randint(0, most)
        self.made.append(choice)
        return choice


class ReplayedChoices:
    """Answers from a list; 0 when it is at its end. `made` is what was really answered."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = list(choices)
        self.made: list[int] = []

    def up_to(self, most: int) -> int:
        """See `Choices.up_to`: a number that is too large is the largest."""
        place = len(self.made)
        choice = min(self._choices[place], most) if place < len(self._choices) else 0
        self.made.append(choice)
        return choice


def one_of(choices: Choices, options: Sequence[T]) -> T:
    """One of the options; the first is the simplest."""
    return options[choices.up_to(len(options) - 1)]


def chance(choices: Choices, one_in: int) -> bool:
    """True once in so many times; False is simpler."""
    return choices.up_to(one_in - 1) == one_in - 1


def between(choices: Choices, low: int, high: int, step: int = 1) -> int:
    """A number from `low` to `high` in steps; `low` is the simplest."""
    return low + step * choices.up_to((high - low) // step)
