"""A registrar that wants a digest, grants little time, refuses, dies, and comes back."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from agent_rig import Agent, until
from at_once import AtOnce
from raw_sip import RawPhone
from registrar import SECRET, Registrar
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, Capability, EngineName
from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import SipAccount, SipOptions, Transport

pytestmark = pytest.mark.e2e

HOST_6 = "::1"
ABLE_6 = [name for name, one in PROFILES.items() if Capability.IPV6 in one.capabilities]


@pytest.fixture
def registrar() -> Iterator[Registrar]:
    registrar = Registrar()
    yield registrar
    registrar.close()


@pytest.fixture(params=PROFILES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Each registers, refreshes, gives up and comes back as the other."""
    name: EngineName = request.param
    return name


def serve(
    folder: Path,
    registrar: Registrar,
    engine: EngineName,
    *,
    secrets: Mapping[str, str] | None = None,
) -> Agent:
    registration = {
        "registrar": f"127.0.0.1:{registrar.port}",
        "user": "200",
        "retry_s": 1,
        "transport": "tcp",
    }
    nobody = {"url": "ws://127.0.0.1:9/v1/realtime"}
    sip = {"port": 0, "engine": engine, "registration": registration}
    return Agent(folder, {"realtime": nobody, "sip": sip}, secrets=secrets)


def registered_refreshed_lost_and_found_again(folder: Path, engine: EngineName) -> None:
    with closing(Registrar()) as registrar:
        agent = serve(folder, registrar, engine, secrets={"CALLERSIDE_SIP_PASSWORD": SECRET})
        try:
            until(lambda: agent.get("/readyz")[0] == 200, "the registration")
            until(lambda: registrar.accepted >= 2, "a refresh")
            assert agent.get("/readyz")[0] == 200
            registrar.dies_in_the_middle = True
            until(lambda: agent.get("/readyz")[0] == 503, "its loss")
            assert agent.get("/healthz")[0] == 200
            accepted = registrar.accepted
            registrar.dies_in_the_middle = False
            until(lambda: agent.get("/readyz")[0] == 200, "its return")
            assert registrar.accepted > accepted
            registrar.refuses = True
            until(lambda: agent.get("/readyz")[0] == 503, "a refusal")
            registrar.refuses = False
            until(lambda: agent.get("/readyz")[0] == 200, "what was refused is tried again")
            until(lambda: registrar.knows_us, "its place")  # baresip leaves the old one first
            agent.signal(signal.SIGTERM)
            assert agent.wait() == 0
            assert not registrar.knows_us, "it says goodbye"
            last = agent.logged("sip_registration")[-1]
            assert (last["registered"], last["status"], last["level"]) == (False, 200, "info")
            assert agent.logged("sip_registration")[-2]["registered"] is True
        finally:
            agent.close()


