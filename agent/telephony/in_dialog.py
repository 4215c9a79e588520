"""What a request within a call is answered, where it is the same whatever the engine. No I/O.

The stacks know too little of these: one answers 500, the other 200, and a key press that breaks off
ends the process of one of them. So they are answered before the stacks see them.
"""

from dataclasses import dataclass

from callerside.agent.telephony.dtmf import INFO_TYPES, key_of_info
from callerside.agent.telephony.sip_message import SipMessage

ALLOW = ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE, INFO, OPTIONS, NOTIFY, REFER")
"""What is done for whoever asks (RFC 3261 §20.5)."""
SDP = "application/sdp"


@dataclass(frozen=True, slots=True)
class Answer:
    """A final response, and what it was that was answered."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    key: str | None = None
    """That was pressed."""


_LIVES = Answer(200, "OK", (ALLOW, ("Accept", SDP)))
_EMPTY_INFO = Answer(200, "OK")
_NO_KEY = Answer(400, "Bad Request")
_UNKNOWN_BODY = Answer(415, "Unsupported Media Type", (("Accept", ", ".join(INFO_TYPES)),))
_UNKNOWN_PACKAGE = Answer(469, "Bad Info Package", (("Recv-Info", ""),))
_BAD_EVENT = Answer(489, "Bad Event", (("Allow-Events", "refer"),))

ANSWERS = (_LIVES, _EMPTY_INFO, _UNKNOWN_BODY, _UNKNOWN_PACKAGE, _BAD_EVENT)
"""Those that have headers."""


def answer_to(request: SipMessage) -> Answer | None:
    """The answer to a request of a call that is up; None: that is the stack's business."""
    if request.method == "OPTIONS":  # RFC 3261 §11.2: whether the call still lives
        return _LIVES
    if request.method == "INFO":
        return _answer_to_info(request)
    if request.method not in ("NOTIFY", "SUBSCRIBE"):
        return None
    event = request.header("event").partition(";")[0].strip().lower()
    if event == "refer" and request.method == "NOTIFY":
        return None
    return _BAD_EVENT  # RFC 6665 §8.2.1


def _answer_to_info(request: SipMessage) -> Answer:
    """RFC 6086 §4.2.2 of those that have a package, RFC 2976 of the others."""
    kind = request.header("content-type")
    if request.header("info-package"):
        return _UNKNOWN_PACKAGE
    if not kind:
        return _NO_KEY if request.body else _EMPTY_INFO
    if kind.partition(";")[0].strip().lower() not in INFO_TYPES:
        return _UNKNOWN_BODY
    key = key_of_info(kind, request.body)
    return _NO_KEY if key is None else Answer(200, "OK", key=key)
