"""Control of a running server over HTTP: for tests in any language, on this machine alone.

    GET  /control/sessions                        all of them
    GET  /control/events?type=response.*          what has happened; see `Search`
    GET  /control/events/wait?type=...&count=2    the same, once there are so many
    POST /control/next                            replies and faults; see `Control.change`
    POST /control/reset                           as if the server had just started

The page at `/` is made of these, and of `/control/choices`: what one may choose there by hand.

What is wrong with a request is told in its answer: `{"error": {"message": ...}}`.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, assert_never, cast

from callerside.fakes.script.model import Script
from callerside.fakes.script.reply import Cancelled, Failed, Incomplete, Reply, ReplyItem
from callerside.fakes.server.control import Control, ControlError
from callerside.fakes.server.http import (
    HttpError,
    HttpRequest,
    HttpResponse,
    Routes,
    check_local,
    json_response,
)
from callerside.fakes.server.journal import Search, Sender, TooManyWaitError
from callerside.fakes.session.faults import FAULTS, HandshakeFault

MOST_AT_ONCE = 1000
"""Events in one answer: other sessions wait while it is made. `after` leads to the next ones."""
_WAIT_MS = 10_000
_LONGEST_WAIT_MS = 60_000
_SENDERS = ("client", "server", "fake")
_FAULTS = [name for name, kind in FAULTS.items() if not issubclass(kind, HandshakeFault)]
_OF_PAGES = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_SEARCH = ("session", "from", "type", "after", "match")


def add_control(routes: Routes, control: Control) -> None:
    """Serve control."""
    served = _ControlRoutes(control)
    routes.add("GET", "/control/sessions", served.sessions)
    routes.add("GET", "/control/events", served.events)
    routes.add("GET", "/control/events/wait", served.wait)
    routes.add("POST", "/control/next", served.next)
    routes.add("POST", "/control/reset", served.reset)


def add_page(routes: Routes, script: Script) -> None:
    """Serve a page for people at `/`; it needs `add_control`, too."""

    async def choices(request: HttpRequest, _match: re.Match[str]) -> HttpResponse:
        _check(request, ())
        return json_response({"replies": list(replies_of(script)), "faults": _FAULTS})

    def file(name: str, content_type: str) -> None:
        async def serve(request: HttpRequest, _match: re.Match[str]) -> HttpResponse:
            _check(request, ())
            body = await asyncio.to_thread(Path(__file__).with_name(name).read_bytes)
            return HttpResponse(200, body, content_type, _OF_PAGES)

        routes.add("GET", "/" if name == "page.html" else f"/{re.escape(name)}", serve)

    routes.add("GET", "/control/choices", choices)
    file("page.html", "text/html; charset=utf-8")
    file("page.js", "text/javascript; charset=utf-8")


class _ControlRoutes:
    def __init__(self, control: Control) -> None:
        self._control = control

    async def sessions(self, request: HttpRequest, _match: re.Match[str]) -> HttpResponse:
        _check(request, ())
        return json_response([record.as_json() for record in self._control.journal.sessions])

    async def events(self, request: HttpRequest, _match: re.Match[str]) -> HttpResponse:
        query = _check(request, (*_SEARCH, "limit"))
        limit = _number(query, "limit", MOST_AT_ONCE)
        if not 1 <= limit <= MOST_AT_ONCE:
            raise HttpError(400, f"limit: expected 1 to {MOST_AT_ONCE}", param="limit")
        try:
            return json_response(self._control.events(_search(query), limit))
        except ControlError as error:
            raise HttpError(error.status, str(error), param="session") from None

    async def wait(self, request: HttpRequest, _match: re.Match[str]) -> HttpResponse:
        query = _check(request, (*_SEARCH, "count", "within_ms"))
        count, within_ms = _number(query, "count", 1), _number(query, "within_ms", _WAIT_MS)
        if not 1 <= count <= MOST_AT_ONCE:
            raise HttpError(400, f"count: expected 1 to {MOST_AT_ONCE}", param="count")
        if within_ms > _LONGEST_WAIT_MS:
            message = f"within_ms: expected at most {_LONGEST_WAIT_MS}"
            raise HttpError(400, message, param="within_ms")
        try:
            found = await self._control.wait(_search(query), count=count, within_s=within_ms / 1000)
        except ControlError as error:
            raise HttpError(error.status, str(error)) from None
        except TooManyWaitError as error:
            raise HttpError(429, str(error)) from None
        return json_response(found)

    async def next(self, request: HttpRequest, _match: re.Match[str]) -> HttpResponse:
        _check(request, ())
        given = request.json()
        if not isinstance(given, dict):
            raise HttpError(400, "expected an object: replies, faults, session")
        if unknown := given.keys() - {"replies", "faults", "session"}:
            name = min(unknown)
            raise HttpError(400, f"{name}: unknown; expected replies, faults, session", param=name)
        session = given.get("session")
        is_number = isinstance(session, int) and not isinstance(session, bool)
        if session not in (None, "next") and not is_number:
            raise HttpError(400, "session: expected a number, or 'next'", param="session")
        try:
            number = await self._control.change(
                _list(given, "replies"), _list(given, "faults"), session
            )
        except ControlError as error:
            raise HttpError(error.status, str(error)) from None
        return json_response({"session": "next" if number is None else number})

    async def reset(self, request: HttpRequest, _match: re.Match[str]) -> HttpResponse:
        _check(request, ())
        await self._control.reset()
        return json_response({})


def _check(request: HttpRequest, known: tuple[str, ...]) -> Mapping[str, str]:
    """The query of a request that may ask.

    Raises:
        HttpError: it comes by a name that is not this machine's (DNS rebinding), or asks for what
            is not known.
    """
    check_local(request)
    for name in request.query:
        if name not in known:
            expected = f"; expected {', '.join(known)}" if known else ""
            raise HttpError(400, f"{name[:100]!a}: unknown{expected}", param=name[:100])
    return request.query


def replies_of(script: Script) -> Iterator[dict[str, Any]]:
    """What the script says, each in words and as it may be asked for again; files are not."""
    for reply in (*script.replies, script.default_reply):
        parts = reply.parts
        if any(part.wav or part.recording for part in parts):
            continue
        yield {"words": _told(reply), "reply": reply.model_dump(mode="json", exclude_defaults=True)}


def _told(reply: Reply) -> str:
    """What a reply says and calls, and how it ends, for people."""
    told = " / ".join(filter(None, map(_words, reply.parts)))
    match reply.ending:
        case None:
            how = f"(sends {reply.sends_only})" if reply.sends_only else ""
        case Incomplete(reason=why) | Cancelled(reason=why):
            how = f"({type(reply.ending).__name__.lower()}: {why})"
        case Failed(code=code):
            how = f"(failed: {code})"
        case unknown:
            assert_never(unknown)
    return f"{told} {how}".strip() or "nothing"


def _words(part: ReplyItem) -> str:
    if part.function_call is not None:
        return f"calls {part.function_call.name}"
    if part.mcp_call is not None:
        return f"calls {part.mcp_call.server}.{part.mcp_call.name}"
    return part.say or part.text or ""


def _search(query: Mapping[str, str]) -> Search:
    sender = query.get("from")
    if sender not in (None, *_SENDERS):
        raise HttpError(400, f"from: expected one of {', '.join(_SENDERS)}", param="from")
    try:
        match = json.loads(query.get("match", "{}"))
    except (ValueError, RecursionError):
        match = None
    if not isinstance(match, dict):
        raise HttpError(400, "match: expected a JSON object, what events hold", param="match")
    return Search(
        session=_number(query, "session", None),
        sender=cast("Sender | None", sender),
        type=query.get("type", "*"),
        after=_number(query, "after", 0),
        match=match,
    )


def _number(query: Mapping[str, str], name: str, default: Any) -> Any:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise HttpError(400, f"{name}: expected a whole number", param=name)
    return int(text)


def _list(given: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    values = given.get(name, [])
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        raise HttpError(400, f"{name}: expected a list of objects", param=name)
    return values
