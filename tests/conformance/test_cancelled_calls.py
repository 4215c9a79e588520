"""Calls that are cancelled as soon as they are made, or too late, all end; so do their repeats.

`CALLERSIDE_CANCELLED_CALLS` says how many there are.
"""

import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from at_once import AtOnce
from raw_sip import RawPhone, Response
from sip_rig import Facts, Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import CallAnswered, CallReceived, HungUp, MediaReady
from callerside.agent.telephony.leg import LONGEST_UNACKNOWLEDGED_NS
from callerside.agent.telephony.options import SipOptions
from callerside.clock import NS_PER_S

pytestmark = pytest.mark.e2e

CALLS = int(os.environ.get("CALLERSIDE_CANCELLED_CALLS", "300"))
AT_ONCE = 40
"""Of them, without a pause: more than PJSUA lets in."""
PER_S = 70
"""The others."""
END_S = LONGEST_UNACKNOWLEDGED_NS / NS_PER_S + 4
"""For all to be over; for the one that is never acknowledged, that is how long it takes."""
GROWS_BY_BYTES = 4_000_000
"""By as many once more, when transactions and buffers are as many as they get."""
PLACES = 2
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\n"
)
UNLIMITED = SipOptions(requests_per_s=0, requests_per_source_per_s=0)


@pytest.fixture(params=tuple(PROFILES))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def agent(engine: EngineName, request: pytest.FixtureRequest) -> Iterator[Phone]:
    options = getattr(request, "param", SipOptions(max_calls=PLACES))
    with open_phone("agent", options, answer_at_once, engine=engine) as phone:
        phone.keep_audio(False)
        yield phone


