"""A REFER never reaches the SIP stack, and is answered; everything else does."""

import socket
from collections.abc import Iterator

import pytest

from callerside.agent.telephony import refer
from callerside.agent.telephony.options import Transport
from callerside.agent.telephony.refer import accept, tap

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


def test_over_udp_refers_come_to_us_and_all_else_to_the_stack(
    ports: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ports
    refers = tap("udp", ours.getsockname()[1])
    assert refers.take() is None
    bye = b"BYE sip:caller@127.0.0.1 SIP/2.0\r\n\r\n"
    for message in (bye, REFER.encode(), bye):
        theirs.sendto(message, ours.getsockname())
    assert refers.take() == "<sip:desk@127.0.0.1>"
    assert theirs.recv(2000).startswith(b"SIP/2.0 202 Accepted\r\n")
    assert refers.take() is None
    assert [ours.recv(2000), ours.recv(2000)] == [bye, bye]
    refers.close()
    theirs.sendto(REFER.encode(), ours.getsockname())
    assert ours.recv(2000) == REFER.encode(), "nobody else is there to take it"


def test_what_is_no_refer_is_not_answered(
    ports: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its two steps of opening a tap, the kernel may hand it anything: a 200, say."""
    ours, theirs = ports
    monkeypatch.setattr(refer, "_CHOOSE", ((0x06, 0, 0, 1),))  # all to the tap
    refers = tap("udp", ours.getsockname()[1])
    theirs.sendto(b"SIP/2.0 200 OK\r\nCall-ID: 1\r\n\r\n", ours.getsockname())
    assert refers.take() is None
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1000)
    refers.close()


def test_a_port_can_be_tapped_again(ports: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ports
    for _ in range(3):
        refers = tap("udp", ours.getsockname()[1])
        theirs.sendto(REFER.encode(), ours.getsockname())
        assert refers.take() == "<sip:desk@127.0.0.1>"
        refers.close()


def test_a_refer_that_is_sent_again_is_answered_again_and_told_once(
    ports: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ports
    refers = tap("udp", ours.getsockname()[1])
    told = []
    for message in (REFER, REFER, REFER.replace("4711", "4712")):
        theirs.sendto(message.encode(), ours.getsockname())
        told.append(refers.take())
        assert theirs.recv(2000).startswith(b"SIP/2.0 202 Accepted\r\n")
    assert told == ["<sip:desk@127.0.0.1>", None, "<sip:desk@127.0.0.1>"]
    refers.close()


def test_over_tcp_all_but_refers_is_passed_on_in_both_directions() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        server.accept()[0] as theirs,
    ):
        for one in (ours, theirs):
            one.settimeout(2)
        refers = tap("tcp", ours.getsockname()[1])
        with_body = REFER.replace("Content-Length:  0", "l: 4") + "body"
        info = b"INFO sip:caller@127.0.0.1 SIP/2.0\r\nContent-Length: 3\r\n\r\nabc"
        theirs.sendall(info + b"\r\n\r\n" + with_body.encode() + info[:-1])
        assert refers.take() == "<sip:desk@127.0.0.1>"
        assert ours.recv(2000) == info
        assert theirs.recv(2000).startswith(b"SIP/2.0 202 Accepted\r\n")
        theirs.sendall(info[-1:] + b"\r\n\r\n")
        ours.sendall(b"SIP/2.0 200 OK\r\n\r\n")
        assert refers.take() is None
        assert ours.recv(2000) == info + b"\r\n\r\n"
        assert theirs.recv(2000) == b"SIP/2.0 200 OK\r\n\r\n"
        refers.close()
        theirs.sendall(REFER.encode())
        assert ours.recv(2000) == REFER.encode(), "the stack has its connection back"


def test_over_tcp_the_end_of_the_connection_is_passed_on() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
    ):
        ours.settimeout(2)
        refers = tap("tcp", ours.getsockname()[1])
        server.accept()[0].close()
        assert refers.take() is None
        assert ours.recv(2000) == b""
        refers.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_port_of_nobody_is_said(transport: Transport) -> None:
    with pytest.raises(LookupError, match="no socket of this process has the port 1"):
        tap(transport, 1)
