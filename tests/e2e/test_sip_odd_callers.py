"""Callers that are rude, broken or merely unusual get the right answer, and the agent lives."""

import random
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest
from raw_sip import RTP_FRAME_BYTES, RawPhone
from sip_rig import Phone, wait_until

from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    DtmfReceived,
    HungUp,
    LegInput,
    MediaHeld,
    MediaReady,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import AudioFormat, level_dbfs, to_samples, tone

pytestmark = pytest.mark.e2e

SILENCE = b"\xff" * RTP_FRAME_BYTES
"""Of µ-law."""


def answer_and_sing(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, MediaReady):
        leg.play(tone(440, 20_000, leg.sample_rate_hz))


def refuse(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.hang_up(404)


@pytest.fixture(scope="module")
def agent() -> Iterator[Phone]:
    # Garbage that happens to be a request counts as one: these tests are not about rates.
    options = SipOptions(sample_rate_hz=8_000, requests_per_source_per_s=0, requests_per_s=0)
    phone = Phone("agent", options)
    phone.behave(answer_and_sing)
    yield phone
    assert phone.close() == 0


@pytest.fixture
def raw(agent: Phone) -> Iterator[RawPhone]:
    with RawPhone(agent.port) as phone:
        yield phone
    for call in range(agent.calls()):  # what a failed test has left
        agent.do(call, "hang_up")


def hang_up(agent: Phone, raw: RawPhone, call: int) -> None:
    assert raw.request("BYE") == 200
    assert agent.wait_for(call, HungUp).by == "caller"


def frames(agent: Phone, call: int) -> list[AudioReceived]:
    return [t.input for t in agent.told(call) if isinstance(t.input, AudioReceived)]


def test_frames_come_though_the_caller_sends_nothing(agent: Phone, raw: RawPhone) -> None:
    call = agent.calls()
    assert raw.call(raw.sdp()).status == 200
    agent.wait_for(call, AudioReceived, count=50)
    heard = frames(agent, call)
    assert not any(np.any(to_samples(frame.pcm)) for frame in heard)
    hang_up(agent, raw, call)


def test_holes_of_a_caller_that_saves_its_silence_are_filled(agent: Phone, raw: RawPhone) -> None:
    """DTX: packets stop in a pause and go on after it; the clock of what is heard does not stop."""
    call = agent.calls()
    port = raw.call(raw.sdp()).audio_port
    agent.wait_for(call, MediaReady)
    voice = AudioFormat("pcmu").encode(tone(1_000, 20, 8_000))
    begun = time.monotonic()
    for n in range(75):
        if not 25 <= n < 50:
            raw.send_rtp(voice, port)
        else:
            raw._rtp_sequence += 1  # time goes on, packets do not
        time.sleep(max(0.0, begun + (n + 1) * 0.02 - time.monotonic()))
    agent.wait_for(call, AudioReceived, count=len(frames(agent, call)) + 40)
    heard = frames(agent, call)
    span_ms = (heard[-1].at_ns - heard[0].at_ns) / 1e6
    assert len(heard) == pytest.approx(span_ms / 20, abs=4)
    loud = [level_dbfs(to_samples(frame.pcm)) > -40 for frame in heard]
    first, last = loud.index(True), len(loud) - 1 - loud[::-1].index(True)
    assert last - first == pytest.approx(75, abs=8)
    assert loud[first:last].count(False) >= 15, "the pause is silence, but for what is concealed"
    hang_up(agent, raw, call)


def test_comfort_noise_packets_do_no_harm(agent: Phone, raw: RawPhone) -> None:
    """RFC 3389: payload type 13, whether or not it was agreed upon."""
    call = agent.calls()
    port = raw.call(raw.sdp(codecs="0 13")).audio_port
    agent.wait_for(call, MediaReady)
    for _ in range(25):
        raw.send_rtp(b"\x40", port, payload_type=13)
    agent.wait_for(call, AudioReceived, count=len(frames(agent, call)) + 25)
    hang_up(agent, raw, call)


OPUS = ("m=audio 9 RTP/AVP 96", "a=rtpmap:96 opus/48000/2")
VIDEO = ("m=video 9 RTP/AVP 97", "a=rtpmap:97 H264/90000")
ENCRYPTED = (
    "m=audio 9 RTP/SAVP 0",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
)
KEYS = ("m=audio 9 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000")
VOICE = ("m=audio {port} RTP/AVP 0",)
TALK_FRAMES = 25


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        pytest.param((*VIDEO, *VOICE), 1, id="behind video"),
        pytest.param(("m=image 9 udptl t38", *VOICE), 1, id="behind a fax"),
        pytest.param(("m=application 9 UDP/BFCP *", "m=text 9 x y", *VOICE), 2, id="behind others"),
        pytest.param((*ENCRYPTED, *VOICE), 1, id="behind itself encrypted"),
        pytest.param((*VOICE, *ENCRYPTED), 0, id="before itself encrypted"),
        pytest.param((*OPUS, *VOICE), 1, id="behind an unknown codec"),
        pytest.param((*5 * OPUS, *VOICE, *OPUS), 5, id="among unknown codecs"),
        pytest.param((*KEYS, *VOICE), 1, id="behind keys alone"),
        pytest.param(("m=audio 0 RTP/AVP 0", *VOICE), 1, id="behind one that is refused"),
        pytest.param(("m=audio 9 TCP/RTP/AVP 0", *VOICE), 1, id="behind itself over TCP"),
        pytest.param(("m=audio 9 RTP/AVP 0", "a=inactive", *VOICE), 1, id="behind an idle one"),
        pytest.param(("m=audio 9 RTP/AVP 0", "a=sendonly", *VOICE), 1, id="behind one on hold"),
        pytest.param(
            ("m=audio 9 RTP/AVP 0", "c=IN IP4 0.0.0.0", *VOICE), 1, id="behind one at no address"
        ),
        pytest.param(("a=inactive", *VOICE, "a=sendrecv"), 0, id="alive in an idle session"),
        pytest.param((*VOICE, "m=audio 9 RTP/AVP 8"), 0, id="before another one"),
        pytest.param((*OPUS, *VIDEO, *VOICE, *VIDEO), 2, id="in the midst of it all"),
    ],
)
def test_audio_is_found_wherever_it_stands_in_the_offer(
    agent: Phone, raw: RawPhone, lines: tuple[str, ...], chosen: int
) -> None:
    """RFC 3264 §6: each line has its answer; one of them is the call, and is heard both ways."""
    call = agent.calls()
    answer = raw.call(raw.offer(*lines))
    assert answer.status == 200
    offered = [line[2:].partition(" ")[0] for line in lines if line.startswith("m=")]
    assert [kind for kind, _ in answer.media] == offered
    assert [n for n, (_, port) in enumerate(answer.media) if port] == [chosen]
    assert agent.wait_for(call, MediaReady).codec == "PCMU"
    talk_both_ways(agent, raw, call, answer.media[chosen][1])
    hang_up(agent, raw, call)


