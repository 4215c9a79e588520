"""The call record: one JSON line for each call that has ended, for billing, support and statistics.

`CallRecords` is a mark sink. A record is computed from the call's marks alone, so it can never say
something that the timeline does not; only the wall-clock time is added, as marks have none.
Fields: docs/operating.md.
"""

import errno
import json
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from callerside import host
from callerside.agent.observe.turn_latency import Turn, TurnTracker
from callerside.clock import ns_to_ms
from callerside.files import make_private
from callerside.marks import Mark

MAX_TRACKED_CALLS = 256
"""Calls followed at once; a process has four. Beyond it the oldest is recorded as it stands."""

MAX_TURNS = 1000
"""Turns listed in one record; those beyond are counted only."""

_log = structlog.get_logger(__name__)

_COUNTED = {
    "playout_underrun": "underruns",
    "realtime_failed": "realtime_failures",
    "realtime_error": "realtime_errors",
    "watchdog_fired": "watchdogs",
    "event_dropped": "events_dropped",
    "tool_called": "tools_called",
    "dtmf_received": "digits_received",
}
"""Mark -> the field of the record that counts it."""


_NOTED = frozenset({"call_received", "answered", "media_ready", "playout_ended", "rtp_measured"})
"""Marks after which there is something new to note of a call that is up."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class CallSummary:
    """Folds the marks of one call into its record."""

    call: str
    received_at: datetime
    first_at_ns: int
    received: dict[str, Any] = field(default_factory=dict)
    at_ns: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    tracker: TurnTracker = field(default_factory=TurnTracker)
    turns: list[Turn] = field(default_factory=list)
    rtp: dict[str, Any] | None = None
    codec: str | None = None
    cleared_ns: int = -1
    end: Mark | None = None

    def add(self, mark: Mark) -> None:
        """Take the next mark of the call."""
        self.at_ns.setdefault(mark.name, mark.at_ns)
        turn = self.tracker.add(mark)
        if turn is not None:
            self._add_turn(turn)
        if mark.name in _COUNTED:
            self.counts[_COUNTED[mark.name]] += 1
        elif mark.name == "playout_cleared":
            self._add_cleared(mark)
        elif mark.name == "call_received":
            self.received = dict(mark.fields)
        elif mark.name == "media_ready":
            self.codec = mark.fields.get("codec")
        elif mark.name == "response_done":
            for direction in ("input", "output"):
                self.tokens[direction] += int(mark.fields.get(f"{direction}_tokens") or 0)
        elif mark.name == "rtp_measured":
            self.rtp = dict(mark.fields)
        elif mark.name == "call_ended":
            self.end = mark

    def record(self) -> dict[str, Any]:
        """The record, ready for JSON. `ended` is None for a call that was given up on."""
        end = self.end
        length_ms = None if end is None else ns_to_ms(end.at_ns - self.first_at_ns)
        return {
            "call": self.call,
            "sip_call_id": self.received.get("sip_call_id"),
            "caller": self.received.get("caller"),
            "called": self.received.get("called"),
            "received_at": _iso(self.received_at),
            "answered_ms": self._since_received("answer_sent"),
            "greeting_ms": self._since_received("greeting_started"),
            "length_ms": _rounded(length_ms),
            "ended_at": None
            if length_ms is None
            else _iso(self.received_at + timedelta(milliseconds=length_ms)),
            "ended": None
            if end is None
            else {name: end.fields.get(name) for name in ("by", "status", "reason")},
            "codec": self.codec,
            "turns": [_turn(turn) for turn in self.turns],
            **{
                name: self.counts[name]
                for name in ("turns_not_listed", "barge_ins", *_COUNTED.values())
            },
            "rtp": self.rtp,
            "tokens": {name: self.tokens[name] for name in ("input", "output")},
        }

    def _add_cleared(self, mark: Mark) -> None:
        """Several items may be cut at once: that is one barge-in."""
        self.counts["barge_ins"] += mark.at_ns != self.cleared_ns
        self.cleared_ns = mark.at_ns

    def _add_turn(self, turn: Turn) -> None:
        if len(self.turns) < MAX_TURNS:
            self.turns.append(turn)
        else:
            self.counts["turns_not_listed"] += 1

    def _since_received(self, name: str) -> float | None:
        at_ns = self.at_ns.get(name)
        return None if at_ns is None else _rounded(ns_to_ms(at_ns - self.first_at_ns))


class CallRecords:
    """A mark sink that hands over a record when a call has ended."""

    def __init__(
        self,
        write: Callable[[dict[str, Any]], None],
        now: Callable[[], datetime] = utc_now,
        note: Callable[[Iterable[dict[str, Any]]], None] = lambda _: None,
    ) -> None:
        """`note` gets what is known of each call that is up, whenever that is something new."""
        self._write = write
        self._now = now
        self._note = note
        self._calls: OrderedDict[str, CallSummary] = OrderedDict()

    def __call__(self, mark: Mark) -> None:
        """Take a mark; those of other sources change nothing."""
        if mark.source != "agent":
            return
        summary = self._calls.get(mark.call)
        if summary is None:
            summary = self._calls[mark.call] = CallSummary(mark.call, self._now(), mark.at_ns)
        summary.add(mark)
        if mark.name == "call_ended":
            self._finish(mark.call)
        elif len(self._calls) > MAX_TRACKED_CALLS:
            self._finish(next(iter(self._calls)))
        elif mark.name in _NOTED:
            self._note_open()

    def _finish(self, call: str) -> None:
        self._write(self._calls.pop(call).record())
        self._note_open()

    def _note_open(self) -> None:
        self._note(summary.record() for summary in self._calls.values())


class RecordFile:
    """Appends records to a JSON Lines file.

    Opened anew for each record, and written with a single `write` in append mode: several workers
    can share the file, and it can be rotated at any time without notifying anyone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, record: dict[str, Any]) -> None:
        """Append one record.

        Raises:
            OSError: the file cannot be written (no such directory, no space, no right to).
        """
        line = json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"
        make_private(self.path.parent)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            host.lock(descriptor)  # against whoever takes lines out (`retention`)
            # half of a surrogate pair, which only a broken peer sends, is escaped as JSON does it
            _append_whole(descriptor, line.encode(errors="backslashreplace"))
        finally:
            os.close(descriptor)


def _append_whole(descriptor: int, line: bytes) -> None:
    """All of it or nothing: half a line would spoil the next one, too. The file is locked."""
    end = os.fstat(descriptor).st_size
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def record_writer(
    file: RecordFile, on_lost: Callable[[], None] = lambda: None
) -> Callable[[dict[str, Any]], None]:
    """Writes records; one that the disk does not take is logged, whole, and told to `on_lost`."""

    def write(record: dict[str, Any]) -> None:
        try:
            file(record)
        except OSError as error:
            _log.error("record_lost", file=str(file.path), error=str(error), record=record)
            on_lost()

    return write


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "turn_ms": _rounded(turn.turn_ms),
        **{f"{hop}_ms": _rounded(value) for hop, value in turn.hops_ms.items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
