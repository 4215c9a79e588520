"""What came and what was sent is told as RFC 3550 §6.4 has it, whoever reads it."""

import struct

import pytest

from callerside.agent.telephony.media.rtcp import Received, Reporter, Sent
from callerside.clock import NS_PER_S

US, THEM = 0x11223344, 0x55667788
NOW_NS = 1_000 * NS_PER_S
WALL_NS = 1_700_000_000 * NS_PER_S + NS_PER_S // 2
SENT = Sent(packets=10, octets=1_600, timestamp=160_000)
HEARD = Received(source=THEM, highest=65_600, expected=100, lost=5, jitter=12)


def reported(reporter: Reporter, sent: Sent, heard: Received | None, now_ns: int = NOW_NS) -> bytes:
    return reporter.report(sent, heard, now_ns=now_ns, wall_ns=WALL_NS)


def split(data: bytes) -> list[bytes]:
    """The packets of one that has several (RFC 3550 §6.1)."""
    packets = []
    while data:
        size = 4 * (struct.unpack_from("!H", data, 2)[0] + 1)
        packets.append(data[:size])
        data = data[size:]
    return packets


def test_who_sends_tells_what_it_has_sent_and_what_came() -> None:
    report, description = split(reported(Reporter(US), SENT, HEARD))
    assert report[:2] == bytes([0x81, 200])
    words = struct.unpack("!12I", report[4:])
    assert words[:6] == (US, 1_700_000_000 + 2_208_988_800, 2**31, 160_000, 10, 1_600)
    assert words[6:] == (THEM, 12 << 24 | 5, 65_600, 12, 0, 0), "5 of 100 are 12 of 256"
    assert description[:2] == bytes([0x81, 202])
    assert struct.unpack_from("!I", description, 4)[0] == US
    assert description[8] == 1
    assert len(description[10 : 10 + description[9]]) == 24
    assert description[10 + description[9] :].strip(b"\0") == b"", "and a zero behind it"


def test_who_sends_nothing_is_a_receiver_and_who_hears_nothing_has_no_block() -> None:
    report, _ = split(reported(Reporter(US), Sent(0, 0, 0), HEARD))
    assert report[:2] == bytes([0x81, 201])
    assert len(report) == 8 + 24
    report, _ = split(reported(Reporter(US), Sent(0, 0, 0), None))
    assert report == bytes([0x80, 201, 0, 1]) + US.to_bytes(4, "big")


def test_what_was_lost_since_the_last_report_is_told_besides_all_that_was() -> None:
    reporter = Reporter(US)
    fractions = []
    for expected, lost in ((100, 50), (200, 50), (300, 75), (300, 75), (400, 74)):
        heard = Received(THEM, expected, expected, lost, 0)
        report, _ = split(reported(reporter, SENT, heard))
        block = report[-24:]
        assert int.from_bytes(block[5:8], "big") == lost
        fractions.append(block[4])
    assert fractions == [128, 0, 64, 0, 0]
    other = Received(source=US + 1, highest=20, expected=10, lost=5, jitter=0)
    assert split(reported(reporter, SENT, other))[0][-20] == 128, "another stream begins anew"


@pytest.mark.parametrize("whose", [THEM, THEM + 1])
def test_how_long_ago_the_others_report_came_is_told(whose: int) -> None:
    """From that it knows how long the way there and back is (§6.4.1)."""
    reporter = Reporter(US)
    theirs = struct.pack("!BBHIIIIII", 0x80, 200, 6, whose, 0xAAAABBBB, 0xCCCCDDDD, 0, 0, 0)
    reporter.take(struct.pack("!BBHI", 0x80, 201, 1, whose) + theirs, NOW_NS)
    report, _ = split(reported(reporter, SENT, HEARD, NOW_NS + 3 * NS_PER_S // 2))
    told = struct.unpack("!II", report[-8:])
    assert told == ((0xBBBBCCCC, 3 << 15) if whose == THEM else (0, 0))


@pytest.mark.parametrize(
    "garbage", [b"", b"\x80", b"\x80\xc8\x00\x06", b"\x80\xc8\xff\xff" + bytes(40), bytes(2_000)]
)
def test_what_is_no_report_changes_nothing(garbage: bytes) -> None:
    reporter = Reporter(US)
    reporter.take(garbage, NOW_NS)
    assert split(reported(reporter, SENT, HEARD))[0][-8:] == bytes(8)


def test_the_first_comes_sooner_and_none_at_the_same_time() -> None:
    reporter = Reporter(US)
    first = [reporter.wait_s() for _ in range(200)]
    reported(reporter, SENT, HEARD)
    later = [reporter.wait_s() for _ in range(200)]
    assert 1.25 <= min(first) < max(first) <= 3.75
    assert 2.5 <= min(later) < max(later) <= 7.5
