"""The buffer's promises, on lines drawn from seeds: all that comes is handed on once, in order.

Each line is a list of (arrival, packet). Whatever the network does, the time that is handed on is
the time that was said, but for what is still on its way.
"""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from callerside.agent.telephony.media.jitter_buffer import (
    MAX_HELD,
    MAX_WAIT_NS,
    PAUSE_NS,
    Gap,
    JitterBuffer,
    Packet,
)
from callerside.clock import NS_PER_MS, NS_PER_S

HZ = 8_000
FRAME = 160
FRAME_NS = 20 * NS_PER_MS
SEEDS = range(20)
MEASURED = ("jitter_ms", "_transit")

Line = Sequence[tuple[int, Packet[int]]]
Heard = list[tuple[int, Packet[int] | Gap]]


def packet(
    number: int, *, source: int = 1, duration: int = FRAME, first: int = 65_500
) -> Packet[int]:
    """The n-th of a stream; its numbers run over, as all numbers do."""
    return Packet(
        source=source,
        sequence=(first + number) & 0xFFFF,
        timestamp=(0xFFFF_F000 + number * FRAME) & 0xFFFFFFFF,
        duration=duration,
        body=number,
    )


def heard_on(line: Line, until_ns: int | None = None) -> tuple[Heard, JitterBuffer[int]]:
    """What is handed on, and when; the buffer is asked whenever it says that something is due."""
    buffer: JitterBuffer[int] = JitterBuffer(HZ, 0)
    heard: Heard = []
    for at_ns, one in sorted(line, key=lambda arrival: arrival[0]):
        while buffer.due_ns < at_ns:
            due_ns = buffer.due_ns
            heard += [(due_ns, item) for item in buffer.expire(due_ns)]
        heard += [(at_ns, item) for item in buffer.put(one, at_ns)]
    while buffer.due_ns <= (until_ns or 0):
        due_ns = buffer.due_ns
        heard += [(due_ns, item) for item in buffer.expire(due_ns)]
    return heard, buffer


def bodies(heard: Heard) -> list[int]:
    return [item.body for _, item in heard if isinstance(item, Packet)]


def frames_of_time(heard: Heard) -> float:
    return sum(item.duration for _, item in heard) / FRAME


def test_on_a_calm_line_each_packet_is_handed_on_as_it_comes() -> None:
    line = [(n * FRAME_NS, packet(n)) for n in range(200)]
    heard, _ = heard_on(line)
    assert heard == [(at_ns, one) for at_ns, one in line]


@pytest.mark.parametrize("seed", SEEDS)
def test_jitter_without_reordering_waits_for_nothing(seed: int) -> None:
    rng = random.Random(seed)
    at_ns, line = 0, []
    for n in range(500):
        at_ns = max(at_ns + 1, n * FRAME_NS + rng.randrange(30 * NS_PER_MS))
        line.append((at_ns, packet(n)))
    heard, buffer = heard_on(line)
    assert heard == line
    assert buffer.late_packets == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_jitter_with_reordering_loses_nothing(seed: int) -> None:
    rng = random.Random(seed)
    line = [(_jittered_ns(n, 30, rng), packet(n)) for n in range(500)]
    heard, buffer = heard_on(line, until_ns=501 * FRAME_NS)
    assert bodies(heard) == list(range(500))
    assert frames_of_time(heard) == 500
    assert buffer.late_packets == 0


