"""The engines' suite over IPv6: the tests whose messages and packets have an address in them.

They are those of `test_sip_engines.py`, with both telephones at ::1, on each engine that has it.
"""

import socket
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import psutil
import pytest
from certificates import Authority
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, wait_until
from test_sip_engines import (  # noqa: F401 - they are collected from here, too
    RATE_HZ,
    Line,
    end_all,
    test_a_call_is_cancelled_before_its_answer,
    test_a_call_that_begins_on_hold_is_sent_nothing_until_that_ends,
    test_a_call_that_is_given_up_early_is_cancelled,
    test_a_call_whose_offer_is_ours_comes_up,
    test_a_codec_that_is_named_alone_is_taken,
    test_a_hold_in_each_of_its_forms_is_one_and_ends,
    test_a_key_comes_by_rtp_once,
    test_a_refusal_is_told_with_its_status,
    test_a_stranger_does_not_get_the_voice,
    test_an_update_holds_as_an_invite_does,
    test_audio_goes_to_where_it_comes_from,
    test_each_request_within_a_call_gets_the_right_answer,
    test_keys_go_out_by_info,
    test_no_sound_follows_a_goodbye,
    test_packets_out_of_order_or_twice_are_heard_in_order_and_once,
    test_ten_offers_one_after_the_other_change_nothing,
    test_what_is_said_right_behind_the_answer_is_heard_from_its_beginning,
    test_what_waits_beside_a_report_came_when_it_came,
    test_who_holds_can_press_keys,
    test_who_holds_says_so_and_resumes,
    test_within_a_call_the_offer_can_be_ours_too,
)

from callerside.agent.telephony.engine import (
    PROFILES,
    Capability,
    CapabilityError,
    EngineName,
)
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.interface import CallAnswered, HungUp, MediaReady
from callerside.agent.telephony.options import Registration, SipAccount, SipOptions, TlsOptions

pytestmark = pytest.mark.e2e

HOST = "::1"
REFUSED_S = 0.5
ABLE = [name for name, one in PROFILES.items() if Capability.IPV6 in one.capabilities]
UNABLE = [name for name in PROFILES if name not in ABLE]


@pytest.fixture(
    scope="module", params=list(product(ABLE, ("agent", "caller"))), ids=lambda pair: "-".join(pair)
)
def side(request: pytest.FixtureRequest) -> Iterator[tuple[Phone, EngineName, str]]:
    engine, role = request.param
    reaction = answer_at_once if role == "agent" else None
    with open_phone(role, options(), reaction, engine=engine) as phone:
        yield phone, engine, role


@pytest.fixture
def line(side: tuple[Phone, EngineName, str]) -> Iterator[Line]:
    phone, _, role = side
    with RawPhone(phone.port, HOST) as raw:
        made = Line(phone, raw, role)
        yield made
        made.abandon()
    end_all(phone)


@pytest.fixture(scope="module", params=ABLE)
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    with open_phone("agent", options(), answer_at_once, engine=request.param) as it:
        yield it


@pytest.fixture
def caller(agent: Phone) -> Iterator[RawPhone]:
    agent.behave(answer_at_once)
    with RawPhone(agent.port, HOST) as raw:
        yield raw
    end_all(agent)


@pytest.fixture(scope="module", params=ABLE)
def dialler(request: pytest.FixtureRequest) -> Iterator[Phone]:
    with open_phone("caller", options(), engine=request.param) as it:
        yield it


@pytest.fixture
def called(dialler: Phone) -> Iterator[Line]:
    dialler.behave(None)
    with RawPhone(dialler.port, HOST) as raw:
        made = Line(dialler, raw, "caller")
        yield made
        made.abandon()
    end_all(dialler)


def options(**more: object) -> SipOptions:
    return SipOptions(listen_host=HOST, sample_rate_hz=RATE_HZ, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["IN IP4 127.0.0.1", "IN IP6 127.0.0.1", "IN IP6 example.com"])
def test_sound_at_an_address_of_the_other_family_is_refused(
    agent: Phone, caller: RawPhone, place: str
) -> None:
    offer = caller.sdp().replace(f"c={caller.place}", f"c={place}")
    before = len(agent.refused())
    assert caller.call(offer).status == 488
    wait_until(lambda: agent.refused()[before:] == [(488, "media")], "the refusal to be told")
    with RawPhone(agent.port, HOST) as other:
        assert other.call(other.sdp()).status == 200, "and the next is taken"
        assert other.request("BYE") == 200


def test_an_address_is_the_same_however_it_is_written(agent: Phone, caller: RawPhone) -> None:
    """Whose sound is heard goes by it, and packets name theirs in one way."""
    offer = caller.sdp().replace("c=IN IP6 ::1", "c=IN IP6 0:0:0:0:0:0:0:1")
    answer = caller.call(offer)
    assert answer.status == 200
    assert caller.rtp.recv(2048)
    assert caller.request("BYE") == 200


