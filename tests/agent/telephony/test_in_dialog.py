"""What requests within a call are answered, and which of them come too late."""

import pytest

from callerside.agent.telephony.in_dialog import RequestOrder, allow, answer_to
from callerside.agent.telephony.sip_message import SipMessage

S = 1_000_000_000


def request(method: str, number: object, *, tag: str = "them", branch: str = "") -> SipMessage:
    return SipMessage(
        f"{method} sip:us@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{branch or number}\r\n"
        f"From: <sip:them@127.0.0.1>;tag={tag}\r\nTo: <sip:us@127.0.0.1>;tag=us\r\n"
        f"Call-ID: call\r\nCSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "extensions", "status"),
    [
        ("MESSAGE", (), 405),
        ("PUBLISH", (), 405),
        ("REGISTER", (), 405),
        ("PRACK", (), 405),
        ("PRACK", ("100rel",), None),
        ("FOO", (), 501),
        ("bye", (), 501),
        ("INVITE", (), None),
        ("UPDATE", (), None),
        ("BYE", (), None),
        ("REFER", (), None),
    ],
)
def test_a_method_that_is_not_done_is_refused_with_those_that_are(
    method: str, extensions: tuple[str, ...], status: int | None
) -> None:
    allowed = allow(extensions)
    answer = answer_to(request(method, 2), allowed)
    assert (answer.status if answer is not None else None) == status
    assert answer is None or answer.headers == (allowed,)


def test_a_lower_number_than_one_before_comes_too_late() -> None:
    order = RequestOrder()
    taken = [order.takes(request("INFO", number), 0) for number in (1, 3, 7, 6, 2, 8, 7)]
    assert taken == [True, True, True, False, False, True, True]


def test_a_number_that_none_may_have_comes_before_none() -> None:
    """It is refused, and whoever sent it can still hang up (RFC 3261 §8.1.1.5)."""
    order = RequestOrder()
    taken = [order.takes(request("INFO", number), 0) for number in (3, 2**31, 4)]
    assert taken == [True, True, True]
    assert order.takes(request("BYE", 5), 0)


def test_what_is_sent_again_was_taken_before_for_as_long_as_it_may_be() -> None:
    """Its answer was lost; with another branch it is another request."""
    order = RequestOrder()
    assert all(order.takes(request("INFO", number), 0) for number in (5, 6, 5, 6, 5))
    assert not order.takes(request("INFO", 5, branch="another"), 0)
    assert order.takes(request("INFO", 5), 31 * S)
    assert not order.takes(request("INFO", 5), 33 * S)


def test_what_has_the_number_of_its_invite_or_none_is_not_for_the_order() -> None:
    order = RequestOrder()
    assert order.takes(request("INVITE", 9), 0)
    assert order.takes(request("ACK", 3), 0)
    assert order.takes(request("CANCEL", 3), 0)
    assert order.takes(request("INFO", "nonsense"), 0)
    assert order.takes(request("INFO", "9" * 5_000), 0)
    assert order.takes(request("INFO", 10), 0)


def test_each_of_those_who_answer_one_invite_counts_for_itself() -> None:
    order = RequestOrder()
    assert order.takes(request("INFO", 5_000, tag="one"), 0)
    assert order.takes(request("BYE", 2, tag="another"), 0)
    assert all(order.takes(request("INFO", 1, tag=f"tag {n}"), 0) for n in range(100))
    assert len(order._highest) <= 16
