"""What a request within a call is answered, where it is the same whatever the engine. No I/O.

The stacks know too little of these: one answers 500, the other 200, and a key press that breaks off
ends the process of one of them. So they are answered before the stacks see them.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from callerside.agent.telephony.dtmf import INFO_TYPES, key_of_info
from callerside.agent.telephony.repeats import Recent, identity
from callerside.agent.telephony.sip_message import SipMessage

_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "INFO", "OPTIONS", "NOTIFY")
"""What each end of a call does; NOTIFY tells how a transfer goes that it has asked for."""
SDP = "application/sdp"

Header = tuple[str, str]
"""Its name, and its value."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A final response, and what it was that was answered."""

    status: int
    reason: str
    headers: tuple[Header, ...] = ()
    key: str | None = None
    """That was pressed."""


_EMPTY_INFO = Answer(200, "OK")
_NO_KEY = Answer(400, "Bad Request")
_UNKNOWN_BODY = Answer(415, "Unsupported Media Type", (("Accept", ", ".join(INFO_TYPES)),))
_UNKNOWN_PACKAGE = Answer(469, "Bad Info Package", (("Recv-Info", ""),))
_BAD_EVENT = Answer(489, "Bad Event", (("Allow-Events", "refer"),))
NOT_ALLOWED = Answer(405, "Method Not Allowed")
NOT_IMPLEMENTED = Answer(501, "Not Implemented")
OVERTAKEN = Answer(500, "Server Internal Error")

_NOT_DONE = frozenset({"REGISTER", "MESSAGE", "PUBLISH", "PRACK"})
"""Methods that there are; PRACK is done by engines that have `100rel`."""
HIGHEST_NUMBER = 2**31 - 1
"""Of a CSeq (RFC 3261 §8.1.1.5)."""
_OF_AN_INVITE = ("ACK", "CANCEL")
"""They have its number, and none of their own."""
_MOST_SPEAKERS = 16
"""Who answer one INVITE of ours, each with numbers of its own, where it was forked."""


def allow(extensions: Collection[str], *, transfers: bool = False) -> Header:
    """What is done for whoever asks (RFC 3261 §20.5).

    Args:
        extensions: option tags that the engine has.
        transfers: whether this end lets itself be transferred.
    """
    more = ["PRACK"] * ("100rel" in extensions) + ["REFER"] * transfers
    return "Allow", ", ".join([*_METHODS, *more])


def answer_to(request: SipMessage, allowed: Header) -> Answer | None:
    """The answer to a request of a call that is up; None: that is the stack's business.

    `allowed`: see `allow`.
    """
    if request.method == "OPTIONS":  # RFC 3261 §11.2: whether the call still lives
        return Answer(200, "OK", (allowed, ("Accept", SDP)))
    if request.method == "INFO":
        return answer_to_info(request)
    if request.method in ("NOTIFY", "SUBSCRIBE"):
        event = request.header("event").partition(";")[0].strip().lower()
        is_of_transfer = event == "refer" and request.method == "NOTIFY"
        return None if is_of_transfer else _BAD_EVENT  # RFC 6665 §8.2.1
    if request.method == "REFER" or request.method in allowed[1].split(", "):
        return None
    refusal = NOT_ALLOWED if request.method in _NOT_DONE else NOT_IMPLEMENTED
    return replace(refusal, headers=(allowed,))  # RFC 3261 §8.2.1


def answer_to_info(request: SipMessage) -> Answer:
    """The same of an INFO: RFC 6086 §4.2.2 of those that have a package, RFC 2976 of the others."""
    kind = request.header("content-type")
    if request.header("info-package"):
        return _UNKNOWN_PACKAGE
    if not kind:
        return _NO_KEY if request.body else _EMPTY_INFO
    if kind.partition(";")[0].strip().lower() not in INFO_TYPES:
        return _UNKNOWN_BODY
    key = key_of_info(kind, request.body)
    return _NO_KEY if key is None else Answer(200, "OK", key=key)


class RequestOrder:
    """The order of the other side's requests within one call (RFC 3261 §12.2.2).

    Each has a higher number than the one before it: one that was overtaken says what held once.
    """

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}
        """By the other side's tag: the newest number."""
        self._taken: Recent[Literal[True]] = Recent()

    def takes(self, request: SipMessage, now_ns: int) -> bool:
        """Whether a request that has come was not overtaken; the INVITE of the call is the first.

        One that is sent again was taken when it came first, and is answered as it was then. What
        belongs to an INVITE that has not come is not taken, and answered by nobody.
        """
        number, tag = request.number, request.from_tag
        if request.method in _OF_AN_INVITE:  # PJSIP would have the next ones come behind it
            return number <= self._highest.get(tag, number)
        if not 0 <= number <= HIGHEST_NUMBER:
            return True  # one that none may have is refused, and comes before none
        this = identity("", request.text)
        if number < self._highest.get(tag, 0):
            return self._taken.recall(this, now_ns) is not None
        self._highest.pop(tag, None)
        self._highest[tag] = number
        if len(self._highest) > _MOST_SPEAKERS:
            del self._highest[next(iter(self._highest))]
        self._taken.remember(this, True, now_ns)
        return True
