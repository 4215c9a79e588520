"""The agent's metrics for Prometheus, fed by nothing but marks.

`AgentMetrics` is a mark sink: what is counted is exactly what the timeline says, so a dashboard and
a report cannot disagree. Every instance has a registry of its own; there is no global state.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from callerside.agent.observe.turn_latency import Turn, TurnTracker
from callerside.clock import NS_PER_S
from callerside.marks import Mark
from callerside.terminal import one_line

MAX_LABEL_VALUES = 32

_TURN_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0)
_HOP_BUCKETS_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5, 0.7, 1.0, 1.5, 3.0, 10.0)
_SETUP_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 2.0, 3.5, 7.0, 15.0)
_JITTER_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
_LOSS_BUCKETS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_CALL_BUCKETS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(slots=True)
class CallState:
    """What has to be remembered of a call to measure its next mark."""

    received: bool = False
    state: str | None = None
    at_ns: dict[str, int] = field(default_factory=dict)
    """When each mark was last seen, by its name."""
    turns: TurnTracker = field(default_factory=TurnTracker)


Handler = Callable[[Mark, CallState], None]


class BoundedLabel:
    """Lets through the first `limit` different values; every further one becomes `other`."""

    def __init__(self, limit: int = MAX_LABEL_VALUES) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: object) -> str:
        """The label's value for this value; `none` where there is none."""
        text = "none" if value is None else one_line(str(value)[:64])[:64]
        if text not in self._seen:
            if len(self._seen) >= self._limit:
                return "other"
            self._seen.add(text)
        return text


class CallMetrics:
    """Calls, their states, how they were set up and how they ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._received = Counter("callerside_calls", "Calls received.", registry=registry)
        self._active = Gauge("callerside_calls_active", "Calls up now.", registry=registry)
        self._in_state = Gauge(
            "callerside_calls_in_state", "Calls in each state now.", ["state"], registry=registry
        )
        self._ended = Counter(
            "callerside_calls_ended",
            "Calls ended by caller, agent or network, with this SIP status.",
            ["by", "status"],
            registry=registry,
        )
        self._length = Histogram(
            "callerside_call_seconds",
            "From the INVITE to the end of the call.",
            buckets=_CALL_BUCKETS_S,
            registry=registry,
        )
        self._setup = Histogram(
            "callerside_setup_seconds",
            "From the INVITE to: answer (sent), media (ready), session (ready), "
            "greeting (its first frame).",
            ["until"],
            buckets=_SETUP_BUCKETS_S,
            registry=registry,
        )
        self._by, self._status, self._state = BoundedLabel(), BoundedLabel(), BoundedLabel()
        self.table: Mapping[str, Handler] = {
            "call_received": self._on_received,
            "state_changed": self._on_state,
            "answer_sent": self._until("answer"),
            "media_ready": self._until("media"),
            "session_updated": self._until("session"),
            "greeting_started": self._until("greeting"),
            "call_ended": self._on_ended,
        }

    def gone(self, call: CallState) -> None:
        """Take a call out of the gauges: it has ended, or will not be followed any more."""
        if call.received:
            self._active.dec()
        if call.state is not None:
            self._in_state.labels(call.state).dec()

    def _on_received(self, _mark: Mark, call: CallState) -> None:
        if not call.received:
            call.received = True
            self._received.inc()
            self._active.inc()

    def _on_state(self, mark: Mark, call: CallState) -> None:
        if call.state is not None:
            self._in_state.labels(call.state).dec()
        call.state = self._state(mark.fields.get("to"))
        self._in_state.labels(call.state).inc()

    def _until(self, what: str) -> Handler:
        def first_one(mark: Mark, call: CallState) -> None:
            began_ns = call.at_ns.get("call_received")
            if began_ns is not None and mark.name not in call.at_ns:
                self._setup.labels(what).observe((mark.at_ns - began_ns) / NS_PER_S)

        return first_one

    def _on_ended(self, mark: Mark, call: CallState) -> None:
        by, status = self._by(mark.fields.get("by")), self._status(mark.fields.get("status"))
        self._ended.labels(by, status).inc()
        began_ns = call.at_ns.get("call_received")
        if began_ns is not None:
            self._length.observe((mark.at_ns - began_ns) / NS_PER_S)


class TurnMetrics:
    """How long answers took, and how often they were cut short."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._turn = Histogram(
            "callerside_turn_seconds",
            "From `speech_stopped` to the first frame of the answer.",
            buckets=_TURN_BUCKETS_S,
            registry=registry,
        )
        self._hop = Histogram(
            "callerside_turn_hop_seconds",
            "The parts of a turn, each until: commit, response, first_delta, playout.",
            ["hop"],
            buckets=_HOP_BUCKETS_S,
            registry=registry,
        )
        self._unanswered = Counter(
            "callerside_turns_unanswered",
            "Turns without an answer: the caller went on, or the call ended.",
            registry=registry,
        )
        self._barge_ins = Counter(
            "callerside_barge_ins", "Answers that the caller cut short.", registry=registry
        )
        self._barge_in_stop = Histogram(
            "callerside_barge_in_stop_seconds",
            "From `speech_started` to silence.",
            buckets=_HOP_BUCKETS_S,
            registry=registry,
        )
        self._tool = Histogram(
            "callerside_tool_seconds",
            "How long your functions took.",
            ["ok"],
            buckets=_TURN_BUCKETS_S,
            registry=registry,
        )
        self.table: Mapping[str, Handler] = {
            "playout_cleared": self._on_cleared,
            "tool_finished": self._on_tool,
        }

    def observe(self, turn: Turn) -> None:
        """Take a turn that is complete."""
        if turn.turn_ms is None:
            self._unanswered.inc()
            return
        self._turn.observe(turn.turn_ms / 1000)
        for hop, hop_ms in turn.hops_ms.items():
            self._hop.labels(hop).observe(hop_ms / 1000)

    def _on_cleared(self, mark: Mark, call: CallState) -> None:
        if call.at_ns.get(mark.name) == mark.at_ns:
            return  # several items may be cut at once: that is one barge-in
        self._barge_ins.inc()
        began_ns = call.at_ns.get("speech_started")
        if began_ns is not None:
            self._barge_in_stop.observe((mark.at_ns - began_ns) / NS_PER_S)

    def _on_tool(self, mark: Mark, _call: CallState) -> None:
        ok = "true" if mark.fields.get("ok") else "false"
        self._tool.labels(ok).observe(float(mark.fields.get("took_ms", 0)) / 1000)


