import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from callerside.agent.realtime.interface import (
    Event,
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeInput,
)
from callerside.agent.realtime.recorder import RecordedConnection, Room, StreamFile
from callerside.agent.realtime.requests import append, commit
from callerside.clock import NS_PER_MS
from callerside.fakes.recording.format import read_recording


class Connection:
    """A connection whose inputs a test tells."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.closed = False
        self.tell: Callable[[RealtimeInput], None]

    def start(self, on_input: Callable[[RealtimeInput], None]) -> None:
        self.tell = on_input

    def send(self, event: Event) -> None:
        self.sent.append(event)

    def append(self, audio: bytes) -> None:
        self.sent.append(append(audio))

    def close(self) -> None:
        self.closed = True


class Rig:
    def __init__(self, path: Path, most_bytes: int = 1_000_000) -> None:
        self.path = path
        self.may_record = True
        self.now_ns = 5_000_000_000
        self.inner = Connection()
        self.lost = 0
        self.room = Room(most_bytes)
        file = self.file(path)
        self.connection = RecordedConnection(self.inner, file, lambda: self.may_record)
        self.heard: list[RealtimeInput] = []
        self.connection.start(self.heard.append)

    def file(self, path: Path) -> StreamFile:
        return StreamFile(
            path,
            lambda: self.now_ns,
            model="gpt-realtime-2.1",
            dialect="ga",
            room=self.room,
            on_lost=self._count_lost,
        )

    def _count_lost(self) -> None:
        self.lost += 1

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "sub" / "call.realtime")


def test_it_is_what_the_fake_server_reads(rig: Rig) -> None:
    rig.inner.tell(RealtimeConnected())
    rig.now_ns += 100 * NS_PER_MS
    rig.inner.tell(RealtimeEvent(event={"type": "session.created", "session": {"id": "s"}}))
    rig.now_ns += 20 * NS_PER_MS
    rig.connection.append(b"\x01\x02")
    rig.inner.tell(RealtimeEvent(event={"type": "response.output_audio.delta", "delta": b"\x03"}))
    rig.connection.close()
    recording = read_recording(rig.path)
    assert (recording.header.model, recording.header.dialect) == ("gpt-realtime-2.1", "ga")
    assert recording.header.timed
    assert [(e.at_s, e.sender, e.type) for e in recording.entries] == [
        (0.1, "server", "session.created"),
        (0.12, "client", "input_audio_buffer.append"),
        (0.12, "server", "response.output_audio.delta"),
    ]
    assert recording.entries[1].event["audio"] == b"\x01\x02"
    assert recording.entries[2].event["delta"] == b"\x03"


def test_everything_passes_through_unchanged(rig: Rig) -> None:
    rig.connection.send(commit())
    rig.connection.append(b"\x01\x02")
    told = RealtimeEvent(event={"type": "x", "client_secret": "y"})
    rig.inner.tell(told)
    rig.connection.close()
    assert rig.inner.sent == [commit(), append(b"\x01\x02")]
    assert rig.heard == [told]
    assert rig.inner.closed


def test_it_ends_with_the_connection(rig: Rig) -> None:
    rig.inner.tell(RealtimeEvent(event={"type": "a"}))
    rig.inner.tell(RealtimeClosed(reason="lost", code=1006))
    rig.connection.send({"type": "b"})
    rig.connection.close()
    assert [line["event"]["type"] for line in rig.lines()[1:]] == ["a"]


def test_no_secrets_and_nobody_elses_eyes(rig: Rig) -> None:
    tools = [{"api_key": "sk-1"}, {"type": "mcp", "headers": {"X-Key": "sk-2"}}]
    session = {"client_secret": {"value": "ek_123"}, "tools": tools}
    rig.inner.tell(RealtimeEvent(event={"type": "session.created", "session": session}))
    rig.connection.close()
    text = rig.path.read_text()
    assert "ek_123" not in text
    assert "sk-" not in text
    assert stat.S_IMODE(rig.path.stat().st_mode) == 0o600


def test_a_disk_that_fails_costs_the_recording_and_not_the_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rig = Rig(tmp_path / "file" / "call.realtime")
    rig.connection.send({"type": "a"})
    rig.connection.close()
    assert rig.inner.sent == [{"type": "a"}]


def test_a_full_disk_is_noticed_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    file = rig.connection._file

    def full(_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(file, "_write", full)
    rig.connection.send({"type": "a"})
    rig.connection.send({"type": "b"})
    assert [event["type"] for event in rig.inner.sent] == ["a", "b"]
    assert file._file is None


def test_it_has_an_end_that_is_told_once_and_the_call_goes_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "call.realtime", most_bytes=2_000)
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            rig.inner.tell(RealtimeEvent(event={"type": "x", "text": "é" * 300}))
            rig.connection.send({"type": "y"})
        rig.connection.close()
    assert len(rig.heard) == len(rig.inner.sent) == 5
    assert 1_300 < rig.path.stat().st_size <= 2_000
    assert [line["event"]["type"] for line in rig.lines()[1:]] == ["x", "y"] * 2, "whole lines"
    assert rig.lost == 1
    assert [line["event"] for line in logged] == ["recording_failed"]
    assert "2000 bytes" in logged[0]["error"]
    assert "recordings.realtime_max_bytes" in logged[0]["error"]
    assert not rig.room.is_left


def test_what_one_session_takes_the_next_one_of_the_call_has_not(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "call.realtime", most_bytes=2_000)
    rig.connection.send({"type": "x", "text": "a" * 1_200})
    rig.connection.close()
    assert rig.room.is_left
    again = rig.file(tmp_path / "call-2.realtime")
    again.add("client", {"type": "x", "text": "a" * 1_200})
    again.close()
    assert rig.lost == 1
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000


def _deep(levels: int) -> dict[str, Any]:
    return {"deep": _deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "event", [{"type": "error", "message": "a\ud800b"}, {"type": "x", **_deep(900)}]
)
def test_an_event_that_is_hard_to_write_reaches_the_call(rig: Rig, event: dict[str, Any]) -> None:
    rig.inner.tell(RealtimeEvent(event=event))
    rig.inner.tell(RealtimeClosed(reason="over"))
    assert [type(told) for told in rig.heard] == [RealtimeEvent, RealtimeClosed]


def test_half_a_surrogate_pair_is_recorded_as_it_came(rig: Rig) -> None:
    rig.inner.tell(RealtimeEvent(event={"type": "error", "message": "a\ud800b"}))
    rig.connection.close()
    assert rig.lines()[1]["event"]["message"] == "a\ud800b"


def test_until_the_caller_knows_of_it_only_the_sessions_settings_are_recorded(rig: Rig) -> None:
    rig.may_record = False
    rig.connection.send({"type": "session.update", "session": {}})
    rig.connection.append(b"\x01\x02")
    rig.inner.tell(RealtimeEvent(event={"type": "response.output_audio.delta", "delta": b"\x03"}))
    rig.may_record = True
    rig.connection.append(b"\x05\x06")
    rig.connection.close()
    types = [line["event"]["type"] for line in rig.lines()[1:]]
    assert types == ["session.update", "input_audio_buffer.append"]
    assert len(rig.inner.sent) == 3, "the call goes on all the same"
