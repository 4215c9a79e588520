from typing import Any

import pytest

from callerside.agent.observe.metrics import (
    MAX_LABEL_VALUES,
    MAX_TRACKED_CALLS,
    AgentMetrics,
    BoundedLabel,
)
from callerside.agent.service.pages import merge_pages
from callerside.clock import NS_PER_MS
from callerside.mark_registry import MARKS
from callerside.marks import Mark, Source


class Call:
    """Tells the metrics the marks of one call."""

    def __init__(self, metrics: AgentMetrics, call: str = "c1") -> None:
        self.metrics = metrics
        self.call = call

    def __call__(self, name: str, at_ms: float = 0, /, **fields: Any) -> None:
        self.tell("agent", name, at_ms, fields)

    def tell(self, source: Source, name: str, at_ms: float, fields: dict[str, Any]) -> None:
        at_ns = int(at_ms * NS_PER_MS)
        self.metrics(Mark(at_ns=at_ns, source=source, call=self.call, name=name, fields=fields))


@pytest.fixture
def metrics() -> AgentMetrics:
    return AgentMetrics(process=False)


@pytest.fixture
def call(metrics: AgentMetrics) -> Call:
    return Call(metrics)


def value(metrics: AgentMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"callerside_{name}", labels)


def test_calls_are_counted_from_received_to_ended(metrics: AgentMetrics, call: Call) -> None:
    call("call_received", 0, called="100", caller="200", sip_call_id="x")
    assert value(metrics, "calls_total") == 1
    assert value(metrics, "calls_active") == 1
    call("call_ended", 2500, by="caller", status=200, reason="")
    assert value(metrics, "calls_active") == 0
    assert value(metrics, "calls_ended_total", by="caller", status="200") == 1
    assert value(metrics, "call_seconds_sum") == 2.5


def test_each_call_is_in_one_state(metrics: AgentMetrics, call: Call) -> None:
    call("state_changed", 0, **{"from": "CALL_RECEIVED", "to": "ANSWERING_CALL"})
    call("state_changed", 1, **{"from": "ANSWERING_CALL", "to": "LISTENING"})
    assert value(metrics, "calls_in_state", state="ANSWERING_CALL") == 0
    assert value(metrics, "calls_in_state", state="LISTENING") == 1
    call("call_ended", 2, by="agent", status=200, reason="")
    assert value(metrics, "calls_in_state", state="LISTENING") == 0


def test_setup_is_measured_from_the_invite_and_once(metrics: AgentMetrics, call: Call) -> None:
    call("call_received", 1000)
    call("media_ready", 1100, codec="PCMU")
    call("media_ready", 9000, codec="PCMU")  # resumed after hold
    assert value(metrics, "setup_seconds_count", until="media") == 1
    assert value(metrics, "setup_seconds_sum", until="media") == pytest.approx(0.1)


def test_a_turn_and_its_hops(metrics: AgentMetrics, call: Call) -> None:
    call("speech_stopped", 1000, item="u")
    call("committed", 1010, item="u")
    call("response_created", 1030, response="r")
    call("first_delta", 1500, response="r", item="a")
    call("playout_started", 1520, item="a")
    assert value(metrics, "turn_seconds_sum") == pytest.approx(0.52)
    assert value(metrics, "turn_hop_seconds_sum", hop="first_delta") == pytest.approx(0.47)
    call("speech_stopped", 3000, item="u2")
    call("call_ended", 3100, by="caller", status=200, reason="")
    assert value(metrics, "turns_unanswered_total") == 1
    assert value(metrics, "turn_seconds_count") == 1


def test_barge_in(metrics: AgentMetrics, call: Call) -> None:
    call("speech_started", 1000, item="u", audio_start_ms=0)
    call("playout_cleared", 1030, item="a", played_ms=100, dropped_ms=200)
    call("playout_cleared", 1030, item="b", played_ms=0, dropped_ms=200)
    assert value(metrics, "barge_ins_total") == 1
    assert value(metrics, "barge_in_stop_seconds_sum") == pytest.approx(0.03)


def test_trouble_with_the_model(metrics: AgentMetrics, call: Call) -> None:
    call("realtime_connecting", 0, attempt=1)
    call("realtime_failed", 1, reason="refused", status=503)
    call("realtime_connecting", 2, attempt=2)
    call("realtime_failed", 3, reason="lost")
    call("realtime_error", 4, code="invalid_value", message="m")
    call("watchdog_fired", 5, what="commit")
    call("event_dropped", 6, type="x", reason="broken")
    assert value(metrics, "realtime_connects_total") == 2
    assert value(metrics, "realtime_reconnects_total") == 1
    assert value(metrics, "realtime_failures_total", status="503") == 1
    assert value(metrics, "realtime_failures_total", status="none") == 1
    assert value(metrics, "realtime_errors_total", code="invalid_value") == 1
    assert value(metrics, "watchdogs_total", what="commit") == 1
    assert value(metrics, "events_dropped_total", type="x") == 1


