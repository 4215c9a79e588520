"""Who sends INVITEs in others' names hears no answer: the places of such calls are given up."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
from raw_sip import RETRANSMIT_S, RawPhone
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.interface import CallAnswered, HungUp
from callerside.agent.telephony.leg import UNACKNOWLEDGED, UNACKNOWLEDGED_NS
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.request_gate import BURST_S
from callerside.clock import NS_PER_S

pytestmark = pytest.mark.e2e

PLACES = 2
LIMIT_S = UNACKNOWLEDGED_NS / NS_PER_S
WITHIN_S = 20.0
"""Long, for a machine with other work, and still less than the 32 s for which an answer is sent."""


@pytest.fixture(params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    options = SipOptions(max_calls=PLACES)
    with open_phone("agent", options, answer_at_once, engine=request.param) as phone:
        yield phone


def is_answered(agent: Phone) -> bool:
    time.sleep(0.2)
    with RawPhone(agent.port) as caller:
        status = caller.call(caller.sdp()).status
        if status == 200:
            assert caller.request("BYE") == 200
        return status == 200


def test_they_give_their_places_up_when_all_are_taken(agent: Phone) -> None:
    with RawPhone(agent.port) as first, RawPhone(agent.port) as second:
        for silent in (first, second):
            silent.send("INVITE", silent.sdp())
            assert silent.final().status == 200
        assert not is_answered(agent), "all places are taken"
        wait_until(lambda: is_answered(agent), "a place to be given up", WITHIN_S)
        for call in range(PLACES):
            ended = agent.wait_for(call, HungUp)
            told = (ended.by, ended.status, ended.reason)
            assert told == (UNACKNOWLEDGED.by, UNACKNOWLEDGED.status, UNACKNOWLEDGED.reason)
        late = first.last.replace(b"INVITE", b"ACK")
        first.send_bytes(late)  # comes to nothing
        assert is_answered(agent)


def test_a_call_that_is_acknowledged_late_stays_where_there_is_place(agent: Phone) -> None:
    with RawPhone(agent.port) as slow:
        slow.send("INVITE", slow.sdp())
        assert slow.final().status == 200
        with pytest.raises(TimeoutError):
            agent.wait_for(0, HungUp, within_s=LIMIT_S + 1)
        slow.send("ACK", cseq=1)
        agent.wait_for(0, CallAnswered)
        assert slow.request("BYE") == 200


def test_what_is_turned_away_is_answered_once_and_forgotten(agent: Phone) -> None:
    """Each would be said again for 32 s (RFC 3261 §17.2.1), to whomever the sender has named."""
    options = SipOptions()
    too_many = 2 * BURST_S * options.requests_per_source_per_s
    with RawPhone(agent.port) as silent:
        for _ in range(too_many):
            silent.call_id = uuid.uuid4().hex
            silent.send("INVITE", silent.sdp())
        counted: Counter[str] = Counter()
        deadline = time.monotonic() + 4 * RETRANSMIT_S
        while time.monotonic() < deadline:
            answer = silent._receive()
            if answer is not None and answer.status == 503:
                counted[answer.header("Call-ID")] += 1
    assert counted
    assert set(counted.values()) == {1}
