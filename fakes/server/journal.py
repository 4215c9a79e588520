"""What has happened in a server's sessions: events both ways, and marks; searched, and waited for.

It is kept in memory, within bounds: what is oldest goes first, and the number of what is left says
how much has gone. Sound is not kept, only how much of it there was; appends one after another are
one entry.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from callerside.clock import ns_to_ms
from callerside.fakes.session.interface import Event, size_chars
from callerside.marks import Mark

Sender = Literal["client", "server", "fake"]
"""`fake`: a mark, whose name is the type."""

MOST_ENTRIES = 20_000
MOST_CHARS = 2**25
"""Of all entries: about what they take."""
MOST_SESSIONS = 1000
MOST_WAITING = 100
_APPEND = "input_audio_buffer.append"
_OF_AN_APPEND = "audio_received"
"""The mark of a session that traces audio, for each append: the appends' entry has that, too."""
_SPOKEN = "audio"
"""How the type of an item's content ends that has sound in it, as base64: `input_audio`, ..."""


class TooManyWaitError(Exception):
    """So many wait for an event already that nobody else may."""


@dataclass(kw_only=True, slots=True)
class SessionRecord:
    """One session, open or over."""

    number: int
    """From 1 on, in the order of their handshakes."""
    name: str
    """On the timeline."""
    path: str
    opened_at_ms: float
    """Since the server has started, or was reset."""
    closed: Mapping[str, Any] | None = None
    """`code` and `reason`, once it is over."""

    def as_json(self) -> dict[str, Any]:
        """For whoever asks."""
        return {
            "number": self.number,
            "name": self.name,
            "path": self.path,
            "opened_at_ms": self.opened_at_ms,
            "open": self.closed is None,
            "closed": self.closed,
        }


