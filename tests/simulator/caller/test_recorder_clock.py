"""When the recording began: by the pace of what left, not by a thread that had to wait."""

from collections.abc import Sequence
from pathlib import Path

from callerside.marks import Mark
from callerside.reports.evidence import DEPARTURES, TIMELINE, load_evidence
from callerside.simulator.caller.recorder import CallRecorder

FRAME_NS = 20_000_000
PCM = bytes(640)


def record(late_ms: Sequence[float]) -> CallRecorder:
    recorder = CallRecorder(16_000)
    for index, late in enumerate(late_ms):
        recorder.left(PCM, 10**12 + index * FRAME_NS + round(late * 1_000_000))
    return recorder


def test_a_first_frame_that_came_late_does_not_shift_the_recording() -> None:
    assert record([75, 55, 35, 15, 0, 3, 12]).started_at_ns == 10**12 - FRAME_NS


def test_punctual_frames_tell_the_start_at_once() -> None:
    assert record([0]).started_at_ns == 10**12 - FRAME_NS


def test_before_the_first_frame_nobody_knows() -> None:
    assert CallRecorder(16_000).started_at_ns is None


def test_a_packet_that_left_late_is_told_with_when_it_did(tmp_path: Path) -> None:
    recorder = record([0, 0, 35, 16, 0, 0.4])
    assert recorder.late_departures == {
        3 * 320: 10**12 + 2 * FRAME_NS + 35_000_000,
        4 * 320: 10**12 + 3 * FRAME_NS + 16_000_000,
    }
    recorder.save(tmp_path / "call.flac", departures=tmp_path / DEPARTURES)
    mark = Mark(
        at_ns=10**12 - FRAME_NS,
        source="caller",
        call="a",
        name="recording_started",
        fields={"sample_rate_hz": 16_000},
    )
    (tmp_path / TIMELINE).write_text(mark.to_json() + "\n")
    evidence = load_evidence(tmp_path)
    left_ns = [evidence.left_ns(packet * 320) for packet in range(6)]
    late_ms = [0, 0, 35, 16, 0, 0]
    assert left_ns == [10**12 + n * FRAME_NS + ms * 1_000_000 for n, ms in enumerate(late_ms)]
