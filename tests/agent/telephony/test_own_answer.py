"""Answers that are made of a request's own headers, and where they go."""

import pytest

from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.own_answer import can_be_answered, own_answer
from callerside.agent.telephony.sip_message import SipMessage

BAD = Answer(400, "Bad Request", (("Warning", '399 x "y"'),))
SOURCE = "192.0.2.7:40000"


def request(via: str, to: str = "<sip:100@h>") -> SipMessage:
    return SipMessage(
        f"INVITE sip:{{x}}@h SIP/2.0\r\n{via}\r\nf: <sip:me@h>;tag=1\r\nTo: {to}\r\n"
        "i: abc\r\nCSeq: 7 INVITE\r\nX-Odd: 1\r\n\r\n"
    )


def answered(via: str, *, datagram: bool = True) -> tuple[list[str], tuple[str, int]]:
    made = own_answer(request(via), BAD, SOURCE, datagram=datagram)
    assert made is not None
    return made[0].split("\r\n"), made[1]


def test_it_has_what_an_answer_has_and_nothing_else() -> None:
    lines, where = answered("Via: SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKa;rport")
    to = lines.pop(3)
    assert lines == [
        "SIP/2.0 400 Bad Request",
        "Via: SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKa;rport=40000;received=192.0.2.7",
        "From: <sip:me@h>;tag=1",
        "Call-ID: abc",
        "CSeq: 7 INVITE",
        'Warning: 399 x "y"',
        "Content-Length: 0",
        "",
        "",
    ]
    assert to.startswith("To: <sip:100@h>;tag=")
    assert where == ("192.0.2.7", 40000)


def test_what_is_sent_again_is_answered_with_the_same_tag() -> None:
    once, again = (answered("Via: SIP/2.0/UDP h;rport")[0] for _ in range(2))
    assert once == again


def test_a_tag_that_is_there_stays() -> None:
    made = own_answer(
        request("Via: SIP/2.0/UDP h;rport", "<sip:100@h>;tag=ours"), BAD, SOURCE, datagram=True
    )
    assert made is not None
    assert "\r\nTo: <sip:100@h>;tag=ours\r\n" in made[0]


@pytest.mark.parametrize(
    ("via", "datagram", "port"),
    [
        ("SIP/2.0/UDP 10.0.0.1:5062", True, 5062),
        ("SIP/2.0/UDP 10.0.0.1", True, 5060),
        ("SIP/2.0/UDP 10.0.0.1:5062;rport", True, 40000),
        ("SIP/2.0/UDP 10.0.0.1:5062;rport=9", True, 40000),
        ("SIP/2.0/TCP 10.0.0.1:5062", False, 40000),
        ("SIP/2.0/UDP [2001:db8::1]:5062", True, 5062),
    ],
)
def test_it_goes_where_the_request_came_from_at_the_port_that_is_asked_for(
    via: str, datagram: bool, port: int
) -> None:
    """RFC 3261 §18.2.2, RFC 3581 §4."""
    assert answered(f"Via: {via}", datagram=datagram)[1] == ("192.0.2.7", port)


def test_the_first_via_alone_is_ours_to_change() -> None:
    lines, _ = answered("v: SIP/2.0/UDP a;rport;received=6.6.6.6, SIP/2.0/UDP b;received=c")
    assert lines[1:3] == [
        "Via: SIP/2.0/UDP a;rport=40000;received=192.0.2.7",
        "Via: SIP/2.0/UDP b;received=c",
    ]


def test_one_that_came_over_ipv6_goes_there() -> None:
    """RFC 5118 §4.5: `received` has no brackets."""
    odd = request("Via: SIP/2.0/UDP [::1]:5062;rport")
    made = own_answer(odd, BAD, "[2001:db8::7]:40000", datagram=True)
    assert made is not None
    assert "Via: SIP/2.0/UDP [::1]:5062;rport=40000;received=2001:db8::7\r\n" in made[0]
    assert made[1] == ("2001:db8::7", 40000)


def test_long_headers_that_are_not_repeated_stand_in_nobodys_way() -> None:
    odd = request(f"X-Long: {'x' * 20_000}\r\nVia: SIP/2.0/UDP h;rport")
    assert own_answer(odd, BAD, SOURCE, datagram=True) is not None
    assert can_be_answered(odd, SOURCE)
    for much in (request("Via: SIP/2.0/UDP h", f"<sip:{'x' * 20_000}@h>"), request("Via: x")):
        assert own_answer(much, BAD, SOURCE, datagram=True) is None
        assert not can_be_answered(much, SOURCE)


@pytest.mark.parametrize("via", ["", "x", "SIP/2.0/UDP 10.0.0.1:99999", "SIP/2.0/UDP h:0"])
def test_who_says_nowhere_to_answer_to_is_not(via: str) -> None:
    assert own_answer(request(f"Via: {via}"), BAD, SOURCE, datagram=True) is None


def test_from_nowhere_comes_nothing_to_answer() -> None:
    assert own_answer(request("Via: SIP/2.0/UDP h;rport"), BAD, "", datagram=True) is None