@dataclass(kw_only=True, slots=True)
class Entry:
    """Something that happened in a session."""

    number: int
    """From 1 on; the next one's is greater."""
    session: int
    at_ms: float
    """Since the server has started, or was reset."""
    sender: Sender
    type: str
    event: Mapping[str, Any]
    """The event without its sound, or a mark's fields."""
    chars: int

    def as_json(self) -> dict[str, Any]:
        """For whoever asks."""
        return {
            "number": self.number,
            "session": self.session,
            "at_ms": self.at_ms,
            "from": self.sender,
            "type": self.type,
            "event": self.event,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Which entries are wanted: those that fit all of it."""

    session: int | None = None
    sender: Sender | None = None
    type: str = "*"
    """With `*` and `?`."""
    after: int = 0
    """Those with a greater number."""
    match: Mapping[str, Any] = field(default_factory=dict)
    """What the event holds, whatever else it does: `{"session": {"type": "realtime"}}`."""

    def finds(self, entry: Entry) -> bool:
        """Whether an entry is wanted."""
        try:
            return (
                entry.number > self.after
                and self.session in (None, entry.session)
                and self.sender in (None, entry.sender)
                and fnmatchcase(entry.type, self.type)
                and _holds(entry.event, self.match)
            )
        except RecursionError:
            return False  # of what is nested so deeply, nothing is kept


class _Wait:
    """Somebody who waits: each entry is looked at once, when it is there."""

    def __init__(self, search: Search, count: int, found: list[Entry]) -> None:
        self.enough = asyncio.Event()
        self._search = search
        self._count = count
        self._found = {entry.number: entry for entry in found}
        self._settle()

    @property
    def found(self) -> list[Entry]:
        """What is wanted, in order."""
        return [entry for _, entry in sorted(self._found.items())]

    def offer(self, entry: Entry) -> None:
        """Something has happened; appends that go on are offered with each."""
        if not self.enough.is_set() and self._search.finds(entry):
            self._found[entry.number] = entry
            self._settle()

    def _settle(self) -> None:
        if len(self._found) >= self._count:
            self.enough.set()


class Journal:
    """All sessions of a server, since it has started or was reset. For one thread."""

    def __init__(self, now_ns: int) -> None:
        """`now_ns`: the time of the marks."""
        self._begun_ns = now_ns
        self._sessions: deque[SessionRecord] = deque(maxlen=MOST_SESSIONS)
        self._opened = 0
        self._entries: deque[Entry] = deque()
        self._noted = 0
        self._chars = 0
        self._runs: dict[int, Entry] = {}
        """By session: the appends that go on, if the last thing that it did was one."""
        self._waiting: set[_Wait] = set()

    @property
    def sessions(self) -> list[SessionRecord]:
        """The newest of them, in the order of their numbers."""
        return list(self._sessions)

    def open_session(self, name: str, path: str, now_ns: int) -> SessionRecord:
        """A client has asked for one."""
        self._opened += 1
        record = SessionRecord(
            number=self._opened, name=name, path=path, opened_at_ms=self._ms(now_ns)
        )
        self._sessions.append(record)
        return record

    def note_event(self, session: SessionRecord, sender: Sender, event: Event, now_ns: int) -> None:
        """An event has come, or is sent."""
        kind = str(event.get("type"))
        if kind == _APPEND:
            self._note_append(session, event, now_ns)
            return
        self._runs.pop(session.number, None)
        try:
            what = _without_sound(event)
        except RecursionError:
            what = {"type": kind, "left_out": "it is nested too deeply"}
        self._note(session, sender, kind, what, now_ns)

    def note_mark(self, session: SessionRecord, mark: Mark) -> None:
        """A mark is written."""
        if mark.name == _OF_AN_APPEND:
            return
        self._note(session, "fake", mark.name, mark.fields, mark.at_ns)
        if mark.name == "session_closed":
            session.closed = dict(mark.fields)
            self._runs.pop(session.number, None)

    def search(self, search: Search, limit: int = MOST_ENTRIES) -> list[Entry]:
        """The oldest entries that are wanted, at most so many."""
        found: list[Entry] = []
        for entry in self._entries:
            if search.finds(entry):
                found.append(entry)
                if len(found) >= limit:
                    break
        return found

    async def wait(self, search: Search, count: int, within_s: float) -> list[Entry]:
        """What `search` finds, once it is so many, or after that time; then it may be fewer.

        Raises:
            TooManyWaitError: too many wait already.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise TooManyWaitError(f"{MOST_WAITING} wait already")
        wait = _Wait(search, count, self.search(search, count))
        self._waiting.add(wait)
        try:
            async with asyncio.timeout(within_s):
                await wait.enough.wait()
        except TimeoutError:
            pass  # there are fewer
        finally:
            self._waiting.discard(wait)
        return wait.found

    def _note_append(self, session: SessionRecord, event: Event, now_ns: int) -> None:
        run = self._runs.get(session.number)
        if run is None:
            fields = {"type": _APPEND, "events": 0, "audio_bytes": 0}
            run = self._note(session, "client", _APPEND, fields, now_ns)
            self._runs[session.number] = run
        audio = event.get("audio")
        run.event = {
            "type": _APPEND,
            "events": run.event["events"] + 1,
            "audio_bytes": run.event["audio_bytes"]
            + (len(audio) if isinstance(audio, bytes) else 0),
        }
        self._tell(run)

    def _note(
        self,
        session: SessionRecord,
        sender: Sender,
        kind: str,
        what: Mapping[str, Any],
        now_ns: int,
    ) -> Entry:
        try:
            chars = size_chars(what)
        except RecursionError:
            chars = MOST_CHARS + 1
        if chars > MOST_CHARS:
            what, chars = {"type": kind, "left_out": "it is too large"}, 0
        self._noted += 1
        entry = Entry(
            number=self._noted,
            session=session.number,
            at_ms=self._ms(now_ns),
            sender=sender,
            type=kind,
            event=what,
            chars=chars,
        )
        self._entries.append(entry)
        self._chars += chars
        while len(self._entries) > MOST_ENTRIES or self._chars > MOST_CHARS:
            gone = self._entries.popleft()
            self._chars -= gone.chars
            if self._runs.get(gone.session) is gone:
                del self._runs[gone.session]  # what comes now is an entry of its own
        self._tell(entry)
        return entry

    def _tell(self, entry: Entry) -> None:
        for wait in self._waiting:
            wait.offer(entry)

    def _ms(self, at_ns: int) -> float:
        return round(ns_to_ms(at_ns - self._begun_ns), 3)


def _without_sound(value: Any) -> Any:
    """An event as JSON has it, with the size in bytes where sound was."""
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, Mapping):
        kept = {key: _without_sound(inner) for key, inner in value.items()}
        audio = value.get("audio")
        if isinstance(audio, str) and str(value.get("type")).endswith(_SPOKEN):
            kept["audio"] = {"bytes": len(audio.rstrip("=")) * 3 // 4}
        return kept
    if isinstance(value, list | tuple):
        return [_without_sound(inner) for inner in value]
    return value


def _holds(value: Any, wanted: Any) -> bool:
    """Whether something has all that is wanted: of a mapping some keys, of a list each in order."""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _holds(value[key], inner) for key, inner in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(map(_holds, value, wanted))
        )
    return bool(value == wanted) and isinstance(value, bool) is isinstance(wanted, bool)
