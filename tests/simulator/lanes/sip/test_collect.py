"""What the processes wrote about a call, brought into one directory."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from callerside.marks import Mark
from callerside.simulator.lanes.sip.closed_files import ClosedFiles
from callerside.simulator.lanes.sip.collect import CALLER_TIMELINE, collect, notices_vanished_s
from callerside.timelines import read_timeline


def mark(at_ms: int, name: str, **fields: Any) -> Mark:
    return Mark(at_ns=at_ms * 1_000_000, source="caller", call="x", name=name, fields=fields)


LAST_WORDS_S = 15
"""`limits.farewell_ms`."""


def written(directory: Path, *marks: Mark) -> None:
    lines = "".join(one.to_json() + "\n" for one in marks)
    (directory / CALLER_TIMELINE).write_text(lines)


def test_what_befell_packets_is_told_last_and_put_where_it_belongs(tmp_path: Path) -> None:
    struck = [mark(100 + n, "impairment_applied", what="loss") for n in range(200)]
    ended = mark(5000, "scenario_ended", verdict="passed", detail="")
    written(tmp_path, mark(0, "call_dialed", uri="sip:x"), ended, *struck)
    assert collect("x", tmp_path, None) == []
    timeline = read_timeline(tmp_path / "timeline.jsonl")
    assert [one.at_ns for one in timeline] == sorted(one.at_ns for one in timeline)
    assert timeline[-1].name == "scenario_ended"
    assert not (tmp_path / CALLER_TIMELINE).exists()


def test_a_caller_that_came_to_no_end_is_missed(tmp_path: Path) -> None:
    written(tmp_path, mark(0, "call_dialed", uri="sip:x"))
    assert collect("x", tmp_path, None) == ["the caller's timeline has no scenario_ended mark"]


def test_what_a_server_tells_late_of_a_connection_that_came_to_nothing(tmp_path: Path) -> None:
    """The agent gave up while it connected: the server may hear of that last of all."""
    written(tmp_path, mark(0, "call_dialed", uri="sip:x"), mark(9, "scenario_ended"))
    for name in ("agent", "realtime"):
        (tmp_path / name).mkdir()
    trying = [mark(1, "realtime_connecting", attempt=1), mark(9, "call_ended")]
    lines = "".join(one.to_json() + "\n" for one in trying)
    (tmp_path / "agent" / "x-1.jsonl").write_text(lines)
    told = mark(10, "session_closed", code=1006).to_json() + "\n"
    server, closed = tmp_path / "realtime" / "x.realtime.jsonl", ClosedFiles()

    def end() -> None:
        server.write_text(told)
        closed.take(f"closed {server}")

    later = threading.Timer(0.2, end)
    later.start()
    assert collect("x", tmp_path, tmp_path, closed=closed) == []
    later.join()
    assert read_timeline(tmp_path / "timeline.jsonl")[-1].name == "session_closed"


def test_when_the_run_ends_nobody_waits_for_who_has_not_noticed_a_caller_that_vanished(
    tmp_path: Path,
) -> None:
    """The agent notices after half a minute; a run that was interrupted is not to last so long."""
    vanished = mark(8, "hang_up_sent", how="vanish")
    written(tmp_path, mark(0, "call_dialed", uri="sip:x"), vanished, mark(9, "scenario_ended"))
    closed, missing = ClosedFiles(), list[str]()
    waiting = threading.Thread(
        target=lambda: missing.extend(collect("x", tmp_path, tmp_path, closed=closed)), daemon=True
    )
    waiting.start()
    threading.Timer(0.2, closed.end).start()
    waiting.join(20)
    assert missing == ["the agent's timeline has no call_ended mark"]


@pytest.mark.parametrize(
    ("limits", "at_least_s"),
    [({}, 60), ({"silence_ms": 5_000}, 60), ({"silence_ms": 90_000}, 90),
     ({"silence_ms": 0, "call_ms": 120_000}, 120)],
)  # fmt: skip
def test_the_agent_has_as_long_to_notice_as_its_own_limits_say(
    limits: dict[str, int], at_least_s: int
) -> None:
    assert notices_vanished_s({"limits": limits}) > at_least_s + LAST_WORDS_S


def timeline(path: Path, *marks: Mark) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(one.to_json() + "\n" for one in marks))


CONNECTED, ENDED = mark(1, "realtime_connected"), mark(9, "call_ended")
CLOSED = mark(10, "session_closed", code=1000)


def test_a_timeline_is_read_again_when_it_is_announced_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for what is announced of other calls, nor again and again meanwhile."""
    written(tmp_path, mark(0, "call_dialed", uri="sip:x"), mark(9, "scenario_ended"))
    agent, server = tmp_path / "agent" / "x-1.jsonl", tmp_path / "realtime" / "x.realtime.jsonl"
    timeline(agent, CONNECTED)
    timeline(server)
    read: list[str] = []

    def count(path: Path) -> list[Mark]:
        read.append(path.name)
        return read_timeline(path)

    monkeypatch.setattr("callerside.simulator.lanes.sip.collect.read_timeline", count)
    closed = ClosedFiles()

    def end() -> None:
        for n in range(20):
            closed.take(f"closed {tmp_path}/agent/x-{n}-1.jsonl")  # of the call x-n
            time.sleep(0.01)
        timeline(agent, CONNECTED, ENDED)
        closed.take(f"closed {agent}")
        time.sleep(0.2)
        timeline(server, CLOSED)
        closed.take(f"closed {server}")

    later = threading.Thread(target=end)
    later.start()
    assert collect("x", tmp_path, tmp_path, closed=closed) == []
    later.join()
    assert read == ["caller.jsonl", agent.name, agent.name, server.name, server.name]
    names = {one.name for one in read_timeline(tmp_path / "timeline.jsonl")}
    assert {"call_ended", "session_closed"} <= names


