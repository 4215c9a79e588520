"""One endpoint at addresses of both families: each call has its sound over the one of its SIP."""

import time
from collections.abc import Iterator, Mapping

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone
from test_sip_engines import RATE_HZ, Line, end_all

from callerside.agent.telephony.engine import PROFILES, Capability, CapabilityError, EngineName
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.interface import HungUp, MediaHeld, MediaReady
from callerside.agent.telephony.options import SipOptions, Transport

pytestmark = pytest.mark.e2e

HOSTS = {"IP4": "127.0.0.1", "IP6": "::1"}
OTHER = {"127.0.0.1": "::1", "::1": "127.0.0.1"}
ABLE = [name for name, one in PROFILES.items() if Capability.IPV6 in one.capabilities]
QUIET_S = 0.2


def options(first: str = "127.0.0.1", **more: object) -> SipOptions:
    return SipOptions(
        listen_host=first,
        second_host=OTHER[first],
        sample_rate_hz=RATE_HZ,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(
    scope="module",
    params=[(engine, first) for engine in ABLE for first in OTHER],
    ids=lambda param: "-".join(param),
)
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    engine, first = request.param
    with open_phone("agent", options(first), answer_at_once, engine=engine) as it:
        yield it


@pytest.fixture(scope="module", params=ABLE)
def dialler(request: pytest.FixtureRequest) -> Iterator[Phone]:
    with open_phone("caller", options(), engine=request.param) as it:
        yield it


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("host", OTHER)
def test_a_call_of_each_family_is_heard_and_spoken_to(
    agent: Phone, host: str, over: Transport
) -> None:
    with RawPhone(agent.port, host, over) as raw:
        line = Line(agent, raw, "agent").up()
        line.is_heard()
        assert raw.rtp.recv(2048)
        held = raw.ask("INVITE", raw.sdp(attributes="a=sendonly"))
        agent.wait_for(line.call, MediaHeld)
        assert f"c={raw.place}\r\n" in held.message
        time.sleep(QUIET_S)
        assert raw.packets(QUIET_S) == 0
        assert raw.ask("INVITE", raw.sdp()).status == 200
        raw.forget_rtp()
        assert raw.rtp.recv(2048)
        line.end()
    end_all(agent)


def test_calls_of_both_families_go_on_at_once(agent: Phone) -> None:
    with (
        RawPhone(agent.port, HOSTS["IP4"]) as one,
        RawPhone(agent.port, HOSTS["IP6"]) as other,
    ):
        lines = [Line(agent, one, "agent").up()]
        lines.append(Line(agent, other, "agent").up())
        for line in lines:
            line.is_heard()
            line.raw.forget_rtp()
            assert line.raw.rtp.recv(2048)
        for line in lines:
            line.end()
    end_all(agent)


@pytest.mark.parametrize("host", OTHER)
def test_sound_of_another_family_than_sips_is_refused(agent: Phone, host: str) -> None:
    """The answer names the address that SIP came to: sound could not go to and fro."""
    with RawPhone(agent.port, host) as raw, RawPhone(agent.port, OTHER[host]) as other:
        assert raw.call(raw.sdp().replace(raw.place, other.place)).status == 488
    end_all(agent)


@pytest.mark.parametrize("host", OTHER)
def test_who_is_called_may_be_named_by_the_other_family(agent: Phone, host: str) -> None:
    """A proxy between the families may leave a Request-URI as it was."""
    with RawPhone(agent.port, host) as raw, RawPhone(agent.port, OTHER[host]) as other:
        raw.target = other.target
        assert raw.call(raw.sdp()).status == 200
        assert raw.request("BYE") == 200
    end_all(agent)


@pytest.mark.parametrize("host", OTHER)
def test_whoever_is_called_hears_and_is_heard(dialler: Phone, host: str) -> None:
    with RawPhone(dialler.port, host) as raw:
        line = Line(dialler, raw, "caller")
        invite = line.ring()
        assert f"c={raw.place}\r\n" in invite
        line.up()
        line.is_heard()
        raw.forget_rtp()
        assert raw.rtp.recv(2048)
        line.end()
    end_all(dialler)


@pytest.mark.parametrize("engine", ABLE)
def test_an_answer_of_another_family_ends_the_call(dialler: Phone, engine: EngineName) -> None:
    with RawPhone(dialler.port) as raw, RawPhone(dialler.port, "::1") as other:
        line = Line(dialler, raw, "caller")
        line.ring()
        raw.reply(line.invite, "200 OK", body=raw.sdp().replace(raw.place, other.place))
        assert raw.asked("ACK")
        bye = raw.asked("BYE")
        assert bye
        raw.reply(bye, "200 OK")
        assert dialler.wait_for(line.call, HungUp).status == 488
    end_all(dialler)


@pytest.mark.parametrize("first", OTHER)
@pytest.mark.parametrize("engine", ABLE)
def test_who_may_call_is_asked_of_each_family(engine: EngineName, first: str) -> None:
    with open_phone(
        "agent", options(first, allowed_peers=("::1",)), answer_at_once, engine=engine
    ) as phone:
        for host, status in (("127.0.0.1", 403), ("::1", 200)):
            with RawPhone(phone.port, host) as raw:
                answer = raw.call(raw.sdp())
                assert answer.status == status
                if status == 200:
                    phone.wait_for(0, MediaReady)
                    assert raw.request("BYE") == 200


@pytest.mark.parametrize("engine", [name for name in PROFILES if name not in ABLE])
def test_an_engine_without_ipv6_says_so(engine: EngineName) -> None:
    with pytest.raises(CapabilityError, match=r"sip\.second_host: ::1: .*`ipv6`"):
        choose(engine).answering(options(), lambda _leg: None)


@pytest.mark.parametrize(
    "hosts",
    [
        {"listen_host": "127.0.0.1", "second_host": "127.0.0.2"},
        {"listen_host": "::1", "second_host": "2001:db8::1"},
        {"listen_host": "::1", "second_host": "::1"},
    ],
)
def test_two_addresses_of_one_family_are_refused(hosts: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match=r"second_host: .*expected an address of the other family"):
        SipOptions(**hosts)  # type: ignore[arg-type]


def test_all_addresses_of_one_family_and_one_of_the_other_are_refused() -> None:
    mixed = SipOptions(listen_host="0.0.0.0", second_host="::1")
    with pytest.raises(SipError, match=r"sip\.second_host: ::1: .*0\.0\.0\.0 and ::"):
        choose("baresip").answering(mixed, lambda _leg: None)
