"""Which ports are open, on which addresses, whichever engine: at rest, in calls, and behind both.

What never becomes a call, or would be a second one of the same name, leaves no port open.
"""

from collections.abc import Iterator

import psutil
import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

ANYWHERE = {"0.0.0.0", "::"}
STRAYS = 12
VIDEO = "m=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


@pytest.fixture(params=tuple(PROFILES))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def agent(engine: EngineName) -> Iterator[Phone]:
    with open_phone("agent", SipOptions(), answer_at_once, engine=engine) as phone:
        yield phone


def everywhere(phone: Phone) -> list[str]:
    """What this process listens with on all addresses of the machine."""
    found = psutil.Process(phone.process.pid).net_connections("inet")
    return [f"{one.laddr}" for one in found if one.laddr and one.laddr[0] in ANYWHERE]


def ports(phone: Phone) -> int:
    """Open ones, of UDP."""
    return phone.facts().udp_ports


def test_nothing_listens_on_all_addresses_at_rest_nor_in_a_call(agent: Phone) -> None:
    assert everywhere(agent) == []
    with RawPhone(agent.port) as caller:
        assert caller.call(caller.sdp() + VIDEO.format(port=caller.rtp_port)).status == 200
        assert everywhere(agent) == []
        assert caller.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the call to be over")
    assert everywhere(agent) == []


def test_nothing_listens_on_all_addresses_while_it_rings(engine: EngineName) -> None:
    with (
        open_phone("agent", SipOptions(), None, engine=engine) as agent,
        RawPhone(agent.port) as caller,
    ):
        caller.send("INVITE", caller.sdp() + VIDEO.format(port=caller.rtp_port))
        agent.wait_for_call(0)
        assert everywhere(agent) == []


def test_a_second_call_of_the_same_name_leaves_no_port_open() -> None:
    """Of one Call-ID and From, without an ACK: see `test_invites_apart`, too."""
    with open_phone("agent", SipOptions(), answer_at_once, engine="baresip") as agent:
        before = ports(agent)
        for _ in range(STRAYS):
            with RawPhone(agent.port) as caller:
                assert caller.call(caller.sdp()).status == 200
                tag, caller._to_tag = caller._to_tag, ""
                caller._cseq += 1
                caller.send("INVITE", caller.sdp())
                assert caller.final().status == 482
                caller._to_tag = tag
                assert caller.request("BYE") == 200
            wait_until(lambda: agent.facts().active_calls == 0, "the call to be over")
        wait_until(lambda: ports(agent) <= before, f"no more than {before} ports to be open")
