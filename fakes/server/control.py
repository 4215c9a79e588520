"""Control of a server while it runs: what a test may look at, wait for, and change.

The same for tests in Python (`callerside.fakes.pytest_plugin`) and, over HTTP, in any language
(`callerside.fakes.server.control_routes`). What is changed is the next turn, the present moment, or
the next session: nothing that has been said is said otherwise.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from callerside.audio_files import AudioFileError
from callerside.fakes.script.prepare import prepared_reply
from callerside.fakes.script.prepared import PreparedReply
from callerside.fakes.script.reply import Reply
from callerside.fakes.server.journal import MOST_ENTRIES, Journal, Search, SessionRecord
from callerside.fakes.session.faults import FAULTS, Fault, HandshakeFault, ResponseFault
from callerside.fakes.session.interface import Changed
from callerside.fakes.session.session import MOST_CHANGES_WAITING
from callerside.speech.voices import VoiceError
from callerside.yaml.errors import in_words

MOST_CHANGES = 100
"""Replies, and faults, that one request may give."""
_NEXT = re.compile(r"next\s+(?P<place>speech|turn|reply)(?P<rest>.*)")
_NOW = re.compile(r"now(?P<rest>.*)")
_POINTS_NOW = "'now', 'next speech', 'next turn', 'next reply'"

_REPLIES: TypeAdapter[tuple[Reply, ...]] = TypeAdapter(
    Annotated[tuple[Reply, ...], Field(strict=False)]
)
_FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


class ControlError(Exception):
    """What is asked for cannot be done; `status` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Changeable(Protocol):
    """A scripted session that runs, or is about to."""

    @property
    def progress(self) -> Mapping[str, int]:
        """By place (`speech`, `turn`, `reply`, `event`): how many of them there have been."""

    def why_no_change(self, changed: Changed) -> str | None:
        """Why what is given would do nothing, or is too much; None if it may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenSession:
    """A session that has not ended."""

    record: SessionRecord
    session: Changeable | None
    """None: a replay, which does what was recorded."""
    change: Callable[[Changed], None]


class Control:
    """What is known of a server's sessions, and what is to become of them."""

    def __init__(
        self, new_journal: Callable[[], Journal], reset: Callable[[], Awaitable[object]]
    ) -> None:
        """`reset` ends every session, and has the server count them from 1 again."""
        self._new_journal = new_journal
        self._reset = reset
        self.journal = new_journal()
        self._open: dict[int, OpenSession] = {}
        self._replies_for_next: list[PreparedReply] = []
        self._faults_for_next: list[Mapping[str, Any]] = []

    def opened(self, session: OpenSession) -> None:
        """One begins: it gets what was meant for the next one."""
        self._open[session.record.number] = session
        if session.session is None:
            return
        replies, self._replies_for_next = self._replies_for_next, []
        faults, self._faults_for_next = self._faults_for_next, []
        meant = _faults(faults, session.session.progress)
        session.change(Changed(replies=tuple(replies), faults=meant))

    def over(self, record: SessionRecord) -> None:
        """One has ended."""
        self._open.pop(record.number, None)

    def events(self, search: Search, limit: int | None = None) -> list[dict[str, Any]]:
        """What has happened so far, the oldest first, at most so many.

        Raises:
            ControlError: there is no such session.
        """
        numbers = [record.number for record in self.journal.sessions]
        if search.session is not None and search.session not in numbers:
            there = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
            raise ControlError(f"no session {search.session}; there: {there}", status=404)
        found = self.journal.search(search, MOST_ENTRIES if limit is None else limit)
        return [entry.as_json() for entry in found]

    async def wait(
        self, search: Search, *, count: int = 1, within_s: float
    ) -> list[dict[str, Any]]:
        """The first entries that are wanted, once there are so many of them.

        Raises:
            ControlError: there are not, after that time; says what there is.
            TooManyWaitError: see `Journal.wait`.
        """
        found = await self.journal.wait(search, count, within_s)
        if len(found) >= count:
            return [entry.as_json() for entry in found]
        same = Search(session=search.session, sender=search.sender, after=search.after)
        kinds = ", ".join(dict.fromkeys(entry.type for entry in self.journal.search(same)))
        raise ControlError(
            f"{len(found)} of {count} that match {search.type!r} after {within_s:g} s; "
            f"there: {kinds or 'nothing'}",
            status=408,
        )

    async def change(
        self,
        replies: Sequence[Mapping[str, Any]] = (),
        faults: Sequence[Mapping[str, Any]] = (),
        session: int | Literal["next"] | None = None,
        *,
        may_read_files: bool = False,
    ) -> int | None:
        """Say something else, or have something go wrong.

        Args:
            replies: of the next turns, in place of the script's.
            faults: each as in a script, but that `at` may be `now`, `next speech`, `next turn` or
                `next reply` as well, perhaps with `+ 800ms`. Without it, what shapes a response is
                at the next reply, what befalls a session is now.
            session: its number; `next`; None: the only one that is open.
            may_read_files: whether replies may be sound files and recordings of this machine.

        Returns the number of the session; None for the next one.

        Raises:
            ControlError: it cannot be.
        """
        if len(replies) > MOST_CHANGES or len(faults) > MOST_CHANGES:
            raise ControlError(f"at most {MOST_CHANGES} replies and faults at a time")
        prepared = await asyncio.to_thread(_prepared, replies, may_read_files=may_read_files)
        if session == "next":
            _faults(faults, _NOTHING_YET)
            self._keep_for_next(prepared, faults)
            return None
        chosen = self._chosen(session)
        chosen.change(_change(chosen, faults, prepared))
        return chosen.record.number

    async def reset(self) -> None:
        """End every session, and forget what has happened and what was to come."""
        # Before anybody is waited for: who connects again meanwhile is a new first session.
        ended = self._reset()
        self._open.clear()
        self._replies_for_next.clear()
        self._faults_for_next.clear()
        self.journal = self._new_journal()
        await ended

    def _keep_for_next(
        self, replies: Sequence[PreparedReply], faults: Sequence[Mapping[str, Any]]
    ) -> None:
        all_replies = [*self._replies_for_next, *replies]
        all_faults = [*self._faults_for_next, *faults]
        for name, waiting in (("replies", all_replies), ("faults", all_faults)):
            if len(waiting) > MOST_CHANGES_WAITING:
                told = f"{name}: at most {MOST_CHANGES_WAITING} may wait for the next session"
                raise ControlError(told, status=409)
        self._replies_for_next, self._faults_for_next = all_replies, all_faults

    def _chosen(self, number: int | None) -> OpenSession:
        if number is None:
            if len(self._open) != 1:
                numbers = ", ".join(map(str, self._open)) or "none"
                raise ControlError(f"which session? open: {numbers}", status=409)
            return next(iter(self._open.values()))
        if number not in self._open:
            raise ControlError(f"no session {number} is open", status=404)
        return self._open[number]


