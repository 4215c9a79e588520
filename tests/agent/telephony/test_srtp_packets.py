import struct

import pytest

from callerside.agent.telephony.baresip.native import open_library
from callerside.agent.telephony.baresip.srtp_packets import SrtpPackets
from callerside.agent.telephony.srtp import SUITES, SrtpKeys

ONE, OTHER = bytes(range(30)), bytes(range(30, 60))
TAG_BYTES = {"AES_CM_128_HMAC_SHA1_32": 4, "AES_CM_128_HMAC_SHA1_80": 10}


@pytest.mark.parametrize("suite", SUITES)
def test_packets_and_reports_are_read_by_the_other_side_alone_and_once(suite: str) -> None:
    library = open_library()
    near = SrtpPackets(library, SrtpKeys(suite, ONE, OTHER))
    far = SrtpPackets(library, SrtpKeys(suite, OTHER, ONE))
    packet = struct.pack("!BBHII", 0x80, 0, 65_535, 160, 7) + bytes(160)
    sealed = near.protect(packet)
    assert sealed is not None
    assert sealed[:12] == packet[:12]
    assert len(sealed) == len(packet) + TAG_BYTES[suite]
    assert bytes(20) not in sealed
    assert near.unprotect(sealed) is None  # with the other key
    assert far.unprotect(sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
    assert far.unprotect(sealed) == packet
    assert far.unprotect(sealed) is None
    report = struct.pack("!BBHI", 0x80, 201, 1, 7) + struct.pack("!BBHI", 0x81, 202, 1, 7)
    told = near.protect_report(report)
    assert told is not None
    assert report[8:] not in told
    assert far.unprotect_report(told) == report
    assert far.unprotect_report(report) is None  # as nobody has sealed it
    assert near.protect(bytes(10_000)) is None
    near.close()
    far.close()
