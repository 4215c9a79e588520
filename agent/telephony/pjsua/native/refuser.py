"""Stands before PJSUA, for all that asks it for something new, and refuses what is not let in.

PJSUA takes whatever is an INVITE: it makes its sockets first and asks afterwards, answers one with
`Replaces` all by itself, and knows four calls, of which the fifth gets a bare 486. So what
`pjsua.admission` does not let in never gets there: it is answered without a transaction, and
forgotten but for its answer. The same holds for what PJSUA would agree to though nothing here does
it: subscriptions, messages. An ACK that belongs to nothing is dropped: one behind a description
that PJSIP cannot read would be answered, which no ACK may be, and an assertion would end the
process.
"""

import ctypes
import re
import time
from collections.abc import Callable, Set
from typing import Final, Literal

from callerside.agent.telephony.pjsua.admission import (
    EXTENSIONS,
    FAILED,
    Admission,
    Invite,
    Reason,
    Refusal,
)
from callerside.agent.telephony.pjsua.call import reported
from callerside.agent.telephony.pjsua.limits import CALLS_PER_PROCESS
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
from callerside.agent.telephony.repeats import Recent, identity
from callerside.agent.telephony.screening import answer_outside_calls
from callerside.agent.telephony.sip_message import SipMessage

OnRefused = Callable[[int, Reason, str], None]
"""Called with the status of a refused call, why, and where it came from."""

_ALLOW, _SUPPORTED = 4, 36
"""`PJSIP_H_ALLOW` and `PJSIP_H_SUPPORTED`, of what the stack says that it can do."""
_LONGEST_HEADER = 1_024

_REFUSED = re.compile(rb"Response msg ([3-6]\d\d)/INVITE/")

_LET_IN: Final = "let in"

_OVERLOADED = frozenset({486, 500, 503})
"""What is told when to come again (RFC 3261 §20.33)."""

_NOT_DONE = frozenset({"SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER"})
"""What PJSUA says that it does; a REFER it asks us about, and it is declined."""


