"""When the recording began, by the media clock and not by a thread that had to wait."""

from callerside.simulator.caller.recorder import CallRecorder

TICK_NS = 20_000_000
PCM = bytes(640)


def record(late_ms: list[int]) -> CallRecorder:
    recorder = CallRecorder(16_000)
    for index, late in enumerate(late_ms):
        recorder.tick(PCM, PCM, 10**12 + index * TICK_NS + late * 1_000_000)
    return recorder


def test_a_first_tick_that_came_late_does_not_shift_the_recording() -> None:
    assert record([75, 55, 35, 15, 0, 3, 12]).started_at_ns == 10**12


def test_punctual_ticks_tell_the_start_at_once() -> None:
    assert record([0]).started_at_ns == 10**12


def test_before_the_first_tick_nobody_knows() -> None:
    assert CallRecorder(16_000).started_at_ns is None
