"""Calls in Opus (RFC 7587) where an engine has it, with telephones that say what a test wants."""

import random
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from baresip_program import write_baresip_config
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, pitch_hz, wait_until

from callerside.agent.telephony.baresip.codecs import Opus
from callerside.agent.telephony.engine import PROFILES, Capability, CapabilityError, EngineName
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    DtmfReceived,
    HungUp,
    LegInput,
    MediaReady,
    RtpMeasured,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import level_dbfs, to_samples, tone
from callerside.audio_files import read_wav

pytestmark = pytest.mark.e2e

ENGINES = [name for name, one in PROFILES.items() if Capability.OPUS in one.capabilities]
OPTIONS = SipOptions(codecs=("OPUS", "PCMU"), sample_rate_hz=None)
WIDE_HZ, CALLER_HZ = 24_000, 16_000
FRAME_TICKS = 960
"""20 ms of the clock that timestamps have."""
NUMBER, KEYS = 96, 101
ATTRIBUTES = (
    f"a=rtpmap:{NUMBER} opus/48000/2\r\na=rtpmap:{KEYS} telephone-event/8000\r\n"
    "a=rtpmap:102 telephone-event/48000"
)
LOUD_DBFS = -30


class Telephone:
    """A raw one that has Opus, in a call with an engine's."""

    def __init__(self, phone: Phone, raw: RawPhone, role: str) -> None:
        self.phone, self.raw, self.role = phone, raw, role
        self.call = phone.calls()
        self.described = ""
        """What the engine's side has said of its audio."""
        self.port = 0
        self.keys = KEYS
        """The number of keys' packets to it."""
        self.rate_hz = WIDE_HZ if role == "agent" else CALLER_HZ
        self._codec = Opus(WIDE_HZ)

    def up(self, more: str = "") -> "Telephone":
        """Bring the call up."""
        attributes = f"{ATTRIBUTES}{more}"
        own = self.raw.sdp(codecs=f"{NUMBER} 102 {KEYS}", attributes=attributes)
        if self.role == "agent":
            answer = self.raw.call(own)
            assert answer.status == 200
            self.described, self.port = answer.message, answer.audio_port
        else:
            self.phone.dial(f"sip:100@127.0.0.1:{self.raw.sip_port}", codec="OPUS")
            self.described = self.raw.asked("INVITE")
            self.port = self.raw.take(self.described)
            theirs = re.search(r"^a=rtpmap:(\d+) telephone-event", self.described, re.MULTILINE)
            assert theirs is not None
            self.keys = int(theirs[1])
            named = re.search(r"^a=rtpmap:(\d+) opus", self.described, re.MULTILINE)
            assert named is not None
            assert int(named[1]) == NUMBER, "what baresip calls it, and what the tests do"
            own = own.replace(str(KEYS), theirs[1])
            self.raw.reply(self.described, "200 OK", body=own)
            assert self.raw.asked("ACK")
        assert self.phone.wait_for(self.call, MediaReady).codec == "OPUS"
        return self

    def encoded(self, pcm: bytes, ms: int = 20) -> list[bytes]:
        """Packets of so many milliseconds."""
        size = WIDE_HZ * ms // 1000 * 2
        return [self._codec.encode(pcm[at : at + size]) for at in range(0, len(pcm), size)]

    def send(self, number: int, ticks: int, payload: bytes, payload_type: int = NUMBER) -> None:
        header = struct.pack("!BBHII", 0x80, payload_type, number, ticks, 24_301)
        self.raw.rtp.sendto(header + payload, ("127.0.0.1", self.port))

    def say(self, packets: Sequence[bytes], ms: int = 20, lost: Sequence[int] = ()) -> None:
        """Packets, each when it is due."""
        began_s = time.monotonic()
        for number, payload in enumerate(packets):
            time.sleep(max(0.0, began_s + number * ms / 1000 - time.monotonic()))
            if number not in lost:
                self.send(number, number * 48 * ms, payload)

    def heard(self) -> list[bytes]:
        """Its frames."""
        told = self.phone.told(self.call)
        return [one.input.pcm for one in told if isinstance(one.input, AudioReceived)]

    def loud(self) -> list[bool]:
        """Of each frame, whether it is; from the first to the last that is."""
        frames = [level_dbfs(to_samples(frame)) > LOUD_DBFS for frame in self.heard()]
        found = np.flatnonzero(frames)
        return frames[found[0] : found[-1] + 1] if len(found) else []

    def received(self, count: int) -> list[tuple[int, int, int, bytes]]:
        """So many packets: payload type, number, timestamp, payload."""
        self.raw.rtp.settimeout(2)
        packets = (self.raw.rtp.recv(2_048) for _ in range(count))
        return [
            (one[1] & 0x7F, *struct.unpack_from("!HI", one, 2), one[12:])  # none has an extension
            for one in packets
        ]

    def end(self) -> None:
        assert self.raw.request("BYE") == 200
        self.phone.wait_for(self.call, HungUp)


