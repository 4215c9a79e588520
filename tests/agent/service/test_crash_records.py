"""What is known of calls that are up outlives their process, is told once, and only then."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callerside.agent.observe.call_records import CallRecords
from callerside.agent.service.crash_records import LOST, InFlightCalls, lost_calls
from callerside.marks import Mark

KILLED = """
import os, sys
from pathlib import Path
from callerside.agent.service.crash_records import InFlightCalls
note = InFlightCalls(Path(sys.argv[1]))
note([{"call": "a"}, {"call": "b"}])
note([{"call": "b"}])
print("noted", flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def notes(records: Path) -> list[Path]:
    return list(records.parent.glob(".calls.jsonl.*.open"))


def test_calls_of_a_killed_process_are_told_once_and_not_while_it_lives(records: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(records)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"noted\n"
    assert list(lost_calls(records)) == []
    assert list(lost_calls(records, process.pid)) == []
    assert [path.stat().st_mode & 0o777 for path in notes(records)] == [0o600]
    process.communicate()
    assert list(lost_calls(records, os.getpid())) == [], "another process's"
    assert list(lost_calls(records, process.pid)) == [{"call": "b", "ended": LOST}]
    assert list(lost_calls(records)) == []
    assert notes(records) == []


def test_a_process_that_stops_owes_nothing(records: Path) -> None:
    note = InFlightCalls(records)
    note([{"call": "a"}])
    note.close()
    assert notes(records) == []
    note([{"call": "b"}])
    assert list(lost_calls(records)) == []


@pytest.mark.parametrize("content", [b"", b"[{]\n", b'[{"call"'])
def test_a_note_that_was_cut_short_harms_nobody(records: Path, content: bytes) -> None:
    path = records.with_name(".calls.jsonl.1.open")
    path.write_bytes(content)
    assert list(lost_calls(records)) == []
    assert not path.exists()


def test_a_shorter_note_leaves_nothing_of_the_longer_one(records: Path) -> None:
    note = InFlightCalls(records)
    note([{"call": "a" * 1000}])
    note([])
    assert notes(records)[0].read_text() == "[]\n"
    note.close()


def test_a_disk_that_does_not_take_it_costs_no_call(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    note = InFlightCalls(tmp_path / "file" / "calls.jsonl")
    note([{"call": "a"}])
    note.close()


def test_a_call_is_noted_from_its_invite_to_its_record(records: Path) -> None:
    noted: list[list[dict[str, Any]]] = []
    written: list[dict[str, Any]] = []
    sink = CallRecords(written.append, note=lambda calls: noted.append(list(calls)))

    def mark(name: str, **fields: Any) -> None:
        sink(Mark(at_ns=1, source="agent", call="c", name=name, fields=fields))

    mark("call_received", called="100", caller="200", sip_call_id="s")
    assert noted[-1][0]["caller"] == "200"
    mark("media_ready", codec="PCMA")
    assert noted[-1][0]["codec"] == "PCMA"
    assert noted[-1][0]["ended"] is None
    json.dumps(noted)
    count = len(noted)
    mark("first_delta", item="i")
    assert len(noted) == count, "nothing that is worth a write"
    mark("call_ended", by="caller", status=200, reason="OK")
    assert noted[-1] == []
    assert len(written) == 1
