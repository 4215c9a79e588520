"""Each metric is declared whole, and is measured where its entry says."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from declared import assert_declared
from synthetic_call import SyntheticCall, TurnTruth

from callerside.mark_registry import MARKS
from callerside.marks import Mark, Source
from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.metrics.heard_call import hear
from callerside.reports.metrics.measurement import Measurement
from callerside.reports.metrics.metrics import measure_called
from callerside.reports.metrics.registry import _ALL, METRICS, Metric
from callerside.reports.verdict.budget import default_limits, parse_limits

TOOL: Mapping[str, object] = {"name": "look_up", "call_id": "c1"}
ANSWERED: Mapping[str, object] = {"ok": True, "took_ms": 1.0}
UNITS = {"ms": "ms", "hz": "Hz", "db": "dB", "dbfs": "dBFS"}
EACH = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


@pytest.fixture(scope="module")
def full() -> CallEvidence:
    """A call with a barge-in, whose agent and caller tell of RTP and of the harness, too."""
    call = SyntheticCall(turns=[TurnTruth(), TurnTruth(barge_in_after_ms=600)]).build()
    rtp = {"received_packets": 500, "lost_packets": 1, "jitter_ms": 2.5}
    more = [
        _mark("agent", "rtp_measured", rtp),
        _mark("caller", "packets_buffered", {"packets": 1, "worst_ms": 4.5}),
        _mark("caller", "rtp_measured", rtp),
        _mark("caller", "call_progressed", {"status": 180}),
        _mark("caller", "scheduling_lag", {"worst_ms": 2}),
    ]
    created = call.first("realtime", "response_created")
    assert created is not None
    more += [
        _mark("agent", "tool_called", TOOL, created.at_ns - 2_000_000),
        _mark("agent", "tool_finished", {**TOOL, **ANSWERED}, created.at_ns - 1_000_000),
    ]
    recording = call.recording.copy()
    late = call.rate_hz // 10
    recording[late:, EAR] += recording[:-late, MOUTH] // 16  # an echo
    marks = sorted([*call.marks, *more], key=lambda mark: mark.at_ns)
    return replace(call, marks=marks, recording=recording)


def _mark(source: Source, name: str, fields: Mapping[str, object], at_ns: int = 1 << 60) -> Mark:
    assert_declared(source, name, fields)
    return Mark(at_ns=at_ns, source=source, call="synthetic", name=name, fields=fields)


def test_no_metric_is_declared_twice() -> None:
    assert len(METRICS) == len(_ALL)


def test_every_function_measures_the_metrics_that_name_it_and_no_others(
    full: CallEvidence,
) -> None:
    call = hear(full)
    functions = {metric.measured_by for metric in METRICS.values()}
    measured = {name: {one.name for one in measure_called(name)(call)} for name in functions}
    declared = {
        function: {m.name for m in METRICS.values() if m.measured_by == function}
        for function in functions
    }
    assert measured == declared


def test_every_number_says_how_far_it_may_be_off(full: CallEvidence) -> None:
    call = hear(full)
    functions = {metric.measured_by for metric in METRICS.values()}
    numbers = [one for name in functions for one in measure_called(name)(call)]
    bounds = {one.name: one.bound for one in numbers if isinstance(one, Measurement)}
    assert [name for name, bound in bounds.items() if bound is None or not bound.source] == []
    assert set(bounds) == set(METRICS)


@EACH
def test_each_says_what_it_is_and_what_its_unit_is(metric: Metric) -> None:
    assert metric.meaning
    assert metric.sources
    assert metric.unit == UNITS.get(metric.name.rsplit("_", 1)[-1], metric.unit)
    assert metric.unit in ("ms", "Hz", "%", "packets", "stops", "dB", "dBFS", "MOS")


@EACH
def test_each_has_a_truth_or_a_reason_why_there_is_none(metric: Metric) -> None:
    assert bool(metric.truth) != bool(metric.without_error)


@EACH
def test_each_begins_at_marks_that_there_are(metric: Metric) -> None:
    assert [one for one in metric.counts_from if one[1] not in MARKS[one[0]]] == []


@EACH
def test_each_default_limit_is_one_that_a_scenario_may_write(metric: Metric) -> None:
    if metric.budget is None:
        assert metric.name not in default_limits()
    else:
        assert (
            parse_limits({metric.name: metric.budget})[metric.name]
            == (default_limits()[metric.name])
        )