@pytest.fixture(
    scope="module",
    params=[(engine, role) for engine in ENGINES for role in ("agent", "caller")],
    ids="-".join,
)
def side(request: pytest.FixtureRequest) -> Iterator[tuple[Phone, str]]:
    engine, role = request.param
    reaction = answer_at_once if role == "agent" else None
    with open_phone(role, OPTIONS, reaction, engine=engine) as phone:
        yield phone, role


@pytest.fixture
def line(side: tuple[Phone, str]) -> Iterator[Telephone]:
    phone, role = side
    with RawPhone(phone.port) as raw:
        made = Telephone(phone, raw, role)
        yield made
        for call in range(made.call, phone.calls()):  # what a test that failed has left
            phone.do(call, "hang_up")
            with suppress(TimeoutError):
                raw.reply(raw.asked("BYE", within_s=0.5), "200 OK")
    wait_until(lambda: phone.facts().active_calls == 0, "the call to end")


def test_who_has_it_describes_it_as_all_do_and_asks_for_one_channel(line: Telephone) -> None:
    """RFC 7587 §4.1 and §7: two channels are said, whatever is sent."""
    line.up()
    assert f"a=rtpmap:{NUMBER} opus/48000/2\r\n" in line.described
    assert f"a=fmtp:{NUMBER} stereo=0;sprop-stereo=0\r\n" in line.described
    line.end()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("theirs", "ours", "keys"),
    [
        (["m=111 101", "o=111", "k=101"], 111, 101),
        (["m=0 111 101", "o=111", "k=101"], 111, 101),
        (["m=0 96", "k=96"], 97, 96),
    ],
    ids=["agreed", "known", "number taken"],
)
def test_it_has_its_number_again_when_it_comes_back(
    engine: EngineName, theirs: list[str], ours: int, keys: int
) -> None:
    """And none that meant something else before in the call (RFC 3264 §8.3.2)."""
    with (
        open_phone("agent", OPTIONS, answer_at_once, engine=engine) as phone,
        RawPhone(phone.port) as raw,
    ):
        assert raw.call(offered(raw, *theirs)).status == 200
        assert raw.request("INVITE", offered(raw, "m=0")) == 200
        for _ in range(2):
            raw._cseq += 1
            raw.send("INVITE")
            offer = raw.final()
            answer = offered(raw, f"m={ours} {keys}", f"o={ours}", f"k={keys}")
            raw.send("ACK", answer, cseq=raw._cseq)
            assert f"RTP/AVP {ours} 0 {keys}\r\n" in offer.message
            assert f"a=rtpmap:{ours} opus/48000/2\r\n" in offer.message
            assert f"a=fmtp:{ours} stereo=0;sprop-stereo=0\r\n" in offer.message
            assert f"a=rtpmap:{keys} telephone-event/8000\r\n" in offer.message
            body = offer.message.partition("\r\n\r\n")[2]
            assert len(body) == int(offer.header("Content-Length"))
            assert raw.request("INVITE", offered(raw, "m=0")) == 200
        first = ["OPUS", "PCMU"] if theirs[0].startswith("m=111") else ["PCMU"]
        expected = [*first, *["OPUS", "PCMU"] * 2]
        phone.wait_for(0, MediaReady, count=len(expected))
        assert [one.codec for one in phone.signals(0) if isinstance(one, MediaReady)] == expected
        assert raw.request("BYE") == 200


