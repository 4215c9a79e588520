"""Keeps from PJSUA what would end the process: two kinds of messages that its assertions abort on.

PJSUA 2.15 reads the first line of an `application/dtmf-relay` and goes on two bytes behind it: with
`Signal` in it and fewer than two bytes behind it, that is beyond the end. And it takes any name for
the address of a session description, but none of 254 characters or more. (A key press within a
call does not come this far: `native.in_dialog_requests`.)
"""

import re

import structlog

from callerside.agent.telephony.invite import has_long_address
from callerside.agent.telephony.pjsua.native.binding import READ, StackModule, is_method

_log = structlog.get_logger(__name__)

_BAD_REQUEST = 400


class MalformedMessageFilter(StackModule):
    """Before transactions: what it refuses has never been there."""

    name = b"callerside-message-filter"
    priority = 15
    """Transactions have 16."""
    needs = (READ,)
    sees_responses = True

    def deal_with(self, message: int) -> bool:
        """Any message at all."""
        read = self.read(message)
        text = read.wholeMsg
        if not (breaks_off(text) or has_long_address(text)):
            return False
        what = self.describe(message)
        if what.startswith(b"Request") and not is_method(what, b"ACK"):  # which nobody answers
            self.respond(message, _BAD_REQUEST)
        _log.warning(
            "sip_message_refused", source=read.srcAddress, message=what.decode(errors="replace")
        )
        return True


def breaks_off(message: str) -> bool:
    """Whether a message, as it came, is a key press beyond whose end PJSUA might read.

    It reads up to the first NUL. Where the body begins does not matter: the line is the last one.
    """
    is_key = "dtmf-relay" in message.lower()
    return is_key and any("Signal" in _last_line(text) for text in message.split("\0"))


def _last_line(text: str) -> str:
    """What comes last, with fewer than two characters of a line's end behind it."""
    return re.split(r"[\r\n]", text[:-1] if text.endswith(("\r", "\n")) else text)[-1]
