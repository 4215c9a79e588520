"""What each SIP engine must do of SIP and RTP with a telephone that says exactly what a test wants.

What one cannot do is a named capability: it is then refused under that name.
"""

import time
from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, Capability, CapabilityError, EngineName
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    DtmfReceived,
    FramePlayed,
    HungUp,
    MediaHeld,
    MediaReady,
)
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

FRAME = bytes([0x80]) * 160
"""20 ms of PCMU."""
KEYS = "a=rtpmap:101 telephone-event/8000"
SHORT_CALLS = 60
PAUSE_S = 0.1
"""Between calls: PJSUA2 closes the sockets of each half a second late, and has places for few."""


@pytest.fixture(scope="module", params=tuple(PROFILES))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture(scope="module")
def agent(engine: EngineName) -> Iterator[Phone]:
    with open_phone("agent", SipOptions(sample_rate_hz=8_000), answer_at_once, engine=engine) as it:
        yield it


@pytest.fixture
def caller(agent: Phone) -> Iterator[RawPhone]:
    agent.behave(answer_at_once)
    with RawPhone(agent.port) as raw:
        yield raw
    time.sleep(PAUSE_S)
    for call in range(agent.calls()):
        agent.do(call, "hang_up")  # one that a test which failed has left
    wait_until(lambda: agent.facts().active_calls == 0, "the calls to end")


def up(agent: Phone, caller: RawPhone, offer: str) -> tuple[int, int]:
    """A call that is up: its number, and where its RTP goes."""
    call = agent.calls()
    port = caller.call(offer).audio_port
    agent.wait_for(call, MediaReady)
    return call, port


def speak(caller: RawPhone, port: int, frames: int, payload: bytes = FRAME, ms: int = 20) -> None:
    for _ in range(frames):
        caller.send_rtp(payload, port)
        time.sleep(ms / 1000)


def heard_ms(agent: Phone, call: int) -> int:
    """How much sound has been heard."""
    frames = (t.input for t in agent.told(call) if isinstance(t.input, AudioReceived))
    return 20 * sum(any(frame.pcm) for frame in frames)


@pytest.mark.parametrize(("codecs", "chosen"), [("0", "PCMU"), ("8", "PCMA"), ("9", "G722")])
def test_a_codec_that_is_offered_alone_is_taken(
    agent: Phone, caller: RawPhone, codecs: str, chosen: str
) -> None:
    call = agent.calls()
    assert caller.call(caller.sdp(codecs=codecs)).status == 200
    assert agent.wait_for(call, MediaReady).codec == chosen
    assert caller.request("BYE") == 200
    assert agent.wait_for(call, HungUp).by == "caller"


def test_a_codec_that_nobody_has_is_refused(agent: Phone, caller: RawPhone) -> None:
    assert caller.call(caller.sdp(codecs="96", attributes="a=rtpmap:96 iLBC/8000")).status == 488


def test_an_offer_of_all_codecs_is_answered_once_and_for_all(
    agent: Phone, caller: RawPhone
) -> None:
    """No offer of the engine's own comes behind it, for the caller's could meet it."""
    call, _ = up(agent, caller, caller.sdp(codecs="0 8 9 101", attributes=KEYS))
    assert caller.asked("INVITE", within_s=0.5) == ""
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_a_call_is_cancelled_before_its_answer(agent: Phone, caller: RawPhone) -> None:
    agent.behave(None)
    call = agent.calls()
    caller.send("INVITE", caller.sdp())
    agent.wait_for_call(call)
    caller.send("CANCEL", branch=caller._branch)
    assert caller.final().status == 487
    caller.acknowledge()
    ended = agent.wait_for(call, HungUp)
    assert (ended.by, ended.status) == ("caller", 487)


