import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from callerside.agent.config.settings import LogLevel
from callerside.agent.observe.logs import (
    MAX_TRACKED_CALLS,
    MAX_VALUE_CHARS,
    MarkLog,
    configure,
)
from callerside.agent.observe.secrets import REDACTED
from callerside.marks import Mark

KEY = "sk-proj-abcdefgh12345678"


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Log:
    """Logging set up to write where a test can read it."""

    def __init__(self, **options: Any) -> None:
        self.stream = io.StringIO()
        configure(**{"log_format": "json", "stream": self.stream, **options})

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def mark(name: str, call: str = "c1", **fields: Any) -> Mark:
    return Mark(at_ns=1, source="agent", call=call, name=name, fields=fields)


def test_a_line_is_one_json_object() -> None:
    log = Log()
    structlog.get_logger("callerside.agent.x").info("happened", number=3, text_kind="a\nb")
    (line,) = log.lines
    assert line["event"] == "happened"
    assert (line["level"], line["logger"], line["number"]) == ("info", "callerside.agent.x", 3)
    assert line["timestamp"].endswith("Z")


def test_the_standard_librarys_loggers_come_out_the_same_way() -> None:
    log = Log()
    logging.getLogger("websockets.client").warning("lost %s", "it")
    (line,) = log.lines
    assert (line["event"], line["level"], line["logger"]) == (
        "lost it",
        "warning",
        "websockets.client",
    )


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("error", 1)])
def test_levels(level: LogLevel, count: int) -> None:
    log = Log(level=level)
    logger = structlog.get_logger("x")
    logger.debug("a")
    logger.info("b")
    logger.error("c")
    assert len(log.lines) == count


def test_context_is_on_every_line() -> None:
    log = Log()
    with structlog.contextvars.bound_contextvars(worker=2):
        structlog.get_logger("x").info("a")
        logging.getLogger("y").warning("b")
    assert [line["worker"] for line in log.lines] == [2, 2]


def test_a_worker_is_named_on_every_line_from_any_thread() -> None:
    log = Log(worker=3)
    thread = threading.Thread(target=lambda: structlog.get_logger("x").info("a"))
    thread.start()
    thread.join()
    logging.getLogger("y").warning("b")
    assert [line["worker"] for line in log.lines] == [3, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": "anything"},
        {"password": 12345678},
        {"url": f"wss://x?key={KEY}"},
        {"headers": {"Authorization": "Bearer abcdefg"}},
        {"headers": [["x", {"authorization": ["Bearer abcdefg"]}]]},
        {"why": "refused: Bearer abcdefg was not accepted"},
        {"error": ValueError(f"bad key {KEY}")},
        {"blob": f"the exact-secret-value, and {KEY}"},
    ],
)
def test_no_secret_gets_out(fields: dict[str, Any]) -> None:
    log = Log(secrets=["exact-secret-value"])
    structlog.get_logger("x").warning("event", **fields)
    logging.getLogger("y").warning("event %r", str(fields.get("error", "")))
    assert REDACTED in log.text
    for secret in (KEY, "abcdefg", "12345678", "exact-secret-value", "anything"):
        assert secret not in log.text


def test_no_secret_gets_out_in_a_traceback() -> None:
    log = Log()
    for logger in (structlog.get_logger("x"), logging.getLogger("y")):
        try:
            int(KEY)
        except ValueError:
            logger.exception("failed")
    assert [("Traceback" in line["exception"]) for line in log.lines] == [True, True]
    assert KEY not in log.text


def test_tokens_that_are_counted_are_no_secret() -> None:
    log = Log()
    structlog.get_logger("x").info("response_done", input_tokens=12, output_tokens=34)
    assert log.lines[0]["input_tokens"] == 12


def test_no_audio_and_nothing_endless() -> None:
    log = Log()
    deep: dict[str, Any] = {}
    deep["self"] = deep
    structlog.get_logger("x").info("e", pcm=b"\x00" * 960, long="x" * 100_000, deep=deep)
    (line,) = log.lines
    assert line["pcm"] == "[960 bytes]"
    assert len(line["long"]) < MAX_VALUE_CHARS + 100
    assert "[...]" in json.dumps(line["deep"])


def test_callers_words_only_when_asked_for() -> None:
    log = Log()
    structlog.get_logger("x").info("heard", transcript="my pin is 1234", digit="7")
    assert "1234" not in log.text
    assert log.lines[0]["digit"] == REDACTED
    log = Log(words=True)
    structlog.get_logger("x").info("heard", transcript="my pin is 1234", digit="7")
    assert log.lines[0]["transcript"] == "my pin is 1234"


def test_the_frames_of_websockets_are_never_logged() -> None:
    log = Log(level="debug")
    logging.getLogger("websockets.client").debug("> TEXT '{\"audio\": ...}'")
    assert log.text == ""


def test_one_id_through_sip_the_session_and_the_marks() -> None:
    log = Log(level="debug")
    sink = MarkLog()
    sink(mark("call_received", called="100", caller="200", sip_call_id="abc@host"))
    sink(mark("session_created", session="sess_1"))
    sink(mark("realtime_error", code="x", message="y"))
    sink(mark("call_ended", by="caller", status=200, reason="BYE"))
    assert [line["event"] for line in log.lines] == [
        "call_received",
        "session_created",
        "realtime_error",
        "call_ended",
    ]
    for line in log.lines[1:]:
        assert (line["call"], line["sip_call_id"], line["session"]) == ("c1", "abc@host", "sess_1")
    assert log.lines[2]["level"] == "warning"


def test_details_are_for_debugging() -> None:
    log = Log(level="info")
    sink = MarkLog()
    sink(mark("state_changed", **{"from": "A", "to": "B"}))
    sink(mark("call_ended", by="caller", status=200, reason=""))
    assert [line["event"] for line in log.lines] == ["call_ended"]


def test_fields_that_have_the_names_of_the_logs_own_keep_theirs() -> None:
    log = Log()
    fields = {"event": "e", "level": "l", "call": "other"}
    MarkLog()(Mark(at_ns=1, source="agent", call="c1", name="realtime_error", fields=fields))
    (line,) = log.lines
    assert (line["event_"], line["level_"], line["call_"]) == ("e", "l", "other")
    assert line["call"] == "c1"


def test_calls_that_never_end_do_not_pile_up() -> None:
    Log()
    sink = MarkLog()
    for number in range(MAX_TRACKED_CALLS + 9):
        sink(mark("call_received", call=f"c{number}", sip_call_id="x"))
    assert len(sink._ids) == MAX_TRACKED_CALLS


def test_the_console_is_for_people() -> None:
    log = Log(log_format="console")
    structlog.get_logger("x").info("happened", number=3)
    assert "happened" in log.text
    assert "number=3" in log.text
    assert not log.text.startswith("{")


def test_the_lines_of_a_call_carry_its_trace_where_there_are_traces() -> None:
    log = Log(level="debug")
    marks = MarkLog(trace_of={"c1": "ab" * 16}.get)
    marks(mark("call_received", sip_call_id="x@y"))
    marks(mark("answered"))
    marks(mark("call_received", call="c2", sip_call_id="z"))
    assert [line["trace"] for line in log.lines] == ["ab" * 16, "ab" * 16, None]
