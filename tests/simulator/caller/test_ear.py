"""What a telephone plays: by arrival times alone, whole where the line is calm, and soon again."""

import random

import numpy as np
import pytest

from callerside.audio import to_bytes
from callerside.clock import NS_PER_MS
from callerside.simulator.caller.ear import BUFFER_NS, Arrival, play, render

RATE_HZ = 16_000
FRAME_NS = 20 * NS_PER_MS
SEEDS = range(10)


def frame(number: int) -> bytes:
    return to_bytes(np.full(320, number))


def line(*at_ns: int | None) -> list[Arrival]:
    return [Arrival(pcm=frame(n), at_ns=one) for n, one in enumerate(at_ns)]


def times_ns(arrivals: list[Arrival]) -> list[int]:
    return [at_ns for at_ns, _ in play(arrivals, RATE_HZ)]


def test_on_a_calm_line_each_frame_is_played_when_it_has_waited() -> None:
    arrivals = line(*(n * FRAME_NS for n in range(100)))
    assert times_ns(arrivals) == [n * FRAME_NS + BUFFER_NS for n in range(100)]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_buffer_takes_is_not_to_be_heard(seed: int) -> None:
    rng = random.Random(seed)
    late = [0, *(rng.randrange(BUFFER_NS) for _ in range(99))]
    arrivals = line(*(n * FRAME_NS + late_ns for n, late_ns in enumerate(late)))
    assert times_ns(arrivals) == [n * FRAME_NS + BUFFER_NS for n in range(100)]


def test_a_late_frame_leaves_a_hole_and_waits_like_a_first_one() -> None:
    arrivals = line(0, FRAME_NS, 2 * FRAME_NS + 10 * NS_PER_MS, 3 * FRAME_NS)
    grown = 10 * NS_PER_MS
    assert times_ns(arrivals) == [
        BUFFER_NS,
        BUFFER_NS + FRAME_NS,
        BUFFER_NS + 2 * FRAME_NS + grown,
        BUFFER_NS + 3 * FRAME_NS + grown,
    ]
    heard = render(arrivals, RATE_HZ, begin_ns=BUFFER_NS, samples=4 * 320 + 160)
    assert heard.tolist() == [0] * 320 + [1] * 320 + [0] * 160 + [2] * 320 + [3] * 320


def test_what_is_lost_takes_its_time() -> None:
    assert times_ns(line(0, None, 2 * FRAME_NS)) == [
        BUFFER_NS,
        BUFFER_NS + FRAME_NS,
        BUFFER_NS + 2 * FRAME_NS,
    ]


@pytest.mark.parametrize("stall_ms", [60, 240])
def test_after_a_stall_the_delay_is_normal_within_a_second(stall_ms: int) -> None:
    stall = range(50, 50 + stall_ms // 20)
    arrivals = line(*((stall.stop if n in stall else n) * FRAME_NS for n in range(150)))
    times = times_ns(arrivals)
    assert times[49] == 49 * FRAME_NS + BUFFER_NS
    again = next(n for n in range(stall.stop, 150) if times[n] - n * FRAME_NS == BUFFER_NS)
    assert (again - stall.stop) * FRAME_NS <= 1_000 * NS_PER_MS
    assert all(times[n] - n * FRAME_NS == BUFFER_NS for n in range(again, 150))


def test_nothing_is_played_before_something_came() -> None:
    assert times_ns(line(None, None, 5 * FRAME_NS)) == [5 * FRAME_NS + BUFFER_NS]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_arrivals_are_the_same_sound(seed: int) -> None:
    rng = random.Random(seed)
    arrivals = line(*(n * FRAME_NS + rng.randrange(50 * NS_PER_MS) for n in range(100)))
    first, second = (
        render(arrivals, RATE_HZ, begin_ns=0, samples=102 * 320).tolist() for _ in range(2)
    )
    assert first == second
    assert set(first) <= set(range(100))
