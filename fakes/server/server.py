"""The fake Realtime server: sessions over WebSocket, hundreds in one process.

    async with FakeRealtime(Script(...)) as server:
        ...  # point a client at server.url

The server is thin: it finds the script for a path, turns JSON and base64 into inputs of a
`session.session.RealtimeSession`, and does what its effects say. Each session stands alone: what a
client does to its own touches no other.
"""

import asyncio
import contextlib
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self, assert_never
from urllib.parse import parse_qs

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from callerside.fakes.recording.format import Recording
from callerside.fakes.recording.replay import ReplayOptions, ReplaySession
from callerside.fakes.script.cache import ScriptCache
from callerside.fakes.script.loader import ScriptError
from callerside.fakes.script.model import Script
from callerside.fakes.script.prepare import prepare
from callerside.fakes.script.prepared import PreparedScript
from callerside.fakes.server.addresses import in_url, is_loopback, parts_of
from callerside.fakes.server.api import RealtimeApi
from callerside.fakes.server.arrivals import Arrivals
from callerside.fakes.server.control import Control, OpenSession
from callerside.fakes.server.control_routes import add_control, add_page
from callerside.fakes.server.files import SessionFiles
from callerside.fakes.server.http import Routes
from callerside.fakes.server.journal import Journal
from callerside.fakes.server.session_runner import Connection, Session
from callerside.fakes.session.context import Observation
from callerside.fakes.session.interface import CloseConnection, ConnectionRequested, DropConnection
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.session import RealtimeSession
from callerside.marks import Mark, MarkSink
from callerside.vad import engines

_SHARE = 0.5  # of the loop's time, for one client
_BURST_S = 0.002  # of waiting that a client has in hand after it has been quiet
_SHORTEST_REST_S = 0.001
_MESSAGE_S = 20e-6  # what a message costs besides: the protocol's own work, about as measured

READ_BYTES = 2**13
"""What is read from a socket at once: frames are taken apart as they are read, in one go."""


class FairShare:
    """Counts what a client's messages cost, and says how long it has to wait."""

    def __init__(self) -> None:
        self._paid_until_s = 0.0

    def rest_s(self, begun_s: float, now_s: float) -> float:
        """How long to wait after a message that was worked on between these times; mostly 0."""
        work_s = now_s - begun_s + _MESSAGE_S
        self._paid_until_s = max(self._paid_until_s, begun_s - _BURST_S) + work_s / _SHARE
        owed_s = self._paid_until_s - now_s
        return owed_s if owed_s >= _SHORTEST_REST_S else 0.0


_PATH = re.compile(r"/(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})/)??(?:openai/)?v1/realtime")
"""As OpenAI has it, and as Azure has."""
_OURS = re.compile(r"session-\d+")
_MAX_MESSAGE_BYTES = 21 * 2**20  # 15 MiB of audio as base64, and some room
_HANDSHAKE_LIMIT_S = 130  # the longest delays that a script can ask for, and some room
_STOP_LIMIT_S = 5
_SUBPROTOCOL = Subprotocol("realtime")
_BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
_MAX_QUOTED_CHARS = 200  # of what a stranger wrote
_LOST = 1006  # RFC 6455 §7.4.1: there was no close frame

log = logging.getLogger("callerside.fakes.server.server")


class RefusedError(Exception):
    """A handshake is refused with an HTTP status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where a server listens, and what it writes down."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any that is free."""
    scripts: Path | None = None
    """A folder: the session at `/{name}/v1/realtime` is scripted by `{name}.yaml` in it."""
    timelines: Path | None = None
    """A folder for `{name}.realtime.jsonl`."""
    keep_audio: bool = False
    """Whether to write `{name}.heard.wav` there too."""
    origins: Sequence[str] = ()
    """Web pages that may connect, besides those of this machine: `https://staging.example`."""
    lenient: bool = False
    """Serve what the API refuses, as far as can be, and tell."""
    control: bool = False
    """Whether what happens is kept in memory (`FakeRealtime.control`), and served over HTTP."""
    page: bool = False
    """Whether there is a page for people at `/`; it needs `control`."""
    chaos: float | None = None
    """How probable a random fault is at each place of a conversation; None: as scripts say."""
    seed: int | None = None
    """Everything random comes from it; None: from those of the scripts."""
    max_sessions: int = 1000
    ping_every_s: float = 20
    """A client that does not answer a ping within the same time is closed with 1011."""