def _jittered_ns(n: int, jitter_ms: int, rng: random.Random) -> int:
    """When the n-th packet comes; the first is on time, so that none overtakes it."""
    return n * FRAME_NS + (rng.randrange(jitter_ms * NS_PER_MS + 1) if n else 0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("jitter_ms", [0, 15, 60])
def test_how_unevenly_packets_come_is_told_as_it_is(seed: int, jitter_ms: int) -> None:
    """In the order in which they come (RFC 3550 §A.8), whatever was held back; keys left out."""
    rng = random.Random(seed)
    line = sorted((_jittered_ns(n, jitter_ms, rng), n) for n in range(500) if rng.random() > 0.05)
    expected_ms = 0.0
    for (at_ns, n), (next_ns, next_n) in pairwise(line):
        change_ms = abs(next_ns - at_ns - (next_n - n) * FRAME_NS) / NS_PER_MS
        expected_ms += (change_ms - expected_ms) / 16
    keys = [(at_ns, packet(n + 1_000, duration=0, source=2)) for at_ns, n in line[::50]]
    for arrivals in ([(at_ns, packet(n)) for at_ns, n in line], keys):
        _, buffer = heard_on(arrivals)
        expected = expected_ms if arrivals is not keys else 0
        assert buffer.jitter_ms == pytest.approx(expected, abs=0.3)


def test_numbers_that_begin_anew_are_no_jitter() -> None:
    """Of another source, or of the same one; nor is a stream behind a hold."""
    buffer: JitterBuffer[int] = JitterBuffer(HZ, 0)
    for n in range(50):
        buffer.put(packet(n), n * FRAME_NS + (n % 2) * 2 * NS_PER_MS)
    before_ms = buffer.jitter_ms
    assert before_ms == pytest.approx(2, abs=0.2)
    buffer.put(packet(7, source=2), 60 * FRAME_NS)
    buffer.put(packet(30_000, source=2), 99 * FRAME_NS)
    assert buffer.jitter_ms == before_ms
    other = buffer.renewed(100 * FRAME_NS)
    other.put(packet(0), 500 * FRAME_NS)
    assert other.jitter_ms == before_ms


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("jitter_ms", [0, 30])
def test_what_is_lost_is_filled_and_nothing_else_is(seed: int, jitter_ms: int) -> None:
    rng = random.Random(seed)
    came = [n for n in range(500) if n in (0, 499) or rng.random() > 0.05]
    line = [(_jittered_ns(n, jitter_ms, rng), packet(n)) for n in came]
    heard, _ = heard_on(line, until_ns=502 * FRAME_NS)
    assert bodies(heard) == came
    assert frames_of_time(heard) == 500
    assert all(item.lost for _, item in heard if isinstance(item, Gap))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stall_invents_nothing_and_all_is_there_at_its_end(seed: int) -> None:
    rng = random.Random(seed)
    begin_ns = rng.randrange(50, 150) * FRAME_NS + rng.randrange(FRAME_NS)
    end_ns = begin_ns + 240 * NS_PER_MS
    line = [
        (end_ns + n if begin_ns <= n * FRAME_NS < end_ns else n * FRAME_NS, packet(n))
        for n in range(250)
    ]
    heard, _ = heard_on(line)
    assert heard == sorted(line, key=lambda arrival: arrival[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_after_whatever_the_line_did_nothing_waits(seed: int) -> None:
    """Loss, packets that overtake each other, and a stall, all at once; then all is calm."""
    rng = random.Random(seed)
    bad, calm = range(200), range(200, 400)
    stalls_at_ns = rng.randrange(50, 150) * FRAME_NS
    line = []
    for n in bad:
        at_ns = _jittered_ns(n, 30, rng)
        if stalls_at_ns <= at_ns < stalls_at_ns + 240 * NS_PER_MS:
            at_ns = stalls_at_ns + 240 * NS_PER_MS + n
        if n == 0 or rng.random() > 0.05:
            line.append((at_ns, packet(n)))
    line += [(n * FRAME_NS, packet(n)) for n in calm]
    heard, _ = heard_on(line)
    later = [(at_ns, one) for at_ns, one in line if at_ns >= 200 * FRAME_NS + NS_PER_S]
    assert heard[-len(later) :] == later


def test_a_missing_packet_is_waited_for_no_longer_than_the_line_needs() -> None:
    line = [(n * FRAME_NS, packet(n)) for n in range(400) if n % 20 != 10]
    heard, _ = heard_on(line)
    delays_ns = [at_ns - one.body * FRAME_NS for at_ns, one in heard if isinstance(one, Packet)]
    assert max(delays_ns) <= 2 * FRAME_NS
    assert max(delays_ns[200:]) <= FRAME_NS


def test_the_wait_grows_with_what_comes_late() -> None:
    def arrival_ns(n: int) -> int:
        return n * FRAME_NS + (90 * NS_PER_MS if n % 20 == 10 else 0)

    heard, buffer = heard_on([(arrival_ns(n), packet(n)) for n in range(400)])
    assert buffer.late_packets == 1
    assert bodies(heard)[-380:] == list(range(20, 400))
    assert buffer.wait_ns <= MAX_WAIT_NS


def test_in_a_long_pause_silence_is_told_and_time_is_kept() -> None:
    spoken = [(n * FRAME_NS, packet(n)) for n in range(50)]
    again = [(n * FRAME_NS, _after_a_pause(packet(50), n)) for n in range(100, 101)]
    heard, _ = heard_on([*spoken, *again])
    assert frames_of_time(heard) == 101
    assert not any(item.lost for _, item in heard if isinstance(item, Gap))
    in_the_pause = [at_ns for at_ns, item in heard if isinstance(item, Gap)]
    assert in_the_pause[0] == 49 * FRAME_NS + PAUSE_NS
    told_at = {at_ns: in_the_pause.count(at_ns) for at_ns in in_the_pause}
    assert list(told_at.values()) == [2] * 14 + [1] * (len(told_at) - 14)
    assert list(told_at) == [in_the_pause[0] + n * FRAME_NS for n in range(len(told_at))]


def _after_a_pause(one: Packet[int], frames: int) -> Packet[int]:
    """Its number is the next, its time is not: silence suppression."""
    return Packet(
        source=one.source,
        sequence=one.sequence,
        timestamp=packet(frames).timestamp,
        duration=FRAME,
        body=frames,
    )


@pytest.mark.parametrize("stall_frames", [20, 50, 100])
def test_what_comes_when_its_time_was_silence_is_heard_all_the_same(stall_frames: int) -> None:
    end = 50 + stall_frames
    stalled = [(end * FRAME_NS - 1000 + n, packet(n)) for n in range(50, end)]
    line = [(n * FRAME_NS, packet(n)) for n in range(50)] + stalled
    line += [(n * FRAME_NS, packet(n)) for n in range(end, end + 30)]
    heard, buffer = heard_on(line)
    assert bodies(heard) == [*range(end + 30)]
    assert buffer.late_packets == 0
    assert heard[-30:] == line[-30:]  # and nothing waits for it


def test_timestamps_that_stood_still_in_a_pause_cost_nothing_of_what_follows() -> None:
    line = [(n * FRAME_NS, packet(n)) for n in range(50)]
    line += [(n * FRAME_NS, packet(n - 100)) for n in range(150, 200)]
    heard, _ = heard_on(line)
    assert bodies(heard) == [*range(100)]


def test_a_key_press_has_a_place_in_the_order_and_no_time() -> None:
    line = [(n * FRAME_NS, packet(n, duration=0 if 50 <= n < 55 else FRAME)) for n in range(100)]
    heard, _ = heard_on(line)
    assert bodies(heard) == list(range(100))
    assert frames_of_time(heard) == 100  # what was silent meanwhile is told behind it


def test_a_second_copy_is_dropped() -> None:
    line = [(n * FRAME_NS + copy, packet(n)) for n in range(100) for copy in (0, 1)]
    heard, buffer = heard_on(line)
    assert bodies(heard) == list(range(100))
    assert buffer.late_packets == 0


def test_another_stream_begins_anew_without_a_gap() -> None:
    line = [(n * FRAME_NS, packet(n)) for n in range(50)]
    line += [(n * FRAME_NS, packet(n, source=2, first=7)) for n in range(50, 100)]
    heard, _ = heard_on(line)
    assert [item for _, item in heard] == [one for _, one in line]


def test_timestamps_that_jump_are_no_silence() -> None:
    line = [(n * FRAME_NS, packet(n)) for n in range(50)]
    line += [(n * FRAME_NS, _after_a_pause(packet(n), n + 5_000)) for n in range(50, 100)]
    heard, _ = heard_on(line)
    assert frames_of_time(heard) == 100


def test_silence_from_the_start_is_told() -> None:
    heard, _ = heard_on([], until_ns=PAUSE_NS + 9 * FRAME_NS)
    assert [item.duration for _, item in heard] == [FRAME] * 20


def test_what_waits_is_bounded() -> None:
    buffer: JitterBuffer[int] = JitterBuffer(HZ, 0)
    buffer.put(packet(0), 0)
    released = [item for n in range(2, 2 + MAX_HELD) for item in buffer.put(packet(n), 0)]
    assert len(released) == MAX_HELD + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_handed_straight_on_leaves_the_buffer_as_if_it_had_been_sorted_in(
    seed: int,
) -> None:
    """A line that is calm at times: lost, late, repeated packets, key presses, pauses, stalls."""
    rng = random.Random(seed)
    at_ns, frames, line = 0, 0, []
    for n in range(500):
        paused = rng.randrange(40) if rng.random() < 0.02 else 0
        stalled_ns = rng.randrange(500 * NS_PER_MS) if rng.random() < 0.02 else 0
        at_ns += FRAME_NS * (1 + paused) + stalled_ns
        frames += 1 + paused
        late_ns = rng.randrange(90 * NS_PER_MS) if rng.random() < 0.1 else 0
        copies = rng.choices((0, 1, 2), (3, 95, 2))[0]
        duration = 0 if rng.random() < 0.03 else FRAME
        one = packet(n, duration=duration)._replace(timestamp=frames * FRAME)
        line += [(at_ns + late_ns, one)] * copies
    straight: JitterBuffer[int] = JitterBuffer(HZ, 0)
    sorting: JitterBuffer[int] = JitterBuffer(HZ, 0)
    for at_ns, one in sorted(line, key=lambda arrival: arrival[0]):
        while straight.due_ns < at_ns:
            due_ns = straight.due_ns
            assert straight.expire(due_ns) == sorting.expire(due_ns)
        assert straight.put(one, at_ns) == sorting._sort_in(one, at_ns)
        assert sorted_state(straight) == sorted_state(sorting)


def sorted_state(buffer: JitterBuffer[int]) -> dict[str, object]:
    """All but what is measured of a packet before it is known whether there is to be sorted."""
    return {name: value for name, value in vars(buffer).items() if name not in MEASURED}