def test_responses_and_tokens(metrics: AgentMetrics, call: Call) -> None:
    call("response_done", 0, response="r", status="completed", input_tokens=50, output_tokens=70)
    call("response_done", 1, response="s", status="failed", reason="quota")
    assert value(metrics, "responses_total", status="failed") == 1
    assert value(metrics, "tokens_total", direction="input") == 50
    assert value(metrics, "tokens_total", direction="output") == 70


def test_sound_that_was_missing_dropped_or_lost(metrics: AgentMetrics, call: Call) -> None:
    call("playout_underrun", 0, item="a", missing_ms=60)
    call("playout_overflowed", 1, dropped_ms=500)
    call("capture_overflowed", 2, dropped_ms=250)
    call("rtp_measured", 3, received_packets=98, lost_packets=2, jitter_ms=4.0)
    assert value(metrics, "playout_underruns_total") == 1
    assert value(metrics, "playout_missing_seconds_total") == pytest.approx(0.06)
    assert value(metrics, "audio_dropped_seconds_total", queue="playout") == 0.5
    assert value(metrics, "audio_dropped_seconds_total", queue="capture") == 0.25
    assert value(metrics, "rtp_packets_lost_total") == 2
    assert value(metrics, "rtp_loss_ratio_sum") == pytest.approx(0.02)
    assert value(metrics, "rtp_jitter_seconds_sum") == pytest.approx(0.004)


def test_tools(metrics: AgentMetrics, call: Call) -> None:
    call("tool_finished", 0, name="t", call_id="f", ok=False, took_ms=1500)
    assert value(metrics, "tool_seconds_sum", ok="false") == 1.5


def test_refusals_and_draining(metrics: AgentMetrics) -> None:
    metrics.call_refused(503, "draining")
    metrics.set_lines(4)
    metrics.set_draining(draining=True)
    assert value(metrics, "calls_refused_total", status="503", reason="draining") == 1
    assert value(metrics, "lines") == 4
    assert value(metrics, "draining") == 1


def test_marks_of_others_are_not_ours_to_count(metrics: AgentMetrics, call: Call) -> None:
    call.tell("realtime", "committed", 0, {"item": "u"})
    call.tell("caller", "call_ended", 0, {"by": "caller", "status": 200})
    assert value(metrics, "calls_ended_total", by="caller", status="200") is None


def test_labels_from_outside_are_bounded(metrics: AgentMetrics, call: Call) -> None:
    for number in range(MAX_LABEL_VALUES + 10):
        call("realtime_error", number, code=f"code_{number}", message="")
    assert value(metrics, "realtime_errors_total", code="other") == 10
    assert value(metrics, "realtime_errors_total", code=f"code_{MAX_LABEL_VALUES}") is None


def test_a_label_is_short() -> None:
    assert len(BoundedLabel()("x" * 10_000)) == 64


@pytest.mark.parametrize("hostile", ["a\0b", "a\nb", "a\x1b[2Jb", "a\u202eb", "a\ud800b"])
def test_a_label_is_text_that_can_be_read(hostile: str) -> None:
    """An error's code is whatever a server says."""
    label = BoundedLabel()(hostile)
    assert label.isprintable()
    assert label.startswith("a")
    assert label.endswith("b")


def test_calls_that_never_end_do_not_pile_up(metrics: AgentMetrics) -> None:
    for number in range(MAX_TRACKED_CALLS + 5):
        Call(metrics, f"c{number}")("call_received", number)
    assert value(metrics, "calls_total") == MAX_TRACKED_CALLS + 5
    assert value(metrics, "calls_active") == MAX_TRACKED_CALLS


def test_two_instances_share_nothing() -> None:
    one, other = AgentMetrics(process=False), AgentMetrics(process=False)
    Call(one)("call_received")
    assert value(one, "calls_total") == 1
    assert value(other, "calls_total") == 0


def test_pages_of_workers_become_one(metrics: AgentMetrics, call: Call) -> None:
    call("call_received")
    call("call_ended", 1500, by="caller", status=200, reason='quoted "so"')
    page = merge_pages({"0": metrics.page(), "1": AgentMetrics(process=False).page()}).decode()
    assert 'callerside_calls_total{worker="0"} 1.0' in page
    assert 'callerside_calls_total{worker="1"} 0.0' in page
    assert 'callerside_calls_ended_total{by="caller",status="200",worker="0"} 1.0' in page
    assert 'callerside_call_seconds_bucket{le="5.0",worker="0"} 1.0' in page
    assert page.count("# TYPE callerside_calls_total counter") == 1


def test_what_is_counted_is_marks_that_there_are(metrics: AgentMetrics) -> None:
    assert metrics._handlers.keys() - MARKS["agent"].keys() == set()


def test_the_page_tells_about_the_process() -> None:
    assert b"process_resident_memory_bytes" in AgentMetrics().page()
