"""Of very many calls that are refused each is counted, and few are logged."""

from collections.abc import Callable

from structlog.testing import capture_logs

from callerside.agent.telephony.errors import LogLimit, Refusals
from callerside.clock import NS_PER_MS, NS_PER_S

NOW_NS = 10 * NS_PER_S


def test_a_flood_does_not_fill_the_log() -> None:
    limit = LogLimit(per_s=2)
    passed = [limit.passes(NOW_NS + n * NS_PER_MS) for n in range(5)]
    assert passed == [0, 0, None, None, None]
    assert limit.passes(NOW_NS + NS_PER_S) == 3
    assert limit.passes(NOW_NS + NS_PER_S) == 0


class Clock:
    """Calls back when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def later(self, after_s: float, what: Callable[[], None]) -> None:
        assert after_s == 1
        self.waiting.append(what)

    def a_second_passes(self) -> None:
        due, self.waiting = self.waiting, []
        for what in due:
            what()


def test_each_is_counted_and_there_is_a_line_a_second() -> None:
    counted: list[tuple[int, str]] = []
    clock = Clock()
    told = Refusals(lambda status, reason: counted.append((status, reason)), clock.later)
    with capture_logs() as logged:
        for number in range(100):
            told.note(403, "not_allowed", f"127.0.1.{number % 25}:{5060 + number}")
        told.note(486, "full", "127.0.0.1:5060")
        assert [line["reason"] for line in logged] == ["not_allowed"]
        clock.a_second_passes()
        assert logged[1]["counts"] == {"403 not_allowed": 99, "486 full": 1}
        assert logged[1]["sources"] == 26
        clock.a_second_passes()  # in which there were none: so the next is told at once
        told.note(486, "full", "127.0.0.1:5060")
        assert [line.get("reason") for line in logged] == ["not_allowed", None, "full"]
    assert len(counted) == 102


def test_of_what_was_turned_away_calls_are_counted_as_refused() -> None:
    counted: list[tuple[int, str]] = []
    told = Refusals(lambda status, reason: counted.append((status, reason)), Clock().later)
    with capture_logs() as logged:
        told.note_turned_away(503, "rate", "INVITE", "127.0.0.1:5060")
        told.note_turned_away(503, "rate", "OPTIONS", "127.0.0.1:5060")
    assert counted == [(503, "rate")]
    assert len(logged) == 1
