"""What no stack is asked about: the rules alone, on the messages of the torture tests."""

import pytest
from torture import ROWS, SILENCE, TAKEN, Row, message

from callerside.agent.telephony.screening import answer_outside_calls, fault_of, unmet_extension
from callerside.agent.telephony.sip_message import SipMessage


def answered(row: Row, *, allowed: bool = True) -> int:
    """The status of what is said here; 0: it is left to the stack."""
    request = SipMessage(message(row, 5060, 5070, "udp"))
    if request.status:
        return SILENCE
    answer = fault_of(request) or answer_outside_calls(request, "h:1", lambda _: allowed)
    if answer is None and request.method == "INVITE":
        answer = unmet_extension(request)
    return answer.status if answer else 0


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


def test_an_unmet_extension_is_named_and_cannot_forge_a_header() -> None:
    text = message(Row(name="x", rule="", right=frozenset()), 1, 2, "udp")
    hostile = text.replace("\r\nContact", "\r\nRequire: new-one, timer, a b\x00c, d\r\nContact")
    answer = unmet_extension(SipMessage(hostile))
    assert answer is not None
    assert answer.headers == (("Unsupported", "new-one, d"),)
