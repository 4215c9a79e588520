"""What no stack is asked about: the rules alone, on the messages of the torture tests."""

import pytest
from torture import ROWS, SILENCE, TAKEN, Row, message

from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.screening import (
    UNSPEAKABLE,
    answer_outside_calls,
    beyond_reach,
    fault_of,
    fault_of_response,
    next_hop_by_name,
    unmet_invite,
)
from callerside.agent.telephony.sip_message import SipMessage

EXTENSIONS = ("timer", "100rel")


def answered(row: Row, *, allowed: bool = True) -> int:
    """The status of what is said here; 0: it is left to the stack."""
    request = SipMessage(message(row, 5060, 5070, "udp"))
    if request.status:
        return SILENCE
    answer = fault_of(request) or answer_outside_calls(
        request, "h:1", lambda _: allowed, EXTENSIONS
    )
    if answer is None and request.method == "INVITE":
        found = unmet_invite(request, SipOptions().codecs, EXTENSIONS)
        answer = found[0] if found else None
    return answer.status if answer else 0


@pytest.mark.parametrize(
    ("line", "status", "is_one"),
    [
        ("Contact: <sip:a@h>", "200 OK", True),
        ("Contact: Anna <sips:a@h;transport=tcp>;q=1, <sip:b@h>", "180 Ringing", True),
        ("Record-Route: <sip:h;lr>", "200 OK", True),
        ("Contact: <tel:1>", "200 OK", False),
        ("Contact: <tel:1>", "183 Session Progress", False),
        ("Contact: <tel:1>", "302 Moved Temporarily", True),
        ("Contact: <tel:1>", "100 Trying", True),
        ("Record-Route: <http://h/>", "200 OK", False),
        ("Record-Route: <sip:h>, <tel:1>", "180 Ringing", False),
    ],
)
def test_a_response_says_where_a_calls_requests_go_or_is_none(
    line: str, status: str, *, is_one: bool
) -> None:
    """RFC 3261 §12.1.2; a redirection may go anywhere (§21.3)."""
    response = SipMessage(f"SIP/2.0 {status}\r\nCSeq: 1 INVITE\r\n{line}\r\n\r\n")
    assert (fault_of_response(response) == "") is is_one
    other = SipMessage(response.text.replace("INVITE", "REGISTER"))
    assert fault_of_response(other) == ""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.name))
def test_each_row_is_right_or_left_to_the_stack(row: Row) -> None:
    status = answered(row)
    assert status in row.right or status == 0
    if row.base != "INVITE" and SILENCE not in row.right:
        assert status, "outside of calls nothing but INVITE is"


def test_of_a_call_nothing_is_said_here_unless_it_is_none() -> None:
    taken = {row.name for row in ROWS if TAKEN in row.right}
    assert {row.name for row in ROWS if row.name in taken and not answered(row)} >= {
        *("wsinv", "esc01", "longreq", "inv2543", "short", "v6-and-v4")
    }


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "REGISTER", "BYE", "FOO"])
def test_strangers_are_told_nothing_else(method: str) -> None:
    row = Row(name="x", rule="", base=method, right=frozenset())
    assert answered(row, allowed=False) == 403


@pytest.mark.parametrize("method", ["OPTIONS", "BYE", "INFO", "UPDATE", "SUBSCRIBE"])
def test_within_a_call_that_there_is_not_nothing_is_answered_as_if_outside(method: str) -> None:
    """RFC 3261 §12.2.2. That the engine is here is no answer to a question about a call."""
    text = message(Row(name="x", rule="", base=method, right=frozenset()), 1, 2, "udp")
    to = next(line for line in text.split("\r\n") if line.lower().startswith("to:"))
    request = SipMessage(text.replace(to, f"{to.split(';tag=')[0]};tag=of-no-call"))
    answer = answer_outside_calls(request, "h:1", lambda _: True, EXTENSIONS)
    assert answer is not None
    assert answer.status == 481


def test_an_unmet_extension_is_named_and_cannot_forge_a_header() -> None:
    text = message(Row(name="x", rule="", right=frozenset()), 1, 2, "udp")
    hostile = text.replace("\r\nContact", "\r\nRequire: new-one, timer, a b\x00c, d\r\nContact")
    found = unmet_invite(SipMessage(hostile), SipOptions().codecs, EXTENSIONS)
    assert found is not None
    assert found[1] == "extension"
    assert found[0].headers == (("Unsupported", "new-one, d"),)


@pytest.mark.parametrize(
    ("headers", "is_short"),
    [
        ("Supported: timer\r\nSession-Expires: 89", True),
        ("k: timer\r\nx: 20;refresher=uac", True),
        ("Supported: timer\r\nSession-Expires: 90", False),
        ("Session-Expires: 20", False),
        ("Supported: timer\r\nSession-Expires: soon", False),
    ],
)
def test_a_short_session_is_refused_to_those_who_can_ask_for_more(
    headers: str, *, is_short: bool
) -> None:
    """RFC 4028 §9: whoever added it on the way could do nothing with a 422."""
    text = message(Row(name="x", rule="", right=frozenset()), 1, 2, "udp")
    invite = SipMessage(text.replace("\r\nContact", f"\r\n{headers}\r\nContact"))
    found = unmet_invite(invite, SipOptions().codecs, EXTENSIONS)
    assert (found is not None and found[1] == "interval") is is_short
    assert unmet_invite(invite, SipOptions().codecs, ()) is None, "it has no timers"


