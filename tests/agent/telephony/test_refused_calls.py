"""Of very many calls that are refused each is counted, and few are logged."""

import time

import pytest
from structlog.testing import capture_logs

from callerside.agent.telephony.errors import LOG_LINES_PER_S, LogLimit, Refusals
from callerside.clock import NS_PER_MS, NS_PER_S

NOW_NS = 10 * NS_PER_S


def test_a_flood_does_not_fill_the_log() -> None:
    limit = LogLimit(per_s=2)
    passed = [limit.passes(NOW_NS + n * NS_PER_MS) for n in range(5)]
    assert passed == [0, 0, None, None, None]
    assert limit.passes(NOW_NS + NS_PER_S) == 3
    assert limit.passes(NOW_NS + NS_PER_S) == 0


def test_each_is_counted_and_those_without_a_line_are_told_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ns = [NOW_NS]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns[0])
    counted: list[tuple[int, str]] = []
    told = Refusals(lambda status, reason: counted.append((status, reason)))
    with capture_logs() as logged:
        for _ in range(LOG_LINES_PER_S + 5):
            told.note(403, "not_allowed", "127.0.0.9:5060")
        now_ns[0] += NS_PER_S
        told.note(486, "full", "127.0.0.1:5060")
    assert len(counted) == LOG_LINES_PER_S + 6
    assert len(logged) == LOG_LINES_PER_S + 1
    assert logged[-1]["unlogged"] == 5
