"""The Realtime API over a WebSocket: the agent's one place for JSON, base64 and sockets.

Implements `agent.realtime.interface.RealtimeConnection` on `websockets`. The key goes into the
handshake's `Authorization` header and nowhere else.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import os
import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:  # its wheel for this machine has none
    from websockets.utils import apply_mask

from callerside.agent.config.settings import Dialect
from callerside.agent.realtime.dialects import BETA_HEADER
from callerside.agent.realtime.interface import (
    Event,
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeGarbage,
    RealtimeInput,
)
from callerside.agent.realtime.requests import append

_log = structlog.get_logger(__name__)

MAX_WAITING_EVENTS = 3_000
"""Before the handshake is done: a minute of 20 ms appends."""
MAX_WAITING_BYTES = 16 * 1024 * 1024
"""After it: four minutes of appends. A socket that takes nothing for so long is dead."""
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A minute of sound in one event; what is larger is read by nobody."""
MOST_SILENT_FRAMES = 1_000
"""Within `_WINDOW_S`: pings, pongs and pieces of messages, which say nothing by themselves."""
_WINDOW_S = 10.0
_CLOSE_TIMEOUT_S = 2.0
_PING_INTERVAL_S = 5.0
_PING_TIMEOUT_S = 10.0
"""A socket that is dead without a word is found out in 15 s: its caller hears nothing meanwhile."""
_MAX_QUOTED_CHARS = 200
"""Of what a stranger wrote."""
_APPEND = b'{"type":"input_audio_buffer.append","audio":"%b"}'
"""`requests.append` as it goes over the wire."""
_FRAME = struct.Struct("!BBH4s")
"""Before a text: what it is, how long, and how it is masked (RFC 6455 §5.2)."""
_FRAMED = range(126, 1 << 16)
"""Of so many bytes that their number takes two."""
_WHOLE_TEXT, _MASKED_LONG, _MASK_BYTES = 0x81, 0xFE, 4
_SILENT = frozenset({Opcode.PING, Opcode.PONG, Opcode.CONT})
_AUDIO_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta"})


