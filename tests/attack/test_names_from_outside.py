"""What strangers call themselves, and say: wherever it goes, it is a name there, and nothing more.

One list of hostile texts, and whatever Hypothesis thinks of, at every door that they come to.
"""

import io
import json
import logging
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
import structlog
from call_rig import NO_GREETING, CallRig
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from synthetic_call import SyntheticCall

from callerside.agent.call.events import ToolFinished
from callerside.agent.call.tool_calls import MAX_OUTPUT_CHARS
from callerside.agent.config.settings import LogFormat, RealtimeSettings, realtime_url
from callerside.agent.observe import logs
from callerside.agent.observe.call_records import CallRecords, RecordFile
from callerside.agent.observe.metrics import AgentMetrics
from callerside.agent.service.service import _safe_name
from callerside.agent.telephony.invite import parties, readable
from callerside.marks import Mark
from callerside.reports.formats.junit import junit
from callerside.reports.formats.markdown import markdown
from callerside.reports.pages.html import call_page, index_page
from callerside.reports.verdict.call_result import judge_call
from callerside.reports.verdict.results import RunInfo
from callerside.terminal import one_line, shown
from callerside.timelines import TimelineWriter, read_timeline

BIDI = "\u202ereversed\u2066isolated\u200f"
HOSTILE = (
    *("..", "../../etc/passwd", "/etc/passwd", "a/../b", ".", "-rf", "~root", "C:\\x", "a\0b"),
    *("\x1b[2J\x1b]0;title\x07", "\x9b31m", "\r\nFrom: <sip:other@host>", "a\nb", "\u2028x\u2029"),
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script>", "{{7*7}}"),
    *("%2e%2e%2f", "{called}", "{0.__class__}", "${HOME}", "'; DROP TABLE x", "|x|y|", "`x`"),
    *(BIDI, "x" * 65_536, "\x00" * 100, "\ud800", "\udcff", "é" * 300, "😀" * 200, ""),
)


def hostile(test: Callable[[str], None]) -> Callable[[], None]:
    """The list, and whatever else there may be."""
    for text in HOSTILE:
        test = example(text)(test)
    letters = st.characters(exclude_categories=())
    texts = st.one_of(st.text(letters, max_size=200), st.sampled_from(HOSTILE))
    made: Callable[[], None] = given(texts)(
        settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])(test)
    )
    return made


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def as_user(text: str) -> str:
    return quote(text.encode(errors="surrogatepass"), safe="")


@hostile
def test_a_number_or_a_name_in_an_invite_is_printable_and_short(text: str) -> None:
    user = as_user(text)
    invite = f'INVITE sip:{user}@h SIP/2.0\r\nFrom: "{user}" <sip:{user}@h>;tag=1\r\n\r\n'
    for name in parties(invite):
        assert name.isprintable()
        assert len(name) <= 128
        assert one_line(name) == name
    raw = f"INVITE sip:1@h SIP/2.0\r\nFrom: {text} <sip:honest@h>;tag=1\r\n\r\n"
    assert all(one_line(name) == name for name in parties(raw))
    assert one_line(readable(text)) == readable(text)
    assert len(readable(text)) <= 4 * 512


@hostile
def test_a_called_number_chooses_no_other_place_in_a_url(text: str) -> None:
    called, _ = parties(f"INVITE sip:{as_user(text)}@h SIP/2.0\r\n\r\n")
    url = realtime_url(RealtimeSettings(url="wss://api.example/v1/{called}/rt?x=1"), called)
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query) == ("wss", "api.example", "x=1")
    assert parts.path.startswith("/v1/")
    assert parts.path.endswith("/rt")
    assert parts.path.count("/") == 3
    assert unquote(parts.path.split("/")[2]) not in (".", "..")
    assert url.isascii()
    assert url.isprintable()


