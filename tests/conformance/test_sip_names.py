"""Whom a name leads to: at addresses of one family, or of both."""

import os
from collections.abc import Iterator
from functools import partial

import pytest
from name_server import NameServer, ask_at
from raw_sip import RawPhone
from sip_rig import answer_at_once, open_phone

from callerside.addresses import in_uri
from callerside.agent.telephony.engine import PROFILES, Capability, EngineName
from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions, Transport

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a name server needs root"),
]

IPV4, IPV6 = "127.0.0.1", "::1"
NAMES = {"four.test": [IPV4], "six.test": [IPV6], "both.test": [IPV4, IPV6]}
PLACES = {
    "IPv4": SipOptions(listen_host=IPV4),
    "IPv6": SipOptions(listen_host=IPV6),
    "both": SipOptions(listen_host=IPV4, second_host=IPV6),
}
OVER: tuple[Transport, ...] = ("udp", "tcp")
ABLE = [name for name, one in PROFILES.items() if Capability.IPV6 in one.capabilities]
REACHED = [("IPv4", "four.test"), ("IPv4", "both.test"), ("IPv6", "six.test"),
           ("IPv6", "both.test"), *(("both", name) for name in NAMES)]  # fmt: skip
"""Of which a caller's place has an address of a family of the name's."""


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer(NAMES) as it:
        yield it


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize(("place", "name"), REACHED)
@pytest.mark.parametrize("engine", ABLE)
def test_a_name_is_called_at_an_address_of_ours_family(
    server: NameServer, engine: EngineName, place: str, name: str, over: Transport
) -> None:
    with (
        open_phone("agent", PLACES["both"], answer_at_once, engine=engine) as agent,
        open_phone(
            "caller", PLACES[place], engine=engine, before=partial(ask_at, server.address)
        ) as caller,
    ):
        call = caller.dial(f"sip:100@{name}:{agent.port};transport={over}")
        caller.wait_for(call, MediaReady)
        agent.wait_for(0, MediaReady)
        caller.do(call, "hang_up")
        assert agent.wait_for(0, HungUp).by == "caller"


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize(("place", "name"), REACHED)
@pytest.mark.parametrize("engine", ABLE)
def test_a_caller_whose_contact_is_a_name_is_sent_the_end_there(
    server: NameServer, engine: EngineName, place: str, name: str, over: Transport
) -> None:
    hosts = [host for host in NAMES[name] if host in PLACES[place].hosts.values()]
    with open_phone(
        "agent",
        PLACES[place],
        answer_at_once,
        engine=engine,
        before=partial(ask_at, server.address),
    ) as agent:
        for number, host in enumerate(hosts):
            with RawPhone(agent.port, host, over) as raw:
                raw.called_back = raw.contact.replace(in_uri(host), name)
                assert raw.call(raw.sdp()).status == 200
                agent.wait_for(number, MediaReady)
                agent.do(number, "hang_up")
                bye = raw.asked("BYE")
                raw.reply(bye, "200 OK")
                assert agent.wait_for(number, HungUp).by == "agent"
