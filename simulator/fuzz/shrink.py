"""Shrinking: from the choices that made a failing call to the fewest and smallest that still fail.

The list of choices is what is shrunk, not the call: whatever list is left, the generator makes a
legal call of it (see `simulator.fuzz.choices`). Pieces are cut out or made zero, then numbers made
smaller, over and over while it helps. It works best with a generator that asks before each thing
whether there is one: a count asked for in advance cannot be cut together with what it counts.
"""

from collections.abc import Callable, Iterator, Sequence

Fails = Callable[[Sequence[int]], Sequence[int] | None]
"""Plays the call of these choices: those it really used if it fails alike, else None."""


def shrink(choices: Sequence[int], fails: Fails, *, max_tries: int = 20_000) -> list[int]:
    """The simplest choices found that still fail.

    Args:
        choices: they fail.
        fails: returns of others whether they do, and which of them were used.
        max_tries: how many others are tried at most.

    Returns:
        Choices that fail, `choices` themselves if nothing simpler does.
    """
    best = list(choices)
    tries = 0
    improved = True
    while improved:
        improved = False
        for candidate in _simpler(best):
            if tries >= max_tries:
                return best
            tries += 1
            used = fails(candidate)
            if used is not None and simplicity(used) < simplicity(best):
                best = list(used)
                improved = True
                break
    return best


def simplicity(choices: Sequence[int]) -> tuple[int, int, tuple[int, ...]]:
    """What to sort by: fewer choices (a shorter call), fewer that are not 0 (a plainer one)."""
    return len(choices), sum(1 for choice in choices if choice), tuple(choices)


def _simpler(choices: Sequence[int]) -> Iterator[list[int]]:
    """Candidates, the boldest first."""
    yield []
    size = len(choices) // 2
    while size:
        for start in range(0, len(choices) - size + 1, max(1, size // 2)):
            end = start + size
            yield [*choices[:start], *choices[end:]]
            if any(choices[start:end]):
                yield [*choices[:start], *[0] * size, *choices[end:]]
        size = size // 2 if size > 4 else size - 1
    for place, choice in enumerate(choices):
        for smaller in (choice // 2, choice - 1):
            if 0 < smaller < choice:
                yield [*choices[:place], smaller, *choices[place + 1 :]]
