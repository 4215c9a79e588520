import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pytest
import soundfile

from callerside.agent.observe.call_recording import (
    CallRecordingError,
    RecordingLeg,
    StereoWavWriter,
    finish_recording,
)
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    DtmfMethod,
    FramePlayed,
    HungUp,
    LegInput,
    PlayoutCleared,
    PlayoutOverflowed,
)
from callerside.agent.telephony.media.jitter_buffer import Gap, JitterBuffer, Packet
from callerside.audio import Samples, to_bytes
from callerside.clock import NS_PER_MS
from callerside.marks import Mark

RATE_HZ = 8000
FRAME = 160
FRAME_NS = 20 * NS_PER_MS
START_NS = 7_000_000_000


class Leg:
    """A leg whose inputs a test tells."""

    sample_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []
        self.tell: Callable[[LegInput], None]

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        self.tell = on_input

    def answer(self, status: int = 200) -> None:
        self.done.append(("answer", status))

    def play(self, pcm: bytes, tag: int = 0) -> None:
        self.done.append(("play", len(pcm)))

    def clear(self, tags: Collection[int] | None = None) -> None:
        self.done.append(("clear",))

    def hang_up(self, status: int = 200) -> None:
        self.done.append(("hang_up", status))

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        self.done.append(("send_dtmf", digits, method))

    def consult(self, uri: str) -> CallLeg:
        raise NotImplementedError

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        self.done.append(("transfer", uri))


class Rig:
    """A leg that is recorded, and its media clock."""

    def __init__(self, folder: Path, *, is_announced: bool = False) -> None:
        self.path = folder / "sub" / "call.wav"
        self.inner = Leg()
        self.marks: list[Mark] = []
        self.heard: list[LegInput] = []
        self.leg = RecordingLeg(
            self.inner,
            StereoWavWriter(self.path, RATE_HZ),
            self.marks.append,
            call="c",
            is_announced=is_announced,
        )
        self.leg.start(self.heard.append)
        self.now_ns = START_NS

    def tick(self, caller: int, played: int = 0, tag: int = 0) -> None:
        """20 ms in which the caller sounds like `caller`, and so many samples are played."""
        self.inner.tell(FramePlayed(played=((tag, played),), at_ns=self.now_ns))
        self.inner.tell(AudioReceived(pcm=constant(caller, FRAME), at_ns=self.now_ns))
        self.now_ns += 20 * NS_PER_MS

    def hang_up(self) -> tuple[Samples, Samples]:
        self.inner.tell(HungUp(by="caller", status=200, reason=""))
        data, rate_hz = soundfile.read(self.path, dtype="int16")
        assert rate_hz == RATE_HZ
        return data[:, 0], data[:, 1]


def constant(value: int, count: int) -> bytes:
    return to_bytes(np.full(count, value))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def runs(samples: Samples) -> list[tuple[int, int]]:
    """The channel as (value, how many samples of it in a row)."""
    edges = np.flatnonzero(np.diff(samples)) + 1
    return [(int(part[0]), len(part)) for part in np.split(samples, edges) if len(part)]


def test_both_sides_on_one_clock(rig: Rig) -> None:
    rig.leg.play(constant(500, 200))
    rig.tick(1)
    rig.tick(2, played=160)
    rig.tick(3, played=40)
    left, right = rig.hang_up()
    assert runs(left) == [(1, 160), (2, 160), (3, 160)]
    assert runs(right) == [(0, 160), (500, 200), (0, 120)]
    (mark,) = rig.marks
    assert (mark.name, mark.at_ns, mark.call) == ("recording_started", START_NS, "c")
    assert mark.fields == {"sample_rate_hz": RATE_HZ}


def test_what_was_cleared_was_never_played(rig: Rig) -> None:
    rig.leg.play(constant(500, 320))
    rig.tick(1, played=160)
    rig.leg.clear()
    rig.leg.play(constant(900, 160))
    rig.inner.tell(PlayoutCleared(dropped=((0, 160),)))
    rig.tick(1, played=160)
    _, right = rig.hang_up()
    assert runs(right) == [(500, 160), (900, 160)]


def test_what_was_cleared_of_one_tag_leaves_the_others(rig: Rig) -> None:
    for tag, value in ((1, 500), (2, 600), (3, 700)):
        rig.leg.play(constant(value, 320), tag)
    rig.tick(1, played=160, tag=1)
    rig.leg.clear([2])
    rig.inner.tell(PlayoutCleared(dropped=((2, 320),)))
    for tag in (1, 3, 3):
        rig.tick(1, played=160, tag=tag)
    _, right = rig.hang_up()
    assert runs(right) == [(500, 320), (700, 320)]


def test_what_did_not_fit_was_never_played(rig: Rig) -> None:
    rig.leg.play(constant(500, 160))
    rig.leg.play(constant(600, 320))
    rig.inner.tell(PlayoutOverflowed(tag=0, dropped_samples=160))
    for played in (160, 160, 0):
        rig.tick(1, played=played)
    _, right = rig.hang_up()
    assert runs(right) == [(500, 160), (600, 160), (0, 160)]