def offered(raw: RawPhone, *told: str) -> str:
    """A description: `m=` are its formats, `o=` and `k=` which of them are Opus and keys."""
    names = {"o": "opus/48000/2", "k": "telephone-event/8000"}
    parts = [one.partition("=") for one in told]
    lines = [f"a=rtpmap:{number} {names[what]}" for what, _, number in parts if what in names]
    formats = next(value for what, _, value in parts if what == "m")
    return raw.sdp(codecs=formats, attributes="\r\n".join(lines))


def test_a_high_tone_is_heard_at_its_level_and_pitch(line: Telephone) -> None:
    line.up()
    line.say(line.encoded(tone(5_000, 600, WIDE_HZ)))
    wait_until(lambda: len(line.loud()) >= 29, "all of it")
    frames = [frame for frame in line.heard() if level_dbfs(to_samples(frame)) > LOUD_DBFS]
    assert {len(frame) for frame in frames} == {line.rate_hz // 50 * 2}
    middle = b"".join(frames[5:25])
    assert pitch_hz(middle, line.rate_hz) == pytest.approx(5_000, abs=10)
    assert level_dbfs(to_samples(middle)) == pytest.approx(-15, abs=0.5)
    line.end()


def test_what_is_played_leaves_as_it_was_asked_for(line: Telephone) -> None:
    """In packets of 20 ms at 48 kHz, of the number that the other side has given it, and no more
    bits a second than it wants."""
    line.up(more=f"\r\na=fmtp:{NUMBER} useinbandfec=1; maxaveragebitrate=24000")
    line.phone.do(line.call, "play", tone(1_000, 1_000, line.rate_hz))
    packets = line.received(60)
    assert {kind for kind, *_ in packets} == {NUMBER}
    for (_, number, ticks, _), (_, next_number, next_ticks, _) in pairwise(packets):
        assert (next_number - number) % 2**16 == 1
        assert (next_ticks - ticks) % 2**32 == FRAME_TICKS
    ear = Opus(WIDE_HZ)
    pcm = [ear.decode(payload) for *_, payload in packets]
    loud = [frame for frame in pcm if level_dbfs(to_samples(frame)) > LOUD_DBFS]
    assert pitch_hz(b"".join(loud), WIDE_HZ) == pytest.approx(1_000, abs=5)
    assert 8 * 50 * sum(len(payload) for *_, payload in packets) / len(packets) < 1.1 * 24_000
    line.end()


@pytest.mark.parametrize("ms", [10, 20, 40, 60])
def test_packets_of_any_length_are_heard_whole(line: Telephone, ms: int) -> None:
    line.up()
    line.say(line.encoded(tone(440, 480, WIDE_HZ), ms), ms)
    wait_until(lambda: len(line.loud()) >= 24, "all of it")
    time.sleep(0.1)
    assert all(line.loud())
    assert len(line.loud()) == pytest.approx(24, abs=1)  # 2.5 ms of it are in the next frame
    line.end()


def test_no_more_is_lost_than_the_line_has_lost(line: Telephone) -> None:
    """What is lost is silence of its length: where packets are counted at 48 kHz, time is right."""
    rng = random.Random(15)
    lost = [number for number in range(5, 95) if rng.random() < 0.05]
    line.up()
    line.say(line.encoded(tone(440, 2_000, WIDE_HZ)), lost=lost)
    wait_until(lambda: len(line.loud()) >= 100, "all of it")
    assert [number for number, is_loud in enumerate(line.loud()) if not is_loud] == lost
    line.end()


def test_what_is_no_packet_of_it_does_no_harm(line: Telephone) -> None:
    line.up()
    rng = random.Random(3)
    for number in range(60):
        line.send(number, number * FRAME_TICKS, rng.randbytes(rng.randrange(1, 300)))
    said = line.encoded(tone(440, 600, WIDE_HZ))
    for number, payload in enumerate(said, start=60):
        line.send(number, number * FRAME_TICKS, payload)
        time.sleep(0.02)

    def is_heard() -> bool:
        pcm = b"".join(line.heard()[-20:])
        return abs(pitch_hz(pcm, line.rate_hz) - 440) < 5

    wait_until(is_heard, "what follows")
    line.end()


def test_a_key_comes_whose_length_is_counted_at_8_khz(line: Telephone) -> None:
    line.up()
    packets = line.encoded(tone(440, 200, WIDE_HZ))
    line.say(packets)
    for number in range(8):
        ended = 0x80 if number > 4 else 0
        event = struct.pack("!BBH", 5, ended | 10, 160 * (number + 1))
        line.send(len(packets) + number, len(packets) * FRAME_TICKS, event, line.keys)
        time.sleep(0.02)
    assert line.phone.wait_for(line.call, DtmfReceived).digit == "5"
    line.end()
    jitter_ms = line.phone.wait_for(line.call, RtpMeasured).jitter_ms
    assert jitter_ms < 15, "a key's timestamp stands still: it says nothing of the way"


def test_a_key_goes_out_in_the_time_of_the_audio_around_it(line: Telephone) -> None:
    """Its timestamp is of the audio's clock, its length of its own (RFC 4733 §2.2.1 and §2.3)."""
    line.up()
    packets = line.received(3)
    line.phone.do(line.call, "send_dtmf", "7", "rfc4733")
    packets += line.received(60)
    first = next(at for at, one in enumerate(packets) if one[0] == line.keys)
    keys, before, behind = packets[first : first + 8], packets[first - 1], packets[first + 8]
    assert {kind for kind, *_ in keys} == {line.keys}
    assert {before[0], behind[0]} == {NUMBER}
    assert {ticks for _, _, ticks, _ in keys} == {(before[2] + FRAME_TICKS) % 2**32}
    lengths = [struct.unpack("!BBH", payload)[2] for *_, payload in keys]
    assert lengths == [160, 320, 480, 640, 800, 800, 800, 800]
    passed = (behind[2] - before[2]) % 2**32 // FRAME_TICKS
    assert passed == 1 + len(keys), "time has passed meanwhile"
    line.end()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_changes_to_it_and_back(engine: EngineName) -> None:
    """The clock of its timestamps does, too, which is no jitter."""
    with (
        open_phone("agent", OPTIONS, answer_at_once, engine=engine) as phone,
        RawPhone(phone.port) as raw,
    ):
        change_and_back(Telephone(phone, raw, "agent"))


def change_and_back(line: Telephone) -> None:
    assert line.raw.call(line.raw.sdp(codecs="0")).status == 200
    assert line.phone.wait_for(line.call, MediaReady).codec == "PCMU"
    wide = line.raw.sdp(codecs=str(NUMBER), attributes=ATTRIBUTES).replace(" 1 1 ", " 1 2 ")
    answer = line.raw.ask("INVITE", wide)
    line.port = answer.audio_port
    assert line.phone.wait_for(line.call, MediaReady, count=2).codec == "OPUS"
    line.say(line.encoded(tone(440, 400, WIDE_HZ)))
    wait_until(lambda: len(line.loud()) >= 19, "what is said in it")
    narrow = line.raw.sdp(codecs="0").replace(" 1 1 ", " 1 3 ")
    assert line.raw.request("INVITE", narrow) == 200
    assert line.phone.wait_for(line.call, MediaReady, count=3).codec == "PCMU"
    for number in range(20):
        line.send(20 + number, 160 * number, bytes([0x80]) * 160, 0)
        time.sleep(0.02)
    wait_until(lambda: len(line.loud()) >= 39, "what is said behind it")
    assert {len(frame) for frame in line.heard()} == {8_000 // 50 * 2}, "the call's own rate"
    line.end()
    assert line.phone.wait_for(line.call, RtpMeasured).jitter_ms < 15


@pytest.mark.parametrize("engine", ENGINES)
def test_each_end_hears_what_the_other_plays(engine: EngineName) -> None:
    with (
        open_phone("agent", OPTIONS, answer_at_once, engine=engine) as agent,
        open_phone("caller", OPTIONS, engine=engine) as caller,
    ):
        ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}", codec="OPUS")
        caller.wait_for(ours, MediaReady)
        assert agent.wait_for(0, MediaReady).codec == "OPUS"
        agent.do(0, "play", tone(5_000, 1_000, WIDE_HZ))
        caller.do(ours, "play", tone(6_000, 1_000, CALLER_HZ))
        agent.wait_for(0, AudioReceived, count=75)
        caller.wait_for(ours, AudioReceived, count=75)
        for phone, rate_hz, hz in ((agent, WIDE_HZ, 6_000), (caller, CALLER_HZ, 5_000)):
            frames = (t.input.pcm for t in phone.told(0) if isinstance(t.input, AudioReceived))
            loud = [one for one in frames if level_dbfs(to_samples(one)) > LOUD_DBFS]
            assert 49 <= len(loud) <= 51
            assert pitch_hz(b"".join(loud), rate_hz) == pytest.approx(hz, abs=5)
            assert level_dbfs(to_samples(b"".join(loud[5:45]))) == pytest.approx(-15, abs=0.5)
        caller.do(ours, "hang_up")
        caller.wait_for(ours, HungUp)


@pytest.mark.parametrize("engine", [name for name in PROFILES if name not in ENGINES])
def test_who_has_it_not_says_so_before_a_call(engine: EngineName) -> None:
    with pytest.raises(CapabilityError, match=r"sip\.codecs: OPUS: pjsua2 has no .*baresip has it"):
        choose(engine).answering(OPTIONS, lambda _leg: None)


@pytest.mark.parametrize("engine", PROFILES)
def test_it_is_neither_offered_nor_taken_unless_it_is_asked_for(engine: EngineName) -> None:
    with (
        open_phone("agent", SipOptions(), answer_at_once, engine=engine) as agent,
        RawPhone(agent.port) as raw,
    ):
        assert raw.call(raw.sdp(codecs="96", attributes=ATTRIBUTES)).status == 488
    with open_phone("caller", SipOptions(), engine=engine) as caller, RawPhone(caller.port) as raw:
        call = caller.dial(f"sip:100@127.0.0.1:{raw.sip_port}")
        invite = raw.asked("INVITE")
        assert "PCMU" in invite
        assert "opus" not in invite.lower()
        raw.reply(invite, "486 Busy Here")
        caller.wait_for(call, HungUp)


def answer_and_sing(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, MediaReady):
        leg.play(tone(440, 10_000, leg.sample_rate_hz))


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("baresip") is None, reason="baresip is not installed")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_telephone_of_somebody_else_talks_and_listens(engine: EngineName, tmp_path: Path) -> None:
    """Debian's baresip, with Debian's libopus."""
    write_baresip_config(tmp_path, "opus")
    with open_phone("agent", OPTIONS, answer_and_sing, engine=engine) as agent:
        uri = f"sip:100@127.0.0.1:{agent.port}"
        command = ("baresip", "-f", str(tmp_path), "-e", f"/dial {uri}", "-t", "12")
        with (tmp_path / "baresip.log").open("w") as log:
            program = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            agent.wait_for_call(0)
            assert agent.wait_for(0, MediaReady).codec == "OPUS"
            agent.wait_for(0, AudioReceived, count=100)
            agent.do(0, "send_dtmf", "1")
            agent.wait_for(0, AudioReceived, count=150)
            agent.do(0, "hang_up")
            agent.wait_for(0, HungUp)
            told = agent.told(0)
        finally:
            program.terminate()
            program.wait(10)
    pcm = b"".join(t.input.pcm for t in told if isinstance(t.input, AudioReceived))
    assert level_dbfs(to_samples(pcm)) > -40
    assert pitch_hz(pcm, WIDE_HZ) == pytest.approx(1_000, abs=10)
    assert "received event: '1'" in (tmp_path / "baresip.log").read_text()
    (heard,) = tmp_path.glob("dump-*-dec.wav")
    assert pitch_hz(read_wav(heard, WIDE_HZ), WIDE_HZ) == pytest.approx(440, abs=10)
