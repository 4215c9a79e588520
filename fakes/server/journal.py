"""What has happened in a server's sessions: events both ways, and marks; searched, and waited for.

It is kept in memory, within bounds: what is oldest goes first, and how much has gone is told. Sound
is not kept, only how much of it there was; appends one after another are one entry.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from callerside.clock import ns_to_ms
from callerside.fakes.session.interface import Event
from callerside.marks import Mark

Sender = Literal["client", "server", "fake"]
"""`fake`: a mark, whose name is the type."""

MOST_ENTRIES = 20_000
MOST_CHARS = 2**25
"""Of all entries: about what they take."""
MOST_SESSIONS = 1000
MOST_WAITING = 100
_APPEND = "input_audio_buffer.append"


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
        return (
            entry.number > self.after
            and self.session in (None, entry.session)
            and self.sender in (None, entry.sender)
            and fnmatchcase(entry.type, self.type)
            and _holds(entry.event, self.match)
        )


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
        self.forgotten = 0
        """Entries that are no longer there."""
        self._runs: dict[int, Entry] = {}
        """By session: the appends that go on, if the last thing that it did was one."""
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def sessions(self) -> list[SessionRecord]:
        """The newest of them, in the order of their numbers."""
        return list(self._sessions)

    @property
    def last(self) -> int:
        """The number of the newest entry; 0: there has been none."""
        return self._noted

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
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while len(found := self.search(search, count)) < count:
            left_s = until_s - loop.time()
            if left_s <= 0:
                break
            news: asyncio.Future[None] = loop.create_future()
            self._waiting.add(news)
            try:
                await asyncio.wait([news], timeout=left_s)
            finally:
                self._waiting.discard(news)
        return found

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

    def _note(
        self,
        session: SessionRecord,
        sender: Sender,
        kind: str,
        what: Mapping[str, Any],
        now_ns: int,
    ) -> Entry:
        try:
            chars = _chars(what)
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
            self._chars -= self._entries.popleft().chars
            self.forgotten += 1
        for news in self._waiting:
            if not news.done():
                news.set_result(None)
        return entry

    def _ms(self, at_ns: int) -> float:
        return round(ns_to_ms(at_ns - self._begun_ns), 3)


def _without_sound(value: Any) -> Any:
    """An event as JSON has it, with the size in bytes where sound was."""
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, Mapping):
        return {key: _without_sound(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_sound(inner) for inner in value]
    return value


def _chars(value: Any) -> int:
    """About how much memory something takes; anything takes a little."""
    match value:
        case str():
            return 8 + len(value)
        case Mapping():
            return 8 + sum(map(_chars, (*value, *value.values())))
        case list() | tuple():
            return 8 + sum(map(_chars, value))
        case _:
            return 8


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
