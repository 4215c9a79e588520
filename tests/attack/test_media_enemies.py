"""Whoever finds the port of a call's audio: he is not heard, presses no key, and takes no voice.

CALLERSIDE_RTP_PER_S says how many packets a second a flood has.
"""

import contextlib
import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from raw_sip import RawPhone, udp_socket
from sip_floods import Listener
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.addresses import joined
from callerside.agent.telephony.engine import PROFILES, Capability
from callerside.agent.telephony.interface import (
    AudioReceived,
    DtmfReceived,
    MediaReady,
    MediaSource,
)
from callerside.agent.telephony.media.latching import LATCH_PACKETS
from callerside.agent.telephony.options import SipOptions
from callerside.audio import level_dbfs, to_samples

pytestmark = pytest.mark.e2e

STRANGERS = {"127.0.0.1": "127.0.0.9", "::1": "2001:db8::9"}
"""To whoever is at a host. The last is no address of this machine, but can be sent from."""
PER_S = int(os.environ.get("CALLERSIDE_RTP_PER_S", "5000"))
FLOOD_S = 1.0
LOUD = bytes([0x10]) * 160
KEYS_TYPE = 101
SILENT_DBFS = -60
GROWS_BY_MIB = 20


PLACES = [
    (engine, host)
    for engine, profile in PROFILES.items()
    for host in STRANGERS
    if ":" not in host or Capability.IPV6 in profile.capabilities
]


@pytest.fixture(scope="module", params=PLACES, ids="-".join)
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    engine, host = request.param
    options = SipOptions(sample_rate_hz=8_000, listen_host=host)
    with open_phone("agent", options, answer_at_once, engine=engine) as phone:
        yield phone


class Talk:
    """A call that is up, and what the agent is told of it."""

    def __init__(self, agent: Phone, raw: RawPhone) -> None:
        self.agent, self.raw, self.number = agent, raw, agent.calls()
        answer = raw.call(raw.sdp(codecs="0 101", attributes="a=rtpmap:101 telephone-event/8000"))
        assert answer.status == 200
        self.port = answer.audio_port
        agent.wait_for(self.number, MediaReady)

    def frames(self) -> list[AudioReceived]:
        told = self.agent.told(self.number)
        return [one.input for one in told if isinstance(one.input, AudioReceived)]

    def loud(self) -> int:
        """Frames of sound that were heard."""
        return sum(level_dbfs(to_samples(one.pcm)) > SILENT_DBFS for one in self.frames())

    def news(self) -> list[MediaSource]:
        return [o for o in self.agent.signals(self.number) if isinstance(o, MediaSource)]

    def speak(self, frames: int = 10) -> None:
        for _ in range(frames):
            self.raw.send_rtp(LOUD, self.port)
            time.sleep(0.02)

    def is_heard(self) -> None:
        """At once, or as one who has moved: his host's own flood was taken for him."""
        before = self.loud()
        self.speak(2 * LATCH_PACKETS)
        wait_until(lambda: self.loud() - before >= 7, "the caller to be heard")


@pytest.fixture
def talk(agent: Phone) -> Iterator[Talk]:
    with RawPhone(agent.port, agent.host) as raw:
        yield Talk(agent, raw)
        assert raw.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the call to end")


@contextlib.contextmanager
def somebody(host: str) -> Iterator[RawPhone]:
    """Who has a socket there, and no call."""
    with RawPhone(9, host) as phone:
        phone._rtp_sequence = random.randrange(20_000, 30_000)
        yield phone


def press(who: RawPhone, port: int) -> None:
    """A key by RFC 4733, from its beginning to its end three times."""
    for ends, duration in ((0, 160), (0, 320), (0x80, 480), (0x80, 480), (0x80, 480)):
        who.send_rtp(struct.pack("!BBH", 5, ends | 10, duration), port, KEYS_TYPE)
        time.sleep(0.01)


