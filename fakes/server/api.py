"""What the API serves over HTTP besides its WebSocket: client secrets, and calls over SIP."""

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from websockets.http11 import Request

from callerside.fakes.server.calls import Calls
from callerside.fakes.server.client_secrets import PREFIX, ClientSecrets, Fields
from callerside.fakes.server.http import (
    HttpError,
    HttpRequest,
    HttpResponse,
    Routes,
    check_local,
    json_response,
)
from callerside.fakes.session.refusals import RequestError

_BASE = r"/(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99}/)?v1/realtime"
_BEARER = re.compile(r"Bearer\s+(\S+)", re.IGNORECASE)
_KEY_PROTOCOL = "openai-insecure-api-key."
_STATUS = {"wrong_key": 401, "call_unknown": 404}

Asked = Mapping[str, Any]


class RealtimeApi:
    """The secrets and calls of one server."""

    def __init__(self, routes: Routes, on_call_over: Callable[[str], None], *, rings: bool) -> None:
        """Serve them.

        Args:
            routes: where.
            on_call_over: called with the id of a call that has ended.
            rings: whether tests on this machine may let calls ring.
        """
        self.secrets = ClientSecrets(random.Random())  # keys: not from anybody's seed
        self.calls = Calls(random.Random(), on_call_over)
        calls = self.calls

        def act(work: Callable[[str, Asked], None]) -> Callable[[Asked, re.Match[str]], Any]:
            return lambda asked, match: work(match["id"], asked)

        for method, path, work in (
            ("POST", f"{_BASE}/client_secrets", lambda asked, _: self._secret(asked)),
            ("POST", f"{_BASE}/calls/(?P<id>[^/]+)/accept", act(calls.accept)),
            ("POST", f"{_BASE}/calls/(?P<id>[^/]+)/reject", act(calls.reject)),
            ("POST", f"{_BASE}/calls/(?P<id>[^/]+)/refer", act(calls.refer)),
            (
                "POST",
                f"{_BASE}/calls/(?P<id>[^/]+)/hangup",
                lambda _, match: calls.hang_up(match["id"]),
            ),
        ):
            routes.add(method, path, _served(work, self._check_key))
        routes.add("POST", f"{_BASE}/calls", _served(self._offer, self._check_key, reads=False))
        if not rings:
            return
        for method, path, work in (
            ("POST", "/control/calls", lambda asked, _: calls.ring(asked, int(time.time()))),
            ("GET", "/control/calls/(?P<id>[^/]+)", lambda _, match: calls.state(match["id"])),
        ):
            routes.add(method, path, _served(work, check_local))

    def session_of(self, request: Request, call_id: str | None) -> Fields | None:
        """The session that a handshake's key or call opens; None if any.

        Raises:
            RequestError: the key, or the call, is none.
        """
        if call_id is not None:
            return self.calls.session_of(call_id)
        return self.secrets.session_of(_key_of(request), time.time())

    def _secret(self, asked: Asked) -> dict[str, Any]:
        return self.secrets.create(asked, int(time.time()))

    @staticmethod
    def _offer(_asked: Asked, _match: re.Match[str]) -> None:
        raise HttpError(501, "The fake does not speak WebRTC: connect a WebSocket instead.")

    def _check_key(self, request: HttpRequest) -> None:
        match = _BEARER.match(request.headers.get("Authorization", ""))
        if match is not None and match[1].startswith(PREFIX):
            self.secrets.session_of(match[1], time.time())


def _served(
    work: Callable[[Asked, re.Match[str]], Any],
    check: Callable[[HttpRequest], None],
    *,
    reads: bool = True,
) -> Callable[[HttpRequest, re.Match[str]], Awaitable[HttpResponse]]:
    """A handler in which refusals are errors over HTTP; nothing to say is an empty answer.

    `reads`: whether the body is JSON, and read; else it may be anything.
    """

    async def handle(request: HttpRequest, match: re.Match[str]) -> HttpResponse:
        try:
            check(request)
            answer = work(_object(request.json() if reads else {}), match)
        except RequestError as error:
            status = _STATUS.get(error.name, 400)
            raise HttpError(status, error.message, code=error.code, param=error.param) from None
        return HttpResponse(200) if answer is None else json_response(answer)

    return handle


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise RequestError("no_object")
    return body


def _key_of(request: Request) -> str:
    """The key of a handshake: of a header, or of a browser's subprotocol."""
    headers = request.headers
    for value in headers.get_all("Authorization"):
        if (match := _BEARER.match(value)) is not None:
            return match[1]
    for value in headers.get_all("Sec-WebSocket-Protocol"):
        for part in value.split(","):
            if part.strip().startswith(_KEY_PROTOCOL):
                return part.strip().removeprefix(_KEY_PROTOCOL)
    return next(iter(headers.get_all("api-key")), "")
