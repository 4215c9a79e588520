"""A caller that is asked to call somebody else (REFER): one that obeys, and one that does not."""

from collections.abc import Iterator

import pytest
from sip_rig import Phone, answer_at_once

from callerside.agent.telephony.interface import (
    AudioReceived,
    HungUp,
    TransferProgressed,
    TransferRequested,
)
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

DESK = "sip:desk@127.0.0.1"


@pytest.fixture(scope="module", params=["", ";transport=tcp"], ids=["udp", "tcp"])
def phones(request: pytest.FixtureRequest) -> Iterator[tuple[Phone, Phone, str]]:
    agent, caller = Phone("agent", SipOptions()), Phone("caller", SipOptions())
    agent.behave(answer_at_once)
    yield agent, caller, request.param
    assert (agent.close(), caller.close()) == (0, 0)


@pytest.mark.parametrize("who_ends_it", ["agent", "caller"])
def test_a_caller_lets_itself_be_transferred_and_the_call_can_be_ended_as_ever(
    phones: tuple[Phone, Phone, str], who_ends_it: str
) -> None:
    agent, caller, over = phones
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}{over}", lets_itself_be_transferred=True)
    agent.wait_for(theirs, AudioReceived, count=5)
    agent.do(theirs, "transfer", DESK)
    assert DESK in caller.wait_for(ours, TransferRequested).uri
    assert agent.wait_for(theirs, TransferProgressed).status == 200
    if who_ends_it == "agent":
        agent.do(theirs, "hang_up")
    else:
        caller.do(ours, "hang_up")
    for phone, number in ((agent, theirs), (caller, ours)):
        ended = phone.wait_for(number, HungUp)
        assert (ended.by, ended.status) == (who_ends_it, 200)


def test_four_calls_can_be_transferred_at_the_same_time(phones: tuple[Phone, Phone, str]) -> None:
    agent, caller, over = phones
    first = agent.calls()
    uri = f"sip:100@127.0.0.1:{agent.port}{over}"
    ours = [caller.dial(uri, lets_itself_be_transferred=True) for _ in range(4)]
    for number in range(first, first + 4):
        agent.wait_for(number, AudioReceived, count=5)
    for number in range(first, first + 4):
        agent.do(number, "transfer", DESK)
    for number in range(first, first + 4):
        assert agent.wait_for(number, TransferProgressed).status == 200
    for number in ours:
        caller.do(number, "hang_up")
        caller.wait_for(number, HungUp)


def test_a_caller_who_expects_no_transfer_declines(phones: tuple[Phone, Phone, str]) -> None:
    agent, caller, over = phones
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}{over}")
    agent.wait_for(theirs, AudioReceived, count=5)
    agent.do(theirs, "transfer", DESK)
    assert DESK in caller.wait_for(ours, TransferRequested).uri
    assert agent.wait_for(theirs, TransferProgressed).status == 603
    caller.do(ours, "hang_up")
    agent.wait_for(theirs, HungUp)


def test_a_transfer_that_cannot_be_asked_for_has_failed(phones: tuple[Phone, Phone, str]) -> None:
    agent, caller, over = phones
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}{over}")
    agent.wait_for(theirs, AudioReceived, count=5)
    agent.do(theirs, "transfer", f"sip:{'9' * 8000}@127.0.0.1")
    assert agent.wait_for(theirs, TransferProgressed).status == 500
    caller.do(ours, "hang_up")
    agent.wait_for(theirs, HungUp)
