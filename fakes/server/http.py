"""Plain HTTP on the port of the WebSockets: requests with a body, which `websockets` does not take.

Whoever serves something over HTTP registers it in a `Routes`: by its method and a pattern of its
path. A request is one exchange, bounded in size and in time, and its connection ends with it.
"""

import asyncio
import io
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, parse_headers
from typing import Any
from urllib.parse import parse_qsl, unquote

from callerside.fakes.server.addresses import is_loopback, parts_of

MOST_HEAD_BYTES = 2**16
MOST_BODY_BYTES = 2**20
_READ_LIMIT_S = 10.0
"""For who has asked to take the answer."""
_END_OF_HEAD = b"\r\n\r\n"

log = logging.getLogger("callerside.fakes.server.server")


class HttpError(Exception):
    """A request is answered with an error, as the API writes one."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }

    @property
    def response(self) -> "HttpResponse":
        """The answer."""
        return json_response({"error": self.error}, self.status)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request."""

    method: str
    path: str
    headers: HTTPMessage
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; nothing is an empty object.

        Raises:
            HttpError: 400, it is none.
        """
        if not self.body.strip():
            return {}
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            message = "We could not parse the JSON body of your request."
            raise HttpError(400, message) from None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As it goes over the wire."""
        known = {
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in {**known, **self.headers}.items()]
        return "\r\n".join(lines).encode("latin-1", "replace") + _END_OF_HEAD + self.body


def json_response(value: object, status: int = 200) -> HttpResponse:
    """An answer in JSON."""
    return HttpResponse(status, json.dumps(value).encode())


Handler = Callable[[HttpRequest, re.Match[str]], Awaitable[HttpResponse]]
"""Gets the request, and the match of its path."""


class Routes:
    """What is served over plain HTTP, and to whom."""

    def __init__(self, refuse: Callable[[str], str | None] = lambda _origin: None) -> None:
        """`refuse` says why web pages of an origin may not ask; None if they may."""
        self._refuse = refuse
        self._all: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        """Serve these paths, which match the whole of a regular expression."""
        self._all.append((method, re.compile(pattern), handler))

    def knows(self, path: str) -> bool:
        """Whether anything is served there."""
        return any(pattern.fullmatch(path) for _, pattern, _ in self._all)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Serve a request; whatever goes wrong is an answer, too."""
        try:
            self._check_origin(request)
            return await self._handle(request)
        except HttpError as error:
            asked = ascii(f"{request.method} {request.path}"[:200])
            log.warning("refused %s: %s", asked, error)
            return error.response
        except Exception:
            log.exception("a request has failed: please report it")
            return HttpError(500, "the server has failed: see its log").response

    def _check_origin(self, request: HttpRequest) -> None:
        for origin in request.headers.get_all("Origin", []):
            if (why := self._refuse(origin)) is not None:
                raise HttpError(403, why)

    async def _handle(self, request: HttpRequest) -> HttpResponse:
        known: list[str] = []
        for method, pattern, handler in self._all:
            match = pattern.fullmatch(request.path)
            if match is not None and method == request.method:
                return await handler(request, match)
            known += [method] if match else []
        if known:
            raise HttpError(405, f"Not allowed to {request.method} on {request.path}.")
        raise HttpError(404, f"Invalid URL ({request.method} {request.path})")


@dataclass(slots=True)
class Exchange:
    """What a connection has sent so far of a request that may be plain HTTP."""

    received: bytearray = field(default_factory=bytearray)
    request: HttpRequest | None = None
    """Without its body, once its head is there."""
    length: int = 0
    """Of its body, in bytes."""

    def add(self, data: bytes) -> None:
        """Take what has come.

        Raises:
            HttpError: it is no request, or too large.
        """
        self.received += data
        if self.request is None:
            self._read_head()

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there."""
        return self.request is not None and len(self.received) >= self.length

    def whole(self) -> HttpRequest:
        """The request, with its body.

        Raises:
            ValueError: it is not whole.
        """
        if self.request is None or not self.is_whole:
            raise ValueError("the request is not whole")
        return replace(self.request, body=bytes(self.received[: self.length]))

    def _read_head(self) -> None:
        end = self.received.find(_END_OF_HEAD)
        if end < 0:
            if len(self.received) > MOST_HEAD_BYTES:
                raise HttpError(431, "The head of the request is too long.")
            return
        head = bytes(self.received[: end + len(_END_OF_HEAD)])
        del self.received[: len(head)]
        line, _, rest = head.partition(b"\r\n")
        words = line.decode("latin-1").split(" ")
        try:
            headers = parse_headers(io.BytesIO(rest))
        except HTTPException:
            raise HttpError(400, "The headers cannot be read.") from None
        if len(words) != 3:
            raise HttpError(400, "The request line cannot be read.")
        parts = parts_of(words[1])
        self.length = _length(headers)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.request = HttpRequest(words[0], unquote(parts.path), headers, query)


def check_local(request: HttpRequest) -> None:
    """Let nobody control a server on this machine by another name: DNS may lead pages here.

    Raises:
        HttpError: it comes by a name that is not this machine's.
    """
    host = request.headers.get("Host", "")
    if not is_loopback(parts_of(f"//{host}").hostname or ""):
        raise HttpError(403, f"control is for this machine alone, not for {host[:100]!a}")


def _length(headers: HTTPMessage) -> int:
    if headers.get("Transfer-Encoding"):
        raise HttpError(411, "Send the body with a Content-Length.")
    text = headers.get("Content-Length", "0")
    if not text.isascii() or not text.isdigit():
        raise HttpError(400, "Content-Length is no number.")
    if int(text) > MOST_BODY_BYTES:
        raise HttpError(413, f"The body is longer than {MOST_BODY_BYTES} bytes.")
    return int(text)


def wants_websocket(request: HttpRequest) -> bool:
    """Whether a request asks for a WebSocket."""
    return request.method == "GET" and "websocket" in request.headers.get("Upgrade", "").lower()


async def exchange(request: HttpRequest, routes: Routes, transport: asyncio.Transport) -> None:
    """Answer a request, and end its connection."""
    response = await routes.answer(request)
    if not transport.is_closing():
        transport.write(response.encode())
        transport.close()
        # What nobody reads is not kept for ever.
        asyncio.get_running_loop().call_later(_READ_LIMIT_S, transport.abort)
