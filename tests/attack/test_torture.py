"""Messages that torture: RFC 4475, RFC 5118, and those of no call that a review sent by hand."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from raw_sip import RawPhone, Response
from sip_rig import Phone, open_phone
from torture import ROWS, SILENCE, TAKEN, UNREAD, Row, message

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import CallLeg, CallReceived, LegInput
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

WAIT_S = 5.0
QUIET_S = 0.3
"""In which an answer would have come."""


def take_nobody(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.hang_up(TAKEN)


@pytest.fixture(scope="module", params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[tuple[EngineName, Phone]]:
    options = SipOptions(requests_per_source_per_s=0, requests_per_s=0)
    with open_phone("agent", options, take_nobody, engine=request.param) as phone:
        yield request.param, phone


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_each_is_answered_as_the_rfc_says(agent: tuple[EngineName, Phone], over: str) -> None:
    engine, phone = agent
    rows = [row for row in ROWS if over in row.over]
    told = {row.name: answer(phone.port, row, over, wait_s(row, engine, over)) for row in rows}
    wrong = [
        f"{row.name}: {told[row.name]}, expected {sorted(row.right)} ({row.rule})"
        for row in rows
        if told[row.name] not in row.right
        and told[row.name] != UNREAD.get((engine, over), {}).get(row.name)
    ]
    assert not wrong, f"{engine} over {over}"
    assert phone.facts().active_calls == 0


def wait_s(row: Row, engine: EngineName, over: str) -> float:
    """For an answer, or for its absence."""
    is_silent = UNREAD.get((engine, over), {}).get(row.name) == SILENCE
    return QUIET_S if is_silent or row.right == {SILENCE} else WAIT_S


def answer(port: int, row: Row, over: str, within_s: float) -> int:
    """The final status of the answer; and a honest request is answered behind it."""
    kind = socket.SOCK_DGRAM if over == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as own:
        own.bind(("127.0.0.1", 0))
        own.connect(("127.0.0.1", port))
        text = message(row, port, own.getsockname()[1], over)
        own.sendall(text.encode(errors="surrogateescape"))
        status = final(own, within_s)
        if row.base == "INVITE" and status >= 200:
            ack = text.partition("\r\n\r\n")[0].replace("INVITE", "ACK") + "\r\n\r\n"
            with contextlib.suppress(OSError):
                own.sendall(ack.encode(errors="surrogateescape"))
    with RawPhone(port) as honest:
        honest.send("OPTIONS")
        assert honest.final("OPTIONS").status == 200, f"behind {row.name}"
    return status


def final(own: socket.socket, within_s: float) -> int:
    """The status of the first final response; 0: none comes."""
    deadline = time.monotonic() + within_s
    while (left_s := deadline - time.monotonic()) > 0:
        own.settimeout(left_s)
        try:
            came = own.recv(65_536).decode(errors="replace")
        except (TimeoutError, ConnectionError):
            return 0
        if not came:
            return 0
        for part in came.split("SIP/2.0 ")[1:]:
            status = Response(f"SIP/2.0 {part}").status
            if status >= 200:
                return status
    return 0