class RealtimeMetrics:
    """The connection to the model: attempts, failures, errors, responses, tokens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"callerside_{name}", text, labels, registry=registry)

        self._connects = counter("realtime_connects", "Attempts to connect.")
        self._reconnects = counter("realtime_reconnects", "Attempts after the first of a call.")
        self._failures = counter(
            "realtime_failures",
            "Handshakes refused (HTTP status) and sockets lost (`none`).",
            "status",
        )
        self._errors = counter("realtime_errors", "`error` events.", "code")
        self._dropped = counter("events_dropped", "Events that could not be used.", "type")
        self._watchdogs = counter("watchdogs", "Waits that reached their limit.", "what")
        self._responses = counter("responses", "Responses that ended, with this status.", "status")
        self._tokens = counter("tokens", "Input and output tokens.", "direction")
        self.table: Mapping[str, Handler] = {
            "realtime_connecting": self._on_connecting,
            "realtime_failed": _count(self._failures, "status"),
            "realtime_error": _count(self._errors, "code"),
            "event_dropped": _count(self._dropped, "type"),
            "watchdog_fired": _count(self._watchdogs, "what"),
            "response_done": self._on_response_done,
        }
        self._count_response = _count(self._responses, "status")

    def _on_connecting(self, _mark: Mark, call: CallState) -> None:
        self._connects.inc()
        if "realtime_connecting" in call.at_ns:
            self._reconnects.inc()

    def _on_response_done(self, mark: Mark, call: CallState) -> None:
        self._count_response(mark, call)
        for direction in ("input", "output"):
            self._tokens.labels(direction).inc(int(mark.fields.get(f"{direction}_tokens") or 0))


class MediaMetrics:
    """Sound: what was missing, dropped or lost on the way."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._underruns = Counter(
            "callerside_playout_underruns", "Silences inside a response.", registry=registry
        )
        self._missing = Counter(
            "callerside_playout_missing_seconds",
            "How long these silences lasted.",
            registry=registry,
        )
        self._overflowed = Counter(
            "callerside_audio_dropped_seconds",
            "Audio dropped because the playout or the capture queue was full.",
            ["queue"],
            registry=registry,
        )
        self._received = Counter(
            "callerside_rtp_packets_received",
            "RTP packets received, at the end of a call.",
            registry=registry,
        )
        self._lost = Counter(
            "callerside_rtp_packets_lost",
            "RTP packets lost, at the end of a call.",
            registry=registry,
        )
        self._loss = Histogram(
            "callerside_rtp_loss_ratio",
            "Share of a call's packets that did not arrive.",
            buckets=_LOSS_BUCKETS,
            registry=registry,
        )
        self._jitter = Histogram(
            "callerside_rtp_jitter_seconds",
            "A call's interarrival jitter (RFC 3550).",
            buckets=_JITTER_BUCKETS_S,
            registry=registry,
        )
        self.table: Mapping[str, Handler] = {
            "playout_underrun": self._on_underrun,
            "playout_overflowed": self._overflow("playout"),
            "capture_overflowed": self._overflow("capture"),
            "rtp_measured": self._on_rtp,
        }

    def _on_underrun(self, mark: Mark, _call: CallState) -> None:
        self._underruns.inc()
        self._missing.inc(max(0.0, float(mark.fields.get("missing_ms", 0)) / 1000))

    def _overflow(self, queue: str) -> Handler:
        def overflowed(mark: Mark, _call: CallState) -> None:
            dropped_s = max(0.0, float(mark.fields.get("dropped_ms", 0)) / 1000)
            self._overflowed.labels(queue).inc(dropped_s)

        return overflowed

    def _on_rtp(self, mark: Mark, _call: CallState) -> None:
        received = max(0, int(mark.fields.get("received_packets", 0)))
        lost = max(0, int(mark.fields.get("lost_packets", 0)))
        self._received.inc(received)
        self._lost.inc(lost)
        if received + lost:
            self._loss.observe(lost / (received + lost))
            self._jitter.observe(float(mark.fields.get("jitter_ms", 0)) / 1000)


