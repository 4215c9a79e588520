"""Durations: what people write, and what can only be a mistake."""

from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from callerside.durations import Between, DurationMs

WAIT = TypeAdapter(Annotated[DurationMs, Between(10, 60_000, least_bare_ms=100)])


@pytest.mark.parametrize(
    ("written", "duration_ms"),
    [(800, 800.0), (0, 0.0), ("0.5ms", 0.5), ("1.5s", 1500.0), ("2 min", 120_000.0)],
)
def test_a_duration_is_read(written: object, duration_ms: float) -> None:
    assert TypeAdapter(DurationMs).validate_python(written) == duration_ms


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (0.8, '0.8 is less than a millisecond, .* did you mean "0.8s"'),
        (-5, "-5 is no duration"),
        (float("inf"), "inf is no duration"),
        (float("nan"), "nan is no duration"),
        (True, "True is no duration"),
        ("2", 'did you mean "2s"'),
        ("0.5", 'did you mean "0.5s"'),
        ("20", 'did you mean "20ms"'),
        ("1.2.3", r"a number of milliseconds \["),
    ],
)
def test_what_is_none_is_refused(written: object, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TypeAdapter(DurationMs).validate_python(written)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (0, "0 ms is too short: expected 100 ms or more"),
        (20, '20 ms is too short: expected 100 ms or more; did you mean "20s"'),
        ("9ms", "9 ms is too short: expected 10 ms or more "),
        ("2min", "120 s is too long: expected 60 s or less"),
    ],
)
def test_a_duration_beyond_its_limits_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        WAIT.validate_python(written)
    assert WAIT.validate_python(100) == 100.0
    assert WAIT.validate_python("10ms") == 10.0
    assert WAIT.validate_python("1min") == 60_000.0
