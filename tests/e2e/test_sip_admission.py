"""Whose calls are taken, and what those are told whose are not."""

from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, wait_until

from agent.leg import HungUp, MediaReady
from agent.sip.options import SipOptions

pytestmark = pytest.mark.e2e

RETRY_AFTER_S = 7


@pytest.fixture(scope="module")
def agent() -> Iterator[Phone]:
    options = SipOptions(
        max_calls=1, retry_after_s=RETRY_AFTER_S, allowed_peers=("127.0.0.1", "127.1.0.0/16")
    )
    phone = Phone("agent", options)
    phone.behave(answer_at_once)
    yield phone
    assert phone.close() == 0


@pytest.mark.parametrize(("host", "status"), [("127.0.0.5", 403), ("127.1.2.3", 200)])
def test_only_allowed_peers_are_answered(agent: Phone, host: str, status: int) -> None:
    with RawPhone(agent.port, host) as stranger:
        assert stranger.call(stranger.sdp()).status == status
        if status == 200:
            assert stranger.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")


def test_one_call_too_many_is_busy_and_told_when_to_come_again(agent: Phone) -> None:
    call = agent.calls()
    with RawPhone(agent.port) as first, RawPhone(agent.port) as second:
        assert first.call(first.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        busy = second.call(second.sdp())
        assert busy.status == 486
        assert busy.header("Retry-After") == str(RETRY_AFTER_S)
        assert first.request("BYE") == 200
        agent.wait_for(call, HungUp)


def test_a_draining_agent_refuses_new_calls_and_keeps_old_ones(agent: Phone) -> None:
    call = agent.calls()
    with RawPhone(agent.port) as first, RawPhone(agent.port) as second:
        assert first.call(first.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        agent.station("refuse_calls", 503)
        refused = second.call(second.sdp())
        assert refused.status == 503
        assert refused.header("Retry-After") == str(RETRY_AFTER_S)
        assert first.request("BYE") == 200
        assert agent.wait_for(call, HungUp).by == "caller"
    agent.station("accept_calls")
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")
    with RawPhone(agent.port) as third:
        assert third.call(third.sdp()).status == 200
        assert third.request("BYE") == 200


def test_the_public_address_is_what_is_advertised() -> None:
    options = SipOptions(public_host="192.0.2.10", rtp_public_host="192.0.2.20")
    agent = Phone("agent", options)
    agent.behave(answer_at_once)
    with RawPhone(agent.port) as caller:
        answer = caller.call(caller.sdp())
        assert answer.status == 200
        assert "192.0.2.10" in answer.header("Contact")
        assert "c=IN IP4 192.0.2.20" in answer.message
        assert caller.request("BYE") == 200
    assert agent.close() == 0


def test_a_port_that_is_taken_is_said_in_words(agent: Phone) -> None:
    with pytest.raises(RuntimeError, match=rf"SIP cannot listen on 127.0.0.1:{agent.port}/udp"):
        Phone("agent", SipOptions(port=agent.port))
