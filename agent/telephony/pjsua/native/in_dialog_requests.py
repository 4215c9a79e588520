"""Answers within a call what PJSUA knows too little of: OPTIONS, INFO, unknown events.

PJSUA answers them with 500, at which some peers hang up. Of keys by INFO it knows one spelling, and
ends the process over one that breaks off. And a dialog may live on behind its call's end, as for a
re-INVITE whose answer nobody acknowledges: what comes in it PJSUA takes for something of whatever
call has that place by then, over a REFER it ends the process. So that is answered here, too.
"""

import ctypes
from collections.abc import Callable

from callerside.agent.telephony.in_dialog import Answer, Header, answer_to
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
from callerside.agent.telephony.sip_message import SipMessage

_OTHERS = (b"ACK", b"BYE", b"CANCEL")
"""What the stack has to see, and looks for no call about."""
_OVER = Answer(481, "Call/Transaction Does Not Exist")

OnAnswered = Callable[[SipMessage, Answer], bool]
"""Told of a request and what it is to be answered; returns whether it is of a call that is up."""


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
        self, allowed: Header, on_answered: OnAnswered, has_call: Callable[[str], bool]
    ) -> None:
        """`has_call`: whether a call of this Call-ID is not over."""
        self._allowed = allowed
        self._on_answered = on_answered
        self._has_call = has_call

    def deal_with(self, message: int) -> bool:
        """Any request."""
        what = self.describe(message)
        if any(is_method(what, method) for method in _OTHERS):
            return False
        request = SipMessage(self.read(message).wholeMsg)
        if not request.in_dialog or not self._is_of_a_dialog(request):
            return False
        if not self._has_call(request.call_id):
            self.answer(message, _OVER)
            return True
        answer = answer_to(request, self._allowed)
        if answer is None or not self._on_answered(request, answer):
            return False
        self.answer(message, answer)
        return True

    def _is_of_a_dialog(self, request: SipMessage) -> bool:
        """Whether the stack knows the dialog; who names another tag gets its 481."""
        names = (request.call_id, request.to_tag, request.from_tag)
        parts = [name.encode(errors="surrogateescape") for name in names]
        texts = [Str(part, len(part)) for part in parts]
        found = self.library.pjsip_ua_find_dialog(*map(ctypes.byref, texts), False)
        return bool(found)
