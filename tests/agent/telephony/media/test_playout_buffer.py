"""The playout buffer: first in first out, bounded, counted, and safe between two threads."""

import random
import threading

import numpy as np
import pytest

from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.audio import to_bytes, to_samples


def ramp(count: int, start: int = 1) -> bytes:
    """PCM in which every sample tells its place."""
    return to_bytes(np.arange(start, start + count))


def test_a_frame_of_what_was_written_comes_out_in_order() -> None:
    buffer = PlayoutBuffer(100)
    buffer.write(ramp(3))
    buffer.write(ramp(3, start=4))
    assert buffer.read(4) == (ramp(4), ((0, 4),))
    assert len(buffer) == 2


def test_what_waits_can_be_looked_at_and_goes_on_waiting() -> None:
    buffer = PlayoutBuffer(100)
    assert buffer.peek(4) == b""
    for start in (1, 4, 7):
        buffer.write(ramp(3, start=start))
    buffer.read(2)
    assert buffer.peek(2) == ramp(1, start=3)
    assert buffer.peek(10) == ramp(5, start=3)
    assert buffer.peek(100) == ramp(7, start=3)
    assert buffer.read(7) == (ramp(7, start=3), ((0, 7),))


def test_a_frame_that_is_not_full_is_padded_and_says_so() -> None:
    buffer = PlayoutBuffer(100)
    buffer.write(ramp(3))
    pcm, played = buffer.read(5)
    assert played == ((0, 3),)
    assert to_samples(pcm).tolist() == [1, 2, 3, 0, 0]
    assert buffer.read(5) == (bytes(10), ())


def test_what_does_not_fit_is_dropped_from_the_end_and_counted() -> None:
    buffer = PlayoutBuffer(4)
    assert buffer.write(ramp(3)) == 0
    assert buffer.write(ramp(3, start=4)) == 2
    assert buffer.write(ramp(1)) == 1
    assert buffer.read(4) == (ramp(4), ((0, 4),))
    assert buffer.write(ramp(4)) == 0


def test_clear_drops_what_waits_and_tells_how_much() -> None:
    buffer = PlayoutBuffer(100)
    buffer.write(ramp(10))
    buffer.read(4)
    assert buffer.clear() == ((0, 6),)
    assert len(buffer) == 0
    assert buffer.clear() == ()
    assert buffer.read(2) == (bytes(4), ())


def test_a_tag_is_played_to_its_end_before_the_next_whatever_came_first() -> None:
    buffer = PlayoutBuffer(100)
    buffer.write(ramp(2), 7)
    buffer.write(ramp(3, start=11), 5)
    buffer.write(ramp(2, start=3), 7)
    assert buffer.read(5) == (ramp(4) + ramp(1, start=11), ((7, 4), (5, 1)))
    buffer.write(ramp(1, start=5), 7)
    assert buffer.peek(6) == ramp(2, start=12) + ramp(1, start=5)
    assert buffer.read(4) == (ramp(2, start=12) + ramp(1, start=5) + bytes(2), ((5, 2), (7, 1)))


def test_one_tag_is_cleared_and_the_others_stay() -> None:
    buffer = PlayoutBuffer(100)
    for tag in (1, 2, 3):
        buffer.write(ramp(6, start=10 * tag), tag)
    buffer.read(4)
    assert buffer.clear([2, 9]) == ((2, 6), (9, 0)), "what is named is told of, if nothing waits"
    assert len(buffer) == 8
    assert buffer.read(3) == (ramp(2, start=14) + ramp(1, start=30), ((1, 2), (3, 1)))
    assert buffer.clear([3]) == ((3, 5),)
    buffer.write(ramp(1), 3)
    assert buffer.read(1) == (ramp(1), ((3, 1),)), "from its beginning"


def test_a_tag_that_is_half_played_is_cleared_and_the_next_begins_at_its_beginning() -> None:
    buffer = PlayoutBuffer(100)
    buffer.write(ramp(6), 1)
    buffer.write(ramp(6, start=21), 2)
    buffer.read(4)
    assert buffer.clear({1}) == ((1, 2),)
    assert buffer.read(2) == (ramp(2, start=21), ((2, 2),))
    assert buffer.clear() == ((2, 4),)
    assert len(buffer) == 0


@pytest.mark.parametrize("seed", range(50))
def test_every_sample_is_played_or_dropped_once(seed: int) -> None:
    rng = random.Random(seed)
    buffer = PlayoutBuffer(500)
    written, told = dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 0)
    for _ in range(200):
        tag = rng.randrange(4)
        count = rng.randrange(1, 60)
        move = rng.random()
        if move < 0.5:
            written[tag] += count - buffer.write(ramp(count), tag)
            continue
        if move < 0.6:
            gone = buffer.clear(rng.choice([None, [tag], [tag, 3 - tag]]))
        else:
            _, gone = buffer.read(count)
        for one, samples in gone:
            told[one] += samples
        assert len(buffer) == sum(written.values()) - sum(told.values())
    for one, samples in buffer.clear():
        told[one] += samples
    assert told == written


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="middle of a sample"):
        PlayoutBuffer(100).write(b"abc")


@pytest.mark.parametrize("bound", [0, -1])
def test_a_buffer_must_hold_something(bound: int) -> None:
    with pytest.raises(ValueError, match="max_samples"):
        PlayoutBuffer(bound)


def test_two_threads_lose_and_repeat_no_sample() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    rng = random.Random(seed)
    total = 30_000
    buffer = PlayoutBuffer(total)
    heard: list[int] = []

    def read() -> None:
        while len(heard) < total:
            pcm, played = buffer.read(160)
            heard.extend(to_samples(pcm)[: sum(count for _, count in played)].tolist())

    reader = threading.Thread(target=read)
    reader.start()
    written = 0
    while written < total:
        count = min(rng.randrange(1, 700), total - written)
        assert buffer.write(ramp(count, start=written)) == 0
        written += count
    reader.join(timeout=30)
    assert heard == list(range(total))


def test_minutes_of_audio_cost_no_more_per_frame_than_seconds() -> None:
    """Reading a frame out of one large chunk must not copy the chunk."""
    buffer = PlayoutBuffer(24_000 * 600)
    buffer.write(bytes(2 * 24_000 * 600))
    reads = 0
    while len(buffer):
        buffer.read(480)
        reads += 1
    assert reads == 600 * 50  # 30,000 copies of 29 MB would not end within the test's time limit
