import json
import resource
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from callerside.agent.observe.call_records import (
    MAX_TRACKED_CALLS,
    MAX_TURNS,
    CallRecords,
    RecordFile,
    record_writer,
)
from callerside.clock import NS_PER_MS
from callerside.marks import Mark

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def mark(name: str, at_ms: float, call: str = "c1", **fields: Any) -> Mark:
    at_ns = 5_000_000_000 + int(at_ms * NS_PER_MS)
    return Mark(at_ns=at_ns, source="agent", call=call, name=name, fields=fields)


def turn(at_ms: float) -> list[Mark]:
    return [
        mark("speech_stopped", at_ms, item="u"),
        mark("committed", at_ms + 10, item="u"),
        mark("response_created", at_ms + 30, response="r"),
        mark("first_delta", at_ms + 500, response="r", item="a"),
        mark("playout_started", at_ms + 520, item="a"),
        mark("response_done", at_ms + 900, status="completed", input_tokens=10, output_tokens=20),
    ]


def records_of(*marks: Mark) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    sink = CallRecords(written.append, now=lambda: START)
    for each in marks:
        sink(each)
    return written


def test_a_call_becomes_one_record() -> None:
    (record,) = records_of(
        mark("call_received", 0, called="100", caller="200", sip_call_id="abc@host"),
        mark("answer_sent", 5, status=200),
        mark("media_ready", 20, codec="PCMU"),
        mark("greeting_started", 520, origin="cache"),
        *turn(3000),
        mark("playout_cleared", 4000, item="a", played_ms=1, dropped_ms=2),
        mark("playout_cleared", 4000, item="b", played_ms=0, dropped_ms=2),
        mark("playout_underrun", 4100, item="a", missing_ms=20),
        mark("realtime_error", 4200, code="x", message="y"),
        *turn(5000),
        mark("rtp_measured", 8000, received_packets=400, lost_packets=4, jitter_ms=2.5),
        mark("call_ended", 8000.25, by="caller", status=200, reason="BYE"),
    )
    hops = {"commit_ms": 10, "response_ms": 20, "first_delta_ms": 470, "playout_ms": 20}
    assert record == {
        "call": "c1",
        "sip_call_id": "abc@host",
        "caller": "200",
        "called": "100",
        "received_at": "2026-03-01T12:00:00.000Z",
        "answered_ms": 5,
        "greeting_ms": 520,
        "length_ms": 8000.2,
        "ended_at": "2026-03-01T12:00:08.000Z",
        "ended": {"by": "caller", "status": 200, "reason": "BYE"},
        "codec": "PCMU",
        "turns": [{"turn_ms": 520, **hops}, {"turn_ms": 520, **hops}],
        "turns_not_listed": 0,
        "barge_ins": 1,
        "underruns": 1,
        "realtime_failures": 0,
        "realtime_errors": 1,
        "watchdogs": 0,
        "events_dropped": 0,
        "tools_called": 0,
        "digits_received": 0,
        "rtp": {"received_packets": 400, "lost_packets": 4, "jitter_ms": 2.5},
        "tokens": {"input": 20, "output": 40},
    }


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete", "failed"])
def test_every_response_costs_what_the_server_says_however_it_ends(status: str) -> None:
    (record,) = records_of(
        mark("call_received", 0, called="100", caller="200", sip_call_id="x"),
        mark("response_done", 900, status=status, input_tokens=10, output_tokens=20),
        mark("call_ended", 1000, by="caller", status=200, reason="BYE"),
    )
    assert record["tokens"] == {"input": 10, "output": 20}


def test_a_call_that_was_never_answered() -> None:
    (record,) = records_of(
        mark("call_received", 0, called="100", caller="200", sip_call_id="x"),
        mark("call_ended", 300, by="caller", status=487, reason="CANCEL"),
    )
    assert record["answered_ms"] is None
    assert record["rtp"] is None
    assert record["ended"]["status"] == 487
    assert record["turns"] == []


def test_calls_at_the_same_time_do_not_mix() -> None:
    first, second = records_of(
        mark("call_received", 0, "c1", called="1"),
        mark("call_received", 1, "c2", called="2"),
        mark("call_ended", 2, "c2", by="caller", status=200, reason=""),
        mark("call_ended", 3, "c1", by="agent", status=200, reason=""),
    )
    assert (first["call"], first["called"], first["ended"]["by"]) == ("c2", "2", "caller")
    assert (second["call"], second["called"], second["ended"]["by"]) == ("c1", "1", "agent")


def test_a_very_long_call_has_a_bounded_record() -> None:
    marks = [each for number in range(MAX_TURNS + 3) for each in turn(number * 1000)]
    end = mark("call_ended", 1, by="x", status=200, reason="")
    (record,) = records_of(mark("call_received", 0), *marks, end)
    assert len(record["turns"]) == MAX_TURNS
    assert record["turns_not_listed"] == 3


def test_calls_that_never_end_are_given_up_on_and_recorded_so() -> None:
    written = records_of(*(mark("call_received", n, f"c{n}") for n in range(MAX_TRACKED_CALLS + 2)))
    assert [record["call"] for record in written] == ["c0", "c1"]
    assert written[0]["ended"] is None


def test_the_file_has_a_line_for_each_and_is_private(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "records" / "calls.jsonl")
    file({"call": "c1", "caller": "Zoë"})
    file({"call": "c2"})
    lines = file.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"call": "c1", "caller": "Zoë"}, {"call": "c2"}]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_half_a_surrogate_pair_from_a_broken_peer_does_not_cost_the_record(tmp_path: Path) -> None:
    RecordFile(tmp_path / "r.jsonl")({"sip_call_id": "caf\udce9"})
    assert json.loads((tmp_path / "r.jsonl").read_text()) == {"sip_call_id": "caf\udce9"}


def test_the_file_can_be_rotated_at_any_time(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "calls.jsonl")
    file({"call": "c1"})
    file.path.rename(tmp_path / "calls.jsonl.1")
    file({"call": "c2"})
    assert json.loads(file.path.read_text()) == {"call": "c2"}


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RecordFile(tmp_path / "file" / "calls.jsonl")({"call": "c1"})


def test_a_record_that_the_disk_does_not_take_is_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write = record_writer(RecordFile(tmp_path / "file" / "calls.jsonl"))
    with structlog.testing.capture_logs() as logged:
        write({"call": "c1", "length_ms": 12.0})
    (line,) = logged
    assert line["event"] == "record_lost"
    assert line["record"] == {"call": "c1", "length_ms": 12.0}


def test_half_a_record_is_none(tmp_path: Path) -> None:
    """A disk that takes a part of a line keeps nothing of it: the next one stays readable."""
    path = tmp_path / "calls.jsonl"
    file = RecordFile(path)
    file({"call": "c1"})
    whole = path.read_bytes()
    lost: list[str] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, hard))
    with structlog.testing.capture_logs() as logged:
        try:
            record_writer(file, lambda: lost.append("c2"))({"call": "c2"})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    assert lost == ["c2"]
    assert logged[0]["record"] == {"call": "c2"}