def test_time_without_media_is_silence_on_both_sides(rig: Rig) -> None:
    rig.tick(1)
    rig.now_ns += 1000 * NS_PER_MS
    rig.leg.play(constant(500, 160))
    rig.tick(2, played=160)
    left, right = rig.hang_up()
    assert runs(left) == [(1, 160), (0, 8000), (2, 160)]
    assert runs(right) == [(0, 8160), (500, 160)]


def test_a_late_tick_is_no_hole_where_all_that_was_held_back_follows(rig: Rig) -> None:
    rig.tick(1)
    rig.now_ns += 100 * NS_PER_MS
    late_ns = rig.now_ns
    for value in range(2, 10):
        rig.now_ns = max(late_ns, START_NS + (value - 1) * FRAME_NS)
        rig.tick(value)
    left, _ = rig.hang_up()
    assert runs(left) == [(value, 160) for value in range(1, 10)]


def test_what_the_pacer_left_out_is_silence(rig: Rig) -> None:
    rig.leg.play(constant(500, 160))
    rig.leg.play(constant(600, 160))
    rig.tick(1, played=160)
    rig.now_ns += 140 * NS_PER_MS
    rig.tick(1, played=160)
    for _ in range(60):
        rig.tick(1)
    _, right = rig.hang_up()
    assert runs(right)[:3] == [(500, 160), (0, 7 * FRAME), (600, 160)]


class Line:
    """A caller who is on `frames` packets' time, n of which sounds like n + 1, behind a network."""

    def __init__(self, rig: Rig, frames: int) -> None:
        self._rig = rig
        self._frames = frames
        self._buffer: JitterBuffer[bytes] = JitterBuffer(RATE_HZ, START_NS)

    def call(self, arrival_ms: Callable[[int], int | None]) -> Samples:
        """Play it, each packet coming when it is told (None: never); returns what was recorded."""
        arrivals = [(n, arrival_ms(n)) for n in range(self._frames)]
        packets = sorted((ms * NS_PER_MS + START_NS, n) for n, ms in arrivals if ms is not None)
        due = {n: START_NS + n * FRAME_NS for n in range(self._frames)}
        for now_ns in range(START_NS, START_NS + (self._frames + 1) * FRAME_NS, NS_PER_MS):
            if now_ns in due.values():
                self._rig.inner.tell(FramePlayed(played=(), at_ns=now_ns))
            while packets and packets[0][0] <= now_ns:
                _, n = packets.pop(0)
                packet = Packet(1, n, n * FRAME, FRAME, constant(n + 1, FRAME))
                self._hear(self._buffer.put(packet, now_ns), now_ns)
            while self._buffer.due_ns <= now_ns:
                self._hear(self._buffer.expire(now_ns), now_ns)
        return self._rig.hang_up()[0]

    def _hear(self, released: list[Packet[bytes] | Gap], now_ns: int) -> None:
        for item in released:
            if isinstance(item, Packet):
                self._rig.inner.tell(AudioReceived(pcm=item.body, at_ns=now_ns))
            else:
                for _ in range(item.duration // FRAME):
                    self._rig.inner.tell(AudioReceived(pcm=constant(0, FRAME), at_ns=now_ns))


@pytest.mark.parametrize("stall_ms", [100, 200, 240, 280, 300, 340, 500, 900])
def test_a_stall_costs_the_recording_neither_time_nor_sound(rig: Rig, stall_ms: int) -> None:
    def arrival_ms(n: int) -> int:
        return max(20 * n, 2000 + stall_ms) if 2000 <= 20 * n < 2000 + stall_ms else 20 * n

    left = Line(rig, 250).call(arrival_ms)
    assert runs(left)[:250] == [(n + 1, FRAME) for n in range(250)]


@pytest.mark.parametrize("lost", [1, 5, 12, 15, 20, 40])
def test_what_is_lost_is_silence_of_its_length(rig: Rig, lost: int) -> None:
    left = Line(rig, 250).call(lambda n: None if 100 <= n < 100 + lost else 20 * n)
    heard = [(n + 1, FRAME) for n in range(250) if not 100 <= n < 100 + lost]
    assert runs(left)[:101] == [*heard[:100], (0, lost * FRAME)]
    assert runs(left)[101 : 251 - lost] == heard[100:]


def test_the_file_has_its_name_only_when_it_is_whole(rig: Rig) -> None:
    for _ in range(120):
        rig.tick(5)
    part = rig.path.with_name("call.wav.part")
    assert part.exists()
    assert not rig.path.exists()
    left, _ = rig.hang_up()
    assert len(left) == 120 * FRAME
    assert not part.exists()


def test_the_callers_voice_is_nobody_elses(rig: Rig) -> None:
    """Whatever other users of the host may read by default; from the first sample on."""
    part = rig.path.with_name(f"{rig.path.name}.part")
    assert part.stat().st_mode & 0o777 == 0o600
    assert rig.path.parent.stat().st_mode & 0o077 == 0
    rig.hang_up()
    assert rig.path.stat().st_mode & 0o777 == 0o600


def test_a_call_without_media_leaves_an_empty_recording(rig: Rig) -> None:
    left, _ = rig.hang_up()
    assert len(left) == 0
    assert rig.marks == []


def test_nothing_is_kept_from_the_call_or_the_leg(rig: Rig) -> None:
    rig.leg.answer(183)
    rig.leg.play(b"\0\0")
    rig.leg.clear()
    rig.leg.send_dtmf("12", "info")
    rig.leg.transfer("sip:x")
    rig.leg.hang_up(486)
    assert rig.inner.done == [
        ("answer", 183),
        ("play", 2),
        ("clear",),
        ("send_dtmf", "12", "info"),
        ("transfer", "sip:x"),
        ("hang_up", 486),
    ]
    rig.tick(1)
    rig.inner.tell(HungUp(by="caller", status=200, reason=""))
    assert [type(told) for told in rig.heard] == [FramePlayed, AudioReceived, HungUp]


def test_a_disk_that_fails_costs_the_recording_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: StereoWavWriter, pcm: bytes) -> None:
        raise CallRecordingError("no space left")

    monkeypatch.setattr(StereoWavWriter, "add_left", fail)
    rig = Rig(tmp_path)
    for _ in range(100):
        rig.tick(1)
    assert len(rig.heard) == 200
    assert rig.leg._writer is None
    for _ in range(10):
        rig.leg.play(b"\0\0" * 100)
    assert not rig.leg._queues, "it would only grow"


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CallRecordingError, match=r"call\.wav: cannot be written"):
        StereoWavWriter(tmp_path / "file" / "call.wav", RATE_HZ)