def _count(counter: Counter, of_field: str) -> Handler:
    """Count a mark under the (bounded) value of one of its fields."""
    label = BoundedLabel()

    def counted(mark: Mark, _call: CallState) -> None:
        counter.labels(label(mark.fields.get(of_field))).inc()

    return counted


# a second series for each metric, of which nobody here makes use
disable_created_metrics()  # type: ignore[no-untyped-call] # the library's own gap

Written = Literal["record", "timeline", "recording", "realtime"]
"""What is written of a call."""

MAX_TRACKED_CALLS = 256
"""Calls whose state is kept at once; a process has four. Beyond it the oldest is forgotten."""


class AgentMetrics:
    """A mark sink that feeds a registry."""

    def __init__(self, *, process: bool = True) -> None:
        """With `process`, the registry also has the process's own CPU, memory and files."""
        self.registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
        self._calls: OrderedDict[str, CallState] = OrderedDict()
        groups = (
            CallMetrics(self.registry),
            TurnMetrics(self.registry),
            RealtimeMetrics(self.registry),
            MediaMetrics(self.registry),
        )
        self._handlers = {
            name: [group.table[name] for group in groups if name in group.table]
            for name in {name for group in groups for name in group.table}
        }
        self._call_metrics, self._turn_metrics = groups[0], groups[1]
        self._refused = Counter(
            "callerside_calls_refused",
            "Calls turned away before they had a timeline: 403 `not_allowed`; 420 `replaces` "
            "(nobody takes the place of another call), `extension` (another that the engine does "
            "not have, docs/engines.md); 422 `interval` (a session timer below 90 s); 482 `merged` "
            "(another call has its Call-ID); 486 `full`; "
            "488 `media` (no audio that we have, or at a name), `lines` (PJSUA2: more than 4 of "
            "audio, or 15 of media), `contact` (Contact or Record-Route is where nothing of ours "
            "gets to: another transport, IPv6; 403: a name); 400, 406, 415, 416, 505, 513 "
            "`malformed` (it is no INVITE, or breaks the grammar, or is too long); "
            "503 `starting`, `draining`, "
            "or `closing`: more than about 45 calls a second, whose sockets are not closed that "
            "fast; 503 `rate`: more than `sip.requests_per_s` or `sip.requests_per_source_per_s`; "
            "`failed`: the SIP stack refused it by itself; 500 is a fault of ours. A status of 0: "
            "the same without an answer (of `malformed`: one that cannot be answered).",
            ["status", "reason"],
            registry=self.registry,
        )
        self._refusal = BoundedLabel()
        self._lost = Counter(
            "callerside_writes_lost",
            "Of calls, what could not be written: `record` (the log has it), `timeline`, "
            "`recording` (of sound), `realtime` (or there was too much of it: "
            "`recordings.realtime_max_bytes`). Each counts once a call.",
            ["what"],
            registry=self.registry,
        )
        for what in get_args(Written):
            self._lost.labels(what)
        self._lines = Gauge(
            "callerside_lines", "Calls that can be up at once.", registry=self.registry
        )
        self._draining = Gauge(
            "callerside_draining",
            "1 while new calls are turned away because the process is about to stop.",
            registry=self.registry,
        )

    def __call__(self, mark: Mark) -> None:
        """Take a mark. Those of other sources, or that nothing is counted of, change nothing."""
        if mark.source != "agent":
            return
        call = self._call(mark.call)
        turn = call.turns.add(mark)
        if turn is not None:
            self._turn_metrics.observe(turn)
        for handler in self._handlers.get(mark.name, ()):
            handler(mark, call)
        call.at_ns[mark.name] = mark.at_ns
        if mark.name == "call_ended":
            self._forget(mark.call)

    def call_refused(self, status: int, reason: str) -> None:
        """Count a call that was turned away; `reason` is one of a few words."""
        self._refused.labels(self._refusal(status), reason).inc()

    def write_lost(self, what: Written) -> None:
        """Count what could not be written of a call."""
        self._lost.labels(what).inc()

    def set_lines(self, lines: int) -> None:
        """Set how many calls can be up at once."""
        self._lines.set(lines)

    def set_draining(self, *, draining: bool) -> None:
        """Set whether the process is draining."""
        self._draining.set(draining)

    def page(self) -> bytes:
        """Everything, in the Prometheus text format 0.0.4."""
        return generate_latest(self.registry)

    def _call(self, call_id: str) -> CallState:
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = CallState()
            if len(self._calls) > MAX_TRACKED_CALLS:
                self._forget(next(iter(self._calls)))
        return call

    def _forget(self, call_id: str) -> None:
        self._call_metrics.gone(self._calls.pop(call_id))
