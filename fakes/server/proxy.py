"""Records the sessions of any client with any Realtime server, from in between.

    fake-realtime record --upstream wss://api.openai.com/v1/realtime --to call.realtime

Every message is passed on first and written down afterwards, so that the recording costs the
conversation next to nothing. Headers are passed on and never written; what looks like a secret
inside events is removed.

WebSockets have no same-origin rule: any web page in the developer's browser can connect to a
loopback port. So pages are refused unless they are named, and a key is lent only when asked for.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from callerside.fakes.recording.audio_files import Sender
from callerside.fakes.recording.format import Header, RecordingWriter
from callerside.fakes.server.addresses import in_url, is_loopback, parts_of
from callerside.fakes.server.arrivals import Arrivals
from callerside.fakes.server.codec import audio_as_bytes

_MAX_MESSAGE_BYTES = 2**26
_CONNECT_LIMIT_S = 20
_KEY_HEADERS = ("Authorization", "api-key")
_WHOSE = (*_KEY_HEADERS, "OpenAI-Organization", "OpenAI-Project")
_PASSED_ON = (*_WHOSE, "OpenAI-Safety-Identifier")
_WHOSE_PROTOCOLS = ("openai-insecure-api-key", "openai-organization", "openai-project")
_BETA = "OpenAI-Beta"
_KEY = "OPENAI_API_KEY"
_MAX_QUOTED_CHARS = 200  # of what a stranger wrote
# Close codes that only say what was missing (RFC 6455 §7.4.1).
_NO_CODE = 1005
_LOST = 1006

log = logging.getLogger("callerside.fakes.server.proxy")

Peer = ServerConnection | ClientConnection


class RecordingProxy:
    """A server that passes everything on to another, and writes it down."""

    def __init__(
        self,
        upstream: str,
        to: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        audio_files: bool = False,
        caller_audio: bool = True,
        lend_key: bool = False,
        origins: Sequence[str] = (),
    ) -> None:
        """The first session is recorded in `to`, the next in `NAME-2`, and so on.

        Args:
            upstream: where every session goes.
            to: the first recording.
            host: address to listen on.
            port: 0 is any that is free.
            audio_files: keep audio in WAV files beside the recording.
            caller_audio: keep the sound that clients send; without it only when they sent some.
            lend_key: a client without a key of its own uses `OPENAI_API_KEY` of the environment.
            origins: web pages that may connect, as a browser names them: `http://localhost:3000`.

        Raises:
            ValueError: a key would be lent to whoever reaches this host.
        """
        if lend_key and not is_loopback(host):
            raise ValueError(
                f"a key is lent on loopback only: whoever reaches {host} could use it; listen on "
                "127.0.0.1, or let clients send keys of their own"
            )
        self._upstream = upstream
        self._to = to
        self._host = host
        self._port = port
        self._audio_files = audio_files
        self._caller_audio = caller_audio
        self._lends_key = lend_key
        self._origins = frozenset(origins)
        self._server: Server | None = None
        self._arrivals = Arrivals()
        self._attempts: set[asyncio.Future[ClientConnection]] = set()
        self._stopping = False
        self._peers: dict[ServerConnection, ClientConnection] = {}
        self._endings: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            process_request=self._process_request,
            create_connection=self._arrivals.create,  # type: ignore[arg-type] # it asks for a class
            select_subprotocol=self._select_subprotocol,
            max_size=_MAX_MESSAGE_BYTES,
            compression=None,
            open_timeout=_CONNECT_LIMIT_S + 5,
            server_header=None,
        )
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._stopping = True
            self._arrivals.abort_silent()
            for attempt in self._attempts:
                attempt.cancel()
            self._server.close()
            await self._server.wait_closed()
            await asyncio.gather(*self._endings)

    @property
    def base_url(self) -> str:
        """Where clients connect to, as the official client's `websocket_base_url` has it."""
        if self._server is None:
            raise RuntimeError("the proxy has not been started")
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://{in_url(self._host)}:{port}/v1"

    @property
    def url(self) -> str:
        """The same, whole."""
        return f"{self.base_url}/realtime"

    async def _process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        """Connect upstream before the client is admitted, so that a refusal is passed on too."""
        for origin in request.headers.get_all("Origin"):
            if origin not in self._origins:
                shown = ascii(origin[:_MAX_QUOTED_CHARS])
                log.warning("refused a web page of %s: --allow-origin admits it", shown)
                return socket.respond(HTTPStatus.FORBIDDEN, "web pages may not connect here\n")
        query = parts_of(request.path).query
        url = f"{self._upstream}{'&' if '?' in self._upstream else '?'}{query}"
        try:
            upstream = await self._connect(url if query else self._upstream, request.headers)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the proxy is going away\n")
        except InvalidStatus as error:
            response = error.response
            if 300 <= response.status_code < 400:
                return socket.respond(HTTPStatus.BAD_GATEWAY, _not_followed(response))
            log.warning("upstream refused the connection with status %d", response.status_code)
            return Response(response.status_code, response.reason_phrase, Headers(), response.body)
        except (OSError, TimeoutError, WebSocketException) as error:
            log.warning("cannot connect to %s: %s", self._upstream, error)
            return socket.respond(502, f"cannot connect upstream: {error}\n")
        self._peers[socket] = upstream
        ending = asyncio.create_task(self._hang_up(socket, upstream))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        return None

    async def _connect(self, url: str, given: Headers) -> ClientConnection:
        """Connect upstream; the end of the proxy ends the attempt."""

        async def attempt() -> ClientConnection:
            return await _ConnectThereOnly(
                url,
                additional_headers=self._headers(given),
                max_size=_MAX_MESSAGE_BYTES,
                open_timeout=_CONNECT_LIMIT_S,
                compression=None,
                subprotocols=_offered(given),
                user_agent_header=given.get("User-Agent"),
            )

        attempting = asyncio.ensure_future(attempt())
        self._attempts.add(attempting)
        attempting.add_done_callback(self._attempts.discard)
        return await attempting

    def _headers(self, given: Headers) -> Headers:
        """What goes upstream of a client's headers."""
        headers = Headers()
        for name in (*_PASSED_ON, _BETA):
            for value in given.get_all(name):
                headers[name] = value
        key = os.environ.get(_KEY)
        has_key = any(name in headers for name in _KEY_HEADERS) or _offered(given)
        if key and not has_key:
            if self._lends_key:
                headers["Authorization"] = f"Bearer {key}"
            else:
                log.warning("a client has sent no key: --lend-key lends it %s", _KEY)
        return headers

    def _select_subprotocol(
        self, socket: ServerConnection, _offered: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        """What the upstream server has chosen."""
        return self._peers[socket].subprotocol

    async def _hang_up(self, client: ServerConnection, upstream: ClientConnection) -> None:
        """A client that goes, however far its handshake came, leaves no connection behind."""
        await client.wait_closed()
        await upstream.close()
        self._peers.pop(client, None)

    async def _serve(self, client: ServerConnection) -> None:
        upstream = self._peers.pop(client)
        request = client.request
        beta = request is not None and _BETA in request.headers
        header = Header(
            dialect="beta" if beta else "ga",
            model=_model(request),
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
            source=urlsplit(self._upstream).hostname or "",
        )
        path = self._next_path()
        recorder = SessionRecorder(
            path,
            header,
            audio_files=self._audio_files,
            caller_audio=self._caller_audio,
            secrets=_secrets_of(Headers() if request is None else request.headers, upstream),
        )
        try:
            await asyncio.gather(
                _pump(client, upstream, lambda message: recorder.add("client", message)),
                _pump(upstream, client, lambda message: recorder.add("server", message)),
            )
        finally:
            recorder.close()

    def _next_path(self) -> Path:
        """The first that is free: a recording costs money, and is never overwritten."""
        path = self._to
        number = 1
        while path.exists():
            number += 1
            path = self._to.with_stem(f"{self._to.stem}-{number}")
        return path


class SessionRecorder:
    """One session's recording; a disk that fails ends it, and never the session."""

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        audio_files: bool,
        caller_audio: bool = True,
        secrets: Collection[str] = (),
    ) -> None:
        self._path = path
        self._began_s = time.monotonic()
        self._writer: RecordingWriter | None = None
        try:
            self._writer = RecordingWriter(
                path, header, audio_files=audio_files, caller_audio=caller_audio, secrets=secrets
            )
        except OSError as error:
            self._give_up(error)

    def add(self, sender: Sender, message: str | bytes) -> None:
        """Write down a message that has just been passed on."""
        if self._writer is None:
            return
        event = _event(message)
        if event is None:
            return
        try:
            self._writer.write(time.monotonic() - self._began_s, sender, event)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """End the recording."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
                log.info("recorded %s", self._path)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log.error("%s is not recorded any further: %s", self._path, error.strerror or error)
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()


async def _pump(source: Peer, target: Peer, write: Callable[[str | bytes], None]) -> None:
    """Pass messages on until one side closes; then close the other likewise."""
    try:
        async for message in source:
            await target.send(message)
            write(message)
    except ConnectionClosed:
        pass
    await _end_likewise(target, source.close_code or _LOST, source.close_reason or "")


async def _end_likewise(peer: Peer, code: int, reason: str) -> None:
    """Let one side see the end that the other has made: a drop is a drop, no code is no code."""
    if code == _LOST:
        peer.transport.abort()
    elif code == _NO_CODE:
        await peer.close(None)  # type: ignore[arg-type] # it hands it on to send_close
    else:
        await peer.close(code, reason)


def _offered(given: Headers) -> list[Subprotocol] | None:
    """A browser sends its key as a subprotocol."""
    values = given.get_all("Sec-WebSocket-Protocol")
    return [Subprotocol(part.strip()) for value in values for part in value.split(",")] or None


def _secrets_of(client: Headers, upstream: ClientConnection) -> list[str]:
    """By what the client has shown who it is, and what the server calls it by."""
    there = (upstream.request, upstream.response)
    headers = [client, *(one.headers for one in there if one is not None)]
    said = [value for given in headers for name in _WHOSE for value in given.get_all(name)]
    # A browser's: `openai-insecure-api-key.KEY`, `openai-project.ID`.
    said += [
        whose
        for given in headers
        for value in given.get_all("Sec-WebSocket-Protocol")
        for kind, _, whose in (part.strip().partition(".") for part in value.split(","))
        if kind in _WHOSE_PROTOCOLS
    ]
    return [re.sub(r"^bearer\s+", "", text, flags=re.IGNORECASE).strip() for text in said]


class _ConnectThereOnly(connect):
    """Connects upstream, and to no other host that it points to.

    `websockets` follows redirects, below 17 with the key.
    """

    def process_redirect(self, exc: Exception) -> Exception | str:
        """A redirect is a refusal, as any other status."""
        return exc


def _not_followed(response: Response) -> str:
    to = ascii(response.headers.get_all("Location")[:1])[:_MAX_QUOTED_CHARS]
    shown = (
        f"upstream redirects (HTTP {response.status_code}) to {to}, which is not followed: it "
        "would get the key; --upstream must name the server itself"
    )
    log.warning("%s", shown)
    return shown + "\n"


def _model(request: Request | None) -> str:
    query = "" if request is None else parts_of(request.path).query
    return parse_qs(query).get("model", [""])[0]


def _event(message: str | bytes) -> dict[str, Any] | None:
    """An event as it is recorded; None for what is none, which cannot be."""
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        log.warning("passed on, but not recorded: a message that is no event")
        return None
    return audio_as_bytes(event)