@pytest.mark.parametrize(
    ("attributes", "host"),
    [
        ("a=sendonly", ""),
        ("a=inactive", ""),
        ("a=sendrecv", "0.0.0.0"),
        ("a=sendonly", "0.0.0.0"),
        ("a=inactive", "0.0.0.0"),
    ],
)
def test_a_hold_in_each_of_its_forms_is_one_and_ends(
    agent: Phone, caller: RawPhone, attributes: str, host: str
) -> None:
    call, _ = up(agent, caller, caller.sdp())
    offer = caller.sdp(attributes=attributes)
    if host:
        offer = offer.replace(f"c=IN IP4 {caller.host}", f"c=IN IP4 {host}")
    assert caller.request("INVITE", offer) == 200
    agent.wait_for(call, MediaHeld)
    assert caller.request("INVITE", caller.sdp()) == 200
    agent.wait_for(call, MediaReady, count=2)
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_ten_offers_one_after_the_other_change_nothing(agent: Phone, caller: RawPhone) -> None:
    call, _ = up(agent, caller, caller.sdp())
    answers = [caller.ask("INVITE", caller.sdp()) for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    speak(caller, answers[-1].audio_port, 10)
    wait_until(lambda: heard_ms(agent, call) >= 200, "what is said behind them")
    caller.request("BYE")
    agent.wait_for(call, HungUp)
    time.sleep(5 * PAUSE_S)


def test_a_call_whose_offer_is_ours_comes_up(agent: Phone, caller: RawPhone) -> None:
    call = agent.calls()
    caller.send("INVITE")
    ours = caller.final()
    assert ours.status == 200
    caller.send("ACK", caller.sdp(codecs="8"), cseq=1)
    agent.wait_for(call, CallAnswered)
    assert agent.wait_for(call, MediaReady).codec == "PCMA"
    speak(caller, ours.audio_port, 10, payload=bytes([0x2A]) * 160)
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_an_update_holds_as_an_invite_does(agent: Phone, caller: RawPhone) -> None:
    call, _ = up(agent, caller, caller.sdp())
    assert caller.request("UPDATE", caller.sdp(attributes="a=sendonly")) == 200
    agent.wait_for(call, MediaHeld)
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_a_refer_of_the_callers_is_declined(agent: Phone, caller: RawPhone) -> None:
    call, _ = up(agent, caller, caller.sdp())
    assert caller.request("REFER", headers={"Refer-To": "<sip:elsewhere@127.0.0.1>"}) == 603
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_a_key_comes_by_info(agent: Phone, caller: RawPhone) -> None:
    call, _ = up(agent, caller, caller.sdp())
    kind = {"Content-Type": "application/dtmf-relay"}
    assert caller.request("INFO", "Signal=5\r\nDuration=160\r\n", kind) == 200
    assert agent.wait_for(call, DtmfReceived) == DtmfReceived(digit="5", method="info")
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_a_key_comes_by_rtp_once(agent: Phone, caller: RawPhone) -> None:
    call, port = up(agent, caller, caller.sdp(codecs="0 101", attributes=KEYS))
    speak(caller, port, 5)
    for number in range(8):
        ended = 0x80 if number > 4 else 0
        packet = bytes([5, ended | 10]) + (160 * (number + 1)).to_bytes(2, "big")
        header = (
            bytes([0x80, 101])
            + (100 + number).to_bytes(2, "big")
            + bytes(4)
            + bytes([0, 0, 94, 237])
        )
        caller.rtp.sendto(header + packet, ("127.0.0.1", port))
        time.sleep(0.02)
    assert agent.wait_for(call, DtmfReceived) == DtmfReceived(digit="5", method="rfc4733")
    time.sleep(0.2)
    assert sum(isinstance(item, DtmfReceived) for item in agent.signals(call)) == 1
    caller.request("BYE")
    agent.wait_for(call, HungUp)


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("announced", [True, False])
def test_packets_of_any_length_are_heard_whole(
    agent: Phone, caller: RawPhone, ptime: int, announced: bool
) -> None:
    attributes = f"a=ptime:{ptime}" if announced else "a=sendrecv"
    call, port = up(agent, caller, caller.sdp(attributes=attributes))
    for number in range(600 // ptime):
        header = (
            bytes([0x80, 0])
            + (number + 1).to_bytes(2, "big")
            + (number * ptime * 8).to_bytes(4, "big")
            + bytes([0, 0, 94, 237])
        )
        caller.rtp.sendto(header + bytes([0x80]) * (ptime * 8), ("127.0.0.1", port))
        time.sleep(ptime / 1000)
    wait_until(lambda: heard_ms(agent, call) >= 600, "all of it")
    time.sleep(0.1)
    assert heard_ms(agent, call) == 600
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_a_silent_peer_is_heard_as_silence_and_spoken_to(agent: Phone, caller: RawPhone) -> None:
    call, _ = up(agent, caller, caller.sdp())
    agent.wait_for(call, AudioReceived, count=20)
    agent.wait_for(call, FramePlayed, count=20)
    caller.rtp.settimeout(2)
    assert len(caller.rtp.recv(2048)) == 12 + 160
    caller.request("BYE")
    agent.wait_for(call, HungUp)


@pytest.mark.parametrize("sequence", [(1, 3, 2, 4, 6, 5, 7), (1, 2, 2, 3, 4, 4, 5)])
def test_packets_out_of_order_or_twice_are_heard_in_order_and_once(
    agent: Phone, caller: RawPhone, sequence: tuple[int, ...]
) -> None:
    call, port = up(agent, caller, caller.sdp())
    for number in sequence:
        header = (
            bytes([0x80, 0])
            + number.to_bytes(2, "big")
            + (number * 160).to_bytes(4, "big")
            + bytes([0, 0, 94, 237])
        )
        caller.rtp.sendto(header + bytes([0x80 + number]) * 160, ("127.0.0.1", port))
        time.sleep(0.01)
    count = len(set(sequence))
    wait_until(lambda: heard_ms(agent, call) >= 20 * count, "all of them")
    frames = [t.input.pcm for t in agent.told(call) if isinstance(t.input, AudioReceived)]
    levels = [int.from_bytes(pcm[:2], "little", signed=True) for pcm in frames if any(pcm)]
    assert levels == sorted(levels, reverse=levels[0] > levels[-1])
    assert len(levels) == count
    caller.request("BYE")
    agent.wait_for(call, HungUp)


def test_short_calls_leave_nothing_behind(agent: Phone, caller: RawPhone) -> None:
    agent.keep_audio(False)
    for _ in range(10):
        one_short_call(agent)
    before = agent.facts()
    for _ in range(SHORT_CALLS):
        one_short_call(agent)
    after = agent.facts()
    agent.keep_audio(True)
    assert after.threads == before.threads
    assert after.open_files <= before.open_files + 2
    assert after.resident_bytes - before.resident_bytes < 8_000_000


def one_short_call(agent: Phone) -> None:
    call = agent.calls()
    with RawPhone(agent.port) as raw:
        assert raw.call(raw.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        assert raw.request("BYE") == 200
    agent.wait_for(call, HungUp)
    wait_until(lambda: agent.facts().active_calls == 0, "the call to end")
    time.sleep(PAUSE_S)


def test_what_an_engine_cannot_do_is_refused_by_its_name() -> None:
    assert Capability.PUBLIC_CONTACT not in PROFILES["baresip"].capabilities
    with pytest.raises(CapabilityError, match="baresip has no capability `public_contact`"):
        choose("baresip").answering(SipOptions(public_host="192.0.2.1"), lambda _leg: None)
