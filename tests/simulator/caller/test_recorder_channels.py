"""The recording's two channels: equally long, on one clock, bounded."""

import json
from pathlib import Path

import numpy as np
import soundfile

from callerside.audio import to_bytes
from callerside.simulator.caller.recorder import CallRecorder

RATE_HZ = 16_000
FRAME_NS = 20_000_000


def frame(value: int) -> bytes:
    return to_bytes(np.full(320, value))


def test_mouth_is_left_and_ear_is_right(tmp_path: Path) -> None:
    recorder = CallRecorder(RATE_HZ)
    for n in range(3):
        recorder.left(frame(n + 1), (n + 1) * FRAME_NS)
        recorder.heard(frame(-n - 1), n * FRAME_NS)
    recorder.save(tmp_path / "call.flac", arrivals=tmp_path / "arrivals.jsonl")
    samples, rate_hz = soundfile.read(tmp_path / "call.flac", dtype="int16")
    assert rate_hz == RATE_HZ
    assert samples[10::320].tolist() == [[1, -1], [2, -2], [3, -3]]
    lines = (tmp_path / "arrivals.jsonl").read_text().splitlines()
    assert [json.loads(line)["at_ns"] for line in lines] == [0, FRAME_NS, 2 * FRAME_NS]


def test_a_hole_in_the_frames_is_a_hole_in_the_file() -> None:
    recorder = CallRecorder(RATE_HZ)
    recorder.left(frame(1), 0)
    recorder.left(frame(2), 100 * FRAME_NS)
    mouth, ear = recorder.channels()
    assert mouth == frame(1) + bytes(99 * 640) + frame(2)
    assert ear == bytes(len(mouth))


def test_a_frame_that_is_only_late_leaves_no_hole() -> None:
    recorder = CallRecorder(RATE_HZ)
    for at_ns in (0, 6 * FRAME_NS, 6 * FRAME_NS, 6 * FRAME_NS, 6 * FRAME_NS, 6 * FRAME_NS):
        recorder.left(frame(1), at_ns)
    assert recorder.samples == 6 * 320


def test_what_comes_before_the_first_frame_leaves_is_part_of_the_recording() -> None:
    recorder = CallRecorder(RATE_HZ)
    recorder.heard(frame(7), 10**9)
    recorder.left(frame(1), 10**9 + FRAME_NS * 7 // 4)
    recorder.left(frame(1), 10**9 + FRAME_NS * 11 // 4)
    mouth, ear = recorder.channels()
    assert recorder.started_at_ns == 10**9 - FRAME_NS // 4, "each frame begins where one can"
    assert mouth == bytes(640) + 2 * frame(1)
    assert ear[: 160 + 640] == bytes(160) + frame(7)


def test_what_leaves_has_been_said_just_before() -> None:
    recorder = CallRecorder(RATE_HZ)
    recorder.heard(frame(7), 10**9)
    recorder.left(frame(1), 10**9)
    assert recorder.started_at_ns == 10**9 - FRAME_NS
    assert recorder.channels() == (frame(1), bytes(640))


def test_the_bound_is_kept_and_told() -> None:
    recorder = CallRecorder(RATE_HZ, max_ms=50)
    for n in range(3):
        assert not recorder.truncated
        recorder.left(frame(1), n * FRAME_NS)
    assert recorder.truncated
    assert recorder.samples == RATE_HZ // 20


def test_what_comes_in_is_bounded_too() -> None:
    recorder = CallRecorder(RATE_HZ, max_ms=50)
    for n in range(3):
        assert not recorder.truncated
        recorder.heard(frame(1), n * FRAME_NS)
    assert recorder.truncated
    assert len(recorder.arrivals) == 2
