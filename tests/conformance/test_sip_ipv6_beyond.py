"""IPv6 beyond `test_sip_ipv6.py`: encrypted sound, transfers, all addresses of a machine."""

import re
import socket
from ipaddress import ip_address
from itertools import product

import psutil
import pytest
from raw_sip import RawPhone
from sip_rig import answer_at_once, open_phone
from test_sip_engines import RATE_HZ, Line
from test_sip_srtp import calls

from callerside.agent.telephony.engine import PROFILES, Capability, EngineName
from callerside.agent.telephony.interface import MediaReady, TransferProgressed
from callerside.agent.telephony.options import SipOptions, Transport
from callerside.agent.telephony.srtp import SrtpPolicy

pytestmark = pytest.mark.e2e

HOST = "::1"
OVER: tuple[Transport, ...] = ("udp", "tcp")
ABLE = [name for name, one in PROFILES.items() if Capability.IPV6 in one.capabilities]


def options(**more: object) -> SipOptions:
    return SipOptions(**{"listen_host": HOST, "sample_rate_hz": RATE_HZ, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ABLE)
@pytest.mark.parametrize("hosts", [("0.0.0.0", "::"), ("::", "0.0.0.0")])
def test_all_addresses_of_both_families_take_calls(
    engine: EngineName, hosts: tuple[str, str]
) -> None:
    """Those of this machine's interfaces; loopback is none of them (docs/engines.md)."""
    listens = options(listen_host=hosts[0], second_host=hosts[1])
    with open_phone("agent", listens, answer_at_once, engine=engine) as agent:
        listening = psutil.Process(agent.process.pid).net_connections("inet")
        bound = {(one.laddr.ip, one.type) for one in listening if one.laddr.port == agent.port}
        kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        assert bound >= {(host, kind) for host in own_addresses() for kind in kinds}
        for host, over in product(own_addresses(), OVER):
            with RawPhone(agent.port, host, over, agent_host=host) as raw:
                line = Line(agent, raw, "agent").up()
                line.is_heard()
                assert raw.rtp.recv(2048)
                line.end()


def own_addresses() -> list[str]:
    """Of this machine, without loopback's and links'."""
    found = [one.address for all_of in psutil.net_if_addrs().values() for one in all_of
             if one.family in (socket.AF_INET, socket.AF_INET6)]  # fmt: skip
    usable = [host for host in found if "%" not in host and not ip_address(host).is_loopback]
    return [host for host in usable if not ip_address(host).is_link_local]


@pytest.mark.parametrize("policy", ["offered", "required"])
@pytest.mark.parametrize("engine", ABLE)
def test_encrypted_sound_is_heard_both_ways(engine: EngineName, policy: SrtpPolicy) -> None:
    with open_phone(
        "agent", SipOptions(listen_host=HOST, srtp=policy), answer_at_once, engine=engine
    ) as agent:
        assert calls(policy, engine, agent) is None


@pytest.mark.parametrize("engine", ABLE)
def test_a_caller_is_sent_on_to_an_address_of_it(engine: EngineName) -> None:
    with (
        open_phone("agent", options(), answer_at_once, engine=engine) as agent,
        RawPhone(agent.port, HOST) as caller,
    ):
        assert caller.call(caller.sdp()).status == 200
        agent.wait_for(0, MediaReady)
        agent.do(0, "transfer", f"sip:desk@[{HOST}]:5070;transport=tcp")
        refer = caller.asked("REFER")
        refer_to = re.search(r"^Refer-To: <?([^>\r]*)", refer, re.MULTILINE)
        assert refer_to is not None
        assert refer_to[1] == f"sip:desk@[{HOST}]:5070;transport=tcp"
        caller.reply(refer, "202 Accepted", f"Contact: <{caller.contact}>")
        told = {
            "Event": "refer",
            "Subscription-State": "terminated;reason=noresource",
            "Content-Type": "message/sipfrag",
        }
        assert caller.request("NOTIFY", "SIP/2.0 200 OK\r\n", told) == 200
        assert agent.wait_for(0, TransferProgressed).status == 200
        assert caller.request("BYE") == 200