_NOTHING_YET: Mapping[str, int] = {"speech": 0, "turn": 0, "reply": 0, "event": 0}


def _change(
    session: OpenSession, faults: Sequence[Mapping[str, Any]], replies: tuple[PreparedReply, ...]
) -> Changed:
    if session.session is None:
        raise ControlError("a replay does what was recorded", status=409)
    changed = Changed(replies=replies, faults=_faults(faults, session.session.progress))
    why = session.session.why_no_change(changed)
    if why is not None:
        raise ControlError(why, status=409)
    return changed


def _prepared(
    replies: Sequence[Mapping[str, Any]], *, may_read_files: bool
) -> tuple[PreparedReply, ...]:
    try:
        read = _REPLIES.validate_python(list(replies))
    except ValidationError as error:
        raise ControlError(_first(error, "replies")) from None
    for number, reply in enumerate(read):
        named = any(part.wav or part.recording for part in (reply, *reply.items))
        if named and not may_read_files:
            raise ControlError(f"replies.{number}: files are not read for others: say, or text")
    try:
        return tuple(map(prepared_reply, read))
    except (VoiceError, AudioFileError) as error:
        raise ControlError(str(error)) from None


def _faults(faults: Sequence[Mapping[str, Any]], progress: Mapping[str, int]) -> tuple[Fault, ...]:
    return tuple(_fault(number, one, progress) for number, one in enumerate(faults))


def _fault(number: int, given: Mapping[str, Any], progress: Mapping[str, int]) -> Fault:
    kind = FAULTS.get(str(given.get("fault")))
    at = given.get("at")
    if at is None and kind is not None:
        shapes_response = issubclass(kind, ResponseFault)
        at = "next reply" if shapes_response else "now"
        at = "connect" if issubclass(kind, HandshakeFault) else at
    fields = {**given, "at": _point(at, progress) if isinstance(at, str) else at}
    try:
        return _FAULT.validate_python(fields)
    except ValidationError as error:
        raise ControlError(_first(error, f"faults.{number}")) from None


def _point(at: str, progress: Mapping[str, int]) -> str:
    """A point as scripts have it: the next of its kind has a number, and so has the last event."""
    if match := _NEXT.fullmatch(at.strip()):
        return f"{match['place']} {progress[match['place']] + 1}{match['rest']}"
    if match := _NOW.fullmatch(at.strip()):
        return f"event {max(1, progress['event'])}{match['rest']}"
    return at


def _expected_now(told: str) -> str:
    """What is wrong with a point, with the points that there are in a session that runs, too."""
    if "is no point" not in told:
        return told
    return told.replace("expected ", f"expected {_POINTS_NOW}, ", 1)


def _first(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in (where, *first["loc"]) if part not in FAULTS)
    return f"{path}: {_expected_now(in_words(first))}"
