"""Functions that are requests over HTTP, as the settings describe them (`tools.http`).

Whatever the model sends is checked against the schema and escaped: it chooses neither the host nor
another path. What is a secret comes from the environment, and is taken out of what comes back.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from callerside.agent.call.builtin_tools import Declaration
from callerside.agent.config.environment import filled
from callerside.agent.config.settings import HttpToolSettings
from callerside.agent.tools.environment import FromEnvironment
from callerside.agent.tools.http_client import (
    Request,
    RequestError,
    Response,
    UnansweredError,
    send,
)
from callerside.agent.tools.interface import Cancellation, CancelledError, failed
from callerside.json_schema import problem_with

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""RFC 9110 §9.2.2: sent twice they do what they do once."""
_FOLLOWS = frozenset({"GET", "HEAD"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_MOST_OF_A_URL = 8_000
"""Bytes; RFC 9110 §4.1 has servers take that many."""
_MOST_OF_A_REFUSAL = 1_000
"""Letters of what a server says to an error, for the model."""

Send = Callable[[Request], Response]


class HttpTool:
    """One function."""

    def __init__(
        self,
        name: str,
        settings: HttpToolSettings,
        env: Mapping[str, str] | None,
        *,
        limit_ms: float,
        send: Send = send,
    ) -> None:
        """Read what the headers need of the environment.

        Args:
            name: as the model knows it.
            settings: what to send, and where.
            env: the environment; None: it is only declared, and will not run.
            limit_ms: of one run, with all its attempts.
            send: sends a request.

        Raises:
            ToolError: a name is not in the environment, or has what no header may hold.
        """
        self.declaration: Declaration = {
            "type": "function",
            "name": name,
            "description": settings.description,
            "parameters": settings.parameters,
        }
        self._settings = settings
        self._limit_ms = limit_ms
        self._send = send
        self._secrets, self._headers = FromEnvironment(), {}
        if env is not None:
            names = settings.from_environment
            self._secrets = FromEnvironment.read(f"tools.http.{name}", names, env)
            self._headers = filled(settings.headers, self._secrets)

    def run(
        self,
        arguments: Mapping[str, Any],
        keys: str = "",  # noqa: ARG002
        cancellation: Cancellation | None = None,
    ) -> tuple[bool, str]:
        """See `Tool.run`. The output is the body of an answer with 2xx."""
        problem = problem_with(arguments, self.declaration["parameters"])
        if problem is not None:
            return failed(f"wrong arguments: {problem}")
        try:
            request = self._request(arguments, cancellation or Cancellation())
        except ValueError as error:
            return failed(f"wrong arguments: {error}")
        try:
            ok, output = _told(self._answer(request))
        except (RequestError, CancelledError) as error:
            ok, output = failed(str(error))
        return ok, self._secrets.taken_out(output)

    def _request(self, arguments: Mapping[str, Any], cancellation: Cancellation) -> Request:
        """The request for a call.

        Raises:
            ValueError: the arguments would lead to another path, or are too large.
        """
        settings = self._settings
        texts = {name: _as_text(value) for name, value in arguments.items()}
        url = settings.url_with({name: quote(text, safe="") for name, text in texts.items()})
        for name in settings.in_path:
            if not texts[name]:
                raise ValueError(f"{name} is empty, and a part of the address")
        if any(unquote(part) in (".", "..") for part in urlsplit(url).path.split("/")):
            raise ValueError("'.' and '..' are no part of an address")
        rest = {name: arguments[name] for name in arguments if name not in settings.in_url}
        body, headers = b"", dict(self._headers)
        if settings.method in _WITH_BODY:
            body = json.dumps(rest).encode()
            _default(headers, "Content-Type", "application/json")
        elif rest:
            more = urlencode([(name, texts[name]) for name in rest], quote_via=quote)
            url += f"{'&' if urlsplit(url).query else '?'}{more}"
        _default(headers, "Accept", "application/json, text/*")
        _default(headers, "User-Agent", "callerside")
        if len(url) > _MOST_OF_A_URL or len(body) > settings.max_request_bytes:
            raise ValueError("they are too large")
        return Request(
            method=settings.method,
            url=url,
            headers=headers,
            body=body,
            timeout_ms=settings.timeout_ms,
            max_response_bytes=settings.max_response_bytes,
            allow_private=settings.allow_private,
            cancellation=cancellation,
        )

    def _answer(self, request: Request) -> Response:
        """The answer of the last attempt.

        Raises:
            RequestError: it has none that can be used.
        """
        settings = self._settings
        until_s = time.monotonic() + self._limit_ms / 1000
        left = settings.retries if request.method in _REPEATABLE else 0
        delay_ms: float = settings.retry_delay_ms
        while True:
            answer, failure = self._attempt(request, until_s)
            wait_ms = delay_ms if answer is None else max(delay_ms, _retry_after_ms(answer))
            late = time.monotonic() + wait_ms / 1000 >= until_s
            if left == 0 or late or (answer is not None and not _may_recover(answer)):
                if answer is None:
                    raise failure
                return answer
            request.cancellation.sleep(wait_ms / 1000)
            left, delay_ms = left - 1, delay_ms * 2

    def _attempt(self, request: Request, until_s: float) -> tuple[Response | None, UnansweredError]:
        """An answer, or why there is none.

        Raises:
            RequestError: there is none, and will be none.
        """
        try:
            return self._follow(request, until_s), UnansweredError()
        except UnansweredError as error:
            return None, error

    def _follow(self, request: Request, until_s: float) -> Response:
        """The answer, at the end of redirects within the same host."""
        for _ in range(_MOST_REDIRECTS + 1):
            left_ms = (until_s - time.monotonic()) * 1000
            if left_ms <= 0:
                raise UnansweredError("no answer in time")
            answer = self._send(replace(request, timeout_ms=min(request.timeout_ms, left_ms)))
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            if request.method not in _FOLLOWS:
                raise RequestError(f"the server redirects {request.method}: that is not followed")
            request = replace(request, url=_redirected(request.url, answer.headers["location"]))
        raise RequestError(f"more than {_MOST_REDIRECTS} redirects")


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        same = (here.scheme, here.netloc) == (there.scheme, there.netloc)
    except ValueError:
        same, target = False, ""
    if not same or not (target.isascii() and target.isprintable()) or " " in target:
        raise RequestError("the server redirects to another host: that is not followed")
    return target


def _may_recover(answer: Response) -> bool:
    return answer.status == _TOO_MANY_REQUESTS or answer.status >= _SERVER_ERROR


def _retry_after_ms(answer: Response) -> float:
    """What the server asks for in seconds (RFC 9110 §10.2.3); a date is taken for nothing."""
    text = answer.headers.get("retry-after", "")
    return float(text) * 1000 if text.isascii() and text.isdigit() and len(text) < 9 else 0.0


def _told(answer: Response) -> tuple[bool, str]:
    """Whether it is a result, and what the model is told of it."""
    content = answer.headers.get("content-type", "text/plain").split(";")[0].strip().lower()
    readable = content.startswith("text/") or content.endswith(("/json", "+json", "/xml", "+xml"))
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        readable = False
    text = answer.body.decode("utf-8", "replace") if readable else ""
    if not 200 <= answer.status < 300:
        error = f"the server answered {answer.status}"
        return False, json.dumps({"error": error, "body": text[:_MOST_OF_A_REFUSAL]})
    if answer.body and not readable:
        return failed(f"the server answered with {content[:100]}: expected text or JSON")
    return True, text or json.dumps({"status": answer.status})


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _default(headers: dict[str, str], name: str, value: str) -> None:
    if name.lower() not in {one.lower() for one in headers}:
        headers[name] = value
