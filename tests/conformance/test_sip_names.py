"""Whom a name leads to: at addresses of one family, or of both."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import pytest
from name_server import NameServer, ask_at
from raw_sip import RawPhone
from registrar import Registrar
from sip_rig import answer_at_once, open_phone, wait_until

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


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize(("place", "name"), REACHED)
@pytest.mark.parametrize("engine", ABLE)
def test_a_registrar_that_is_a_name_is_registered_at(
    server: NameServer, engine: EngineName, place: str, name: str, over: Transport
) -> None:
    """At any of its addresses that is of a family of ours."""
    hosts = [host for host in NAMES[name] if host in PLACES[place].hosts.values()]
    with ExitStack() as open_:
        there = [open_.enter_context(closing(Registrar(over, hosts[0])))]
        port = there[0].port
        there += [open_.enter_context(closing(Registrar(over, one, port))) for one in hosts[1:]]
        registration = replace(there[0].registration, registrar=f"{name}:{port}")
        with open_phone(
            "agent",
            replace(PLACES[place], registration=registration),
            engine=engine,
            before=partial(ask_at, server.address),
        ) as agent:
            wait_until(lambda: agent.registered() is True, "the registration")
            assert sum(one.knows_us for one in there) == 1
        assert not any(one.knows_us for one in there), "it says goodbye"


@pytest.mark.parametrize("engine", PROFILES)
def test_a_registrar_whose_name_is_not_known_yet_is_asked_for_again(engine: EngineName) -> None:
    """As often as one that does not answer."""
    names: dict[str, list[str]] = {}
    with closing(Registrar("udp")) as registrar, NameServer(names) as names_of:
        place = replace(registrar.registration, registrar=f"late.test:{registrar.port}")
        with open_phone(
            "agent",
            SipOptions(registration=place),
            engine=engine,
            before=partial(ask_at, names_of.address),
        ) as agent:
            wait_until(lambda: agent.registered() is False, "the failure to be told")
            time.sleep(2 * place.retry_s)
            asked = [name for name, kind in names_of.asked if kind == 1]
            assert set(asked) == {"late.test"}
            assert 2 <= len(asked) < 10
            names["late.test"] = [IPV4]
            wait_until(lambda: agent.registered() is True, "the registration")
        assert not registrar.knows_us, "it says goodbye"
