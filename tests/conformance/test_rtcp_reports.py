"""The other side learns by RTCP what came of its packets, and how long the way is."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from raw_sip import RawPhone, udp_socket
from sip_rig import answer_at_once, open_phone

from callerside.agent.telephony.engine import PROFILES, Capability, EngineName
from callerside.agent.telephony.options import SipOptions
from callerside.families import family_of

pytestmark = pytest.mark.e2e

PACKETS, LOST_EVERY = 60, 10
WITHIN_S = 20.0
"""The first comes within some seconds; then there is one in 2.5 to 7.5 s (RFC 3550 §6.2)."""
SENDER_REPORT, RECEIVER_REPORT, DESCRIPTION = 200, 201, 202
STRANGERS = {"127.0.0.1": "127.0.0.77", "::1": "2001:db8::77"}
"""Who reports, too, and more often: it is neither believed nor told anything."""
PLACES = [
    (engine, host)
    for engine, profile in PROFILES.items()
    for host in STRANGERS
    if ":" not in host or Capability.IPV6 in profile.capabilities
]
MS = 65.536
"""Of a 65,536th of a second."""


@pytest.mark.parametrize(("engine", "host"), PLACES)
def test_it_learns_what_was_lost_and_how_long_the_way_is(engine: EngineName, host: str) -> None:
    with (
        open_phone("agent", SipOptions(listen_host=host), answer_at_once, engine=engine) as agent,
        with_reports(agent.port, host) as (caller, reports),
        udp_socket(STRANGERS[host]) as stranger,
    ):
        stranger.setblocking(False)
        answer = caller.call(caller.sdp())
        assert answer.status == 200
        there = (host, answer.audio_port + 1)
        for number in range(PACKETS):
            if number % LOST_EVERY == LOST_EVERY // 2:
                caller._rtp_sequence += 1  # it is lost
            else:
                caller.send_rtp(bytes([0x2A]) * 160, answer.audio_port)
            if number == PACKETS // 2:
                told_s = time.time()
                reports.sendto(sender_report(caller._source, told_s), there)
            stranger.sendto(sender_report(1, time.time()), there)
            time.sleep(0.02)
        newest = caller._rtp_sequence
        came_s, report = report_of(reports, caller._source, newest, told_s)
        assert caller.request("BYE") == 200
        with pytest.raises(BlockingIOError):
            stranger.recv(2_048)
    kind, source, about, block = report
    assert kind == SENDER_REPORT, "it sends silence meanwhile"
    assert source
    assert about[3] > 20, "packets"
    assert about[4] == 160 * about[3], "octets"
    assert block[1] & 0xFFFFFF == PACKETS // LOST_EVERY
    assert block[3] < 8_000, "jitter: less than a second"
    way_ms = (short(came_s) - block[4] - block[5]) / MS
    assert -1 < way_ms < 500, "there and back"


@contextmanager
def with_reports(agent_port: int, host: str) -> Iterator[tuple[RawPhone, socket.socket]]:
    """A telephone, and a socket for RTCP on the port above its RTP's."""
    while True:
        with (
            RawPhone(agent_port, host) as phone,
            socket.socket(family_of(host), socket.SOCK_DGRAM) as reports,
        ):
            try:
                reports.bind((phone.host, phone.rtp_port + 1))
            except OSError:  # somebody has it: another pair, then
                continue
            yield phone, reports
            return


def short(time_s: float) -> int:
    """The middle 32 bits of an NTP time."""
    return int((time_s + 2_208_988_800) * 65_536) & 0xFFFFFFFF


def sender_report(source: int, now_s: float) -> bytes:
    seconds, rest = divmod(now_s + 2_208_988_800, 1)
    return struct.pack(
        "!BBHIIIIII", 0x80, SENDER_REPORT, 6, source, int(seconds), int(rest * 2**32), 0, 30, 4_800
    )


def report_of(
    reports: socket.socket, source: int, newest: int, told_s: float
) -> tuple[float, tuple[int, int, tuple[int, ...], tuple[int, ...]]]:
    """The first that tells of our whole stream and has had our report, and when it came."""
    deadline_s = time.monotonic() + WITHIN_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        reports.settimeout(left_s)
        data = reports.recv(2_048)
        came_s = time.time()
        blocks, kind, _ = struct.unpack_from("!BBH", data)
        assert kind in (SENDER_REPORT, RECEIVER_REPORT), "each begins with a report (§6.1)"
        about = struct.unpack_from("!5I", data, 8) if kind == SENDER_REPORT else ()
        start = 28 if about else 8
        size = start + 24 * (blocks & 0x1F)
        assert data[size + 1] == DESCRIPTION, "and goes on with who it is"
        if blocks & 0x1F:
            block = struct.unpack_from("!6I", data, start)
            is_whole = block[0] == source and block[2] & 0xFFFF == newest
            if is_whole and abs(block[4] - short(told_s)) <= 1:
                return came_s, (kind, struct.unpack_from("!I", data, 4)[0], about, block)
    raise TimeoutError("no report has come")
