"""Where the codec chooses the rate: G.711 is not touched in either direction, G.722 is wide."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_rig import Agent, fake_realtime, until
from raw_sip import RTP_FRAME_BYTES, RawPhone
from sip_rig import Phone, answer_at_once, open_phone, pitch_hz, wait_until

from callerside.agent.telephony.interface import AudioReceived, HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions
from callerside.audio import AudioFormat, Encoding, level_dbfs, to_samples, tone

pytestmark = pytest.mark.e2e

CALLER_HZ = 16_000
CODES = bytes(range(128, 256)) + bytes(range(32))
"""Of G.711: a frame of many different values. (µ-law has two zeros, 0x7f and 0xff: one of them.)"""
PAYLOAD_TYPES: dict[Encoding, int] = {"pcmu": 0, "pcma": 8}


@pytest.fixture(scope="module")
def agent() -> Iterator[Phone]:
    with open_phone("agent", SipOptions(sample_rate_hz=None), answer_at_once) as opened:
        yield opened


@pytest.fixture(scope="module")
def caller() -> Iterator[Phone]:
    with open_phone("caller") as opened:
        yield opened


def heard(agent: Phone, call: int) -> list[bytes]:
    return [t.input.pcm for t in agent.told(call) if isinstance(t.input, AudioReceived)]


@pytest.mark.parametrize("encoding", ["pcmu", "pcma"])
def test_g711_is_not_touched_in_either_direction(agent: Phone, encoding: Encoding) -> None:
    call, payload_type = agent.calls(), PAYLOAD_TYPES[encoding]
    g711 = AudioFormat(encoding)
    three = 3 * CODES
    with RawPhone(agent.port) as raw:
        port = raw.call(raw.sdp(codecs=str(payload_type))).audio_port
        agent.wait_for(call, MediaReady)
        agent.wait_for(call, AudioReceived, count=5)
        agent.do(call, "play", g711.decode(50 * CODES))
        sent_back = b""
        raw.rtp.settimeout(2)
        for _ in range(30):
            raw.send_rtp(CODES, port, payload_type)
            sent_back += raw.rtp.recv(2048)[12 : 12 + RTP_FRAME_BYTES]
            time.sleep(0.005)
        assert three in sent_back
        wait_until(lambda: g711.decode(three) in b"".join(heard(agent, call)), "what was sent")
        assert raw.request("BYE") == 200
    agent.wait_for(call, HungUp)


def loud_part(pcm: bytes, rate_hz: int) -> bytes:
    """The middle 300 ms of what is loud."""
    size = rate_hz // 50 * 2
    frames = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    loud = [n for n, frame in enumerate(frames) if level_dbfs(to_samples(frame)) > -40]
    middle = (loud[0] + loud[-1]) // 2
    return b"".join(frames[middle - 7 : middle + 8])


@pytest.mark.parametrize(("codec", "hz"), [("PCMU", 1_000), ("G722", 5_000)])
def test_sound_of_every_codec_arrives_at_its_level_and_pitch(
    agent: Phone, caller: Phone, codec: str, hz: int
) -> None:
    """5 kHz is more than a narrow leg could carry."""
    agent_hz = 24_000 if codec == "G722" else 8_000
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}", codec=codec)
    caller.wait_for(ours, MediaReady)
    assert agent.wait_for(theirs, MediaReady).codec == codec
    agent.do(theirs, "play", tone(hz, 1_000, agent_hz))
    caller.do(ours, "play", tone(hz, 1_000, CALLER_HZ))
    agent.wait_for(theirs, AudioReceived, count=75)
    caller.wait_for(ours, AudioReceived, count=75)
    caller.do(ours, "hang_up")
    caller.wait_for(ours, HungUp)
    frames = heard(agent, theirs)
    assert {len(pcm) for pcm in frames} == {agent_hz // 50 * 2}
    for pcm, rate_hz in (
        (b"".join(frames), agent_hz),
        (caller.recorded(ours).ear, CALLER_HZ),
    ):
        part = loud_part(pcm, rate_hz)
        assert pitch_hz(part, rate_hz) == pytest.approx(hz, abs=10)
        assert level_dbfs(to_samples(part)) == pytest.approx(-15, abs=1.5)
    agent.wait_for(theirs, HungUp)


def test_a_re_invite_that_widens_the_codec_leaves_the_call_at_its_rate(agent: Phone) -> None:
    call = agent.calls()
    with RawPhone(agent.port) as raw:
        assert raw.call(raw.sdp(codecs="0")).status == 200
        assert agent.wait_for(call, MediaReady).codec == "PCMU"
        wide = raw.sdp(codecs="9").replace(" 1 1 ", " 1 2 ")
        assert raw.request("INVITE", wide) == 200
        assert agent.wait_for(call, MediaReady, count=2).codec == "G722"
        agent.wait_for(call, AudioReceived, count=len(heard(agent, call)) + 10)
        narrow = raw.sdp(codecs="8").replace(" 1 1 ", " 1 3 ")
        assert raw.request("INVITE", narrow) == 200
        assert agent.wait_for(call, MediaReady, count=3).codec == "PCMA"
        agent.wait_for(call, AudioReceived, count=len(heard(agent, call)) + 10)
        assert {len(pcm) for pcm in heard(agent, call)} == {8_000 // 50 * 2}
        assert raw.request("BYE") == 200
    agent.wait_for(call, HungUp)


def session_formats(recordings: Path, called: str) -> list[dict[str, Any]]:
    """What the agent asked for as the audio's format, in both directions."""
    (path,) = recordings.glob(f"{called}-*.realtime")
    events = [json.loads(line).get("event", {}) for line in path.read_text().splitlines()]
    (session,) = [event["session"] for event in events if event.get("type") == "session.update"]
    return [session["audio"][way]["format"] for way in ("input", "output")]


def test_the_realtime_session_speaks_what_the_telephone_speaks(
    caller: Phone, tmp_path: Path
) -> None:
    """One agent as it is by default, three calls."""
    wanted = {
        "PCMU": {"type": "audio/pcmu"},
        "PCMA": {"type": "audio/pcma"},
        "G722": {"type": "audio/pcm", "rate": 24_000},
    }
    recordings = {"dir": str(tmp_path / "recordings"), "audio": False}
    with fake_realtime(tmp_path) as url:
        agent = Agent(tmp_path, {"realtime": {"url": url}, "recordings": recordings})
        try:
            for codec in wanted:
                uri = agent.addresses[0].replace("sip:", f"sip:{codec}@")
                call = caller.dial(uri, codec=codec)
                caller.wait_for(call, AudioReceived, count=75)
                caller.do(call, "hang_up")
                caller.wait_for(call, HungUp)
            until(lambda: len(agent.records()) == len(wanted), "every record")
            assert [record["codec"] for record in agent.records()] == list(wanted)
            for codec, audio_format in wanted.items():
                assert session_formats(tmp_path / "recordings", codec) == [audio_format] * 2
                assert "greeting_started" in agent.marks(codec)
        finally:
            agent.close()
