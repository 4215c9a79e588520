"""Limits that no call can keep, or that each keeps, are mistakes."""

from pathlib import Path

import pytest

from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.budget import BudgetError
from callerside.reports.verdict.budget_file import read_budget
from callerside.reports.verdict.limit_sense import check_limit


@pytest.mark.parametrize(
    ("name", "limit", "complaint"),
    [
        ("turn_ms", -5, "turn_ms: -5, expected 10 to 3600000 ms"),
        ("turn_ms", 0, "turn_ms: 0, expected 10 to"),
        ("turn_ms", 0.8, "turn_ms: 0.8, expected 10 to 3600000 ms; did you mean 800?"),
        ("turn_ms", 2, "did you mean 2000?"),
        ("turn_ms", 1e12, r"turn_ms: 1e\+12, expected 10 to 3600000 ms$"),
        ("turn_ms", {"max": 0.8}, "turn_ms: max: 0.8, expected .* did you mean 800"),
        ("turn_ms", {"p95": 0.8, "max": 1200}, "turn_ms: p95: 0.8, expected"),
        ("turn_ms", {"p95": 1500, "max": 1200}, "p95: 1500 says nothing beside max: 1200"),
        ("turn_ms", {"p50": 900, "p95": 800}, "p50: 900 says nothing beside p95: 800"),
        ("turn_ms", {"min": -5, "max": 900}, "turn_ms: min: -5, expected 0 to"),
        ("turn_ms", {"min": 900, "max": 900}, "no measured value is just 900"),
        ("connect_ms", {"above_own": -40}, "connect_ms: above_own: -40, expected 1 to"),
        ("connect_ms", {"above_own": 0}, "connect_ms: above_own: 0, expected 1 to"),
        ("greeting_ms", {"cached": 0.7}, "greeting_ms: cached: 0.7, .* did you mean 700"),
        ("greeting_ms", {"cached": {"min": 500, "max": 500}}, "greeting_ms: cached: .* just 500"),
        ("gap_ms", -1, "gap_ms: -1, expected 0 to"),
        ("gap_ms", 0.02, "gap_ms: 0.02, expected 0 to 3600000 ms; did you mean 20?"),
        ("beep_hz", {"target": 440, "within": 0}, "beep_hz: within: 0, expected 0.1 to"),
        ("beep_hz", {"target": 440, "within": -5}, "no number is at least"),
        ("beep_hz", {"target": 1e6, "within": 5}, r"beep_hz: target: 1e\+06, expected 20 to"),
        ("heard_error_ms", 0, "no measured value is just 0"),
        ("heard_error_ms", {"target": 0, "within": 0}, "within: 0, expected 1 to"),
        ("intelligibility", 0.9, "intelligibility: 0.9, expected 1 to 100 %; did you mean 90?"),
        ("intelligibility", 190, "expected 1 to 100 %$"),
        ("intelligibility", {"p95": 80, "min": 90}, "p95: 80 says nothing beside min: 90"),
        ("mos_heard", 42, "mos_heard: 42, expected 1 to 4.5 MOS"),
        ("rtp_lost", 0.05, "rtp_lost: 0.05, expected a whole number of 0 to 1000000 packets"),
        ("agent_level_dbfs", 26, "agent_level_dbfs: 26, expected -100 to 0 dBFS"),
        ("turm_ms", 900, "no metric is called 'turm_ms'"),
        ("turn_ms", "fast", "expected a number"),
    ],
)
def test_a_limit_without_sense_is_refused(name: str, limit: object, complaint: str) -> None:
    with pytest.raises(BudgetError, match=complaint):
        check_limit(name, limit)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("turn_ms", 800),
        ("turn_ms", "off"),
        ("turn_ms", False),
        ("turn_ms", {"p50": 700, "p95": 800, "p99": 900, "max": 1200}),
        ("greeting_ms", {"cached": 700, "generated": "off"}),
        ("gap_ms", 0),
        ("rtp_lost", 0),
        ("rtp_lost", {"min": 2, "max": 2}),
        ("heard_error_ms", {"min": -40, "max": 10}),
        ("agent_level_dbfs", {"min": -30, "max": -16}),
        ("intelligibility", {"p50": 95, "min": 90}),
    ],
)
def test_a_limit_with_sense_is_not(name: str, limit: object) -> None:
    check_limit(name, limit)


def test_the_default_budget_makes_sense() -> None:
    for name, metric in METRICS.items():
        if metric.budget is not None:
            check_limit(name, metric.budget)


def test_a_file_of_limits_tells_of_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text("budget:\n  turn_ms: 0.8\n  gap_ms: 20\n  beep_ms: -1\n")
    with pytest.raises(BudgetError) as raised:
        read_budget(path)
    first, second = str(raised.value).splitlines()
    assert first.startswith(f"{path}:2:3: turn_ms: 0.8, expected 10 to 3600000 ms")
    assert second.startswith(f"{path}:4:3: beep_ms: -1, expected")
