"""Logging: structured lines on standard error, one call id through all of them, no secrets.

`configure` sets up structlog and routes the standard library's loggers (websockets, asyncio, ...)
through the same processors. `MarkLog` is a mark sink: the log of a call is its marks, each with the
call's id, the SIP Call-ID and the Realtime session, so that one search finds all three.

What never gets out: keys and passwords (by name and by shape), audio, and, unless `words` is asked
for, what the caller said or typed.
"""

import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import IO, Any

import structlog

from callerside.agent.config.settings import LogFormat, LogLevel
from callerside.agent.observe.secrets import REDACTED, SecretFilter
from callerside.marks import Mark
from callerside.terminal import drawing, one_line, shown

MAX_VALUE_CHARS = 2000
MAX_TRACKED_CALLS = 256
_MAX_DEPTH = 6

_SECRET_NAME = re.compile(
    r"api_?key|authorization|passw|secret|credential|bearer|(?:^|_)token$", re.IGNORECASE
)
_WORDS_NAMES = frozenset({"transcript", "words", "text", "digit", "digits", "arguments", "output"})

_TRACEBACK = "exception"
"""The one value that has lines."""
_RESERVED = frozenset({"event", "level", "call", "timestamp", "logger"})
_LEVELS = {
    "call_received": logging.INFO,
    "answered": logging.INFO,
    "call_ended": logging.INFO,
    "transfer_sent": logging.INFO,
    "transfer_ended": logging.INFO,
    "realtime_failed": logging.WARNING,
    "realtime_error": logging.WARNING,
    "watchdog_fired": logging.WARNING,
    "event_dropped": logging.WARNING,
    "greeting_damaged": logging.WARNING,
    "recording_withheld": logging.WARNING,
    "playout_overflowed": logging.WARNING,
    "capture_overflowed": logging.WARNING,
}
"""Marks that are more than detail. All others are logged at debug."""


class Redact:
    """A structlog processor that takes out secrets, audio and, unless asked for, words."""

    def __init__(self, secrets: Iterable[str] = (), *, words: bool = False) -> None:
        """`secrets`: exact values to take out wherever they appear, such as the API key."""
        self._secrets = SecretFilter(secrets)
        self._words = words

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The event without what must not be seen."""
        for name in list(event):
            if not name.startswith("_"):  # structlog's own
                event[name] = self._value(name, event[name], _MAX_DEPTH)
        return event

    def _value(self, name: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return REDACTED if value is not None and self._is_hidden(name) else value
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes]"
        if self._is_hidden(name):
            return REDACTED
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._list(name, value, depth)
        return self._text(value if isinstance(value, str) else str(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if not depth:
            return "[...]"
        return {
            self._text(str(key)): self._value(str(key), item, depth - 1)
            for key, item in value.items()
        }

    def _list(self, name: str, value: Iterable[Any], depth: int) -> Any:
        return [self._value(name, item, depth - 1) for item in value] if depth else "[...]"

    def _is_hidden(self, name: str) -> bool:
        return bool(_SECRET_NAME.search(name)) or (not self._words and name in _WORDS_NAMES)

    def _text(self, text: str) -> str:
        text = self._secrets.text(text)
        if len(text) > MAX_VALUE_CHARS:
            text = f"{text[:MAX_VALUE_CHARS]}... [{len(text)} characters]"
        return text


def _plain(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor for terminals: a value is one line, and no command to one."""
    for name, value in event.items():
        if not name.startswith("_"):
            event[name] = _plain_value(value, shown if name == _TRACEBACK else one_line)
    return event


def _plain_value(value: Any, plain: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping | list):
        return plain(str(value))
    return value


def configure(
    *,
    log_format: LogFormat = "auto",
    level: LogLevel = "info",
    words: bool = False,
    secrets: Iterable[str] = (),
    worker: int | None = None,
    stream: IO[str] | None = None,
) -> None:
    """Set up logging for this process.

    Args:
        log_format: `json`, one object a line; `console`, for people; `auto`: console on a
            terminal, else json.
        level: the least that is shown.
        words: show what callers say and type.
        secrets: values that never appear, wherever they come from.
        worker: the number of this process among several, on every line.
        stream: standard error by default.
    """
    out = drawing(sys.stderr) if stream is None else stream
    as_console = log_format == "console" or (log_format == "auto" and out.isatty())
    redact = Redact(secrets, words=words)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        *([] if worker is None else [_Constant("worker", worker)]),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
        *([_plain] if as_console else []),
    ]
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if as_console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # websockets logs whole frames at debug: they hold the caller's voice
    logging.getLogger("websockets").setLevel(max(logging.INFO, root.level))


class _Constant:
    """A structlog processor that puts the same on every line, whatever thread it comes from."""

    def __init__(self, name: str, value: object) -> None:
        self._name, self._value = name, value

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event.setdefault(self._name, self._value)
        return event


class MarkLog:
    """A mark sink that logs a call's marks, each with the ids of its SIP dialog and session."""

    def __init__(
        self, logger: Any = None, *, trace_of: Callable[[str], str | None] | None = None
    ) -> None:
        """A log of marks.

        Args:
            logger: a structlog logger; `agent.call.machine` by default.
            trace_of: the trace of a call, where there are traces.
        """
        self._logger = (
            structlog.get_logger("callerside.agent.call.machine") if logger is None else logger
        )
        self._bound: Any = None
        """The same, made once there is something to log: made for every mark, it takes longer than
        all else that is done with one."""
        self._trace_of = trace_of
        self._ids: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def __call__(self, mark: Mark) -> None:
        """Log one mark; fields that would collide with the log's own names get an underscore."""
        if self._bound is None:
            self._bound = self._logger.bind()
        ids = self._ids_of(mark)
        level = _LEVELS.get(mark.name, logging.DEBUG)
        if self._bound.is_enabled_for(level):
            fields = {f"{k}_" if k in _RESERVED else k: v for k, v in mark.fields.items()}
            self._bound.log(level, mark.name, **{"call": mark.call, **ids, **fields})

    def _ids_of(self, mark: Mark) -> dict[str, Any]:
        if mark.name == "call_ended":
            return self._ids.pop(mark.call, {})
        ids = self._ids.setdefault(mark.call, {})
        if mark.name == "call_received":
            ids["sip_call_id"] = mark.fields.get("sip_call_id")
            if self._trace_of is not None:
                ids["trace"] = self._trace_of(mark.call)
        elif mark.name == "session_created":
            ids["session"] = mark.fields.get("session")
        if len(self._ids) > MAX_TRACKED_CALLS:
            self._ids.popitem(last=False)
        return ids