@hostile
def test_a_called_number_is_one_file_in_its_folder(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        name = _safe_name(text)
        path = Path(folder) / f"{name}-123.jsonl"
        TimelineWriter(path).close()
        assert [one.name for one in Path(folder).iterdir()] == [path.name]
        assert len(path.name.encode()) < 200
        assert not name.startswith((".", "-r")) or name == "-rf"


def of_call(mark: str, /, **fields: object) -> Mark:
    return Mark(at_ns=1, source="agent", call="c1", name=mark, fields=fields)


def marks_of(text: str) -> list[Mark]:
    """A call all of whose texts are that."""
    return [
        of_call("call_received", called=text, caller=text, sip_call_id=text),
        of_call("realtime_error", code=text, message=text),
        of_call("event_dropped", type=text, reason=text),
        of_call("tool_called", name=text, call_id=text),
        of_call("response_done", response=text, status=text, reason=text),
        of_call("call_ended", by="caller", status=200, reason=text),
    ]


@hostile
def test_timelines_and_records_have_a_line_for_each(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        timeline = TimelineWriter(Path(folder) / "t.jsonl")
        records = CallRecords(RecordFile(Path(folder) / "r.jsonl"))
        for mark in marks_of(text):
            timeline(mark)
            records(mark)
        timeline.close()
        assert len(read_timeline(timeline.path)) == len(marks_of(text))
        lines = (Path(folder) / "r.jsonl").read_bytes().split(b"\n")
        assert len(lines) == 2
        assert json.loads(lines[0])["call"] == "c1"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_log_has_a_line_for_each_and_moves_no_terminal(log_format: LogFormat) -> None:
    @hostile
    def holds(text: str) -> None:
        stream = io.StringIO()
        logs.configure(log_format=log_format, stream=stream, level="debug", words=True)
        marks = marks_of(text)
        log = logs.MarkLog()
        for mark in marks:
            log(mark)
        structlog.get_logger("x").warning("other", reason=text, deep={text: [text]})
        logging.getLogger("library").warning("said %s", text)
        told = stream.getvalue()
        assert len(told.splitlines()) == told.count("\n") == len(marks) + 2
        assert shown(told) == told
        told.encode()
        assert len(told) < 100_000

    holds()


@hostile
def test_metrics_can_be_read_whatever_their_labels_say(text: str) -> None:
    metrics = AgentMetrics()
    for mark in marks_of(text):
        metrics(mark)
    page = metrics.page().decode()
    assert list(text_string_to_metric_families(page))
    labels = [value for f in text_string_to_metric_families(page) for s in f.samples
              for value in s.labels.values()]  # fmt: skip
    assert max(map(len, labels)) <= 6 * 64


class Elements(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.hostile: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.hostile += [name for name, _ in attrs if name.startswith("on")]


def elements(page: str) -> tuple[int, list[str]]:
    parser = Elements()
    parser.feed(page)
    tags = [tag for tag in parser.found if tag in ("script", "img", "iframe", "object", "embed")]
    return len(tags), parser.hostile


def test_pages_and_reports_show_it_and_do_nothing() -> None:
    info = RunInfo(started_at="2026-08-01T12:00:00+00:00")
    honest = judge_call(SyntheticCall(name="talk").build())
    plain = elements(call_page(info, honest)), elements(index_page(info, [honest]))
    for text in HOSTILE:
        words = text[:2_000].encode(errors="replace").decode()
        made = SyntheticCall(name="talk", info={"detail": words, "about": words, "log": [words],
                                                "verdict": "failed"}).build()  # fmt: skip
        made.marks.extend(
            Mark(at_ns=m.at_ns + 10**9, source=m.source, call=m.call, name=m.name, fields=m.fields)
            for m in marks_of(words)[1:-1]
        )
        call = judge_call(made)
        assert (elements(call_page(info, call)), elements(index_page(info, [call]))) == plain
        ElementTree.fromstring(junit(info, [call]))  # noqa: S314 - it is our own
        table = markdown(info, [call])
        assert "<script" not in table
        assert table.count("\n## ") == 0


@hostile
def test_what_a_function_answers_is_a_text_of_bounded_length(text: str) -> None:
    tool = {"type": "function", "name": "look", "description": "x", "parameters": {}}
    rig = CallRig(NO_GREETING, tools=[tool]).listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    call = {"type": "function_call", "status": "completed", "id": "i1", "call_id": "c1"}
    rig.response_done(output=[{**call, "name": "look", "arguments": "{}"}])
    rig.tell(ToolFinished(call_id="c1", ok=True, output=text))
    sent = json.dumps(rig.sent("conversation.item.create")[-1])
    assert "\n" not in sent
    assert len(json.loads(sent)["item"]["output"]) <= MAX_OUTPUT_CHARS + 100
