"""The recording's two channels: equally long, on one clock, bounded."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from callerside.audio import to_bytes
from callerside.simulator.caller.recorder import CallRecorder

RATE_HZ = 16_000
TICK_NS = 20_000_000


def frame(value: int) -> bytes:
    return to_bytes(np.full(320, value))


def test_mouth_is_left_and_ear_is_right(tmp_path: Path) -> None:
    recorder = CallRecorder(RATE_HZ)
    for n in range(3):
        recorder.tick(frame(n + 1), frame(-n - 1), n * TICK_NS)
    recorder.save(tmp_path / "call.wav")
    samples, rate_hz = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert rate_hz == RATE_HZ
    assert samples[::320].tolist() == [[1, -1], [2, -2], [3, -3]]


def test_a_hole_in_the_ticks_is_a_hole_in_the_file() -> None:
    recorder = CallRecorder(RATE_HZ)
    recorder.tick(frame(1), frame(1), 0)
    recorder.tick(frame(2), frame(2), 100 * TICK_NS)
    mouth, ear = recorder.channels()
    assert mouth == ear == frame(1) + bytes(99 * 640) + frame(2)


def test_a_tick_that_is_only_late_leaves_no_hole() -> None:
    recorder = CallRecorder(RATE_HZ)
    for at_ns in (0, 6 * TICK_NS, 6 * TICK_NS, 6 * TICK_NS, 6 * TICK_NS, 6 * TICK_NS):
        recorder.tick(frame(1), frame(1), at_ns)
    assert recorder.samples == 6 * 320


def test_the_bound_is_kept_and_told() -> None:
    recorder = CallRecorder(RATE_HZ, max_ms=50)
    for n in range(3):
        assert not recorder.truncated
        recorder.tick(frame(1), frame(1), n * TICK_NS)
    assert recorder.truncated
    assert recorder.samples == RATE_HZ // 20


def test_a_tick_has_two_equal_halves() -> None:
    with pytest.raises(ValueError, match="640 and 2 bytes"):
        CallRecorder(RATE_HZ).tick(frame(1), b"ab", 0)
