import pytest
import structlog

from callerside.agent.observe.mark_sinks import SafeSink, fan_out
from callerside.marks import Mark


def mark(name: str) -> Mark:
    return Mark(at_ns=1, source="agent", call="c1", name=name)


def test_every_sink_gets_every_mark_in_order() -> None:
    told: list[str] = []
    sink = fan_out(
        [lambda fact: told.append(f"a {fact.name}"), lambda fact: told.append(f"b {fact.name}")]
    )
    sink(mark("answered"))
    sink(mark("call_ended"))
    assert told == ["a answered", "b answered", "a call_ended", "b call_ended"]


def test_a_disk_that_fails_is_told_once_and_hurts_nobody_else() -> None:
    tries: list[str] = []
    others: list[str] = []

    def full(fact: Mark) -> None:
        tries.append(fact.name)
        raise OSError("no space left on device")

    sink = fan_out([SafeSink("timeline", full), lambda fact: others.append(fact.name)])
    with structlog.testing.capture_logs() as logged:
        sink(mark("answered"))
        sink(mark("call_ended"))
    assert tries == ["answered"]
    assert others == ["answered", "call_ended"]
    (line,) = logged
    assert (line["event"], line["sink"], line["call"]) == ("marks_lost", "timeline", "c1")
    assert "no space" in line["error"]


def test_a_bug_in_a_sink_is_not_hidden() -> None:
    def broken(_: Mark) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        SafeSink("x", broken)(mark("answered"))


def test_a_bug_in_a_sink_is_told_once_and_keeps_no_mark_from_the_others() -> None:
    told: list[str] = []

    def broken(_: Mark) -> None:
        raise KeyError("a bug")

    sink = fan_out([broken, lambda fact: told.append(fact.name)])
    with structlog.testing.capture_logs() as logged:
        sink(mark("answered"))
        sink(mark("call_ended"))
    assert told == ["answered", "call_ended"]
    (line,) = logged
    assert (line["event"], line["mark"], line["call"]) == ("mark_failed", "answered", "c1")
    assert line["exc_info"]