class InviteRefuser(StackModule):
    """For requests that belong to no call."""

    name = b"callerside-invite-refuser"
    priority = 63
    """Behind transactions (16) and dialogs (32), which keep what is theirs; PJSUA's is 64."""
    is_needed = True
    sees_answers = True
    needs = (
        READ,
        POOL,
        RELEASE,
        ("pjsua_call_get_count", ctypes.c_uint, ()),
        HEADER,
        ("pjsip_replaces_verify_request", ctypes.c_int, (Pointer, Pointer, ctypes.c_int, Pointer)),
        ("pjsip_tx_data_dec_ref", ctypes.c_int, (Pointer,)),
        ("pjsip_endpt_get_capability", Pointer, (Pointer, ctypes.c_int, Pointer)),
        (
            "pjsip_endpt_add_capability",
            ctypes.c_int,
            (Pointer, Pointer, ctypes.c_int, Pointer, ctypes.c_uint, Pointer),
        ),
        ("pjsip_hdr_print_on", ctypes.c_int, (Pointer, Pointer, ctypes.c_size_t)),
        ("pj_list_erase", None, (Pointer,)),
    )

    def __init__(self, admission: Admission, retry_after_s: int, on_refused: OnRefused) -> None:
        self._admission = admission
        self._retry_after_s = retry_after_s
        self._on_refused = on_refused
        self._decided: Recent[Refusal | Literal["let in"]] = Recent()
        self._let_in: tuple[str, str] | None = None
        """What was let in last, if no call has come of it: what it is known by, and its source."""

    def prepare(self) -> None:
        """The headers of refusals; and what is refused is not offered either."""
        self._disown(_SUPPORTED, {"replaces", "trickle-ice"})
        self._disown(_ALLOW, _NOT_DONE)
        self._retry_after = self.headers([("Retry-After", str(self._retry_after_s))])

    def deal_with(self, message: int) -> bool:
        """A request of no call and no transaction."""
        what = self.describe(message)
        if is_method(what, b"ACK"):
            return True
        if is_method(what, b"INVITE"):
            return self._is_refused(message)
        read = self.read(message)
        answer = answer_outside_calls(
            SipMessage(read.wholeMsg), read.srcAddress, self._admission.allows, EXTENSIONS
        )
        if answer is not None:
            self.answer(message, answer)
        return answer is not None

    def became_call(self) -> None:
        """Of what was let in last, there is a call now."""
        self._let_in = None

    def settle(self) -> None:
        """Behind what has come: what was let in is a call by now, or PJSUA has said nothing."""
        if self._let_in is not None:
            self._failed(0)

    def on_answer(self, described: bytes) -> None:
        """PJSUA's own answer to what was let in is not told anywhere else."""
        found = _REFUSED.match(described) if self._let_in is not None else None
        if found is not None:
            self._failed(int(found[1]))

    def _failed(self, status: int) -> None:
        assert self._let_in is not None  # noqa: S101 - looked at by both callers
        (request, source), self._let_in = self._let_in, None
        if status:
            self._decided.remember(request, Refusal(status, "failed"), time.monotonic_ns())
        self._on_refused(status, "failed", source)

    def _is_refused(self, message: int) -> bool:
        self.settle()
        refusal: Refusal | None = FAILED  # what we cannot judge is not for PJSUA either
        source = ""
        with reported(self.name.decode()):
            read = self.read(message)
            source, text = read.srcAddress, read.wholeMsg
            now_ns = time.monotonic_ns()
            request = identity(source, text)
            before = self._decided.recall(request, now_ns)
            if before is not None:
                if before != _LET_IN:  # the call that came of it is over, or has its own ways
                    self._refuse(message, before)
                return True
            refusal = self._admission.let_in(
                Invite(
                    source=source,
                    message=text,
                    replaces=self._replaces(message),
                    has_place=self.library.pjsua_call_get_count() < CALLS_PER_PROCESS,
                ),
                now_ns,
            )
            self._decided.remember(request, refusal or _LET_IN, now_ns)
        if refusal is None:
            self._let_in = request, source
            return False
        self._refuse(message, refusal)
        self._on_refused(refusal.status, refusal.reason, source)
        return True

    def _refuse(self, message: int, refusal: Refusal) -> None:
        if refusal.answer is not None:
            self.answer(message, refusal.answer)
            return
        headers = None
        if self._retry_after_s and refusal.status in _OVERLOADED:
            headers = self._retry_after
        self.respond(message, refusal.status, headers)

    def _replaces(self, message: int) -> bool:
        """Whether an INVITE has `Replaces`, as PJSIP itself reads it: whatever comes of it."""
        dialog, answer = Pointer(), Pointer()
        status = self.library.pjsip_replaces_verify_request(
            message, ctypes.byref(dialog), False, ctypes.byref(answer)
        )
        if answer:
            self.library.pjsip_tx_data_dec_ref(answer)
        return bool(status or dialog)

    def _disown(self, kind: int, tokens: Set[str]) -> None:
        """Take tokens out of what the stack says that it can do: put the others into its place."""
        library, endpoint = self.library, self.endpoint
        header = library.pjsip_endpt_get_capability(endpoint, kind, None)
        if not header:
            return
        printed = ctypes.create_string_buffer(_LONGEST_HEADER)
        length = library.pjsip_hdr_print_on(header, printed, _LONGEST_HEADER)
        told = printed.raw[: max(0, length)].decode().partition(":")[2].split(",")
        kept = [token.strip().encode() for token in told if token.strip() not in tokens]
        library.pj_list_erase(header)
        values = (Str * len(kept))(*(Str(token, len(token)) for token in kept))
        library.pjsip_endpt_add_capability(endpoint, None, kind, None, len(kept), values)