def test_a_re_invite_can_move_the_audio_to_another_line(agent: Phone, raw: RawPhone) -> None:
    call = agent.calls()
    port = raw.call(raw.offer(*VOICE)).audio_port
    agent.wait_for(call, MediaReady)
    talk_both_ways(agent, raw, call, port)
    moved = raw.ask("INVITE", raw.offer("m=audio 0 RTP/AVP 0", *VIDEO, *VOICE, version=2))
    assert moved.status == 200
    assert [port > 0 for _, port in moved.media] == [False, False, True]
    talk_both_ways(agent, raw, call, moved.media[2][1])
    hang_up(agent, raw, call)


def test_a_re_invite_without_usable_audio_is_refused_and_the_call_goes_on(
    agent: Phone, raw: RawPhone
) -> None:
    """RFC 3261 §14.2."""
    call = agent.calls()
    port = raw.call(raw.offer(*VOICE)).audio_port
    agent.wait_for(call, MediaReady)
    assert raw.request("INVITE", raw.offer(*OPUS, version=2)) == 488
    talk_both_ways(agent, raw, call, port)
    hang_up(agent, raw, call)


def talk_both_ways(agent: Phone, raw: RawPhone, call: int, port: int) -> None:
    """Speak to a port until the agent hears it, and hear the agent sing meanwhile."""
    voice = AudioFormat("pcmu").encode(tone(1_000, 20, 8_000))
    known = len(frames(agent, call))
    raw.forget_rtp()

    def heard() -> bool:
        raw.send_rtp(voice, port)
        new = frames(agent, call)[known:]
        return sum(level_dbfs(to_samples(frame.pcm)) > -40 for frame in new) >= TALK_FRAMES

    wait_until(heard, f"{TALK_FRAMES} frames of the caller's voice")

    def sung() -> bool:
        payload = raw.rtp.recv(2048)[12:]
        return level_dbfs(to_samples(AudioFormat("pcmu").decode(payload))) > -40

    wait_until(sung, "the agent's song")


