"""Encrypted audio with keys in descriptions, with each engine at each end."""

import re
import time
from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, pitch_hz

from callerside.agent.telephony.engine import EngineName
from callerside.agent.telephony.interface import (
    AudioReceived,
    HungUp,
    MediaHeld,
    MediaReady,
)
from callerside.agent.telephony.options import SipAccount, SipOptions
from callerside.agent.telephony.srtp import SrtpPolicy
from callerside.audio import tone

pytestmark = pytest.mark.e2e

ENGINES: tuple[EngineName, ...] = ("pjsua2", "baresip")
RATE_HZ = 24_000
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
    with open_phone("caller", SipOptions(account=account), engine=engine) as caller:
        there = agent.calls()
        here = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
        try:
            caller.wait_for(here, MediaReady, within_s=3)
        except TimeoutError:
            return caller.wait_for(here, HungUp).status
        agent.wait_for(there, MediaReady)
        for _ in range(2):
            before = len(heard(agent, there))
            agent.do(there, "play", tone(700, 600, RATE_HZ), 1)
            caller.do(here, "play", tone(900, 600, 16_000), 1)
            time.sleep(0.8)
            told = heard(agent, there)[before:]
            rate_hz = 8_000 if len(told[0]) == 320 else RATE_HZ
            assert abs(pitch_hz(b"".join(told), rate_hz) - 900) < 20
            ear = caller.recorded(here)
            last = ear.ear[-2 * ear.rate_hz * 8 // 10 :]
            assert abs(pitch_hz(last, ear.rate_hz) - 700) < 20
            caller.do(here, "hold")
            agent.wait_for(there, MediaHeld, within_s=3)
            caller.do(here, "resume")
            agent.wait_for(there, MediaReady, 2, within_s=3)
            break
        agent.do(there, "play", tone(500, 600, RATE_HZ), 2)
        time.sleep(0.8)
        ear = caller.recorded(here)
        assert abs(pitch_hz(ear.ear[-2 * ear.rate_hz * 7 // 10 :], ear.rate_hz) - 500) < 20
        caller.do(here, "hang_up")
        agent.wait_for(there, HungUp)
    return None


def offer(raw: RawPhone, *keys: str, proto: str = "RTP/SAVP") -> str:
    lines = [f"a=crypto:{key}" for key in keys]
    return raw.offer(f"m=audio {{port}} {proto} 0", *lines)


def heard(phone: Phone, call: int) -> list[bytes]:
    return [one.input.pcm for one in phone.told(call) if isinstance(one.input, AudioReceived)]


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
        assert not any(any(pcm) for pcm in heard(agent, there))
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