def test_what_was_announced_before_it_is_asked_for_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_to_be_over(tmp_path, tmp_path)
    read: list[str] = []

    def count(path: Path) -> list[Mark]:
        read.append(path.name)
        return read_timeline(path)

    monkeypatch.setattr("callerside.simulator.lanes.sip.collect.read_timeline", count)
    assert collect("x", tmp_path, tmp_path) == []
    assert read == ["caller.jsonl", "x-1.jsonl", "x.realtime.jsonl"]


def test_nobody_that_announces_is_waited_for_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that do not know how: what they have written when time is up is what there is."""
    monkeypatch.setattr("callerside.simulator.lanes.sip.collect.EVIDENCE_TIMEOUT_S", 0.3)
    written(tmp_path, mark(0, "call_dialed", uri="sip:x"), mark(9, "scenario_ended"))
    agent, server = tmp_path / "agent" / "x-1.jsonl", tmp_path / "realtime" / "x.realtime.jsonl"
    timeline(agent, CONNECTED)
    later = threading.Timer(0.1, timeline, [agent, CONNECTED, ENDED])
    later.start()
    assert collect("x", tmp_path, tmp_path) == ["the server's timeline has no session_closed mark"]
    later.join()
    assert not server.exists()


def test_the_newest_announcements_are_kept_and_others_forgotten() -> None:
    closed = ClosedFiles()
    for n in range(5000):
        closed.take(f"closed /tmp/{n}.jsonl")
    closed.take("ready sip:127.0.0.1:5060")
    assert closed.count == 5000
    assert closed.wait(4999, lambda name: name == "4999.jsonl", 0)
    assert not closed.wait(5000, lambda _: True, 0)
    assert not closed.wait(4999, lambda name: name == "4998.jsonl", 0)


def told_to_be_over(directory: Path, work: Path) -> None:
    """All timelines of call x, whose server's session is over."""
    written(directory, mark(0, "call_dialed", uri="sip:x"), mark(9, "scenario_ended"))
    for name, marks in (
        ("agent/x-1.jsonl", [mark(1, "realtime_connected"), mark(9, "call_ended")]),
        ("realtime/x.realtime.jsonl", [mark(8, "session_closed", code=1000)]),
    ):
        (work / name).parent.mkdir()
        (work / name).write_text("".join(one.to_json() + "\n" for one in marks))


def sound(path: Path, *samples: int) -> None:
    soundfile.write(path, np.array(samples, np.int16), 24_000, subtype="PCM_16", format="WAV")


def test_sessions_that_followed_one_another_make_one_recording(tmp_path: Path) -> None:
    told_to_be_over(tmp_path, tmp_path)
    for number, name in enumerate(("x.heard", "x.heard-2", "x.heard-3", "x.sent"), start=1):
        sound(tmp_path / "realtime" / f"{name}.wav", number, number)
    assert collect("x", tmp_path, tmp_path) == []
    for name, expected in (("server_heard", [1, 1, 2, 2, 3, 3]), ("server_sent", [4, 4])):
        samples, rate_hz = soundfile.read(tmp_path / f"{name}.flac", dtype="int16")
        assert (samples.tolist(), rate_hz) == (expected, 24_000)
    assert list((tmp_path / "realtime").glob("*.wav")) == []


def test_sound_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    told_to_be_over(tmp_path, tmp_path)
    partial = tmp_path / "realtime" / ".x.heard.abc.part"
    sound(partial, 7, 7)
    later = threading.Timer(0.2, partial.replace, [tmp_path / "realtime" / "x.heard.wav"])
    later.start()
    assert collect("x", tmp_path, tmp_path) == []
    later.join()
    assert soundfile.read(tmp_path / "server_heard.flac", dtype="int16")[0].tolist() == [7, 7]
