"""Of an ACK that brings no answer to our offer, though it has to (RFC 3261 §13.2.1). No I/O.

baresip's stack gives such a call up, and one that has just begun without a word. So it is handed
another ACK instead, with an answer. Within a call that is what the other side has described last:
the session is as it was before the offer, as where one is refused (§14.1). A call that begins has
nothing to go back to: the answer refuses all audio, and the call is ended for that.
"""

from typing import TypeVar

from callerside.agent.telephony.in_dialog import SDP
from callerside.agent.telephony.sip_message import SipMessage

T = TypeVar("T")

_MOST_NOTED = 100
"""Calls of which something is remembered: many more than there can be."""
_NOTHING = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 0 RTP/AVP 0\r\n"
)
_OF_BODY = ("content-length", "l", "content-type", "c")


class LateOffers:
    """What the other sides have described, and which of their INVITEs left the offer to us."""

    def __init__(self) -> None:
        self._described: dict[str, str] = {}
        """By Call-ID: the last description of theirs."""
        self._late: dict[str, int] = {}
        """By Call-ID: the number of an INVITE without an offer, until its ACK."""

    def take(self, message: SipMessage) -> str:
        """One of the other side's has come that the stack may have.

        Returns:
            What the stack is to be handed instead; empty: nothing.
        """
        call_id, description = message.call_id, message.description
        if description:
            _note(self._described, call_id, description)
        if message.status:
            return ""
        if message.method == "INVITE":
            self._late.pop(call_id, None)
            if not description:
                _note(self._late, call_id, message.number)
        elif message.method == "ACK" and self._late.get(call_id) == message.number:
            del self._late[call_id]
            return (
                "" if description else _with_body(message, self._described.get(call_id, _NOTHING))
            )
        elif message.method == "BYE":
            self._late.pop(call_id, None)
            self._described.pop(call_id, None)
        return ""


def _with_body(request: SipMessage, body: str) -> str:
    """The same request with a description in it."""
    kept = [
        line
        for line in request.head.split("\r\n")
        if line.partition(":")[0].strip().lower() not in _OF_BODY
    ]
    size = len(body.encode(errors="surrogateescape"))
    return "\r\n".join([*kept, f"Content-Type: {SDP}", f"Content-Length: {size}", "", body])


def _note(notes: dict[str, T], call_id: str, what: T) -> None:
    notes.pop(call_id, None)
    notes[call_id] = what
    if len(notes) > _MOST_NOTED:
        del notes[next(iter(notes))]