class FakeRealtime:
    """A server, as an asynchronous context manager."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        recording: Recording | None = None,
        replay: ReplayOptions | None = None,
        options: ServerOptions | None = None,
        on_mark: MarkSink | None = None,
        on_closed: Callable[[Path], None] | None = None,
    ) -> None:
        """`script` is performed at `/v1/realtime`, or `recording` replayed there.

        Every mark of every session goes to `on_mark`. `on_closed` is called with the timeline of a
        session when that, and its sound, have been written to the end.

        Raises:
            VoiceError: a text of the script cannot be spoken.
            AudioFileError: a sound file of the script cannot be read.
            ValueError: the recording cannot be replayed in that way, or the script's voice activity
                detection is not installed.
        """
        self._options = options or ServerOptions()
        self._default = prepare(script or Script())
        engines.reserve(self._default.script.vad.engine)
        self._recording = recording
        self._replay = replay
        if recording is not None:
            ReplaySession(recording, call="trial", options=replay)  # raises now, not at a handshake
        self._scripts = ScriptCache(self._options.scripts) if self._options.scripts else None
        self._on_mark = on_mark
        self._on_closed = on_closed or (lambda _path: None)
        self._server: Server | None = None
        self._routes = Routes(self._why_no_page)
        self._api = RealtimeApi(
            self._routes, self._on_call_over, rings=is_loopback(self._options.host)
        )
        self._of_calls: dict[ServerConnection, str] = {}
        self._arrivals = Arrivals(routes=self._routes)
        self._stopping = False
        self._connections: dict[ServerConnection, Connection] = {}
        self._admitted = 0  # whose session is being made
        self._endings: set[asyncio.Task[None]] = set()
        self._sessions: Counter[str] = Counter()
        self._all_files: dict[str, SessionFiles] = {}
        self.control = (
            Control(_new_journal, self._forget_sessions) if self._options.control else None
        )
        """What tests may look at and change; None: not asked for."""
        if self.control is not None and is_loopback(
            self._options.host
        ):  # others have no HTTP of it
            add_control(self._routes, self.control)
            if self._options.page:
                add_page(self._routes, self._default.script)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is in use, or there is no such address.
        """
        if self._scripts is not None:
            await asyncio.to_thread(self._scripts.fill)
        self._server = await serve(
            self._serve_session,
            self._options.host,
            self._options.port,
            process_request=self._process_request,
            create_connection=self._arrivals.create,  # type: ignore[arg-type] # it asks for a class
            max_size=_MAX_MESSAGE_BYTES,
            ping_interval=self._options.ping_every_s,
            ping_timeout=self._options.ping_every_s,
            compression=None,  # audio as base64 on a loopback: not worth the time
            open_timeout=_HANDSHAKE_LIMIT_S,
            select_subprotocol=_select_subprotocol,
            server_header=None,
        )

    async def stop(self) -> None:
        """Close every session with 1001, and listen no more; bounded in time."""
        if self._server is None:
            return
        self._stopping = True
        self._arrivals.abort_silent()
        for connection in list(self._connections.values()):
            connection.stop()
        if self._endings:
            await asyncio.wait(list(self._endings), timeout=_STOP_LIMIT_S)
        self._server.close()
        self._arrivals.abort_all()  # who does not answer a close
        await self._server.wait_closed()
        await asyncio.gather(*self._endings)
        self._server = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise RuntimeError("the server has not been started")
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"{self.base_url}/realtime"

    @property
    def base_url(self) -> str:
        """The same without the last part, as the official client's `websocket_base_url` has it."""
        return f"ws://{in_url(self._options.host)}:{self.port}/v1"

    async def _process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        """Decide about a handshake; what it takes (a delay, a refusal) is the session's to say."""
        begun_s = time.monotonic()
        try:
            connection = await self._make_connection(request)
        except RefusedError as refused:
            log.warning("refused %s: %s", request.path, refused.reason)
            return socket.respond(HTTPStatus(refused.status), refused.reason + "\n")
        self._connections[socket] = connection
        prepared_ms = round((time.monotonic() - begun_s) * 1000, 3)
        requested, call_id = self._requested(request, prepared_ms)
        if call_id is not None:
            self._of_calls[socket] = call_id
        ending = asyncio.create_task(self._put_away(socket, connection))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        refusal = await connection.handshake(requested)
        if refusal is not None:
            return socket.respond(HTTPStatus(refusal.status), refusal.body + "\n")
        return None

    async def _serve_session(self, socket: ServerConnection) -> None:
        connection = self._connections[socket]
        connection.abort = socket.transport.abort
        # asyncio reads 256 KiB at once: 5,000 tiny messages, and nobody else's turn for 50 ms.
        with contextlib.suppress(AttributeError):  # of a loop that has its own way
            socket.transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        share = FairShare()
        sender = asyncio.create_task(_send_all(socket, connection))
        try:
            async for message in connection.arriving(socket):
                begun_s = time.monotonic()
                for _ in connection.receive(message):
                    rest_s = share.rest_s(begun_s, time.monotonic())
                    if rest_s:
                        await asyncio.sleep(rest_s)
                    begun_s = time.monotonic()
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("a session has failed: please report it")
            raise
        finally:
            sender.cancel()

    async def _put_away(self, socket: ServerConnection, connection: Connection) -> None:
        """Once a connection is over, however far it came: end its session, write the rest down."""
        await socket.wait_closed()
        connection.lost(socket.close_code or _LOST, socket.close_reason or "")
        timeline = connection.timeline
        await connection.close()
        del self._connections[socket]
        self._of_calls.pop(socket, None)
        if timeline is not None:
            self._on_closed(timeline)

    def _why_no_page(self, origin: str) -> str | None:
        """Any page in a browser can reach a loopback port; recordings and disk are not its own."""
        if origin in self._options.origins or _is_of_this_machine(origin):
            return None
        shown = ascii(origin[:_MAX_QUOTED_CHARS])
        return f"a web page of {shown} may not connect: --allow-origin"

    def _on_call_over(self, call_id: str) -> None:
        for socket in [socket for socket, joined in self._of_calls.items() if joined == call_id]:
            self._connections[socket].call_over()

    def _requested(
        self, request: Request, prepared_ms: float
    ) -> tuple[ConnectionRequested, str | None]:
        """What a client asks for, and the call that it joins, if it does."""
        url = parts_of(request.path)
        query = parse_qs(url.query)
        call_id = query.get("call_id", [None])[0]
        session, wrong = None, None
        try:
            session = self._api.session_of(request, call_id)
        except RequestError as error:
            wrong = error
        headers = request.headers
        beta = any("realtime=v1" in value for value in headers.get_all("OpenAI-Beta")) or any(
            _BETA_SUBPROTOCOL in value for value in headers.get_all("Sec-WebSocket-Protocol")
        )
        requested = ConnectionRequested(
            path=url.path,
            model=query.get("model", [None])[0],
            beta_header=beta,
            intent=query.get("intent", [None])[0],
            session=session,
            wrong=wrong,
            prepared_ms=prepared_ms,
        )
        return requested, call_id

    async def _make_connection(self, request: Request) -> Connection:
        for origin in request.headers.get_all("Origin"):
            if (why := self._why_no_page(origin)) is not None:
                raise RefusedError(403, why)
        match = _PATH.fullmatch(parts_of(request.path).path)
        if match is None:
            raise RefusedError(404, "no such path: expected /v1/realtime or /NAME/v1/realtime")
        if len(self._connections) + self._admitted >= self._options.max_sessions:
            raise RefusedError(503, f"all {self._options.max_sessions} sessions are taken")
        self._admitted += 1
        try:
            query = parse_qs(parts_of(request.path).query, keep_blank_values=True)
            return await self._make_session_at(match, is_versioned="api-version" in query)
        finally:
            self._admitted -= 1

    async def _make_session_at(self, match: re.Match[str], *, is_versioned: bool) -> Connection:
        name = match["name"]
        if name is not None and _OURS.fullmatch(name):
            raise RefusedError(
                404, f"no script {name!r}: sessions without a script of their own have such names"
            )
        prepared = self._default if name is None else await self._find(name)
        prepared = self._with_options(prepared)
        if prepared.script.dialect == "azure" and is_versioned:
            raise RefusedError(401, "the GA endpoint of Azure takes no api-version")
        if not engines.is_reserved(prepared.script.vad.engine):
            await asyncio.to_thread(engines.reserve, prepared.script.vad.engine)
        if self._stopping:
            raise RefusedError(503, "the server is going away")
        path = match.group()
        self._sessions[path] += 1
        number = self._sessions[path]
        call = name or f"session-{number}"
        session = self._make_session(prepared, call, number, replay=name is None)
        files, script = self._files(call), prepared.script
        if self.control is None:
            return Connection(session, files, self._on_mark, path=script.path, seed=script.seed)
        return self._make_controlled(self.control, session, files, script, path)

    def _make_controlled(
        self, control: Control, session: Session, files: SessionFiles, script: Script, path: str
    ) -> Connection:
        """A connection whose events are noted, and whose session may be changed."""
        journal = control.journal
        record = journal.open_session(files.name, path, time.monotonic_ns())

        def on_mark(mark: Mark) -> None:
            journal.note_mark(record, mark)
            if mark.name == "session_closed":
                control.over(record)
            if self._on_mark is not None:
                self._on_mark(mark)

        connection = Connection(
            session,
            files,
            on_mark,
            path=script.path,
            seed=script.seed,
            on_event=partial(journal.note_event, record),
        )
        scripted = session if isinstance(session, RealtimeSession) else None
        control.opened(OpenSession(record=record, session=scripted, change=connection.change))
        return connection

    def _with_options(self, prepared: PreparedScript) -> PreparedScript:
        wanted = {"chaos": self._options.chaos, "seed": self._options.seed}
        update = {name: value for name, value in wanted.items() if value is not None}
        if not update:
            return prepared
        return replace(prepared, script=prepared.script.model_copy(update=update))

    def _forget_sessions(self) -> Awaitable[object]:
        """End every session with 1001, and count from 1 again.

        Returns:
            What waits until their connections have ended; bounded in time.
        """
        for connection in list(self._connections.values()):
            connection.stop()
        self._sessions.clear()
        self._all_files.clear()
        endings = list(self._endings)
        return asyncio.wait(endings, timeout=_STOP_LIMIT_S) if endings else asyncio.sleep(0)

    def _files(self, call: str) -> SessionFiles:
        """All sessions of a path share a timeline; what an earlier server has left stays alone."""
        if call not in self._all_files:
            self._all_files[call] = SessionFiles(self._options.timelines, call).unused()
        return self._all_files[call]

    def _make_session(
        self, prepared: PreparedScript, call: str, number: int, *, replay: bool
    ) -> Session:
        keeps = self._options.keep_audio
        observation = Observation(trace_audio=keeps, keep_audio=keeps)
        if replay and self._recording is not None:
            return ReplaySession(
                self._recording, call=call, options=self._replay, observation=observation
            )
        return RealtimeSession(
            prepared,
            call=call,
            rng=random.Random(f"{prepared.script.seed}:{call}:{number}"),
            unix_time_s=int(time.time()),
            session_number=number,
            observation=observation,
            lenient=self._options.lenient,
        )

    async def _find(self, name: str) -> PreparedScript:
        cache = self._scripts
        if cache is None:
            raise RefusedError(404, f"no script {name!r}: this server has no folder of scripts")
        try:
            found = cache.ready(name) or await asyncio.to_thread(cache.find, name)
        except ScriptError as error:
            raise RefusedError(500, str(error)) from None
        if found is None:
            raise RefusedError(404, f"no script {name!r}: no {name}.yaml among the scripts")
        return found


def _new_journal() -> Journal:
    return Journal(time.monotonic_ns())


async def _send_all(socket: ServerConnection, connection: Connection) -> None:
    """Send what the session says, in order, until it ends or the client is gone."""
    try:
        while True:
            match await connection.outgoing():
                case str(text) | bytes(text):
                    await socket.send(text, text=True)
                case CloseConnection(code, reason):
                    await socket.close(code, reason)
                    return
                case DropConnection():
                    socket.transport.abort()
                    return
                case unknown:
                    assert_never(unknown)
    except ConnectionClosed:
        return


def _select_subprotocol(
    _socket: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """A browser cannot send headers: it offers `realtime`, its key and the beta as subprotocols.

    It gives up if none of them is taken.
    """
    return _SUBPROTOCOL if _SUBPROTOCOL in offered else None


def _is_of_this_machine(origin: str) -> bool:
    return is_loopback(parts_of(origin).hostname or "")
