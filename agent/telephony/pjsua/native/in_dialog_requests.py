"""Answers within a call what PJSUA knows too little of: OPTIONS, INFO, unknown events and methods.

PJSUA answers them with 500, at which some peers hang up, and a MESSAGE with 200, which nobody
reads. Of keys by INFO it knows one spelling, and ends the process over one that breaks off. What
was overtaken it would refuse itself, but for what it never sees. And a dialog may live on behind
its call's end, as for a re-INVITE whose answer nobody acknowledges: what comes in it PJSUA takes
for something of whatever call has that place by then, over a REFER it ends the process. So that is
answered here, too.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from callerside.agent.telephony.in_dialog import OVERTAKEN, Answer, Header, answer_to
from callerside.agent.telephony.leg import Leg
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.pjsua.native.binding import (
    HEADER,
    POOL,
    READ,
    RELEASE,
    Pointer,
    StackModule,
    Str,
    is_method,
)
from callerside.agent.telephony.screening import fault_of
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.srtp import view_of_message

_OVER = Answer(481, "Call/Transaction Does Not Exist")


class InDialogRequests(StackModule):
    """Before all else: what is sent again is answered again, and not told twice (see the leg)."""

    name = b"callerside-in-dialog"
    priority = 14
    """Ours that keeps broken messages out has 15, transactions 16, dialogs 32."""
    needs = (
        READ,
        POOL,
        HEADER,
        RELEASE,
        ("pjsip_ua_find_dialog", Pointer, (Pointer, Pointer, Pointer, ctypes.c_int)),
    )

    def __init__(
        self, allowed: Header, leg_of: Callable[[str], Leg | None], options: SipOptions
    ) -> None:
        """`leg_of`: the call of this Call-ID that is not over."""
        self._allowed = allowed
        self._leg_of = leg_of
        self._options = options

    def deal_with(self, message: int) -> bool:
        """Any request."""
        what = self.describe(message)
        if is_method(what, b"CANCEL"):
            return False
        read = self.read(message)
        request = SipMessage(read.wholeMsg)
        if not request.in_dialog or not self._is_of_a_dialog(request) or fault_of(request):
            return False  # what is none `message_filter` answers, behind this
        leg = self._leg_of(request.call_id)
        if is_method(what, b"ACK"):
            return leg is not None and not leg.takes(request)
        if leg is None:
            answer = None if is_method(what, b"BYE") else _OVER
        elif not leg.takes(request):
            answer = OVERTAKEN
        else:
            answer = self._change_refused(leg, read) or answer_to(request, self._allowed)
            if answer is not None:
                leg.on_answered(request, answer)
        if answer is not None:
            self.answer(message, answer)
        return answer is not None

    def _change_refused(self, leg: Leg, read: Any) -> Answer | None:
        policy = self._options.srtp_with(read.srcAddress)
        request = SipMessage(view_of_message(read.wholeMsg, policy))
        return leg.change_refused(request, self._options, read.srcAddress)

    def _is_of_a_dialog(self, request: SipMessage) -> bool:
        """Whether the stack knows the dialog; who names another tag gets its 481."""
        names = (request.call_id, request.to_tag, request.from_tag)
        parts = [name.encode(errors="surrogateescape") for name in names]
        texts = [Str(part, len(part)) for part in parts]
        found = self.library.pjsip_ua_find_dialog(*map(ctypes.byref, texts), False)
        return bool(found)
