"""A REFER is taken from the socket and answered; everything else is left to the SIP stack."""

import socket
from collections.abc import Iterator

import pytest

from simulator.refer import ReferTap, accept

REFER = "\r\n".join(
    [
        "REFER sip:caller@127.0.0.1:5070 SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bKone",
        "v: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKtwo",
        "Max-Forwards: 70",
        "From: <sip:100@127.0.0.1>;tag=a",
        "To: <sip:caller@127.0.0.1>;tag=b",
        "i: some-call",
        "CSeq: 4711 REFER",
        "Refer-To: <sip:desk@127.0.0.1>",
        "Content-Length:  0",
        "",
        "",
    ]
)


@pytest.fixture
def ports() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The stack's socket and the other side's."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        for one in (ours, theirs):
            one.bind(("127.0.0.1", 0))
            one.settimeout(2)
        yield ours, theirs


def test_the_answer_repeats_what_the_request_is_known_by() -> None:
    uri, answer = accept(REFER)
    assert uri == "<sip:desk@127.0.0.1>"
    assert answer.split("\r\n") == [
        "SIP/2.0 202 Accepted",
        "Via: SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bKone",
        "v: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKtwo",
        "From: <sip:100@127.0.0.1>;tag=a",
        "To: <sip:caller@127.0.0.1>;tag=b",
        "i: some-call",
        "CSeq: 4711 REFER",
        "Content-Length: 0",
        "",
        "",
    ]


def test_a_refer_is_taken_and_what_comes_behind_it_is_not(
    ports: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ports
    tap = ReferTap(ours.getsockname()[1])
    assert tap.take() is None
    for message in (REFER.encode(), b"BYE sip:caller@127.0.0.1 SIP/2.0\r\n\r\n"):
        theirs.sendto(message, ours.getsockname())
    assert tap.take() == "<sip:desk@127.0.0.1>"
    assert theirs.recv(2000).startswith(b"SIP/2.0 202 Accepted\r\n")
    assert tap.take() is None
    assert ours.recv(2000).startswith(b"BYE ")
    tap.close()
    theirs.sendto(b"OPTIONS", ours.getsockname())
    assert ours.recv(2000) == b"OPTIONS"


def test_a_refer_that_is_sent_again_is_answered_again_and_told_once(
    ports: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ports
    tap = ReferTap(ours.getsockname()[1])
    told = []
    for message in (REFER, REFER, REFER.replace("4711", "4712")):
        theirs.sendto(message.encode(), ours.getsockname())
        told.append(tap.take())
        assert theirs.recv(2000).startswith(b"SIP/2.0 202 Accepted\r\n")
    assert told == ["<sip:desk@127.0.0.1>", None, "<sip:desk@127.0.0.1>"]
    tap.close()


def test_a_port_of_nobody_is_said() -> None:
    with pytest.raises(LookupError, match="no socket of this process has the port 1"):
        ReferTap(1)
