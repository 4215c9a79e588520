"""Encrypted audio with keys in descriptions, with each engine at each end."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, pitch_hz, wait_until

from callerside.addresses import joined
from callerside.agent.telephony.engine import EngineName
from callerside.agent.telephony.interface import (
    AudioReceived,
    HungUp,
    MediaHeld,
    MediaReady,
)
from callerside.agent.telephony.options import SipAccount, SipOptions
from callerside.agent.telephony.srtp import SrtpPolicy
from callerside.audio import level_dbfs, to_samples, tone

pytestmark = pytest.mark.e2e

ENGINES: tuple[EngineName, ...] = ("pjsua2", "baresip")
RATE_HZ = 24_000
TONE_MS = 300
KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"


@pytest.fixture(scope="module", params=ENGINES)
def agent_engine(request: pytest.FixtureRequest) -> EngineName:
    engine: EngineName = request.param
    return engine


@pytest.fixture(scope="module", params=["offered", "required", "off"])
def policy(request: pytest.FixtureRequest) -> SrtpPolicy:
    policy: SrtpPolicy = request.param
    return policy


@pytest.fixture(scope="module")
def agent(agent_engine: EngineName, policy: SrtpPolicy) -> Iterator[Phone]:
    options = SipOptions(srtp=policy)
    with open_phone("agent", options, answer_at_once, engine=agent_engine) as phone:
        yield phone


def calls(asks: SrtpPolicy, engine: EngineName, agent: Phone) -> int | None:
    """The status of a call that hears and says a tone, and is held once; None: it was well."""
    account = SipAccount(user="caller", srtp=asks)
    options = SipOptions(account=account, listen_host=agent.host)
    with open_phone("caller", options, engine=engine) as caller:
        there = agent.calls()
        here = caller.dial(f"sip:100@{joined(agent.host, agent.port)}")
        wait_until(lambda: is_told(caller, here, MediaReady, HungUp), "sound, or the end")
        if is_told(caller, here, HungUp):
            return caller.wait_for(here, HungUp).status
        agent.wait_for(there, MediaReady)
        agent_before, caller_before = heard(agent, there), heard_by_caller(caller, here)
        agent.do(there, "play", tone(700, TONE_MS, RATE_HZ), 1)
        caller.do(here, "play", tone(900, TONE_MS, 16_000), 1)
        is_heard(lambda: heard(agent, there)[len(agent_before) :], agent_rate_hz(agent, there), 900)
        rate_hz = caller.recorded(here).rate_hz
        is_heard(lambda: heard_by_caller(caller, here)[len(caller_before) :], rate_hz, 700)
        caller.do(here, "hold")
        agent.wait_for(there, MediaHeld, within_s=3)
        caller.do(here, "resume")
        agent.wait_for(there, MediaReady, 2, within_s=3)
        caller_before = heard_by_caller(caller, here)
        agent.do(there, "play", tone(500, TONE_MS, RATE_HZ), 2)
        is_heard(lambda: heard_by_caller(caller, here)[len(caller_before) :], rate_hz, 500)
        caller.do(here, "hang_up")
        agent.wait_for(there, HungUp)
    return None


def is_told(phone: Phone, call: int, *kinds: type[MediaReady | HungUp]) -> bool:
    return any(isinstance(one, kinds) for one in phone.signals(call))


def is_heard(sound: Callable[[], bytes], rate_hz: int, hz: float) -> None:
    """Nearly the whole of a tone comes, and no other."""
    frame = rate_hz // 50

    def loud() -> int:
        samples = to_samples(sound())
        whole = samples[: len(samples) // frame * frame].reshape(-1, frame)
        return sum(level_dbfs(one) > -30 for one in whole)

    wait_until(lambda: loud() >= (TONE_MS - 60) // 20, f"the tone of {hz} Hz")
    assert abs(pitch_hz(sound(), rate_hz) - hz) < 20


def offer(raw: RawPhone, *keys: str, proto: str = "RTP/SAVP") -> str:
    lines = [f"a=crypto:{key}" for key in keys]
    return raw.offer(f"m=audio {{port}} {proto} 0", *lines)


def heard(phone: Phone, call: int) -> bytes:
    inputs = [told.input for told in phone.told(call)]
    return b"".join(one.pcm for one in inputs if isinstance(one, AudioReceived))


def heard_by_caller(phone: Phone, call: int) -> bytes:
    return phone.recorded(call).ear


def agent_rate_hz(agent: Phone, call: int) -> int:
    """Of G.711 as it came, or of what the agent's server takes."""
    wait_until(lambda: bool(heard(agent, call)), "a frame")
    frames = (one.input for one in agent.told(call) if isinstance(one.input, AudioReceived))
    return 8_000 if len(next(frames).pcm) == 320 else RATE_HZ


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("asks", ["offered", "required", "off"])
def test_both_sides_hear_each_other_if_they_agree(
    agent: Phone, policy: SrtpPolicy, asks: SrtpPolicy, engine: EngineName
) -> None:
    differ = {policy, asks} == {"off", "required"}
    assert calls(asks, engine, agent) == (488 if differ else None)


@pytest.mark.parametrize("policy", ["required"], indirect=True)
def test_what_is_plain_is_neither_said_nor_heard(agent: Phone) -> None:
    with RawPhone(agent.port) as raw:
        there = agent.calls()
        answer = raw.call(offer(raw, f"7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"))
        assert answer.status == 200
        assert re.search(r"m=audio \d+ RTP/SAVP ", answer.message)
        assert re.findall(r"a=crypto:(\S+) (\S+) inline:", answer.message) == [
            ("7", "AES_CM_128_HMAC_SHA1_80")
        ]
        agent.wait_for(there, MediaReady)
        raw.rtp.settimeout(2)
        packets = [raw.rtp.recv(2048) for _ in range(20)]
        for _ in range(20):
            raw.send_rtp(bytes([0x80]) * 160, answer.audio_port)
            time.sleep(0.02)
        assert {len(packet) for packet in packets} == {12 + 160 + 10}  # with what authenticates it
        silence = bytes([0xFF]) * 160
        assert not any(silence in packet for packet in packets)
        assert len({packet[12:] for packet in packets}) == len(packets)
        assert not any(heard(agent, there))
        assert raw.request("BYE") == 200


@pytest.mark.parametrize("policy", ["offered", "required"], indirect=True)
@pytest.mark.parametrize(
    ("key", "proto"),
    [
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4", "RTP/SAVP"),  # with an identifier
        ("1 AEAD_AES_256_GCM inline:" + "A" * 60, "RTP/SAVP"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:AAAA", "RTP/SAVP"),  # too short
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}", "UDP/TLS/RTP/SAVP"),  # not by DTLS
    ],
)
def test_keys_that_cannot_be_used_are_refused(agent: Phone, key: str, proto: str) -> None:
    with RawPhone(agent.port) as raw:
        assert raw.call(offer(raw, key, proto=proto)).status == 488


@pytest.mark.parametrize("engine", ENGINES)
def test_each_peer_has_its_own(engine: EngineName) -> None:
    options = SipOptions(srtp="required", srtp_peers=(("127.0.0.1/32", "off"),))
    with (
        open_phone("agent", options, answer_at_once, engine=engine) as agent,
        RawPhone(agent.port) as raw,
        RawPhone(agent.port) as other,
    ):
        secure = offer(raw, f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")
        assert other.call(secure).status == 488
        answer = raw.call(secure.replace("RTP/SAVP", "RTP/AVP"))
        assert answer.status == 200
        assert "crypto" not in answer.message
        assert raw.request("BYE") == 200
