"""What a receiver of OTLP is sent about a call."""

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from callerside.agent.observe.traces import MAX_TRACED_CALLS, CallTraces, call_traces
from callerside.clock import NS_PER_MS
from callerside.marks import Mark

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MS = NS_PER_MS


class Receiver:
    """Whoever takes traces over HTTP, in this process."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    raise AssertionError("nobody has asked for that")
                receiver.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resource(self) -> dict[str, str]:
        (first, *_) = self.requests
        attributes = first.resource_spans[0].resource.attributes
        return {one.key: one.value.string_value for one in attributes}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def traces(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> CallTraces:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    made = call_traces()
    assert made is not None
    return made


def tell(traces: CallTraces, *marks: tuple[float, str, dict[str, Any]], call: str = "c1") -> None:
    for at_ms, name, fields in marks:
        at_ns = 10**12 + round(at_ms * MS)
        traces(Mark(at_ns=at_ns, source="agent", call=call, name=name, fields=fields))


def received(**more: str) -> tuple[float, str, dict[str, Any]]:
    said = {"called": "+4930123", "caller": "+4930456", "sip_call_id": "x@y", **more}
    return (0, "call_received", said)


ENDED = {"by": "caller", "status": 200, "reason": "bye"}
A_CALL: tuple[tuple[float, str, dict[str, Any]], ...] = (
    received(traceparent=f"00-{TRACE}-{PARENT}-01"),
    (1, "answer_sent", {"status": 200}),
    (2, "realtime_connecting", {"attempt": 1}),
    (6, "answered", {}),
    (8, "beep_started", {}),
    (30, "session_updated", {}),
    (408, "beep_ended", {}),
    (500, "greeting_requested", {}),
    (900, "greeting_started", {"origin": "generated"}),
    (2000, "greeting_ended", {"played_ms": 1100.0, "interrupted": False}),
    (5000, "speech_stopped", {"item": "i"}),
    (5001, "committed", {"item": "i"}),
    (5003, "response_created", {"response": "r"}),
    (5300, "tool_called", {"name": "book", "call_id": "t1"}),
    (5350, "tool_finished", {"name": "book", "call_id": "t1", "ok": False}),
    (5500, "first_delta", {"item": "j"}),
    (5510, "playout_started", {"item": "j"}),
    (6000, "realtime_error", {"code": "x"}),
    (7000, "call_ended", ENDED),
)


def by_name(spans: list[Span]) -> dict[str, Span]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans)
    return found


def length_ms(span: Span) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / MS


def test_a_call_is_one_trace_with_its_stages_turns_hops_and_functions(
    traces: CallTraces, receiver: Receiver
) -> None:
    tell(traces, *A_CALL)
    traces.close()
    spans = by_name(receiver.spans)
    assert {name: length_ms(span) for name, span in spans.items()} == {
        "call": 7000,
        "answer": 5,
        "connect": 28,
        "beep": 400,
        "greeting": 1500,
        "tool book": 50,
        "turn": 510,
        "commit": 1,
        "response": 2,
        "first_delta": 497,
        "playout": 10,
    }
    call, turn = spans["call"], spans["turn"]
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert call.parent_span_id.hex() == PARENT
    assert call.kind == Span.SPAN_KIND_SERVER
    hops = {"commit", "response", "first_delta", "playout"}
    for name, span in spans.items():
        parent = turn if name in hops else call
        assert span is call or span.parent_span_id == parent.span_id, name
    assert [event.name for event in call.events] == ["realtime_error"]
    assert spans["tool book"].status.code == spans["tool book"].status.STATUS_CODE_ERROR
    assert call.status.code == call.status.STATUS_CODE_UNSET
    assert receiver.resource["service.name"] == "callerside-agent"


def test_nothing_of_the_caller_is_in_a_trace(traces: CallTraces, receiver: Receiver) -> None:
    tell(traces, *A_CALL)
    traces.close()
    assert b"4930" not in b"".join(one.SerializeToString() for one in receiver.requests)


def test_what_the_end_of_a_call_cuts_ends_with_it_and_says_so(
    traces: CallTraces, receiver: Receiver
) -> None:
    tell(
        traces,
        received(),
        (1, "realtime_connecting", {"attempt": 1}),
        (5, "tool_called", {"name": "\ud800<b>", "call_id": "t1"}),
        (300, "call_ended", {**ENDED, "status": 503}),
    )
    traces.close()
    spans = by_name(receiver.spans)
    assert {name: length_ms(span) for name, span in spans.items()} == {
        "call": 300,
        "connect": 299,
        "tool \\ud800<b>": 295,
    }
    assert [one.key for one in spans["connect"].attributes] == ["callerside.cut"]
    assert spans["call"].status.code == spans["call"].status.STATUS_CODE_ERROR
    assert not spans["call"].parent_span_id


def test_a_call_whose_end_never_comes_takes_no_more_than_its_place(traces: CallTraces) -> None:
    for number in range(MAX_TRACED_CALLS + 10):
        tell(traces, received(), call=str(number))
    known = [traces.trace_of(str(number)) for number in range(MAX_TRACED_CALLS + 10)]
    assert [one is not None for one in known] == [True] * MAX_TRACED_CALLS + [False] * 10
    assert len(set(known[:MAX_TRACED_CALLS])) == MAX_TRACED_CALLS
    tell(traces, (9, "call_ended", ENDED), call="0")
    assert traces.trace_of("0") is None
    traces.close()


def test_nobody_who_takes_them_keeps_the_agent_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr("callerside.agent.observe.traces._LAST_SENDING_S", 0.01)
    traces = call_traces()
    assert traces is not None
    tell(traces, *A_CALL)
    with caplog.at_level(logging.CRITICAL):
        traces.close()


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        },
    ],
)
def test_without_being_asked_for_there_are_none(env: dict[str, str]) -> None:
    assert call_traces(env) is None
