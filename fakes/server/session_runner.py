"""Runs a session on an asyncio loop: timers, what is to be sent, and what is written down.

It knows no socket: `fakes.server.server` takes from `outgoing` and hands messages to `receive`.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, assert_never

from callerside.clock import NS_PER_S
from callerside.fakes.script.model import PathDelay
from callerside.fakes.server.codec import Pieces, decode_in_steps, encode_in_pieces
from callerside.fakes.server.files import SessionFiles, SoundFile
from callerside.fakes.server.path import arriving, until
from callerside.fakes.session.interface import (
    AcceptConnection,
    CallOver,
    CancelTimer,
    Changed,
    ClientEvent,
    CloseConnection,
    ConnectionLost,
    ConnectionRequested,
    DropConnection,
    Effect,
    EmitMark,
    Event,
    Input,
    KeepAudio,
    KeepSent,
    RefuseConnection,
    SendEvent,
    SendText,
    ServerStopping,
    SetTimer,
    TimerFired,
)
from callerside.fakes.session.one_way import OneWay
from callerside.loop_clock import LoopClock
from callerside.marks import Mark, MarkSink
from callerside.timers import TimerSet

_UNREAD_LIMIT = 4096
_UNREAD_LIMIT_CHARS = 2**26
_READS_WITHIN_NS = NS_PER_S
"""A client that has taken something since then reads; a burst is no reason to drop it."""
_BURST_LIMIT = 2**17
_BURST_LIMIT_CHARS = 2**28

log = logging.getLogger("callerside.fakes.server.server")

OnEvent = Callable[[Literal["client", "server"], Event, int], None]
"""Who sent it, the event, and when (of the clock of marks)."""

Outgoing = str | bytes | CloseConnection | DropConnection
"""Text, which may be UTF-8 already, or an end."""


class Session(Protocol):
    """What is run here: a scripted session, or a replay."""

    def handle(self, given: Input, now_ns: int) -> list[Effect]:
        """Take one input; returns what should be done about it, in order."""


class UnreadError(Exception):
    """A client leaves too much unread."""


class Connection:
    """One client's session, running."""

    def __init__(
        self,
        session: Session,
        files: SessionFiles,
        on_mark: MarkSink | None,
        *,
        path: PathDelay | None = None,
        seed: int = 0,
        on_event: OnEvent | None = None,
    ) -> None:
        """`path`: how long messages are on their way, by chance as `seed` has it.

        `on_event` is told each event as the server takes it or sends it, and when that was.
        """
        path = path or PathDelay()
        rng = random.Random(seed)
        self._way_there, self._way_back = OneWay(path, rng), OneWay(path, rng)
        self._closed = False
        self._outgoing: asyncio.Queue[Outgoing | Pieces] = asyncio.Queue()
        self._outgoing_chars = 0
        self._taken_at_ns = 0
        self._fed_at_ns = 0
        self.abort: Callable[[], None] = lambda: None
        """Called when what is to be sent has become too much: to end the connection at once."""
        self._session = session
        self._files = files
        self._timeline = files.timeline()
        self._on_mark = on_mark
        self._on_event = on_event
        self._clock = LoopClock(asyncio.get_running_loop())
        self._timers = TimerSet[str](self._clock, self._fire)
        self._accepted = asyncio.Event()
        self._refusal: RefuseConnection | None = None
        self._sounds: dict[str, SoundFile] = {}

    @property
    def timeline(self) -> Path | None:
        """The file of its marks, if there is one."""
        return self._files.timeline_path

    async def outgoing(self) -> Outgoing:
        """What is to be sent next; a close or a drop is the last."""
        following = await self._outgoing.get()
        self._taken_at_ns = self._clock.now_ns()
        if isinstance(following, str | Pieces):
            self._outgoing_chars -= len(following)
        if isinstance(following, Pieces):
            return await _joined(following)
        return following

    async def handshake(self, request: ConnectionRequested) -> RefuseConnection | None:
        """Ask the session for admission; a script may make it wait. Returns a refusal, or None."""
        await until(self._way_there.arrival_ns(self._clock.now_ns()), self._clock)
        self._feed(request)
        await self._accepted.wait()
        await until(self._way_back.arrival_ns(self._clock.now_ns()), self._clock)
        return self._refusal

    def arriving(self, messages: AsyncIterable[str | bytes]) -> AsyncIterator[str | bytes]:
        """The client's messages, each when it has come the whole way."""
        return arriving(messages, self._way_there, self._clock)

    def receive(self, message: str | bytes) -> Iterator[None]:
        """Take a message of the client's, in steps: after each the others may have their turn."""
        for given in decode_in_steps(message):
            if given is not None:
                self._feed(given)
            yield

    def change(self, changed: Changed) -> None:
        """Whoever has control of the server wants something else than the script."""
        self._feed(changed)

    def lost(self, code: int, reason: str) -> None:
        """The connection is over."""
        self._feed(ConnectionLost(code, reason))

    def stop(self) -> None:
        """The server is about to end."""
        self._feed(ServerStopping())

    def call_over(self) -> None:
        """The call that the session belongs to has ended."""
        self._feed(CallOver())

    async def close(self) -> None:
        """Let go of everything, and write down what is still unwritten."""
        if not self._accepted.is_set():  # the client has not waited for it
            self._settle(DropConnection())
        self._closed = True
        self._timers.cancel_all()
        self._close_timeline()
        for sound in self._sounds.values():
            await asyncio.to_thread(sound.close)
        self._sounds.clear()

    def _feed(self, given: Input) -> None:
        self._fed_at_ns = self._clock.now_ns()
        if self._outgoing.empty():
            self._taken_at_ns = self._fed_at_ns  # there was nothing to take
        if self._on_event is not None and isinstance(given, ClientEvent):
            self._on_event("client", given.event, self._fed_at_ns)
        effects = iter(self._session.handle(given, self._fed_at_ns))
        try:
            for effect in effects:
                self._run(effect)
        except UnreadError:
            for effect in effects:
                if isinstance(effect, EmitMark):  # what is marked has happened
                    self._write_mark(effect.mark)
            log.warning("a client does not read: its connection is dropped")
            self.lost(1008, "the client does not read")
            while not self._outgoing.empty():
                self._outgoing.get_nowait()
            self._outgoing.put_nowait(DropConnection())  # if nobody is there yet to be aborted
            self._accepted.set()
            self.abort()

    def _run(self, effect: Effect) -> None:
        match effect:
            case EmitMark(mark):
                self._write_mark(mark)
            case SendEvent(event):
                if self._on_event is not None:
                    self._on_event("server", event, self._fed_at_ns)
                self._put(encode_in_pieces(event))
            case SendText(text):
                self._put(text)
            case SetTimer(name, at_ns):
                self._timers.set(name, at_ns)
            case CancelTimer(name):
                self._timers.cancel(name)
            case KeepAudio(pcm, rate_hz):
                self._keep("heard", pcm, rate_hz)
            case KeepSent(pcm, rate_hz):
                self._keep("sent", pcm, rate_hz)
            case AcceptConnection() | RefuseConnection() | CloseConnection() | DropConnection():
                self._settle(effect)
            case unknown:
                assert_never(unknown)

    def _settle(
        self, effect: AcceptConnection | RefuseConnection | CloseConnection | DropConnection
    ) -> None:
        """The handshake's outcome, or the connection's end, which may come before it."""
        match effect:
            case CloseConnection() | DropConnection():
                if self._accepted.is_set():
                    self._put(effect)
                else:
                    self._refusal = RefuseConnection(503, "the session has ended")
            case RefuseConnection():
                self._refusal = effect
            case AcceptConnection():
                self._refusal = None
            case unknown:
                assert_never(unknown)
        self._accepted.set()

    def _keep(self, what: str, pcm: bytes, rate_hz: int) -> None:
        """Write audio to its file; when its rate changes, only what comes after fits one file."""
        sound = self._sounds.get(what)
        if sound is not None and sound.rate_hz != rate_hz:
            sound.discard()
            sound = None
        if sound is None:
            sound = self._files.sound(what, rate_hz)
            if sound is None:
                return
            self._sounds[what] = sound
        sound.add(pcm)

    def _put(self, outgoing: Outgoing | Pieces) -> None:
        """Queue what is to be sent, however much the session says at once.

        Raises:
            UnreadError: the client has not read for a while, and too much waits for it.
        """
        if isinstance(outgoing, str | Pieces):
            self._bound(len(outgoing))
            self._outgoing_chars += len(outgoing)
        if self._way_back.is_instant:
            self._outgoing.put_nowait(outgoing)
        else:
            arrival_ns = self._way_back.arrival_ns(self._clock.now_ns())
            self._clock.call_at(arrival_ns, partial(self._arrive, outgoing))

    def _arrive(self, outgoing: Outgoing | Pieces) -> None:
        if self._outgoing.empty():
            self._taken_at_ns = self._clock.now_ns()
        if not self._closed:
            self._outgoing.put_nowait(outgoing)

    def _bound(self, more_chars: int) -> None:
        events, chars = self._outgoing.qsize(), self._outgoing_chars
        if events < _UNREAD_LIMIT and (not chars or chars + more_chars <= _UNREAD_LIMIT_CHARS):
            return
        # What is made in one go, nobody can have read in between.
        reads = self._fed_at_ns - self._taken_at_ns <= _READS_WITHIN_NS
        if not reads or events >= _BURST_LIMIT or chars > _BURST_LIMIT_CHARS:
            raise UnreadError

    def _fire(self, name: str) -> None:
        self._feed(TimerFired(name))

    def _close_timeline(self) -> None:
        timeline, self._timeline = self._timeline, None
        if timeline is not None:
            with contextlib.suppress(OSError):
                timeline.close()

    def _write_mark(self, mark: Mark) -> None:
        if self._timeline is not None:
            try:
                self._timeline(mark)
            except OSError as error:
                log.warning("%s ends here: %s", self._timeline.path, error.strerror)
                self._close_timeline()
        if self._on_mark is not None:
            self._on_mark(mark)
        _log_mark(mark)