@pytest.mark.parametrize(
    ("via", "is_answered"),
    [
        ("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKa;maddr=a.example;rport", False),
        ('SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa;MADDR = "a.example"', False),
        ("SIP/2.0/UDP 127.0.0.1:5060;maddr=127.0.0.2;branch=z9hG4bKa", True),
        ("SIP/2.0/UDP a.example;branch=z9hG4bKa, SIP/2.0/UDP h;maddr=b.example", True),
    ],
)
def test_no_answer_goes_to_where_a_name_leads(via: str, *, is_answered: bool) -> None:
    """The stack would look it up, and all calls would wait for the resolver of who made it."""
    text = message(Row(name="x", rule="", base="OPTIONS", right=frozenset()), 1, 2, "udp")
    before = next(line for line in text.split("\r\n") if line.startswith("Via:"))
    fault = fault_of(SipMessage(text.replace(before, f"Via: {via}")))
    assert (fault is not UNSPEAKABLE) is is_answered


@pytest.mark.parametrize(
    ("headers", "by_name"),
    [
        ("Contact: <sip:a@192.0.2.7:5060>", False),
        ("Contact: sip:192.0.2.7;expires=3", False),
        ("m: <sip:a@[2001:db8::7]:5060;transport=tcp>", False),
        ("Contact: <sip:a@a.example>", True),
        ("Contact: <sip:192.0.2.7@a.example:5060>", True),
        ("Contact: <sip:a@192.0.2.7;maddr=a.example>", True),
        ("Contact: <sip:a@a.example;maddr=192.0.2.7>", False),
        ("Contact: <sip:a@x.invalid>\r\nRecord-Route: <sip:192.0.2.7;lr>, <sip:b;lr>", False),
        ("Contact: <sip:a@192.0.2.7>\r\nRecord-Route: <sip:a.example;lr>", True),
    ],
)
def test_where_a_calls_requests_would_go(headers: str, *, by_name: bool) -> None:
    text = message(Row(name="x", rule="", base="INVITE", right=frozenset()), 1, 2, "udp")
    before = next(line for line in text.split("\r\n") if line.startswith("Contact:"))
    assert next_hop_by_name(SipMessage(text.replace(before, headers))) is by_name
    bye = text.replace("INVITE", "BYE").replace(before, headers)
    assert not next_hop_by_name(SipMessage(bye)), "it is answered to where it came from"


@pytest.mark.parametrize(
    ("headers", "ways", "otherwise", "warning"),
    [
        ("Contact: <sip:a@192.0.2.7:5060>", "udp", "udp", ""),
        ("Contact: <sip:a@192.0.2.7>;q=1;transport=ws", "udp", "udp", ""),
        ("Contact: <sip:a@192.0.2.7;Transport=TCP>", "udp tcp", "udp", ""),
        ("Contact: <sip:a@192.0.2.7;transport=tcp>", "udp", "udp", "302"),
        ("Contact: <sip:a@192.0.2.7;transport=tls>", "udp tcp tls", "udp", ""),
        ("Contact: <sip:a@192.0.2.7;transport=ws>", "udp tcp tls", "udp", "302"),
        ("Contact: <sips:a@192.0.2.7>", "udp tcp", "udp", "302"),
        ("Contact: <SIPS:a@192.0.2.7;transport=tcp>", "tls", "udp", ""),
        ("Contact: <sip:a@192.0.2.7>", "tls", "udp", "302"),
        ("Contact: <sip:a@192.0.2.7>", "tls", "tls", ""),
        ("m: <sip:a@[2001:db8::7]:5060>", "udp tcp", "udp", "301"),
        ("Contact: <sip:a@192.0.2.7;maddr=2001:db8::7>", "udp", "udp", "301"),
        ("Contact: <sip:a@[::1]>\r\nRecord-Route: <sip:192.0.2.7;lr>", "udp", "udp", ""),
        ("m: <sip:a@h;transport=ws>\r\nRecord-Route: <sip:h>, <sip:h>", "udp", "udp", ""),
        ("Contact: <sip:a@192.0.2.7>\r\nRecord-Route: <sip:h;transport=ws>", "udp", "udp", "302"),
    ],
)  # fmt: skip
def test_a_caller_who_cannot_be_told_that_a_call_is_over_gets_none(
    headers: str, ways: str, otherwise: str, warning: str
) -> None:
    text = message(Row(name="x", rule="", base="INVITE", right=frozenset()), 1, 2, "udp")
    before = next(line for line in text.split("\r\n") if line.startswith("Contact:"))
    answer = beyond_reach(
        SipMessage(text.replace(before, headers)), ways.split(), {"IP4"}, otherwise
    )
    if warning:
        assert answer is not None
        assert (answer.status, answer.headers[0][1][:3]) == (488, warning)
    else:
        assert answer is None
