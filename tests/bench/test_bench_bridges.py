"""What the design bought: audio through files that are polled, beside audio in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
from bridges import FRAME_BYTES, FRAME_MS, RATE_HZ, Append, Bridge, FileBridge, FrameBridge

LISTEN_MS = 3_000
DELTA_MS = 255
DELTAS = 12
PACE = 12
"""Deltas come so much faster than they are spoken, as recorded sessions do."""
PHASES_MS = (3, 28, 53, 78)
"""When an answer begins, against the clocks of 20 and of 100 ms."""
LOUD = np.full(RATE_HZ * DELTA_MS // 1000, 1000, "<i2").tobytes()


@dataclass
class Carried:
    """How a bridge carried one turn."""

    uplink_ms: float
    """Of the caller's audio, until it was appended: mean over all frames."""
    uplink_worst_ms: float
    downlink_ms: float
    """From the first delta to its first frame."""
    gap_ms: float
    """The longest silence inside the answer."""


def carry(make: Callable[[Append], Bridge]) -> Carried:
    """A turn at each of some phases against the clocks: means, and the worst of what is worst."""
    turns = [_turn(make, phase_ms) for phase_ms in PHASES_MS]
    return Carried(
        uplink_ms=mean(turn.uplink_ms for turn in turns),
        uplink_worst_ms=max(turn.uplink_worst_ms for turn in turns),
        downlink_ms=mean(turn.downlink_ms for turn in turns),
        gap_ms=max(turn.gap_ms for turn in turns),
    )


def _turn(make: Callable[[Append], Bridge], phase_ms: int) -> Carried:
    """The caller speaks for three seconds, and an answer of three seconds comes."""
    appended: list[tuple[int, int]] = []
    now_ms = 0
    bridge = make(lambda pcm: appended.append((now_ms, len(pcm))))
    spoken: list[int] = []
    heard: list[tuple[int, bool]] = []
    answer_ms = LISTEN_MS + phase_ms
    arrivals = [answer_ms + round(n * DELTA_MS / PACE) for n in range(DELTAS)]
    for now_ms in range(answer_ms + DELTAS * DELTA_MS * 2):
        if now_ms % FRAME_MS == 0:
            frame = bridge.frame(LOUD[:FRAME_BYTES])
            spoken.append(now_ms)
            heard.append((now_ms, any(frame)))
        for _ in range(arrivals.count(now_ms)):
            bridge.delta(LOUD)
        bridge.poll(now_ms)
    bridge.close()
    return _carried(appended, spoken, heard, answer_ms)


def _carried(
    appended: list[tuple[int, int]],
    spoken: list[int],
    heard: list[tuple[int, bool]],
    answer_ms: int,
) -> Carried:
    late = []
    total = 0
    for at_ms, size in appended:
        frames = range(total // FRAME_BYTES, (total + size) // FRAME_BYTES)
        late += [at_ms - spoken[frame] for frame in frames]
        total += size
    loud = [at_ms for at_ms, is_loud in heard if is_loud]
    gaps = [b - a - FRAME_MS for a, b in pairwise(loud)]
    return Carried(
        uplink_ms=sum(late) / len(late),
        uplink_worst_ms=max(late),
        downlink_ms=loud[0] - answer_ms,
        gap_ms=max(gaps),
    )


@pytest.mark.parametrize("way", ["frames", "files"])
def test_bench_a_turn_through_a_bridge(way: str, benchmark: Any, tmp_path: Path) -> None:
    rounds = iter(range(10_000))

    def make(append: Append) -> Bridge:
        if way == "frames":
            return FrameBridge(append)
        folder = tmp_path / str(next(rounds))
        folder.mkdir()
        return FileBridge(append, folder)

    carried = benchmark.pedantic(carry, args=(make,), rounds=3)
    benchmark.extra_info.update(vars(carried))
    if way == "frames":
        assert (carried.uplink_worst_ms, carried.gap_ms) == (0, 0)
        assert carried.downlink_ms <= FRAME_MS
    else:
        assert 30 <= carried.uplink_ms <= 100
        assert carried.gap_ms >= FRAME_MS
