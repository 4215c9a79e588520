"""A recording that callers are told of: begun when they have heard so, in sound and in events."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from agent_rig import Agent, fake_realtime, until
from raw_sip import RawPhone

from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.fakes.recording.format import read_recording

pytestmark = pytest.mark.e2e


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with fake_realtime(tmp_path) as url:
        recordings = {
            "dir": str(tmp_path / "recordings"),
            "announcement_instructions": "Say that this call is recorded.",
        }
        settings = {"realtime": {"url": url}, "recordings": recordings}
        agent = Agent(tmp_path, {**settings, "greeting": {"warm_at_start": True}})
        yield agent
        agent.close()


def marks_ns(folder: Path) -> dict[str, int]:
    """Of the one call: when each mark was last."""
    (path,) = (folder / "timelines").iterdir()
    told: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return {mark["name"]: mark["at_ns"] for mark in told}


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "recordings").iterdir())


def call(agent: Agent, length_s: float) -> None:
    """One that is hung up so long after its answer, and has its record."""
    before = len(agent.records())
    with RawPhone(int(agent.addresses[0].rpartition(":")[2])) as caller:
        assert caller.call(caller.sdp()).status == 200
        caller.packets(length_s)
        assert caller.request("BYE") == 200
    until(lambda: len(agent.records()) > before, "the record")


def test_it_begins_behind_the_announcement(agent: Agent, tmp_path: Path) -> None:
    def is_made() -> bool:
        return any(line["what"] == "announcement" for line in agent.logged("prompt_ready"))

    until(is_made, "the announcement")
    (made,) = [one for one in agent.logged("prompt_ready") if one["what"] == "announcement"]

    call(agent, 0.5)
    (events,) = kept(tmp_path)
    assert events.suffix == ".realtime", "of its sound there is nothing"
    types = {entry.type for entry in read_recording(events).entries}
    assert {one.partition(".")[0] for one in types} == {"session"}
    for path in (events, *(tmp_path / "timelines").iterdir()):
        path.unlink()

    call(agent, made["made_ms"] / 1000 + 2.5)
    at_ns = marks_ns(tmp_path)
    late_ns = at_ns["recording_started"] - at_ns["prompt_ended"]
    assert 0 <= late_ns <= 100 * NS_PER_MS
    events, sound = kept(tmp_path)
    info = soundfile.info(sound)
    recorded_s = (at_ns["call_ended"] - at_ns["recording_started"]) / NS_PER_S
    assert info.duration == pytest.approx(recorded_s, abs=0.2)
    assert types < {entry.type for entry in read_recording(events).entries}


def test_a_call_that_cannot_be_told_is_not_recorded(tmp_path: Path) -> None:
    """As it is not cached, and the API is not there to make it."""
    recordings = {"dir": str(tmp_path / "recordings"), "announcement_instructions": "Say it."}
    realtime = {"url": "ws://127.0.0.1:1"}
    agent = Agent(tmp_path, {"realtime": realtime, "recordings": recordings})
    try:
        call(agent, 0.5)
    finally:
        agent.close()
    assert "recording_withheld" in marks_ns(tmp_path)
    assert [path.suffix for path in kept(tmp_path)] == [".realtime"] * len(kept(tmp_path))
    for path in kept(tmp_path):
        assert read_recording(path).entries == ()
