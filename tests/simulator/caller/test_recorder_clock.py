"""When the recording began: by the pace of what left, not by a thread that had to wait."""

from callerside.simulator.caller.recorder import CallRecorder

FRAME_NS = 20_000_000
PCM = bytes(640)


def record(late_ms: list[int]) -> CallRecorder:
    recorder = CallRecorder(16_000)
    for index, late in enumerate(late_ms):
        recorder.left(PCM, 10**12 + index * FRAME_NS + late * 1_000_000)
    return recorder


def test_a_first_frame_that_came_late_does_not_shift_the_recording() -> None:
    assert record([75, 55, 35, 15, 0, 3, 12]).started_at_ns == 10**12 - FRAME_NS


def test_punctual_frames_tell_the_start_at_once() -> None:
    assert record([0]).started_at_ns == 10**12 - FRAME_NS


def test_before_the_first_frame_nobody_knows() -> None:
    assert CallRecorder(16_000).started_at_ns is None
