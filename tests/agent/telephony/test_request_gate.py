"""What comes too often is turned away before it is read; what belongs to a call never is."""

from typing import Any

import pytest

from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.request_gate import (
    BURST_S,
    DROPPED,
    MOST_SOURCES,
    RequestGate,
    RequestRate,
)
from callerside.clock import NS_PER_MS, NS_PER_S

NOW_NS = 10 * NS_PER_S
OWN = "a-call-of-ours"
BUSY = Answer(503, "Service Unavailable", (("Retry-After", "5"),))


def message(first: str = "INVITE sip:100@127.0.0.1 SIP/2.0", call_id: str = "new") -> str:
    lines = (first, "v: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1", "From: <sip:a@b>;tag=a")
    more = ("t: <sip:b@b>", f"Call-ID: {call_id}", "Contact: <sip:a@127.0.0.9>", "CSeq: 1 INVITE")
    return "\r\n".join([*lines, *more, "", ""])


class Rig:
    def __init__(self, **options: Any) -> None:
        self.told: list[tuple[int, str, str, str]] = []
        rates = {"requests_per_source_per_s": 5, "requests_per_s": 20, **options}
        self.gate = RequestGate(
            SipOptions(**rates),
            lambda call_id: call_id == OWN,
            lambda *told: self.told.append(told),
        )

    def answers(self, count: int, source: str = "127.0.0.1:5060", **kind: str) -> list[Any]:
        text = message(**kind)
        return [self.gate.turns_away(text, source, NOW_NS) for _ in range(count)]


def test_who_has_a_64_of_ipv6_is_one_source() -> None:
    """Whoever has one address of it has all of them."""
    rig = Rig()
    passed = [rig.answers(1, f"[2001:db8::{n:x}]:5060") for n in range(1, 31)].count([None])
    assert passed == 5 * BURST_S
    assert rig.answers(1, "[2001:db8:0:1::1]:5060") == [None], "another has a rate of its own"


@pytest.mark.parametrize("per_s", [1, 50])
def test_a_source_has_its_rate_and_a_burst(per_s: int) -> None:
    rate = RequestRate(per_s, 0)
    burst = sum(rate.takes("a", NOW_NS) for _ in range(10 * per_s))
    assert burst == BURST_S * per_s
    later = [rate.takes("a", NOW_NS + n * 10 * NS_PER_MS) for n in range(1_000)]
    assert per_s * 10 - 1 <= sum(later) <= per_s * 10
    assert sum(rate.takes("b", NOW_NS) for _ in range(10 * per_s)) == burst


def test_all_sources_together_have_one() -> None:
    rate = RequestRate(5, 20)
    assert sum(rate.takes(f"10.0.0.{n}", NOW_NS) for n in range(250)) == BURST_S * 20
    assert not rate.takes("10.0.1.1", NOW_NS)
    assert rate.takes("10.0.1.1", NOW_NS + NS_PER_S)


def test_nought_is_no_limit() -> None:
    rate = RequestRate(0, 0)
    assert all(rate.takes("a", NOW_NS) for _ in range(100_000))


def test_very_many_sources_cost_a_bounded_memory() -> None:
    rate = RequestRate(5, 0)
    for number in range(3 * MOST_SOURCES):
        rate.takes(f"source {number}", NOW_NS)
    assert len(rate._sources) == MOST_SOURCES


def test_whoever_asks_too_often_is_told_when_to_come_again() -> None:
    rig = Rig()
    assert rig.answers(12) == [None] * 10 + [BUSY] * 2
    assert rig.told == [(503, "rate", "INVITE", "127.0.0.1:5060")] * 2
    assert rig.answers(1, "127.0.0.2:5060") == [None]


def test_or_is_told_nothing() -> None:
    rig = Rig(over_limit="drop")
    assert rig.answers(11)[-1] == DROPPED
    assert rig.told == [(0, "rate", "INVITE", "127.0.0.1:5060")]


@pytest.mark.parametrize(
    "first",
    [
        "ACK sip:100@127.0.0.1 SIP/2.0",
        "SIP/2.0 200 OK",
        "INVITE sip:100@127.0.0.1 SIP/2.0\r\nSubject: a\x07",
        "INVITE sip:100@127.0.0.1 SIP/2.0\r\nSubject: a\nb",
    ],
)
def test_what_nobody_answers_is_dropped(first: str) -> None:
    assert Rig().answers(11, first=first)[-1] == DROPPED


@pytest.mark.parametrize("name", ["v:", "From:", "t:", "Call-ID:", "CSeq:", "Contact:"])
def test_what_has_not_all_that_an_answer_repeats_is_dropped(name: str) -> None:
    rig = Rig()
    text = message().replace(name, "X:")
    assert [rig.gate.turns_away(text, "127.0.0.1:9", NOW_NS) for _ in range(11)][-1] == DROPPED


@pytest.mark.parametrize("first", ["BYE", "ACK", "INVITE"])
def test_what_belongs_to_a_call_always_passes(first: str) -> None:
    rig = Rig(allowed_peers=("192.0.2.0/24",), strangers="drop")
    assert rig.answers(1_000, first=f"{first} sip:100@h SIP/2.0", call_id=OWN) == [None] * 1_000


def test_strangers_take_nothing_from_those_who_may_call_and_hear_no_503() -> None:
    rig = Rig(allowed_peers=("127.0.0.1",))
    for number in range(250):
        assert set(rig.answers(20, f"127.0.1.{number}:5060")) <= {None, DROPPED}
    assert rig.answers(1) == [None]


def test_strangers_are_told_nothing_if_that_is_asked_for() -> None:
    rig = Rig(allowed_peers=("127.0.0.1",), strangers="drop")
    assert rig.answers(3, "127.0.0.9:5060") == [DROPPED] * 3
    assert rig.told[0] == (0, "not_allowed", "INVITE", "127.0.0.9:5060")
    assert rig.answers(1) == [None]
