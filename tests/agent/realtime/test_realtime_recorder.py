import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callerside.agent.realtime.interface import (
    Event,
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeInput,
)
from callerside.agent.realtime.recorder import RecordedConnection, StreamFile
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
    def __init__(self, path: Path) -> None:
        self.path = path
        self.may_record = True
        self.now_ns = 5_000_000_000
        self.inner = Connection()
        file = StreamFile(path, lambda: self.now_ns, model="gpt-realtime-2.1", dialect="ga")
        self.connection = RecordedConnection(self.inner, file, lambda: self.may_record)
        self.heard: list[RealtimeInput] = []
        self.connection.start(self.heard.append)

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