def test_a_stranger_is_not_heard_whether_or_not_the_caller_speaks(talk: Talk) -> None:
    with somebody(STRANGERS[talk.raw.host]) as stranger:
        for _ in range(3 * LATCH_PACKETS):  # before the caller has said a word
            stranger.send_rtp(LOUD, talk.port)
            time.sleep(0.005)
        press(stranger, talk.port)
        told = talk.agent.wait_for(talk.number, MediaSource)
        source = joined(stranger.host, stranger.rtp_port)
        assert told == MediaSource(what="stranger", source=source)
        assert talk.loud() == 0
        talk.is_heard()
        heard = talk.loud()
        for _ in range(3 * LATCH_PACKETS):  # and when he is quiet again
            stranger.send_rtp(LOUD, talk.port)
            time.sleep(0.005)
        press(stranger, talk.port)
        time.sleep(0.2)
        assert talk.loud() <= heard + 1
        stranger.rtp.settimeout(0.3)
        with pytest.raises(TimeoutError):
            stranger.rtp.recv(2048)
    assert not any(isinstance(one, DtmfReceived) for one in talk.agent.signals(talk.number))
    assert len(talk.news()) == 1, "it is told once"
    press(talk.raw, talk.port)
    assert talk.agent.wait_for(talk.number, DtmfReceived).digit == "5"


def test_the_other_side_moves_once(talk: Talk) -> None:
    """To another port of the host that it has named; then nobody else of that host."""
    own = talk.raw.host
    with somebody(own) as moved, somebody(own) as later:
        for _ in range(LATCH_PACKETS + 1):
            moved.send_rtp(LOUD, talk.port)
            time.sleep(0.02)
        told = talk.agent.wait_for(talk.number, MediaSource)
        assert told == MediaSource(what="moved", source=joined(own, moved.rtp_port))
        moved.rtp.settimeout(2)
        assert len(moved.rtp.recv(2048)) == 12 + 160
        for _ in range(2 * LATCH_PACKETS):
            later.send_rtp(LOUD, talk.port)
            moved.send_rtp(LOUD, talk.port)
            time.sleep(0.01)
        later.rtp.settimeout(0.3)
        with pytest.raises(TimeoutError):
            later.rtp.recv(2048)
    assert talk.news() == [told]


def rtp(payload: bytes, payload_type: int = 0) -> bytes:
    numbers = random.getrandbits(16), random.getrandbits(32), random.getrandbits(32)
    return struct.pack("!BBHII", 0x80, payload_type, *numbers) + payload


PACKETS: Mapping[str, Callable[[], bytes]] = {
    "sound": lambda: rtp(LOUD),
    "changing types": lambda: rtp(LOUD, random.randrange(128)),
    "empty": lambda: b"",
    "huge": lambda: rtp(random.randbytes(60_000)),
    "garbage": lambda: random.randbytes(random.randrange(1, 1_400)),
}
REPORTS: Mapping[str, Callable[[], bytes]] = {
    "RTCP garbage": lambda: random.randbytes(random.randrange(1, 1_400)),
    "RTCP that says goodbye": lambda: struct.pack("!BBHI", 0x81, 203, 1, random.getrandbits(32)),
    "RTCP of a huge length": lambda: struct.pack("!BBHI", 0x81, 200, 0xFFFF, 1),
}


def flood(host: str, there: tuple[str, int], make: Callable[[], bytes]) -> None:
    """In bursts of a millisecond: nobody sleeps for less."""
    packets = [make() for _ in range(50)]
    with udp_socket(host) as sender:
        began = time.monotonic()
        sent = 0
        while (passed_s := time.monotonic() - began) < FLOOD_S:
            for _ in range(max(0, int(passed_s * PER_S) - sent)):
                sender.sendto(packets[sent % 50], there)
                sent += 1
            time.sleep(0.001)


@pytest.mark.parametrize("what", [*PACKETS, *REPORTS])
@pytest.mark.parametrize("who", ["stranger", "own host"])
def test_a_flood_is_dropped_and_the_caller_is_heard_behind_it(
    talk: Talk, what: str, who: str
) -> None:
    """The agent goes on speaking, without a gap in its numbers, and nothing of it is kept."""
    make = PACKETS.get(what) or REPORTS[what]
    talk.is_heard()
    ear = Listener(talk.raw.rtp)
    before = talk.agent.facts()
    talk.agent.keep_audio(False)
    own = talk.raw.host
    host, there = STRANGERS[own] if who == "stranger" else own, (own, talk.port + (what in REPORTS))
    sending = threading.Thread(target=flood, args=(host, there, make), daemon=True)
    sending.start()
    if who == "stranger":
        talk.speak(int(FLOOD_S / 0.02))
    sending.join()
    talk.agent.keep_audio(True)
    talk.is_heard()
    after = talk.agent.facts()
    assert ear.steps == {1}
    assert (after.resident_bytes - before.resident_bytes) / 2**20 < GROWS_BY_MIB
    if what in PACKETS:
        assert "flood" in {one.what for one in talk.news()}
