"""A caller who vanishes sends nothing at all, and the agent's call still ends in bounded time."""

import time
from collections.abc import Iterator

import pytest
from sip_rig import Phone, answer_at_once, wait_until

from callerside.agent.telephony.interface import AudioReceived, HungUp, MediaReady, RtpMeasured
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

RTP_TIMEOUT_MS = 1_500


@pytest.fixture(scope="module", params=["", ";transport=tcp"], ids=["udp", "tcp"])
def phones(request: pytest.FixtureRequest) -> Iterator[tuple[Phone, Phone, str]]:
    agent = Phone("agent", SipOptions(rtp_timeout_ms=RTP_TIMEOUT_MS))
    caller = Phone("caller", SipOptions())
    yield agent, caller, request.param
    assert (agent.close(), caller.close()) == (0, 0)


def test_a_caller_who_vanishes_is_missed_after_the_rtp_timeout(
    phones: tuple[Phone, Phone, str],
) -> None:
    agent, caller, over = phones
    agent.behave(answer_at_once)
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}{over}")
    agent.wait_for(theirs, AudioReceived, count=20)
    caller.do(ours, "vanish")
    gone_ns = time.monotonic_ns()
    ended = caller.wait_for(ours, HungUp)
    assert (ended.by, ended.reason) == ("caller", "vanished")
    missed = agent.wait_for(theirs, HungUp)
    assert (missed.by, missed.status) == ("network", 408)
    assert "no RTP" in missed.reason
    assert caller.facts().udp_ports >= 3, "RTP and RTCP stay bound: no ICMP tells of them"
    told = agent.told(theirs)
    assert isinstance(told[-2].input, RtpMeasured)
    assert (told[-1].at_ns - gone_ns) / 1e6 >= RTP_TIMEOUT_MS - 100
    wait_until(lambda: caller.facts().active_calls == 0, "the caller's place")


def test_before_the_answer_nothing_is_acknowledged(phones: tuple[Phone, Phone, str]) -> None:
    agent, caller, over = phones
    agent.behave(None)
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}{over}")
    agent.wait_for_call(theirs)
    caller.do(ours, "vanish")
    agent.do(theirs, "answer")
    time.sleep(1.5)  # in which a telephone that was there would have acknowledged
    assert not [item for item in agent.signals(theirs) if isinstance(item, MediaReady | HungUp)]
    agent.do(theirs, "hang_up")
    agent.wait_for(theirs, HungUp)


def test_other_calls_of_the_same_process_go_on(phones: tuple[Phone, Phone, str]) -> None:
    agent, caller, over = phones
    uri = f"sip:100@127.0.0.1:{agent.port}{over}"
    agent.behave(answer_at_once)
    first = agent.calls()
    staying = caller.dial(uri)
    agent.wait_for(first, AudioReceived, count=5)
    going = caller.dial(uri)
    agent.wait_for(first + 1, AudioReceived, count=5)
    caller.do(going, "vanish")
    agent.wait_for(first + 1, HungUp)
    heard = len(caller.told(staying))
    wait_until(lambda: len(caller.told(staying)) > heard + 20, "audio goes on")
    caller.do(staying, "hang_up")
    assert agent.wait_for(first, HungUp).by == "caller"
