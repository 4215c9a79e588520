"""A trace of each call, made of its marks: where its seconds went, beside those of other services.

The extra `otel` brings OpenTelemetry; where and how spans are sent is said by its own standard
environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, ...). Without an endpoint
there are no traces. Nothing of a caller's is in a span: no numbers, no words.
"""

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from callerside.agent.observe.turn_latency import TurnTracker
from callerside.clock import NS_PER_MS
from callerside.marks import Mark

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_log = structlog.get_logger(__name__)

MAX_TRACED_CALLS = 256
_MAX_OPEN_SPANS = 64
"""Of one call: more functions than that at once are not traced."""
_MAX_NAME_CHARS = 64
_LAST_SENDING_S = 2.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVER_ERROR = 500

_BEGINS = {
    "answer_sent": "answer",
    "realtime_connecting": "connect",
    "beep_started": "beep",
    "greeting_requested": "greeting",
    "greeting_started": "greeting",
    "transfer_sent": "transfer",
}
"""Mark -> the span that it begins, unless that has begun."""
_ENDS = {
    "answered": "answer",
    "session_updated": "connect",
    "beep_ended": "beep",
    "greeting_ended": "greeting",
    "transfer_ended": "transfer",
}
_FAILS = {"realtime_failed": "connect", "greeting_damaged": "greeting"}
_EVENTS = frozenset(
    {
        "realtime_error",
        "watchdog_fired",
        "playout_overflowed",
        "playout_cleared",
        "event_dropped",
        "prompt_started",
    }
)
"""Marks that are told as events of the call's span; their names alone."""


def call_traces(env: Mapping[str, str] = os.environ) -> "CallTraces | None":
    """A sink that sends the calls' traces; None: nobody has asked for them, or they cannot be.

    Args:
        env: the environment, with OpenTelemetry's variables in it.
    """
    if not any(env.get(name) for name in _ENDPOINTS) or env.get("OTEL_SDK_DISABLED") == "true":
        return None
    protocol = env.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or env.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol != "http/protobuf":
        _log.warning("traces_not_sent", protocol=protocol, expected="http/protobuf")
        return None
    try:
        return CallTraces(_provider(env))
    except ImportError:
        _log.warning("traces_need_an_extra", advice='pip install "callerside[otel]"')
        return None


def _provider(env: Mapping[str, str]) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if env.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "callerside-agent"}
    # Its queue is bounded (OTEL_BSP_MAX_QUEUE_SIZE), and it sends from a thread of its own.
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class CallTraces:
    """A mark sink that turns each call's marks into spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._calls: dict[str, _CallTrace] = {}

    def __call__(self, mark: Mark) -> None:
        """Take the next mark of a call."""
        if mark.source != "agent":
            return
        if mark.name == "call_received" and len(self._calls) < MAX_TRACED_CALLS:
            self._calls[mark.call] = _CallTrace(self._provider, mark)
            return
        trace = self._calls.get(mark.call)
        if trace is None:
            return
        trace.add(mark)
        if mark.name == "call_ended":
            del self._calls[mark.call]

    def trace_of(self, call: str) -> str | None:
        """The id of a call's trace, as 32 hexadecimal digits, while the call is up."""
        trace = self._calls.get(call)
        return None if trace is None else trace.trace_id

    def close(self) -> None:
        """Send what is left, as far as that takes no more than two seconds."""
        last = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        last.start()  # its own limit is longer than an orderly end may be
        last.join(_LAST_SENDING_S)


class _CallTrace:
    """The spans of one call."""

    def __init__(self, provider: "TracerProvider", received: Mark) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer("callerside.agent")
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        parent = TraceContextTextMapPropagator().extract(
            {"traceparent": str(received.fields.get("traceparent", ""))}
        )
        self._call = self._tracer.start_span(
            "call",
            parent,
            kind=trace.SpanKind.SERVER,
            start_time=self._at(received.at_ns),
            attributes={
                "callerside.call": received.call,
                "sip.call_id": str(received.fields.get("sip_call_id", "")),
            },
        )
        self.trace_id = f"{self._call.get_span_context().trace_id:032x}"
        self._context = trace.set_span_in_context(self._call)
        self._open: dict[str, Span] = {}
        self._turns = TurnTracker()
        self._number = 0

    def add(self, mark: Mark) -> None:
        """Take the next mark."""
        name, fields, at_ns = mark.name, mark.fields, mark.at_ns
        self._add_turn(mark)
        if name in _BEGINS:
            self._begin(_BEGINS[name], _BEGINS[name], at_ns)
        elif name in _ENDS:
            self._end(_ENDS[name], at_ns, ok=True)
        elif name in _FAILS:
            self._end(_FAILS[name], at_ns, ok=False)
        elif name == "tool_called":
            self._begin(_tool(mark), f"tool {_plain(fields.get('name'))}", at_ns)
        elif name == "tool_finished":
            self._end(_tool(mark), at_ns, ok=bool(fields.get("ok", True)))
        elif name == "call_ended":
            self._end_call(mark)
        if name in _EVENTS or name in _FAILS:
            self._call.add_event(name, timestamp=self._at(at_ns))

    def _add_turn(self, mark: Mark) -> None:
        """The one that this mark completes: from the end of what was said, hop by hop."""
        turn = self._turns.add(mark)
        if turn is None:
            return
        self._number += 1
        length_ms = sum(turn.hops_ms.values()) if turn.turn_ms is None else turn.turn_ms
        began_ns = self._at(turn.stopped_at_ns)
        span = self._tracer.start_span(
            "turn",
            self._context,
            start_time=began_ns,
            attributes={"turn.number": self._number, "turn.answered": turn.turn_ms is not None},
        )
        from opentelemetry import trace

        inside = trace.set_span_in_context(span)
        hop_ns = began_ns
        for hop, took_ms in turn.hops_ms.items():
            ended_ns = hop_ns + round(took_ms * NS_PER_MS)
            self._tracer.start_span(hop, inside, start_time=hop_ns).end(ended_ns)
            hop_ns = ended_ns
        span.end(began_ns + round(length_ms * NS_PER_MS))

    def _begin(self, key: str, name: str, at_ns: int) -> None:
        if key not in self._open and len(self._open) < _MAX_OPEN_SPANS:
            self._open[key] = self._tracer.start_span(
                name, self._context, start_time=self._at(at_ns)
            )

    def _end(self, key: str, at_ns: int, *, ok: bool) -> None:
        span = self._open.pop(key, None)
        if span is None:
            return
        if not ok:
            _fail(span)
        span.end(self._at(at_ns))

    def _end_call(self, ended: Mark) -> None:
        for span in self._open.values():  # what the end has cut
            span.set_attribute("callerside.cut", value=True)
            span.end(self._at(ended.at_ns))
        status = int(ended.fields.get("status") or 0)
        self._call.set_attribute("callerside.ended_by", str(ended.fields.get("by", "")))
        self._call.set_attribute("sip.status", status)
        if status >= _SERVER_ERROR:
            _fail(self._call)
        self._call.end(self._at(ended.at_ns))

    def _at(self, monotonic_ns: int) -> int:
        return self._epoch_ns + monotonic_ns


def _tool(mark: Mark) -> str:
    return f"tool {mark.fields.get('call_id')}"


def _plain(name: object) -> str:
    """A name that the model has said: it may call what there is not."""
    return str(name).encode("ascii", "backslashreplace").decode()[:_MAX_NAME_CHARS]


def _fail(span: "Span") -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)
