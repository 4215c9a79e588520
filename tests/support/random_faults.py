"""Faults at random places of answers: what a listener hears of them, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from made_call import Wave, at_rate, voice
from numpy.typing import NDArray

LENGTHS_MS = (12, 20, 37, 60, 120, 180, 255, 500)
KINDS = ("hole", "muted", "twice", "left out")
_PER_MS = 16


@dataclass(frozen=True)
class Fault:
    """A fault of so many milliseconds at a place of an answer."""

    answer: int
    kind: str
    at_ms: float
    length_ms: int

    @property
    def true(self) -> tuple[float, float, float]:
        """Gap, missing, repeated."""
        of = self.length_ms
        return {"hole": (of, 0, 0), "muted": (of, 0, 0), "twice": (0, 0, of)}.get(
            self.kind, (0, of, 0)
        )

    def heard(self, wave: Wave) -> Wave:
        """At 16 kHz, as is `wave`."""
        first, count = round(self.at_ms * _PER_MS), self.length_ms * _PER_MS
        silence = np.zeros(count)
        if self.kind == "hole":
            return np.concatenate([wave[:first], silence, wave[first:]])
        if self.kind == "muted":
            return np.concatenate([wave[:first], silence, wave[first + count :]])
        if self.kind == "twice":
            return np.concatenate([wave[:first], wave[first - count :]])
        return np.concatenate([wave[:first], wave[first + count :]])


@cache
def answers() -> list[Wave]:
    """At the server's rate."""
    return [
        voice("On Saturday we open at nine in the morning, and we close at five o'clock."),
        voice("Yes, there are many places right behind the building, and they cost nothing."),
        voice("Yes we do. There is a car park with many places, free for all of our customers."),
        np.concatenate(
            [
                voice("The shop is on the market square, next to the old town hall."),
                np.zeros(24 * 300),
                voice("You can buy your ticket from the driver or online.", "en-us+f3"),
            ]
        ),
    ]


def random_faults(rng: np.random.Generator, each: int) -> Iterator[Fault]:
    """So many of every kind and length, in the first 400 ms of every answer and after them.

    What befalls silence is no fault that anybody could hear, and is not drawn.
    """
    for number, answer in enumerate(answers()):
        wave = at_rate(answer)
        for opening in (True, False):
            for kind in KINDS:
                for length_ms in LENGTHS_MS:
                    for _ in range(each):
                        fault = _drawn(rng, number, wave, opening, kind, length_ms)
                        if fault is not None:
                            yield fault


def _drawn(
    rng: np.random.Generator, number: int, wave: Wave, opening: bool, kind: str, length_ms: int
) -> Fault | None:
    last_ms = wave.size / _PER_MS - length_ms - 500
    for _ in range(200):
        at_ms = rng.uniform(20, 400) if opening else rng.uniform(450, last_ms)
        fault = Fault(number, kind, at_ms, length_ms)
        if _audible(fault, wave):
            return fault
    return None


def _audible(fault: Fault, wave: Wave) -> bool:
    first, count = round(fault.at_ms * _PER_MS), fault.length_ms * _PER_MS
    if fault.kind == "hole":
        return True
    if fault.kind == "twice":
        return (
            first > count
            and _quietest(wave[first - count : first]) > -60
            and (_level(wave[first - count : first]) > -35)
        )
    piece = wave[first : first + count]
    return _quietest(piece) > -38 if fault.kind == "muted" else _level(piece) > -35


def _level(wave: Wave) -> float:
    return float(10 * np.log10(np.mean(wave**2) + 1e-12))


def _quietest(wave: Wave) -> float:
    size = 10 * _PER_MS
    starts = range(0, max(1, wave.size - size + 1), size // 2)
    return min(_level(wave[start : start + size]) for start in starts)


def as_samples(wave: Wave) -> NDArray[np.int16]:
    """As it is recorded."""
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)
