"""What the other side reports of a transfer (RFC 3515 §2.4.4), and what becomes of it with us."""

from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone

from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.interface import HungUp, MediaReady, TransferProgressed

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    with open_phone("agent", reaction=answer_at_once, engine=request.param) as phone:
        yield phone


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        pytest.param([("active", "200 OK")], 200, id="it worked, and more may come"),
        pytest.param([("terminated;reason=noresource", "200 OK")], 200, id="it worked"),
        pytest.param(
            [("active", "200 OK"), ("terminated;reason=noresource", "200 OK")],
            200,
            id="it worked, said twice",
        ),
        pytest.param(
            [("active", "100 Trying"), ("terminated;reason=noresource", "486 Busy Here")],
            486,
            id="they are busy",
        ),
        pytest.param(
            [("terminated;reason=timeout", "180 Ringing")], 408, id="nobody heard the end"
        ),
        pytest.param(
            [("active", "180 Ringing"), ("terminated;reason=timeout", "100 Trying")],
            408,
            id="likewise, behind a ringing",
        ),
    ],
)
def test_a_transfer_has_worked_when_that_is_reported(
    agent: Phone, reports: list[tuple[str, str]], status: int
) -> None:
    call = agent.calls()
    with RawPhone(agent.port) as caller:
        assert caller.call(caller.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        agent.do(call, "transfer", "sip:desk@127.0.0.1")
        refer = caller.asked("REFER")
        assert refer
        caller.reply(refer, "202 Accepted", f"Contact: <{caller.contact}>")
        for state, fragment in reports:
            headers = {
                "Event": "refer",
                "Subscription-State": state,
                "Content-Type": "message/sipfrag",
            }
            assert caller.request("NOTIFY", f"SIP/2.0 {fragment}\r\n", headers) == 200
        assert agent.wait_for(call, TransferProgressed).status == status
        assert caller.request("BYE") == 200
        agent.wait_for(call, HungUp)
        told = [one for one in agent.signals(call) if isinstance(one, TransferProgressed)]
        assert [one.status for one in told] == [status]
