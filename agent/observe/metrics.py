"""The agent's metrics for Prometheus, fed by nothing but marks.

`AgentMetrics` is a mark sink: what is counted is exactly what the timeline says, so a dashboard and
a report cannot disagree. Every instance has a registry of its own; there is no global state.
"""

from collections import OrderedDict

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from callerside.agent.observe.metrics_groups import (
    BoundedLabel,
    CallMetrics,
    CallState,
    MediaMetrics,
    RealtimeMetrics,
    TurnMetrics,
)
from callerside.marks import Mark

# a second series for each metric, of which nobody here makes use
disable_created_metrics()  # type: ignore[no-untyped-call] # the library's own gap

MAX_TRACKED_CALLS = 256
"""Calls whose state is kept at once; a process has four. Beyond it the oldest is forgotten."""


class AgentMetrics:
    """A mark sink that feeds a registry."""

    def __init__(self, *, process: bool = True) -> None:
        """With `process`, the registry also tells the process's own CPU, memory and files."""
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
            "Calls turned away before they had a timeline, by the SIP status they got, and why.",
            ["status", "reason"],
            registry=self.registry,
        )
        self._refusal = BoundedLabel()
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
        """Count a call that was turned away; `reason` is one of `pjsua.admission.Reason`."""
        self._refused.labels(self._refusal(status), reason).inc()

    def set_lines(self, lines: int) -> None:
        """Tell how many calls can be up at once."""
        self._lines.set(lines)

    def set_draining(self, *, draining: bool) -> None:
        """Tell whether the process is draining."""
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