async def _joined(pieces: Pieces) -> bytes:
    """A long text, while the other sessions go on."""
    made = []
    for piece in pieces:
        made.append(piece)
        await asyncio.sleep(0)
    return b"".join(made)


def _log_mark(mark: Mark) -> None:
    """A line for what a person at the terminal wants to see."""
    describe = _SHOWN.get(mark.name)
    if describe is not None:
        log.info("%s: %s", mark.call, describe(mark))


_SHOWN: dict[str, Callable[[Mark], str]] = {
    "session_opened": lambda mark: f"session opened ({mark.fields['model']})",
    "response_planned": lambda mark: (
        f"{mark.fields['reply']} ({mark.fields['trigger']}), think {mark.fields['think_ms']:.0f} ms"
    ),
    "response_done": lambda mark: (
        f"response {mark.fields['status']} {mark.fields.get('reason', '')}".rstrip()
    ),
    "error_sent": lambda mark: f"error {mark.fields['code']}: {mark.fields['message']}",
    "served_leniently": lambda mark: (
        f"the API refuses this ({mark.fields['code']}): {mark.fields['message']}"
    ),
    "call_undeclared": lambda mark: (
        f"warning: the script calls {mark.fields['name']}, but {mark.fields['why']}"
    ),
    "call_missing": lambda mark: f"warning: the script calls nothing, but {mark.fields['why']}",
    "fault_applied": lambda mark: f"fault {mark.fields['fault']}",
    "departed": lambda mark: (
        f"departed from the recording: expected {mark.fields['expected']}, got {mark.fields['got']}"
    ),
    "session_closed": lambda mark: (
        f"session closed ({mark.fields['code']} {mark.fields['reason']}".rstrip() + ")"
    ),
}