def test_an_invite_without_an_offer_is_answered_with_one(agent: Phone, raw: RawPhone) -> None:
    """Late offer (RFC 3264 §3.1): the offer is in the 200 OK, the answer in the ACK."""
    call = agent.calls()
    raw.send("INVITE")
    offer = raw.final()
    assert offer.status == 200
    assert offer.audio_port
    raw.send("ACK", raw.sdp(), cseq=1)
    assert agent.wait_for(call, MediaReady).codec == "PCMU"
    agent.wait_for(call, AudioReceived, count=5)
    hang_up(agent, raw, call)


def test_rtp_goes_where_rtp_comes_from(agent: Phone, raw: RawPhone) -> None:
    """Symmetric RTP: behind NAT, the SDP names a port that nobody can reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        call = agent.calls()
        port = raw.call(raw.sdp(port=elsewhere.getsockname()[1])).audio_port
        agent.wait_for(call, MediaReady)
        for _ in range(60):
            raw.send_rtp(SILENCE, port)
            time.sleep(0.02)
        raw.rtp.settimeout(2)
        assert len(raw.rtp.recv(2048)) == 12 + RTP_FRAME_BYTES
    hang_up(agent, raw, call)


def test_hold_and_resume_by_re_invite(agent: Phone, raw: RawPhone) -> None:
    call = agent.calls()
    assert raw.call(raw.sdp()).status == 200
    agent.wait_for(call, MediaReady)
    assert raw.request("INVITE", raw.sdp(attributes="a=sendonly").replace(" 1 1 ", " 1 2 ")) == 200
    agent.wait_for(call, MediaHeld)
    assert raw.request("INVITE", raw.sdp().replace(" 1 1 ", " 1 3 ")) == 200
    agent.wait_for(call, MediaReady, count=2)
    hang_up(agent, raw, call)


def test_a_re_invite_can_change_the_codec(agent: Phone, raw: RawPhone) -> None:
    call = agent.calls()
    assert raw.call(raw.sdp(codecs="0")).status == 200
    assert agent.wait_for(call, MediaReady).codec == "PCMU"
    assert raw.request("INVITE", raw.sdp(codecs="8").replace(" 1 1 ", " 1 2 ")) == 200
    assert agent.wait_for(call, MediaReady, count=2).codec == "PCMA"
    hang_up(agent, raw, call)


@pytest.mark.parametrize("body", ["Signal=5\r\nDuration=160\r\n", "Signal= 5\r\nDuration= 160\r\n"])
def test_key_presses_come_as_info(agent: Phone, raw: RawPhone, body: str) -> None:
    call = agent.calls()
    assert raw.call(raw.sdp()).status == 200
    agent.wait_for(call, MediaReady)
    assert raw.request("INFO", body, {"Content-Type": "application/dtmf-relay"}) == 200
    assert agent.wait_for(call, DtmfReceived) == DtmfReceived(digit="5", method="info")
    hang_up(agent, raw, call)


@pytest.mark.parametrize("body", ["Signal", "Signal=5\0\r\n", ""])
def test_a_key_press_that_breaks_off_is_refused_and_the_call_goes_on(
    agent: Phone, raw: RawPhone, body: str
) -> None:
    """PJSUA would end its process over the first two."""
    call = agent.calls()
    assert raw.call(raw.sdp()).status == 200
    agent.wait_for(call, MediaReady)
    assert raw.request("INFO", body, {"Content-Type": "application/dtmf-relay"}) >= 400
    whole = "Signal=7\r\nDuration=160\r\n"
    assert raw.request("INFO", whole, {"Content-Type": "application/dtmf-relay"}) == 200
    assert agent.wait_for(call, DtmfReceived) == DtmfReceived(digit="7", method="info")
    hang_up(agent, raw, call)


def test_g711_is_not_touched_on_its_way(agent: Phone, raw: RawPhone) -> None:
    """At 8 kHz every value that arrives as µ-law is heard as exactly that value."""
    call = agent.calls()
    port = raw.call(raw.sdp()).audio_port
    agent.wait_for(call, MediaReady)
    agent.wait_for(call, AudioReceived, count=5)
    codes = bytes(range(128, 256)) + bytes(range(32))
    for _ in range(10):
        raw.send_rtp(codes, port)
        time.sleep(0.02)
    expected = 3 * AudioFormat("pcmu").decode(codes)
    wait_until(
        lambda: expected in b"".join(frame.pcm for frame in frames(agent, call)),
        "three frames as they were sent",
    )
    hang_up(agent, raw, call)


@pytest.mark.parametrize(
    "sdp",
    [
        pytest.param("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", id="no media"),
        pytest.param(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
            id="video only",
        ),
        pytest.param(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=audio 5000 RTP/AVP 96\r\na=rtpmap:96 NOSUCH/8000\r\n",
            id="unknown codec",
        ),
        *(
            pytest.param(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                + "".join(f"{line}\r\n" for line in lines),
                id=name,
            )
            for name, lines in {
                "refused by the caller": ("m=audio 0 RTP/AVP 0",),
                "encrypted": ENCRYPTED,
                "encrypted or unknown": (*OPUS, *ENCRYPTED),
                "unknown and again": OPUS + OPUS,
                "keys alone": KEYS,
                "unknown and video": OPUS + VIDEO,
            }.items()
        ),
        pytest.param("this is no SDP at all\r\n", id="not SDP"),
        pytest.param("v=0\r\n" + "a=x\r\n" * 2000, id="long and pointless"),
    ],
)
def test_an_offer_that_cannot_be_met_is_refused(agent: Phone, raw: RawPhone, sdp: str) -> None:
    status = raw.call(sdp).status
    assert status == 488 if "m=" in sdp else 400 <= status < 500
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")
    _still_answers(agent)


@pytest.mark.parametrize("place", ["c=IN IP4 {}\r\n", "a=rtcp:40001 IN IP4 {}\r\n"])
def test_an_address_that_is_longer_than_any_is_refused(
    agent: Phone, raw: RawPhone, place: str
) -> None:
    """PJSUA ends its process over it."""
    call = agent.calls()
    long = raw.sdp() + place.format("a" * 300)
    raw.send("INVITE", long)
    assert raw.final().status == 400
    raw.send("ACK", long)  # an answer to a late offer, as it were: dropped without a word
    raw.request("OPTIONS")
    with RawPhone(agent.port) as other:
        assert other.call(other.sdp()).status == 200, "the process lives"
        agent.wait_for(call, MediaReady)
        assert other.request("INVITE", long) == 400
        hang_up(agent, other, call)


def test_no_name_of_a_caller_is_looked_up(agent: Phone, raw: RawPhone) -> None:
    """Whoever made it could hold up all calls by a resolver that does not answer."""
    call = agent.calls()
    named = raw.sdp().replace("c=IN IP4 127.0.0.1", "c=IN IP4 nobody.invalid")
    assert named != raw.sdp()
    raw.send("INVITE", named)
    refused = raw.final()
    assert refused.status == 488
    assert "media go to addresses" in refused.header("Warning")
    raw.request("OPTIONS")
    raw.send("INVITE", raw.sdp(), {"Record-Route": "<sip:nobody.invalid;lr>"})
    assert raw.final().status == 403, "nor where our BYE would go"
    with RawPhone(agent.port) as other:
        assert other.call(other.sdp()).status == 200
        agent.wait_for(call, MediaReady)
        assert other.request("INVITE", named) == 488
        hang_up(agent, other, call)


def test_a_description_that_cannot_be_read_is_refused_and_its_ack_is_survived(
    agent: Phone, raw: RawPhone
) -> None:
    """PJSUA would answer the ACK, and ends its process over it."""
    call = agent.calls()
    assert raw.call(raw.sdp().replace("1 1 IN IP4", "1 1 IN IP\4")).status == 400
    with RawPhone(agent.port) as other:
        assert other.call(other.sdp()).status == 200, "the process lives"
        agent.wait_for(call, MediaReady)
        hang_up(agent, other, call)


def test_garbage_on_the_sip_port_is_survived(agent: Phone, raw: RawPhone) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    rng = random.Random(seed)
    whole = (
        b"INVITE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:100@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n"
        b"Contact: <sip:a@127.0.0.1:9>\r\nContent-Length: 0\r\n\r\n"
    )
    agent.behave(refuse)  # or one that is answered lasts until nobody has acknowledged it for 32 s
    for _ in range(300):
        raw.send_bytes(rng.randbytes(rng.randrange(1, 1_400)))
        at = rng.randrange(len(whole))
        raw.send_bytes(whole[:at])
        raw.send_bytes(whole[:at] + rng.randbytes(8) + whole[at:])
    raw.send_bytes(b"\r\n\r\n")
    raw.send_bytes(b"INVITE " + b"A" * 3_000 + b" SIP/2.0\r\n\r\n")
    raw.send("OPTIONS")
    raw.final("OPTIONS")  # one port, in order: all garbage before it has been read
    wait_until(lambda: agent.facts().active_calls == 0, "calls of garbage to end")
    agent.behave(answer_and_sing)
    _still_answers(agent)


def test_garbage_on_the_rtp_port_is_survived(agent: Phone, raw: RawPhone) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    rng = random.Random(seed)
    call = agent.calls()
    port = raw.call(raw.sdp()).audio_port
    agent.wait_for(call, MediaReady)
    for _ in range(300):
        raw.rtp.sendto(rng.randbytes(rng.randrange(1, 1_400)), ("127.0.0.1", port))
        raw.rtp.sendto(rng.randbytes(rng.randrange(1, 200)), ("127.0.0.1", port + 1))
    for payload_type in range(128):
        raw.send_rtp(rng.randbytes(rng.randrange(400)), port, payload_type)
    agent.wait_for(call, AudioReceived, count=len(frames(agent, call)) + 10)
    hang_up(agent, raw, call)


def test_a_caller_who_asks_whether_the_call_lives_is_told_so(agent: Phone, raw: RawPhone) -> None:
    """PJSUA answers a 500, at which some hang up."""
    call = agent.calls()
    raw.call(raw.sdp())
    agent.wait_for(call, MediaReady)
    assert raw.request("OPTIONS") == 200
    raw.send("OPTIONS")  # once more, as after a lost answer
    answer = raw.final("OPTIONS")
    assert answer.status == 200
    assert {"INVITE", "BYE", "OPTIONS"} <= set(answer.header("Allow").split(", "))
    assert "application/sdp" in answer.header("Accept")
    hang_up(agent, raw, call)
    assert raw.request("OPTIONS") >= 400, "it lives no more"


def test_requests_of_no_call_are_answered_and_forgotten(agent: Phone, raw: RawPhone) -> None:
    raw.send("OPTIONS")
    assert raw.final("OPTIONS").status == 200
    raw._to_tag = "of-no-call"
    raw.send("BYE")
    assert raw.final("BYE").status == 481


def _still_answers(agent: Phone) -> None:
    call = agent.calls()
    with RawPhone(agent.port) as phone:
        assert phone.call(phone.sdp()).status == 200
        agent.wait_for(call, AudioReceived, count=3)
        hang_up(agent, phone, call)
