"""Floods from very many addresses, of all that can be sent: a call that is up does not notice.

CALLERSIDE_FLOOD_S says how long each lasts, CALLERSIDE_FLOOD_PER_S how many packets a second it
has. All of it stays within 127.0.0.0/8.
"""

import contextlib
import itertools
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest
from raw_sip import WAIT_S, RawPhone
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.interface import MediaReady
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

FRIEND = "127.0.0.1"
SOURCES = [f"127.0.1.{number}" for number in range(1, 251)]
FLOOD_S = float(os.environ.get("CALLERSIDE_FLOOD_S", "0.5"))
PER_S = int(os.environ.get("CALLERSIDE_FLOOD_PER_S", "400"))
GROWS_BY_MIB = 50
GROWS_BY_FILES = 4
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\n"
)


def request(method: str, host: str, port: int, body: str = "") -> bytes:
    """One of a call of its own."""
    name = uuid.uuid4().hex
    lines = (
        f"{method} sip:100@127.0.0.1 SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{name}",
        "Max-Forwards: 70",
        f"From: <sip:flood@{host}>;tag=f",
        "To: <sip:100@127.0.0.1>",
        f"Call-ID: {name}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:flood@{host}:{port}>",
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", body]).encode()


KINDS: Mapping[str, Callable[[str, int], list[bytes]]] = {
    "INVITE": lambda host, port: [request("INVITE", host, port, SDP)],
    "INVITE and CANCEL": lambda host, port: [
        one := request("INVITE", host, port, SDP),
        one.partition(b"Content-Type")[0].replace(b"INVITE", b"CANCEL")
        + b"Content-Length: 0\r\n\r\n",
    ],
    "OPTIONS": lambda host, port: [request("OPTIONS", host, port)],
    "REGISTER": lambda host, port: [request("REGISTER", host, port)],
    "ACK": lambda host, port: [request("ACK", host, port)],
    "garbage": lambda _host, _port: [random.randbytes(random.randrange(1, 1_400))],
    "fragments": lambda host, port: [request("INVITE", host, port, SDP)[: random.randrange(400)]],
}


@pytest.fixture(params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    options = SipOptions(allowed_peers=(FRIEND,))
    with open_phone("agent", options, answer_at_once, engine=request.param) as phone:
        yield phone


def flood(port: int, kind: str) -> None:
    """From all sources in turn; answers are thrown away by the kernel."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for host in SOURCES:
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind((host, 0))
            sockets.append((one, host, one.getsockname()[1]))
        began = time.monotonic()
        for number, (one, host, own) in enumerate(itertools.cycle(sockets)):
            if number > FLOOD_S * PER_S:
                return
            for packet in KINDS[kind](host, own):
                one.sendto(packet, ("127.0.0.1", port))
            time.sleep(max(0.0, began + number / PER_S - time.monotonic()))


def numbers_of(rtp: socket.socket, into: list[int]) -> None:
    """The number of each packet that comes, until the socket is closed."""
    with contextlib.suppress(OSError):
        while True:
            into.append(int.from_bytes(rtp.recv(2048)[2:4], "big"))


def test_a_call_that_is_up_and_a_caller_who_may_call_notice_nothing(agent: Phone) -> None:
    heard: list[int] = []
    with RawPhone(agent.port) as up:
        assert up.call(up.sdp()).status == 200
        agent.wait_for(0, MediaReady)
        agent.keep_audio(False)
        ear = threading.Thread(target=numbers_of, args=(up.rtp, heard), daemon=True)
        ear.start()
        flood(agent.port, "INVITE")  # what is made once is there then
        before = agent.facts()
        for kind in KINDS:
            flood(agent.port, kind)
            with RawPhone(agent.port) as honest:
                assert honest.call(honest.sdp()).status == 200, f"behind a flood of {kind}"
                assert honest.request("BYE") == 200
            wait_until(lambda: agent.facts().active_calls == 1, "the honest call to end")
        time.sleep(1.0)  # in which closed sockets go
        after = agent.facts()
        enough = len(heard) + 10
        wait_until(lambda: len(heard) >= enough, "the call to be heard still", WAIT_S)
        assert up.request("BYE") == 200
    steps = {(b - a) % 2**16 for a, b in itertools.pairwise(heard)}
    assert steps == {1}, "a packet of the call is missing"
    assert (after.resident_bytes - before.resident_bytes) / 2**20 < GROWS_BY_MIB
    assert after.open_files - before.open_files <= GROWS_BY_FILES
