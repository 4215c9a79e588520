"""What a telephone plays: by arrival times alone, whole where the line is calm, and soon again."""

import dataclasses
import random
from itertools import pairwise

import numpy as np
import pytest

from callerside.audio import to_bytes, to_samples, tone
from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.simulator.caller.ear import BUFFER_NS, PAUSE_NS, Arrival, play, render

RATE_HZ = 16_000
FRAME_NS = 20 * NS_PER_MS
SEEDS = range(10)


def frame(number: int) -> bytes:
    return to_bytes(np.full(320, 1000 + number))


def line(*at_ns: int | None) -> list[Arrival]:
    return [Arrival(pcm=frame(n), at_ns=one) for n, one in enumerate(at_ns)]


def times_ns(arrivals: list[Arrival]) -> list[int]:
    return [one.at_ns for one in play(arrivals, RATE_HZ)]


def heard(arrivals: list[Arrival], samples: int) -> list[int]:
    sound = render(play(arrivals, RATE_HZ), RATE_HZ, begin_ns=0, samples=samples)
    return [int(sample) for sample in sound]


def test_on_a_calm_line_each_frame_is_heard_when_it_comes() -> None:
    arrivals = line(*(n * FRAME_NS for n in range(100)))
    assert times_ns(arrivals) == [n * FRAME_NS for n in range(100)]
    assert not any(one.late_ns for one in play(arrivals, RATE_HZ))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_buffer_takes_is_told_and_not_heard(seed: int) -> None:
    rng = random.Random(seed)
    late = [0, *(rng.randrange(BUFFER_NS) for _ in range(99))]
    arrivals = line(*(n * FRAME_NS + late_ns for n, late_ns in enumerate(late)))
    assert times_ns(arrivals) == [n * FRAME_NS for n in range(100)]
    assert [one.late_ns for one in play(arrivals, RATE_HZ)] == late