def test_what_names_us_has_brackets(agent: Phone, caller: RawPhone, called: Line) -> None:
    """RFC 3261 §25.1: where an address of IPv6 stands in a URI, or has a port."""
    answer = caller.call(caller.sdp())
    assert answer.header("Contact").startswith(f"<sip:callerside@[::1]:{agent.port}")
    assert "c=IN IP6 ::1\r\n" in answer.message
    assert caller.request("BYE") == 200
    invite = called.ring()
    called.up().end()
    assert invite.startswith(f"INVITE sip:100@[::1]:{called.raw.sip_port}")
    assert f"UDP [::1]:{called.phone.port};" in invite
    assert "c=IN IP6 ::1\r\n" in invite


def test_a_call_over_tcp(agent: Phone) -> None:
    agent.behave(answer_at_once)
    call = agent.calls()
    with RawPhone(agent.port, HOST, "tcp") as raw:
        assert raw.call(raw.sdp()).status == 200
        agent.wait_for(call, CallAnswered)
        assert raw.rtp.recv(2048)
        assert raw.request("BYE") == 200


@pytest.mark.parametrize(
    ("allowed", "status"),
    [(("::1",), 200), (("::/64",), 200), (("2001:db8::/32", "127.0.0.1"), 403)],
)
@pytest.mark.parametrize("engine", ABLE)
def test_who_may_call_is_told_by_networks_of_ipv6(
    engine: EngineName, allowed: tuple[str, ...], status: int
) -> None:
    with (
        open_phone("agent", options(allowed_peers=allowed), answer_at_once, engine=engine) as phone,
        RawPhone(phone.port, HOST) as raw,
    ):
        assert raw.call(raw.sdp()).status == status
        if status == 200:
            assert raw.request("BYE") == 200


@pytest.mark.parametrize(("allowed", "is_taken"), [(HOST, True), ("2001:db8::/32", False)])
@pytest.mark.parametrize("engine", ABLE)
def test_a_call_over_tls(
    engine: EngineName, allowed: str, tmp_path: Path, *, is_taken: bool
) -> None:
    """Certificates are of addresses, too; and who may not call gets no connection."""
    authority = Authority(tmp_path)
    own, their = (authority.sign(name, HOST) for name in ("agent", "caller"))
    with socket.create_server((HOST, 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    taking = options(
        transports=("tls",),
        allowed_peers=(allowed,),
        tls=TlsOptions(
            port=port, certificate=own.certificate, key=own.key, ca=authority.certificate
        ),
    )
    tls = TlsOptions(certificate=their.certificate, key=their.key, ca=authority.certificate)
    placing = options(account=SipAccount(user="caller", transport="tls", tls=tls))
    with (
        open_phone("agent", taking, answer_at_once, engine=engine) as agent,
        open_phone("caller", placing, engine=engine) as caller,
    ):
        call = caller.dial(f"sips:100@[{HOST}]:{port}")
        if not is_taken:
            time.sleep(REFUSED_S)
            assert not agent.calls()
            caller.do(call, "hang_up")
            return
        caller.wait_for(call, MediaReady)
        agent.wait_for(0, MediaReady)
        caller.do(call, "hang_up")
        assert agent.wait_for(0, HungUp).by == "caller"


@pytest.mark.parametrize("engine", PROFILES)
def test_all_addresses_of_ipv4_are_none_of_ipv6(engine: EngineName) -> None:
    with open_phone("agent", SipOptions(listen_host="0.0.0.0"), engine=engine) as phone:
        sockets = psutil.Process(phone.process.pid).net_connections("inet")
    assert {one.family for one in sockets if one.laddr.port == phone.port} == {socket.AF_INET}


@pytest.mark.parametrize("engine", UNABLE)
def test_an_engine_without_it_says_so(engine: EngineName) -> None:
    with pytest.raises(CapabilityError, match=r"sip\.host: ::1: .*`ipv6`.*baresip has it"):
        choose(engine).answering(options(), lambda _leg: None)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"rtp_public_host": "192.0.2.1"}, "rtp_public_host"),
        ({"outbound_proxy": "192.0.2.1:5060"}, "outbound_proxy"),
        (
            {"registration": Registration(registrar="192.0.2.1", user="a", password="")},
            r"registration\.registrar",
        ),
        ({"listen_host": "127.0.0.1", "outbound_proxy": "[2001:db8::1]:5060"}, "outbound_proxy"),
    ],
)
def test_addresses_of_both_families_do_not_go_together(more: dict[str, object], named: str) -> None:
    with pytest.raises(SipError, match=rf"^sip\.{named}: .*expected a name, or an address of its"):
        choose("baresip").answering(
            SipOptions(**{"listen_host": HOST, **more}),  # type: ignore[arg-type]
            lambda _leg: None,
        )
