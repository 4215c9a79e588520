"""Nothing is refused or dropped unseen: each is answered or counted, and the log has it."""

import re
import socket
from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, open_phone, wait_until
from structlog.testing import capture_logs
from torture import ROWS, SDP, SILENCE, TAKEN, Row, body, line, message, more, uri

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.errors import Refusals
from callerside.agent.telephony.interface import CallLeg, CallReceived, LegInput
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

WAIT_S = 5.0


def take_nobody(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.hang_up(TAKEN)


@pytest.fixture(scope="module", params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[tuple[EngineName, Phone]]:
    options = SipOptions(requests_per_source_per_s=0, requests_per_s=0)
    with open_phone("agent", options, take_nobody, engine=request.param) as phone:
        yield request.param, phone


def status_of(own: socket.socket) -> int:
    """Of the next final response; 0: none comes."""
    while True:
        try:
            found = re.match(rb"SIP/2\.0 ([2-6]\d\d) ", own.recv(65_536))
        except TimeoutError:
            return 0
        if found:
            return int(found[1])


@pytest.mark.parametrize(
    ("agent", "row"),
    [
        pytest.param(engine, row, id=f"{engine}-{row.name}")
        for engine in PROFILES
        for row in ROWS
        if row.base == "INVITE" and "udp" in row.over
    ],
    indirect=["agent"],
)
def test_each_invite_becomes_a_call_or_is_counted(
    agent: tuple[EngineName, Phone], row: Row
) -> None:
    _, phone = agent
    before = phone.calls() + len(phone.refused())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect(("127.0.0.1", phone.port))
        own.settimeout(WAIT_S if row.right != {SILENCE} else 0.2)
        own.send(message(row, phone.port, own.getsockname()[1], "udp").encode())
        status = status_of(own)
    wait_until(lambda: phone.calls() + len(phone.refused()) == before + 1, row.name)
    if status != TAKEN:
        told = phone.refused()[-1][0]
        assert told == status or (row.name, told) == ("insuf", 0)  # baresip answers that unasked


PLAIN = f"{SDP}a=rtpmap:0 PCMU/8000\r\n"
TAKEN_BY_ALL = {
    "no last end": PLAIN.rstrip(),
    "line feeds alone": PLAIN.replace("\r\n", "\n"),
    "line feeds alone, and no last": PLAIN.replace("\r\n", "\n").rstrip(),
    "a clock below zero": f"{PLAIN}a=rtpmap:0 PCMU/-8000\r\n",
    "an empty rtpmap": f"{PLAIN}a=rtpmap:\r\n",
    "fmtp of nothing": f"{PLAIN}a=fmtp:0\r\n",
    "rtcp of nothing": f"{PLAIN}a=rtcp:x\r\n",
}
NEVER_500 = {
    "a broadcast": SDP.replace("c=IN IP4 127.0.0.1", "c=IN IP4 127.255.255.255"),
    "no network": SDP.replace("c=IN IP4 127.0.0.1", "c=IN IP4 240.0.0.1"),
    "no host": SDP.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.1"),
    "bits below zero": f"{PLAIN}b=AS:-1\r\n",
    "bits of nothing": f"{PLAIN}b=\r\n",
    "no line": f"{PLAIN}junk\r\n",
    "a space": f"{PLAIN} \r\n",
    "two ports": PLAIN.replace("audio 40000", "audio 40000/2"),
    "no name": PLAIN.replace("s=-\r\n", ""),
}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        *(pytest.param(text, {TAKEN}, id=name) for name, text in TAKEN_BY_ALL.items()),
        *(pytest.param(text, {TAKEN, 400, 488}, id=name) for name, text in NEVER_500.items()),
    ],
)
def test_an_odd_description_is_taken_or_refused_and_is_no_fault_of_ours(
    agent: tuple[EngineName, Phone], text: str, right: set[int]
) -> None:
    _, phone = agent
    row = Row(name="odd", rule="", base="INVITE", right=frozenset(right), change=(body(text),))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect(("127.0.0.1", phone.port))
        own.settimeout(WAIT_S)
        own.send(message(row, phone.port, own.getsockname()[1], "udp").encode())
        assert status_of(own) in right


@pytest.mark.parametrize("agent", ["pjsua2"], indirect=True)
@pytest.mark.parametrize(
    ("name", "changes", "status"),
    [
        ("to-nobody", (line("To:", "To: <sip:@127.0.0.1>"),), 200),
        ("odd-authorization", (more("Authorization: x"),), 200),
        ("number", (line("Max-Forwards:", "Max-Forwards: x"),), 400),
    ],
)
def test_pjsua_answers_what_it_cannot_read_where_no_call_is_meant(
    agent: tuple[EngineName, Phone], name: str, changes: tuple[object, ...], status: int
) -> None:
    _, phone = agent
    row = Row(name=name, rule="", change=changes, right=frozenset({status}))  # type: ignore[arg-type]
    for kind, over in ((socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "tcp")):
        with socket.socket(socket.AF_INET, kind) as own:
            own.connect(("127.0.0.1", phone.port))
            own.settimeout(WAIT_S)
            own.sendall(message(row, phone.port, own.getsockname()[1], over).encode())
            assert status_of(own) == status, over