def test_of_what_came_before_the_announcements_end_nothing_is_recorded(tmp_path: Path) -> None:
    rig = Rig(tmp_path, is_announced=True)
    rig.leg.play(constant(7, 3 * FRAME), 1)
    rig.leg.play(constant(9, 2 * FRAME), 2)
    for tag in (1, 1, 1):
        rig.tick(1, FRAME, tag)
    rig.leg.begin()
    for _ in range(2):
        rig.tick(2, FRAME, 2)
    caller, agent = rig.hang_up()
    assert runs(caller) == [(2, 2 * FRAME)]
    assert runs(agent) == [(9, 2 * FRAME)]
    (started,) = rig.marks
    assert (started.name, started.at_ns) == ("recording_started", START_NS + 60 * NS_PER_MS)


def test_who_hangs_up_before_its_end_leaves_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, is_announced=True)
    for _ in range(100):
        rig.tick(1)
    rig.inner.tell(HungUp(by="caller", status=200, reason=""))
    assert list(rig.path.parent.iterdir()) == []
    assert rig.marks == []


KILLED = """
import os, sys
from pathlib import Path
from callerside.agent.observe.call_recording import StereoWavWriter
writer = StereoWavWriter(Path(sys.argv[1]), 8_000)
writer.add_left(bytes(2 * int(sys.argv[2])))
writer.add_right(bytes(2 * int(sys.argv[2])))
os.kill(os.getpid(), 9)
"""


def begun(folder: Path, samples: int) -> Path:
    """A recording of a process that was killed."""
    path = folder / "100-0123456789ab.wav"
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(samples)], check=False)
    return path.with_name(f"{path.name}.part")


def test_what_a_killed_process_has_recorded_is_finished(tmp_path: Path) -> None:
    part = begun(tmp_path, 8_000 * 3)
    with part.open("ab") as file:
        file.write(b"\0")  # half a sample
    assert finish_recording(part) == 3_000
    assert not part.exists()
    made = soundfile.info(part.with_suffix(""))
    assert (made.frames, made.samplerate, made.channels) == (8_000 * 3, 8_000, 2)
    assert part.with_suffix("").stat().st_mode & 0o777 == 0o600


def test_of_one_that_had_not_begun_nothing_is_left(tmp_path: Path) -> None:
    assert finish_recording(begun(tmp_path, 10)) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_recording_of_a_call_that_is_up_is_left_alone(tmp_path: Path) -> None:
    writer = StereoWavWriter(tmp_path / "a.wav", 8_000)
    assert finish_recording(tmp_path / "a.wav.part") is None
    writer.close()
    assert [one.name for one in tmp_path.iterdir()] == ["a.wav"]


def test_what_is_no_recording_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "a.wav.part"
    other.write_bytes(b"x" * 100)
    assert finish_recording(other) is None
    assert finish_recording(tmp_path / "b.wav.part") is None
    assert other.read_bytes() == b"x" * 100