class WebSocketConnection:
    """One connection. Make it on the loop's thread, then `start`."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        api_key: str | None,
        dialect: Dialect = "ga",
        timeout_ms: int = 5_000,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        self._url = _with_query(url, {**(query or {}), "model": model})
        self._headers = {**_headers(api_key, dialect), **(headers or {})}
        self._timeout_s = timeout_ms / 1000
        self._unsent: list[Event] = []
        self._socket: ClientConnection | None = None
        self._on_input: Callable[[RealtimeInput], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._conversing = False
        self._closing = asyncio.Event()
        self._overflow = ""

    def start(self, on_input: Callable[[RealtimeInput], None]) -> None:
        """See `RealtimeConnection.start`."""
        self._on_input = on_input
        self._task = asyncio.get_running_loop().create_task(self._run(), name="realtime")

    def send(self, event: Event) -> None:
        """See `RealtimeConnection.send`."""
        if self._on_input is None or self._overflow:
            return
        socket = self._socket
        if socket is None:
            self._keep(event)
            return
        broadcast((socket,), _encode(event), text=True)
        if socket.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            self._stuck()

    def append(self, audio: bytes) -> None:
        """See `RealtimeConnection.append`.

        Fifty times a second and call: so its text and the frame around it are put together by hand,
        with a tenth of the functions that the encoders of both pass through.
        """
        socket = self._socket
        if socket is None or self._on_input is None or self._overflow:
            self.send(append(audio))
            return
        text = _APPEND % binascii.b2a_base64(audio, newline=False)
        if len(text) in _FRAMED and socket.protocol.state is State.OPEN:
            mask = os.urandom(_MASK_BYTES)
            head = _FRAME.pack(_WHOLE_TEXT, _MASKED_LONG, len(text), mask)
            socket.transport.write(head + apply_mask(text, mask))
        else:
            broadcast((socket,), text, text=True)
        if socket.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            self._stuck()

    def close(self) -> None:
        """See `RealtimeConnection.close`."""
        self._on_input = None
        self._stop()

    async def wait_closed(self) -> None:
        """Until the socket is closed; bounded by the closing handshake's limit."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _keep(self, event: Event) -> None:
        """Until the handshake is done."""
        if len(self._unsent) < MAX_WAITING_EVENTS:
            self._unsent.append(event)
        else:
            self._give_up(f"{MAX_WAITING_EVENTS} events waited to be sent")

    def _stuck(self) -> None:
        self._give_up(f"{MAX_WAITING_BYTES} bytes waited to be sent")

    def _give_up(self, reason: str) -> None:
        self._overflow = reason
        self._stop()

    def _stop(self) -> None:
        self._closing.set()
        # Soon: a task that is cancelled before its first step would have no say any more.
        asyncio.get_running_loop().call_soon(self._stop_connecting)

    def _stop_connecting(self) -> None:
        if self._task is not None and not self._conversing:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            closed = await self._talk()
        except asyncio.CancelledError:
            closed = RealtimeClosed(reason=self._overflow)
        self._notify(closed)

    async def _talk(self) -> RealtimeClosed:
        try:
            async with _ConnectThereOnly(
                self._url,
                additional_headers=self._headers,
                open_timeout=self._timeout_s,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=_PING_INTERVAL_S,
                ping_timeout=_PING_TIMEOUT_S,
                compression=None,  # audio does not shrink, and waiting for it costs latency
                max_size=MAX_MESSAGE_BYTES,
                proxy=None if _is_loopback(self._url) else True,
                create_connection=_BoundedConnection,
                logger=_WEBSOCKETS,
            ) as socket:
                return await self._converse(socket)
        except InvalidStatus as error:
            reason = f"handshake refused: HTTP {error.response.status_code}{_redirect(error)}"
            return RealtimeClosed(reason=reason, status=error.response.status_code)
        except TimeoutError:
            return RealtimeClosed(reason=f"no handshake within {self._timeout_s:g} s")
        except (OSError, WebSocketException) as error:
            return RealtimeClosed(reason=f"cannot connect: {error or type(error).__name__}")

    async def _converse(self, socket: ClientConnection) -> RealtimeClosed:
        self._conversing = True
        self._socket = socket
        for event in self._unsent:
            self.send(event)
        self._unsent.clear()
        self._notify(RealtimeConnected())
        tasks = [
            asyncio.create_task(work, name=f"realtime-{name}")
            for name, work in (
                ("reader", self._read(socket)),
                ("closer", self._closing.wait()),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._socket = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._overflow:
            return RealtimeClosed(reason=self._overflow)
        if isinstance(socket, _BoundedConnection) and socket.exceeded:
            return RealtimeClosed(reason=socket.exceeded, code=CloseCode.POLICY_VIOLATION)
        # RFC 6455 §7.1.5: 1006 where no close frame was received
        code, reason = 1006, "the connection was lost"
        if socket.close_code is not None and socket.close_code != code:
            code, reason = socket.close_code, socket.close_reason or "closed by the server"
        elif (wrong := socket.protocol.parser_exc) and not isinstance(wrong, EOFError):
            reason = f"the server broke the protocol: {wrong}"
        return RealtimeClosed(reason=reason, code=code)

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                event = _decode(await socket.recv())
                if self._on_input is not None:
                    self._on_input(event)

    def _notify(self, event: RealtimeInput) -> None:
        if self._on_input is not None:
            self._on_input(event)


class _InOurWords(logging.Filter):
    """What `websockets` tells of its own troubles, with a traceback each: a line is enough.

    What becomes of the session is told by whoever has it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is told as it is."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        _log.warning(
            "realtime_connection_broken",
            what=record.getMessage(),
            error=f"{type(error).__name__}: {error}"[:_MAX_QUOTED_CHARS],
        )
        return False


_WEBSOCKETS = logging.getLogger("websockets.realtime")
_WEBSOCKETS.addFilter(_InOurWords())


class _BoundedConnection(ClientConnection):
    """Gives a server up that sends pings, or empty pieces of a message, without end."""

    exceeded = ""
    """What there was too much of."""
    _began_s = 0.0
    _silent_frames = 0

    def process_event(self, event: Any) -> None:
        """Each frame that comes, and before them the handshake's answer."""
        super().process_event(event)
        if not isinstance(event, Frame) or event.opcode not in _SILENT:
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - self._began_s >= _WINDOW_S:
            self._began_s, self._silent_frames = now_s, 0
        self._silent_frames += 1
        if self._silent_frames > MOST_SILENT_FRAMES and not self.exceeded:
            self.exceeded = (
                f"more than {MOST_SILENT_FRAMES} frames within {_WINDOW_S:g} s that say nothing"
            )
            self.transport.abort()


class _ConnectThereOnly(connect):
    """Connects to the host that the settings name, and to none that it points to instead.

    `websockets` follows redirects: below 17 with the key, and in all versions with the call.
    """

    def process_redirect(self, exc: Exception) -> Exception | str:
        """A redirect is a refusal, as any other status."""
        return exc


def _redirect(error: InvalidStatus) -> str:
    """What is to be said of a refusal that is a redirect; nothing of any other."""
    to = error.response.headers.get_all("Location")
    if not to or not 300 <= error.response.status_code < 400:
        return ""
    return (
        f", a redirect to {to[0][:_MAX_QUOTED_CHARS]!r}, which is not followed: it would get the "
        "key and the caller's voice; realtime.url must name the server itself"
    )


def _encode(event: Event) -> bytes:
    audio = event.get("audio")
    if not isinstance(audio, bytes):
        return json.dumps(event, separators=(",", ":")).encode()
    text = base64.b64encode(audio).decode()
    return json.dumps({**event, "audio": text}, separators=(",", ":")).encode()


def _decode(message: str | bytes) -> RealtimeInput:
    size_bytes = len(message)  # all but what people wrote is ASCII
    try:
        event: Any = json.loads(message)
    except (ValueError, RecursionError) as error:
        return RealtimeGarbage(reason=f"not JSON: {error}", size_bytes=size_bytes)
    wrong = ""
    if not isinstance(event, dict):
        wrong = f"a JSON {type(event).__name__}, expected an object"
    elif not isinstance(event_type := event.get("type"), str):
        wrong = "an object without a type"
    elif event_type in _AUDIO_DELTAS:
        try:
            event["delta"] = base64.b64decode(event.get("delta", ""), validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            wrong = f"{event_type}: bad base64 in delta: {error}"
    if wrong:
        return RealtimeGarbage(reason=wrong, size_bytes=size_bytes)
    return RealtimeEvent(event=event, size_bytes=size_bytes)


def _headers(api_key: str | None, dialect: Dialect) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    if dialect == "beta":
        name, value = BETA_HEADER
        headers[name] = value
    return headers


def _with_query(url: str, more: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key not in more]
    return urlunsplit(parts._replace(query=urlencode([*query, *more.items()])))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