def test_what_comes_later_leaves_a_hole_until_it_is_there() -> None:
    late_ns = BUFFER_NS + 10 * NS_PER_MS
    arrivals = line(0, FRAME_NS, 2 * FRAME_NS + late_ns, 3 * FRAME_NS + late_ns)
    assert times_ns(arrivals) == [0, FRAME_NS, 2 * FRAME_NS + late_ns, 3 * FRAME_NS + late_ns]
    hole = [0] * (late_ns * RATE_HZ // NS_PER_S)
    frames = [[1000 + n] * 320 for n in range(4)]
    assert (
        heard(arrivals, 4 * 320 + len(hole)) == frames[0] + frames[1] + hole + frames[2] + frames[3]
    )


def test_what_is_lost_takes_its_time() -> None:
    assert times_ns(line(0, None, 2 * FRAME_NS)) == [0, FRAME_NS, 2 * FRAME_NS]


@pytest.mark.parametrize("stall_ms", [60, 240])
def test_after_a_stall_the_delay_is_normal_within_a_second(stall_ms: int) -> None:
    stall = range(50, 50 + stall_ms // 20)
    arrivals = line(*((stall.stop if n in stall else n) * FRAME_NS for n in range(150)))
    times = times_ns(arrivals)
    assert times[49] == 49 * FRAME_NS
    assert times[50] == stall.stop * FRAME_NS
    again = next(n for n in range(stall.stop, 150) if times[n] == n * FRAME_NS)
    assert (again - stall.stop) * FRAME_NS <= 1_000 * NS_PER_MS
    assert all(times[n] == n * FRAME_NS for n in range(again, 150))


@pytest.mark.parametrize("late_ms", [-15, 7, 39, 70])
def test_an_onset_after_a_pause_is_heard_when_it_comes(late_ms: int) -> None:
    """Its first packet is late, or early, and so is all that follows."""
    onset = PAUSE_NS // FRAME_NS + 5
    late_ns = late_ms * NS_PER_MS
    arrivals = line(*(n * FRAME_NS + late_ns * (n >= onset) for n in range(onset + 10)))
    pause = Arrival(pcm=bytes(640), at_ns=0)
    for n in range(5, onset):
        arrivals[n] = dataclasses.replace(pause, at_ns=arrivals[n].at_ns)
    assert times_ns(arrivals) == [arrival.at_ns for arrival in arrivals]


def test_a_pause_within_a_word_sets_nothing_anew() -> None:
    arrivals = line(*(n * FRAME_NS for n in range(30)))
    for n in range(10, 10 + PAUSE_NS // FRAME_NS - 1):
        arrivals[n] = Arrival(pcm=bytes(640), at_ns=n * FRAME_NS)
    onset = 10 + PAUSE_NS // FRAME_NS - 1
    arrivals[onset] = Arrival(pcm=frame(onset), at_ns=onset * FRAME_NS + 5 * NS_PER_MS)
    assert times_ns(arrivals) == [n * FRAME_NS for n in range(30)]


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clock_that_is_off_makes_no_holes_in_what_has_pauses(ppm: int) -> None:
    """Ten minutes, a second of silence in every ten: 120 ms would be more than the buffer bears."""
    frame_ns = FRAME_NS + FRAME_NS * ppm // 1_000_000
    arrivals = [
        Arrival(pcm=bytes(640) if n % 500 >= 450 else frame(n % 100), at_ns=n * frame_ns)
        for n in range(30_000)
    ]
    played = play(arrivals, RATE_HZ)
    assert max(one.late_ns for one in played) <= 2 * NS_PER_MS
    for before, after in pairwise(played):
        if after.pcm != bytes(640) and before.pcm != bytes(640):
            assert abs(after.at_ns - before.at_ns - FRAME_NS) <= 2 * NS_PER_MS


def test_a_first_packet_that_was_late_does_not_delay_a_whole_call() -> None:
    late_ns = 30 * NS_PER_MS
    times = times_ns(line(late_ns, *(n * FRAME_NS for n in range(1, 200))))
    assert times[1:50] == [n * FRAME_NS + late_ns for n in range(1, 50)]
    assert times[120:] == [n * FRAME_NS for n in range(120, 200)]


def test_nothing_is_played_before_something_came() -> None:
    assert times_ns(line(None, None, 5 * FRAME_NS)) == [5 * FRAME_NS]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_arrivals_are_the_same_sound(seed: int) -> None:
    rng = random.Random(seed)
    arrivals = line(*(n * FRAME_NS + rng.randrange(50 * NS_PER_MS) for n in range(100)))
    first, second = (heard(arrivals, 102 * 320) for _ in range(2))
    assert first == second
    assert set(first) <= {0, *range(1000, 1100)}


@pytest.mark.parametrize("seed", range(200))
def test_a_beep_whose_packets_are_late_by_chance_is_heard_whole(seed: int) -> None:
    """As under load: every tenth packet is 4 to 28 ms late, the beep's first one too."""
    rng = random.Random(seed)
    beep = to_samples(tone(440, 400, RATE_HZ))
    before = rng.randrange(1, 40)
    sent = np.concatenate([np.zeros(before * 320, np.int16), beep, np.zeros(20 * 320, np.int16)])
    late_ns = [
        rng.randrange(4 * NS_PER_MS, 28 * NS_PER_MS) * (rng.random() < 0.1)
        for _ in range(sent.size // 320)
    ]
    arrivals = [
        Arrival(pcm=to_bytes(sent[n * 320 : (n + 1) * 320]), at_ns=n * FRAME_NS + late_ns[n])
        for n in range(sent.size // 320)
    ]
    sound = render(play(arrivals, RATE_HZ), RATE_HZ, begin_ns=0, samples=sent.size + 3200)
    loud = np.flatnonzero(sound)
    length_ms = (loud[-1] + 1 - loud[0]) * 1000 / RATE_HZ
    assert 395 <= length_ms <= 405
    if before * FRAME_NS >= PAUSE_NS:
        onset_ns = before * FRAME_NS + late_ns[before]
        assert abs(loud[0] * NS_PER_S // RATE_HZ - onset_ns) < NS_PER_MS
