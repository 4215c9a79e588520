"""What comes in the dialog of a call that is over is nothing to whoever has its place by then."""

import time
from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.interface import MediaReady

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    with open_phone("agent", reaction=answer_at_once, engine=request.param) as phone:
        yield phone


LATE = {
    "REFER that names nobody": ("REFER", "", {}),
    "REFER": ("REFER", "", {"Refer-To": "<sip:elsewhere@127.0.0.1>"}),
    "MESSAGE": ("MESSAGE", "hello", {"Content-Type": "text/plain"}),
    "INFO": ("INFO", "Signal=5\r\n", {"Content-Type": "application/dtmf-relay"}),
    "UPDATE": ("UPDATE", "", {}),
    "PRACK": ("PRACK", "", {"RAck": "1 1 INVITE"}),
    "NOTIFY": ("NOTIFY", "", {"Event": "refer", "Subscription-State": "active"}),
    "OPTIONS": ("OPTIONS", "", {}),
    "another": ("FOO", "", {}),
    "INVITE": ("INVITE", "", {}),
}


@pytest.mark.parametrize("late", LATE)
def test_it_is_answered_that_there_is_no_such_call(agent: Phone, late: str) -> None:
    """A re-INVITE whose answer nobody acknowledges keeps the dialog, and a new call the place."""
    method, body, headers = LATE[late]
    time.sleep(0.3)  # so many calls a second are let in, and no more
    with RawPhone(agent.port) as over, RawPhone(agent.port) as up:
        assert over.call(over.sdp()).status == 200
        over._cseq += 1
        over.send("INVITE", over.sdp())
        assert over.final().status == 200  # and no ACK
        assert over.request("BYE") == 200
        wait_until(lambda: agent.facts().active_calls == 0, "the call to end")
        call = agent.calls()
        assert up.call(up.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        assert over.request(method, body, headers) in ((481, 501) if method == "FOO" else (481,))
        assert up.request("OPTIONS") == 200
        assert up.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the other to end")