def test_a_registrar_that_says_nothing_at_the_end_is_told_of(
    tmp_path: Path, registrar: Registrar, engine: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLERSIDE_SIP_PASSWORD", SECRET)
    agent = serve(tmp_path, registrar, engine)
    try:
        until(lambda: agent.get("/readyz")[0] == 200, "the registration")
        registrar.hears_goodbyes = False
        agent.signal(signal.SIGTERM)
        assert agent.wait() == 0
        last = agent.logged("sip_registration")[-1]
        assert (last["registered"], last["status"], last["level"]) == (False, 408, "warning")
        assert "may be sent here" in last["reason"]
    finally:
        agent.close()


def test_a_wrong_password_is_said_and_is_no_attack(
    tmp_path: Path, registrar: Registrar, engine: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLERSIDE_SIP_PASSWORD", "wrong horse")
    agent = serve(tmp_path, registrar, engine)
    try:
        until(lambda: agent.logged("sip_registration_again"), "the refusal")
        assert agent.logged("sip_registration_again")[0]["in_s"] == 6
        assert {line["status"] for line in agent.logged("sip_registration")} == {403}
        assert agent.get("/readyz")[0] == 503
        assert "wrong horse" not in agent.log_path.read_text()
    finally:
        agent.close()


def test_a_password_that_is_not_set_is_said(
    tmp_path: Path, registrar: Registrar, engine: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CALLERSIDE_SIP_PASSWORD", raising=False)
    agent = serve(tmp_path, registrar, engine)
    try:
        until(lambda: agent.logged("sip_registration"), "the challenge that nobody can answer")
        line = agent.logged("sip_registration")[0]
        assert line["status"] == (401 if engine == "pjsua2" else 403)
        assert "ask" in line["todo"]
        assert "CALLERSIDE_SIP_PASSWORD is not set in the environment" in line["todo"]
    finally:
        agent.close()


@pytest.mark.parametrize("way", ["agent", "caller"])
@pytest.mark.parametrize("realm", ["pbx", "elsewhere"])
def test_a_digest_is_for_the_realm_of_the_registration_alone(
    registrar: Registrar, engine: EngineName, way: str, realm: str
) -> None:
    """Of somebody else's who stands in its place the password would be guessed at leisure."""
    if way == "agent":
        registration = replace(registrar.registration, realm=realm)
        with open_phone("agent", SipOptions(registration=registration), engine=engine) as agent:
            wait_until(lambda: agent.registered() is not None, "what becomes of it")
            assert agent.registered() is (realm == "pbx")
    else:
        place = registrar.registration
        account = SipAccount(
            user=place.user,
            password=place.password,
            registrar=place.registrar,
            realm=realm,
            transport=place.transport,
        )
        options = SipOptions(account=account)
        if realm == "pbx":
            with open_phone("caller", options, engine=engine):
                assert registrar.knows_us
        else:
            with (
                pytest.raises(RuntimeError, match=r"401 Unauthorized.*realm"),
                open_phone("caller", options, engine=engine),
            ):
                pass
    assert registrar.asked
    assert bool(registrar.digests) is (realm == "pbx")


CHALLENGES = {
    "401 Unauthorized": 'WWW-Authenticate: Digest realm="pbx", nonce="abc", algorithm=MD5',
    "407 Proxy Authentication Required": (
        'Proxy-Authenticate: Digest realm="*", nonce="abc", algorithm=MD5, qop="auth"'
    ),
}
CALLED = ("200@127.0.0.1", "200@elsewhere", "100@127.0.0.1")
SEEN_AT = "127.0.0.9:5555"
QUIET_S = 1.5
"""The stack answers a challenge within milliseconds."""


@contextmanager
def registered(engine: EngineName, transport: Transport) -> Iterator[tuple[Registrar, Phone]]:
    """A registrar, and an agent that has its place there, on an engine."""
    with closing(Registrar(transport)) as registrar:
        options = SipOptions(registration=registrar.registration)
        with open_phone("agent", options, answer_at_once, engine=engine) as agent:
            wait_until(lambda: agent.registered() is True, "the registration")
            yield registrar, agent


def what_is_given(engine: EngineName, transport: Transport) -> dict[str, list[str]]:
    """To whoever challenges requests of a call, by what was called."""
    with registered(engine, transport) as (registrar, agent):
        return {called: given_in_a_call(registrar, agent, called) for called in CALLED}


def given_in_a_call(registrar: Registrar, agent: Phone, called: str) -> list[str]:
    call = agent.calls()
    with RawPhone(agent.port, "127.0.0.2", registrar.registration.transport) as stranger:
        stranger.called = stranger.target = f"sip:{called}"
        assert stranger.call(stranger.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        agent.do(call, "transfer", "sip:desk@127.0.0.1")
        given = challenged(stranger, "REFER", "407 Proxy Authentication Required")
        agent.do(call, "hang_up")
        given += challenged(stranger, "BYE", "401 Unauthorized")
    agent.wait_for(call, HungUp)
    return given


def challenged(stranger: RawPhone, method: str, status: str) -> list[str]:
    """What comes of a challenge to the agent's next request: the lines of all that follows it."""
    request = stranger.asked(method)
    assert request, f"the agent sends no {method}"
    stranger.reply(request, status, CHALLENGES[status])
    lines: list[str] = []
    deadline = time.monotonic() + QUIET_S
    while time.monotonic() < deadline:
        again = stranger.asked(within_s=deadline - time.monotonic())
        if again:
            lines += again.splitlines()
            stranger.reply(again, status, CHALLENGES[status])
    return lines


def named_behind_nat(engine: EngineName, transport: Transport) -> list[str]:
    """What the agent names as its own: to the registrar that sees another, and to a caller."""
    with registered(engine, transport) as (registrar, agent):
        registrar.sees_at = SEEN_AT
        registrar.contacts.clear()
        until(lambda: len(registrar.contacts) > 1, "two refreshes")
        named = [registrar.contacts[-1]]
        call = agent.calls()
        with RawPhone(agent.port, "127.0.0.2", transport) as caller:
            caller.called = "sip:200@127.0.0.1"
            named.append(caller.call(caller.sdp()).header("Contact"))
            agent.wait_for(call, MediaReady)
            assert caller.request("BYE") == 200
        return named


TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp")
PLACES = tuple(product(PROFILES, TRANSPORTS))


@dataclass(frozen=True, slots=True)
class Stories:
    """What takes long, for a registration is refreshed after seconds, and silence is to be told."""

    lost: AtOnce[EngineName, None]
    given: AtOnce[tuple[EngineName, Transport], dict[str, list[str]]]
    named: AtOnce[tuple[EngineName, Transport], list[str]]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """All at once."""
    lost = {
        engine: partial(
            registered_refreshed_lost_and_found_again, tmp_path_factory.mktemp(engine), engine
        )
        for engine in PROFILES
    }
    given = {place: partial(what_is_given, *place) for place in PLACES}
    named = {place: partial(named_behind_nat, *place) for place in PLACES}
    with AtOnce(lost) as one, AtOnce(given) as two, AtOnce(named) as three:
        yield Stories(one, two, three)


def test_registered_refreshed_lost_and_found_again(stories: Stories, engine: EngineName) -> None:
    stories.lost.told(engine)


@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("place", PLACES, ids="-".join)
def test_whoever_challenges_a_request_of_a_call_gets_no_digest(
    stories: Stories, place: tuple[EngineName, Transport], called: str
) -> None:
    """Not even one whose call is for our name at the registrar: the password is for that alone."""
    given = stories.given.told(place)[called]
    assert [line for line in given if "authorization" in line.lower()] == []


@pytest.mark.parametrize("place", PLACES, ids="-".join)
def test_calls_name_the_address_that_nat_has_made_of_ours(
    stories: Stories, place: tuple[EngineName, Transport]
) -> None:
    """As the registration does: at any other the caller's ACK and BYE would not arrive.

    Who has no capability `nat_contact` names its own in both.
    """
    follows = Capability.NAT_CONTACT in PROFILES[place[0]].capabilities
    assert [f"@{SEEN_AT}" in one for one in stories.named.told(place)] == [follows, follows]


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("engine", ABLE_6)
def test_a_registrar_of_ipv6_is_registered_at(engine: EngineName, over: Transport) -> None:
    registrar = Registrar(over, HOST_6)
    try:
        with open_phone(
            "agent",
            SipOptions(listen_host=HOST_6, registration=registrar.registration),
            engine=engine,
        ) as agent:
            wait_until(lambda: agent.registered() is True, "the registration")
            assert f"@[{HOST_6}]:" in registrar.contacts[-1]
            assert registrar.knows_us
        assert not registrar.knows_us, "it says goodbye"
    finally:
        registrar.close()
