"""Whose calls are taken, and what those are told whose are not."""

import itertools
import time
from collections.abc import Iterator
from typing import Literal

import pytest
from raw_sip import RETRANSMIT_S, RawPhone
from sip_rig import Phone, answer_at_once, wait_until

from callerside.agent.telephony.engine import PROFILES, Capability, EngineName
from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions

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


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("status", [403, 486, 503])
def test_whoever_is_refused_the_call_that_is_up_goes_on(
    agent: Phone, status: int, transport: Literal["udp", "tcp"]
) -> None:
    """With and without SDP and ACK; 403 also while draining."""
    call = agent.calls()
    with RawPhone(agent.port) as first:
        assert first.call(first.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        for drains in {status == 503, status != 486}:
            agent.station(*(("refuse_calls", 503) if drains else ("accept_calls",)))
            for has_ack, has_sdp in itertools.product((False, True), repeat=2):
                refuse(agent, status, transport, has_ack=has_ack, has_sdp=has_sdp)
        time.sleep(RETRANSMIT_S)  # in which a stack sends again what it takes for unanswered
        assert agent.calls() == call + 1, "nobody was let in"
        assert first.request("OPTIONS") == 200
        assert first.request("BYE") == 200
        assert agent.wait_for(call, HungUp).by == "caller"
    agent.station("accept_calls")


def refuse(
    agent: Phone, status: int, transport: Literal["udp", "tcp"], *, has_ack: bool, has_sdp: bool
) -> None:
    host = "127.0.0.5" if status == 403 else "127.0.0.1"
    with RawPhone(agent.port, host, transport) as other:
        other.send("INVITE", other.sdp() if has_sdp else "")
        refused = other.final()
        assert refused.status == status
        assert refused.header("Retry-After") == ("" if status == 403 else str(RETRY_AFTER_S))
        assert refused.to_tag, "RFC 3261 §8.2.6.2"
        if has_ack:
            other.acknowledge()


def test_a_refusal_is_the_same_when_the_request_comes_again(agent: Phone) -> None:
    """Its answer was lost; that there is a place by now does not matter (RFC 3261 §8.2.7)."""
    call = agent.calls()
    with RawPhone(agent.port) as first, RawPhone(agent.port) as second:
        assert first.call(first.sdp()).status == 200
        second.send("INVITE", second.sdp())
        assert second.final().status == 486
        assert first.request("BYE") == 200
        agent.wait_for(call, HungUp)
        second.send_bytes(second.last)
        assert second.final().status == 486
        assert agent.calls() == call + 1


@pytest.mark.parametrize("headers", [{}, {"Require": "replaces"}])
@pytest.mark.parametrize(("host", "status"), [("127.0.0.5", 403), ("127.0.0.1", 420)])
def test_nobody_takes_the_place_of_a_call(
    agent: Phone, host: str, status: int, headers: dict[str, str]
) -> None:
    """RFC 3891: PJSUA would do it for anybody, all by itself."""
    call = agent.calls()
    with RawPhone(agent.port) as first:
        answer = first.call(first.sdp())
        assert "replaces" not in answer.header("Supported")
        agent.wait_for(call, MediaReady)
        whom = f"{answer.header('Call-ID')};to-tag={answer.to_tag};from-tag=raw"
        for name, value in (("Replaces", whom), ("rEPLACES ", whom), ("Replaces", "nonsense")):
            with RawPhone(agent.port, host) as other:
                sdp = {"Content-Type": "application/sdp"}
                other.send("INVITE", other.sdp(), {**sdp, name: value, **headers})
                refused = other.final()
                assert refused.status == status
                assert refused.header("Unsupported") == ("replaces" if status == 420 else "")
                other.acknowledge()
                other.send("BYE", cseq=2)
                assert other.final("BYE").status == 481
        assert agent.calls() == call + 1
        assert first.request("BYE") == 200
        assert agent.wait_for(call, HungUp).by == "caller"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("SUBSCRIBE", {"Event": "presence"}, 489),
        ("NOTIFY", {"Event": "message-summary", "Subscription-State": "active"}, 481),
        ("MESSAGE", {"Content-Type": "text/plain"}, 405),
        ("PUBLISH", {"Event": "presence"}, 405),
        ("REFER", {"Refer-To": "<sip:somebody@192.0.2.1>"}, 405),
    ],
)
def test_what_nothing_here_does_is_not_agreed_to(
    agent: Phone, method: str, headers: dict[str, str], status: int
) -> None:
    """PJSUA would let anybody subscribe, and send him what it knows."""
    for host, expected in (("127.0.0.5", 403), ("127.0.0.1", status)):
        with RawPhone(agent.port, host) as other:
            other.send(method, "", headers)
            answer = other.final(method)
            assert answer.status == expected
            if expected == 405:
                assert "INVITE" in answer.header("Allow")
                assert method == "REFER" or method not in answer.header("Allow")


@pytest.mark.parametrize("engine", PROFILES)
def test_the_public_address_is_what_is_advertised(engine: EngineName) -> None:
    """Of SIP where the engine can (`public_contact`), of RTP on each."""
    names_it = Capability.PUBLIC_CONTACT in PROFILES[engine].capabilities
    options = SipOptions(
        public_host="192.0.2.10" if names_it else None, rtp_public_host="192.0.2.20"
    )
    agent = Phone("agent", options, engine=engine)
    agent.behave(answer_at_once)
    with RawPhone(agent.port) as caller:
        answer = caller.call(caller.sdp())
        assert answer.status == 200
        assert ("192.0.2.10" in answer.header("Contact")) == names_it
        assert "c=IN IP4 192.0.2.20" in answer.message
        assert caller.request("BYE") == 200
    assert agent.close() == 0


def test_a_port_that_is_taken_is_said_in_words(agent: Phone) -> None:
    with pytest.raises(RuntimeError, match=rf"SIP cannot listen on 127.0.0.1:{agent.port}/udp"):
        Phone("agent", SipOptions(port=agent.port))
