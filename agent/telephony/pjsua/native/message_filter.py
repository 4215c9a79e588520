"""Keeps from PJSUA what is no request (`telephony.screening`), and what would end the process.

PJSUA 2.15 reads the first line of an `application/dtmf-relay` and goes on two bytes behind it: with
`Signal` in it and fewer than two bytes behind it, that is beyond the end. And it takes any name for
the address of a session description, but none of 254 characters or more: its assertions abort. Any
other it looks up, and all calls wait for it. (A key press within a call does not come this far:
`native.in_dialog_requests`.)
"""

import re
from collections.abc import Callable

from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.invite import has_long_address, names_a_host
from callerside.agent.telephony.pjsua.native.binding import (
    HEADER,
    POOL,
    READ,
    RELEASE,
    StackModule,
    is_method,
)
from callerside.agent.telephony.request_gate import method_of
from callerside.agent.telephony.screening import fault_of, fault_of_response, next_hop_by_name
from callerside.agent.telephony.sip_message import SipMessage

OnFaulty = Callable[[int, str, str, str, str], None]
"""Called with the status (0: there is no answer), what is wrong, the method, where it came from,
and why a call was refused, if it asked for one."""

_BAD_REQUEST = 400
_BY_NAME = Answer(
    488,
    "Not Acceptable Here",
    (("Warning", '301 callerside "media go to addresses, and to no names"'),),
)
"""RFC 3261 §20.43: incompatible network address formats."""
_NOT_LOOKED_UP = Answer(
    403,
    "Forbidden",
    (("Warning", '399 callerside "names in Contact and Record-Route are for allowed peers"'),),
)


class MalformedMessageFilter(StackModule):
    """Before transactions: what it refuses has never been there.

    Args:
        trusts: whether names that come from there ("host:port") may be looked up, which takes the
            time of all calls.
        on_faulty: told of what is refused.
    """

    name = b"callerside-message-filter"
    priority = 15
    """Transactions have 16."""
    needs = (READ, POOL, HEADER, RELEASE)
    sees_responses = True

    def __init__(
        self,
        trusts: Callable[[str], bool] = lambda _source: False,
        on_faulty: OnFaulty = lambda *_: None,
    ) -> None:
        self._trusts = trusts
        self._on_faulty = on_faulty

    def deal_with(self, message: int) -> bool:
        """Any message at all."""
        read = self.read(message)
        text = read.wholeMsg
        what = self.describe(message)
        is_request = what.startswith(b"Request")
        fault = fault_of(SipMessage(text)) if is_request else _fault_of_response(text)
        why = "malformed"
        if breaks_off(text) or has_long_address(text):
            fault = Answer(_BAD_REQUEST, "Bad Request")
        elif fault is None and is_request and names_a_host(text):
            fault, why = _BY_NAME, "media"
        elif fault is None and is_request and next_hop_by_name(SipMessage(text)):
            fault, why = None if self._trusts(read.srcAddress) else _NOT_LOOKED_UP, "contact"
        if fault is None:
            return False
        is_answered = bool(fault.status and is_request and not is_method(what, b"ACK"))
        if is_answered:
            self.answer(message, fault)
        status = fault.status if is_answered else 0
        self._on_faulty(status, fault.reason, method_of(text), read.srcAddress, why)
        return True


def _fault_of_response(text: str) -> Answer | None:
    """Of what is answered by nobody."""
    why = fault_of_response(SipMessage(text))
    return Answer(0, why) if why else None


def breaks_off(message: str) -> bool:
    """Whether a message, as it came, is a key press beyond whose end PJSUA might read.

    It reads up to the first NUL. Where the body begins does not matter: the line is the last one.
    """
    is_key = "dtmf-relay" in message.lower()
    return is_key and any("Signal" in _last_line(text) for text in message.split("\0"))


def _last_line(text: str) -> str:
    """What comes last, with fewer than two characters of a line's end behind it."""
    return re.split(r"[\r\n]", text[:-1] if text.endswith(("\r", "\n")) else text)[-1]
