"""An ACK without an answer to our offer is handed on with one; all else as it is."""

import pytest

from callerside.agent.telephony.baresip.late_offers import LateOffers
from callerside.agent.telephony.sip_message import SipMessage

OFFER = "v=0\r\no=- 1 1 IN IP4 h\r\nm=audio 4000 RTP/AVP 8\r\n"


def message(first: str, number: int, body: str = "") -> SipMessage:
    method = first.partition(" ")[0]
    kind = "Content-Type: application/sdp\r\n" if body else ""
    head = f"{first}\r\nTo: <sip:a@h>;tag=t\r\nCall-ID: one\r\nCSeq: {number} {method}\r\n"
    return SipMessage(f"{head}{kind}Content-Length: {len(body)}\r\n\r\n{body}")


def request(method: str, number: int, body: str = "") -> SipMessage:
    return message(f"{method} sip:a@h SIP/2.0", number, body)


def test_within_a_call_the_answer_is_what_was_described_last() -> None:
    offers = LateOffers()
    assert offers.take(request("INVITE", 1, OFFER)) == ""
    assert offers.take(request("ACK", 1)) == ""
    assert offers.take(request("INVITE", 2)) == ""
    instead = SipMessage(offers.take(request("ACK", 2)))
    assert (instead.method, instead.number, instead.to_tag) == ("ACK", 2, "t")
    assert instead.description == OFFER
    assert instead.headers("content-length") == [str(len(OFFER))]
    assert offers.take(instead) == "", "and that is let through"


def test_of_a_call_that_begins_the_answer_refuses_all_audio() -> None:
    offers = LateOffers()
    assert offers.take(request("INVITE", 1)) == ""
    assert "m=audio 0 " in offers.take(request("ACK", 1))
    assert offers.take(request("ACK", 1)) == "", "what is sent again is nobody's"


@pytest.mark.parametrize("behind", [request("INVITE", 3, OFFER), request("BYE", 3)])
def test_what_comes_in_between_settles_it(behind: SipMessage) -> None:
    offers = LateOffers()
    offers.take(request("INVITE", 2))
    offers.take(behind)
    assert offers.take(request("ACK", 2)) == ""


def test_an_answer_is_left_as_it_is() -> None:
    offers = LateOffers()
    offers.take(request("INVITE", 1))
    assert offers.take(request("ACK", 1, OFFER)) == ""


def test_very_many_calls_leave_little_behind() -> None:
    offers = LateOffers()
    for n in range(1_000):
        text = request("INVITE", 1, OFFER).text.replace("Call-ID: one", f"Call-ID: {n}")
        offers.take(SipMessage(text))
    assert len(offers._described) <= 100