class Caller:
    """Whoever makes calls and cancels them, one right behind the other."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        """Final ones: of which method, and which."""
        self._agent = ("127.0.0.1", port)
        self._sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sip.bind(("127.0.0.1", 0))
        self._sip.setblocking(False)
        self._port = self._sip.getsockname()[1]

    def close(self) -> None:
        self._sip.close()

    def change_its_mind(self) -> None:
        """An INVITE, and its CANCEL."""
        name = uuid.uuid4().hex
        self._send("INVITE", name, body=SDP)
        self._send("CANCEL", name)

    def listen(self, until_s: float) -> None:
        """Acknowledge what is refused, as one has to, and end what was answered."""
        while True:
            try:
                response = Response(self._sip.recv(65536).decode())
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    return
                time.sleep(0.001)
                continue
            if response.status < 200:
                continue
            self.answers[response.method, response.status] += 1
            if response.method != "INVITE":
                continue
            name, tag = response.header("Call-ID"), f";tag={response.to_tag}"
            if response.status >= 300:
                self._send("ACK", name, tag)
            else:
                self._send("ACK", name, tag, branch=uuid.uuid4().hex)
                self._send("BYE", name, tag, number=2, branch=uuid.uuid4().hex)

    def _send(
        self,
        method: str,
        name: str,
        to_tag: str = "",
        number: int = 1,
        branch: str = "",
        body: str = "",
    ) -> None:
        lines = [
            f"{method} sip:100@127.0.0.1:{self._agent[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self._port};rport;branch=z9hG4bK{branch or name}",
            "Max-Forwards: 70",
            "From: <sip:mind@127.0.0.1>;tag=mind",
            f"To: <sip:100@127.0.0.1>{to_tag}",
            f"Call-ID: {name}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:mind@127.0.0.1:{self._port}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        self._sip.sendto("\r\n".join(lines).encode(), self._agent)


@pytest.fixture(scope="module")
def many() -> Iterator[AtOnce[EngineName, None]]:
    """With each engine: the half minute after which an answer is given up passes once."""
    with AtOnce(
        {engine: partial(none_of_very_many_is_left, engine) for engine in PROFILES}
    ) as all_:
        yield all_


def test_none_of_very_many_is_left(engine: EngineName, many: AtOnce[EngineName, None]) -> None:
    """One more is cancelled behind its answer, and never acknowledged: that is given up, too."""
    many.told(engine)


def none_of_very_many_is_left(engine: EngineName) -> None:
    with open_phone("agent", UNLIMITED, answer_at_once, engine=engine) as agent:
        agent.keep_audio(False)
        are_all_over(agent)


def are_all_over(agent: Phone) -> None:
    with RawPhone(agent.port) as silent:
        cancel_behind_the_answer(silent)
        make_calls(agent)
        wait_until(lambda: agent.facts().active_calls == 0, "all calls to end", END_S)
    assert agent.wait_for(0, HungUp).by == "network"
    assert is_answered(agent), "the next one"
    before = at_rest(agent)
    make_calls(agent)
    after = at_rest(agent)
    assert is_answered(agent), "the next one"
    for call in range(agent.calls()):
        agent.wait_for(call, HungUp)
    assert after.udp_ports == before.udp_ports
    assert (after.threads, after.open_files) == (before.threads, before.open_files)
    assert after.resident_bytes - before.resident_bytes < GROWS_BY_BYTES


def at_rest(agent: Phone) -> Facts:
    """What is held when no call is up, and all that closes late has closed."""
    wait_until(lambda: agent.facts().active_calls == 0, "all calls to end")
    time.sleep(1)
    return agent.facts()


def make_calls(agent: Phone) -> None:
    caller = Caller(agent.port)
    for _ in range(AT_ONCE):
        caller.change_its_mind()
    for _ in range(CALLS - AT_ONCE):
        caller.change_its_mind()
        caller.listen(time.monotonic() + 1 / PER_S)
    caller.listen(time.monotonic() + 1)
    caller.close()
    answered = {status: n for (method, status), n in caller.answers.items() if method == "INVITE"}
    assert answered.keys() <= {200, 486, 487, 503}
    assert answered[487] > CALLS / 4


def cancel_behind_the_answer(phone: RawPhone) -> None:
    phone.send("INVITE", phone.sdp())
    invite = phone.last
    assert phone.final().status == 200
    phone.send_bytes(cancel_of(invite))
    assert phone.final("CANCEL").status in (200, 481)


def cancel_of(invite: bytes) -> bytes:
    """Of its transaction (RFC 3261 §9.1)."""
    head = invite.partition(b"Content-Type")[0].replace(b"INVITE", b"CANCEL")
    return head + b"Content-Length: 0\r\n\r\n"


def is_answered(agent: Phone) -> bool:
    with RawPhone(agent.port) as caller:
        status = caller.call(caller.sdp()).status
        if status == 200:
            assert caller.request("BYE") == 200
        return status == 200


def test_one_that_is_cancelled_behind_its_answer_keeps_its_place(agent: Phone) -> None:
    """It is a call like any other until it is over: of no more than the others, which are full."""
    with RawPhone(agent.port) as first, RawPhone(agent.port) as second:
        for phone in (first, second):
            cancel_behind_the_answer(phone)
        assert not is_answered(agent)


def test_one_that_is_cancelled_behind_its_answer_and_acknowledged_is_a_call(
    agent: Phone,
) -> None:
    """It has sound, and our side can end it."""
    with RawPhone(agent.port) as caller:
        cancel_behind_the_answer(caller)
        caller.send("ACK", cseq=1)
        agent.wait_for(0, MediaReady)
        assert caller.packets(0.5) > 10
        agent.do(0, "hang_up")
        caller.reply(caller.asked("BYE"), "200 OK")
        assert agent.wait_for(0, HungUp).by == "agent"


def test_a_cancel_of_another_transaction_cancels_nothing(engine: EngineName) -> None:
    with (
        open_phone("agent", SipOptions(max_calls=1), engine=engine) as agent,
        RawPhone(agent.port) as caller,
        RawPhone(agent.port) as next_one,
    ):
        caller.send("INVITE", caller.sdp())
        invite = caller.last
        agent.wait_for_call(0)
        caller.send_bytes(cancel_of(invite).replace(b"z9hG4bK", b"z9hG4bKanother"))
        assert caller.final("CANCEL").status == 481
        assert next_one.call(next_one.sdp()).status == 486
        agent.do(0, "answer")
        assert caller.final().status == 200
        caller.send("ACK", cseq=1)
        agent.wait_for(0, CallAnswered)
        assert caller.request("BYE") == 200
        assert agent.wait_for(0, HungUp).by == "caller"


class TestWhatIsSentAgain:
    """An INVITE that comes once more has its answer once more, whatever is free meanwhile."""

    @pytest.mark.parametrize("agent", [SipOptions(max_calls=1)], indirect=True)
    def test_of_a_call_that_was_refused(self, agent: Phone) -> None:
        with RawPhone(agent.port) as up, RawPhone(agent.port) as refused:
            assert up.call(up.sdp()).status == 200
            refused.send("INVITE", refused.sdp())
            invite = refused.last
            assert refused.final().status == 486
            assert up.request("BYE") == 200
            agent.wait_for(0, HungUp)
            for _ in range(3):
                refused.send_bytes(invite)
                assert refused.final().status == 486
            refused.acknowledge()
            assert is_answered(agent), "nothing has taken the place"
        assert agent.refused() == [(486, "full")]

    def test_of_a_call_that_the_agent_has_refused(self, engine: EngineName) -> None:
        with open_phone("agent", UNLIMITED, refuse_at_once, engine=engine) as agent:
            for call in range(20):
                with RawPhone(agent.port) as caller:
                    caller.send("INVITE", caller.sdp())
                    for _ in range(5):
                        caller.send_bytes(caller.last)
                    assert caller.final().status == 486
                    caller.send_bytes(caller.last)
                    assert caller.final().status == 486
                    caller.acknowledge()
                    assert agent.wait_for(call, HungUp).status == 486
            assert agent.calls() == 20
            assert agent.refused() == []

    def test_of_a_call_that_is_over(self, agent: Phone) -> None:
        with RawPhone(agent.port) as caller:
            caller.send("INVITE", caller.sdp())
            invite = caller.last
            assert caller.final().status == 200
            caller.send("ACK", cseq=1)
            assert caller.request("BYE") == 200
            agent.wait_for(0, HungUp)
            caller.send_bytes(invite)
            time.sleep(0.3)
            assert agent.calls() == 1
            assert agent.facts().active_calls == 0
        assert agent.refused() == []


def refuse_at_once(leg: object, item: object) -> None:
    """The reaction of an agent that takes no call."""
    if isinstance(item, CallReceived):
        leg.hang_up(486)  # type: ignore[attr-defined] # a leg