@pytest.mark.parametrize("agent", ["pjsua2"], indirect=True)
def test_what_is_too_long_for_pjsua_is_told_and_what_follows_is_read(
    agent: tuple[EngineName, Phone],
) -> None:
    _, phone = agent
    long = Row(name="long", rule="", base="INVITE", right=frozenset({513}),
               change=(body(SDP + "a=x\r\n" * 2_000),))  # fmt: skip
    honest = Row(name="honest", rule="", right=frozenset({200}))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
        own.connect(("127.0.0.1", phone.port))
        own.settimeout(WAIT_S)
        port = own.getsockname()[1]
        own.sendall(message(honest, phone.port, port, "tcp").encode())
        assert status_of(own) == 200
        own.sendall(message(long, phone.port, port, "tcp").encode())
        assert status_of(own) == 513
        own.sendall(message(honest, phone.port, port, "tcp").encode())
        assert status_of(own) == 200
    assert (513, "malformed") in phone.refused()


@pytest.mark.parametrize("agent", ["pjsua2"], indirect=True)
def test_what_pjsua_refuses_by_itself_is_counted(agent: tuple[EngineName, Phone]) -> None:
    _, phone = agent
    row = Row(name="sips", rule="RFC 5630 §5.1.2", base="INVITE", right=frozenset({480}),
              change=(uri("sips:100@127.0.0.1"),))  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect(("127.0.0.1", phone.port))
        own.settimeout(WAIT_S)
        before = len(phone.refused())
        own.send(message(row, phone.port, own.getsockname()[1], "udp").encode())
        assert status_of(own) == 480
    wait_until(lambda: phone.refused()[before:] == [(480, "failed")], "it to be counted")


def test_a_flood_of_what_cannot_be_read_is_answered_up_to_the_limit() -> None:
    options = SipOptions(requests_per_source_per_s=5, requests_per_s=100)
    row = next(row for row in ROWS if row.name == "called-braces")
    with open_phone("agent", options, take_nobody, engine="pjsua2") as phone, RawPhone(phone.port):
        told = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.connect(("127.0.0.1", phone.port))
            own.settimeout(WAIT_S)
            for _ in range(30):
                own.send(message(row, phone.port, own.getsockname()[1], "udp").encode())
            told = [status_of(own) for _ in range(30)]
        assert 10 <= told.count(400) <= 12, "a burst of two seconds"
        assert told.count(503) == 30 - told.count(400)


FEW = 20
GARBAGE = ("\x00\x01garbage", "INVITE sip:a b@h SIP/2.0\r\n\r\n", "no message\r\n\r\n")


def stray(first: str, method: str, number: int) -> str:
    """A message of no call, and of no transaction."""
    return (
        f"{first}\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{method}{number};rport\r\n"
        f"From: <sip:a@h>;tag=a\r\nTo: <sip:100@h>;tag=b\r\nCall-ID: stray{number}\r\n"
        f"CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )


def test_what_is_longer_than_baresip_reads_is_answered() -> None:
    with open_phone("agent", engine="baresip") as phone, RawPhone(phone.port) as own:
        own.send("OPTIONS", headers={"X-Long": "x" * 20_000})
        assert own.final("OPTIONS").status == 400


@pytest.mark.parametrize("engine", PROFILES)
def test_no_engine_writes_a_line_for_each_of_what_is_nobodys(
    engine: EngineName, capfd: pytest.CaptureFixture[str]
) -> None:
    """What has to be told of it is in the log, a line a second."""
    options = SipOptions(requests_per_source_per_s=0, requests_per_s=0)
    strays = ("SIP/2.0 200 OK", "OPTIONS"), *((f"{name} sip:100@h SIP/2.0", name)
              for name in ("CANCEL", "ACK", "BYE", "FOO"))  # fmt: skip
    with (
        open_phone("agent", options, take_nobody, engine=engine) as phone,
        RawPhone(phone.port) as honest,
    ):
        for number in range(FEW):
            for what in (*GARBAGE, *(stray(*one, number) for one in strays)):
                honest.send_bytes(what.encode())
        honest.send("OPTIONS")
        assert honest.final("OPTIONS").status == 200
    assert capfd.readouterr().err == ""


def test_the_log_has_the_first_and_then_a_line_a_second() -> None:
    due = []
    refusals = Refusals(None, lambda _after_s, what: due.append(what))
    with capture_logs() as lines:
        for number in range(100):
            refusals.note_faulty(400, "Bad Request (CSeq)", "INVITE", f"192.0.2.{number}:5060")
        due.pop()()
    assert lines == [
        {"event": "sip_message_refused", "log_level": "warning", "status": 400,
         "reason": "Bad Request (CSeq)", "method": "INVITE", "source": "192.0.2.0:5060"},
        {"event": "sip_message_refused", "log_level": "warning", "sources": 99,
         "counts": {"400 Bad Request (CSeq) INVITE": 99}},
    ]  # fmt: skip
