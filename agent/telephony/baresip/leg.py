"""One call on baresip: what the agent's and the caller's side share, and the agent's.

What happened is read from the call's messages, which tell it exactly; baresip says when a call is
up, and when it is over. Everything here runs on the loop's thread.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol

import structlog
from baresip import BaresipError, Call, StackEvent
from baresip import Event as Told

from callerside.addresses import Family, family_in_sdp
from callerside.agent.telephony.baresip.media import CallMedia, RtpSocket
from callerside.agent.telephony.baresip.stack import Stack
from callerside.agent.telephony.engine import OnArrival, OnHeard, OnLeft
from callerside.agent.telephony.input_queue import InputQueue
from callerside.agent.telephony.interface import (
    CallAnswered,
    CallLeg,
    CallReceived,
    MediaHeld,
    MediaReady,
    Party,
    RtpMeasured,
    TransferRequested,
)
from callerside.agent.telephony.invite import Described, described, readable, traceparent
from callerside.agent.telephony.leg import (
    NOTHING_AGREED,
    UNACKNOWLEDGED,
    Ending,
    Leg,
    is_unacknowledged,
)
from callerside.agent.telephony.options import PeerList
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.srtp import Crypto, agreed
from callerside.clock import NS_PER_MS, NS_PER_S

_log = structlog.get_logger(__name__)

_OK = 200
_REFUSAL = 300
_TIMEOUT = 408
_TERMINATED = 487
_SERVER_ERROR = 500
_DECLINE = 603
_REASONS = {
    403: "Forbidden", 404: "Not Found", 480: "Temporarily Unavailable", 486: "Busy Here",
    488: "Not Acceptable Here", 500: "Server Internal Error", 503: "Service Unavailable",
    603: "Decline",
}  # fmt: skip

_ERROR = re.compile(r"error \[(\d+)\]")
"""What the stack says where its own trouble ended a call."""

_ACK_NS = 32 * NS_PER_S
"""Timer H (RFC 3261 §17.2.1); baresip has none."""
_INVITES = ("INVITE", "UPDATE")
_LONGEST_TARGET = 3_000
"""Bytes, of a transfer: with the rest of its REFER it fits into the 4,000 that PJSIP sends and
takes. The stack would send more by UDP, too, and learn after 32 s that nobody could read it."""


class LegHost(Protocol):
    """What a leg needs of its endpoint."""

    stack: Stack

    def forget(self, leg: "BaresipLeg") -> None:
        """The call is over: drop it."""


class BaresipLeg(Leg):
    """One call, from either side."""

    def __init__(
        self,
        host: LegHost,
        rate_hz: int,
        on_left: OnLeft | None = None,
        on_heard: OnHeard | None = None,
        on_arrival: OnArrival | None = None,
        signalled: str | None = None,
    ) -> None:
        stack = host.stack
        options = stack.options
        assert stack.pacer is not None  # noqa: S101 - calls come after the start
        self._host = host
        self._stack = stack
        inputs = InputQueue(stack.loop)
        self._media = CallMedia(
            stack.loop,
            inputs,
            stack.pacer,
            rate_hz=rate_hz,
            max_playout_ms=options.max_playout_ms,
            library=stack.library,
            conceals=options.conceal_loss,
            peers=PeerList(options.allowed_peers) if options.allowed_peers else None,
            signalled=signalled,
            on_left=on_left,
            on_heard=on_heard,
            on_arrival=on_arrival,
        )
        super().__init__(inputs, self._media, rate_hz)
        self._call: Call | None = None
        self._is_up = False
        self._offered: Described | None = None
        """By the other side, and not answered yet."""
        self._theirs: Described | None = None
        self._is_unmet = False
        """The other side has answered our offer with nothing of it."""
        self._our_direction = "sendrecv"
        self._our_family: Family | None = None
        """Of our address in this call; None: we have not said it yet."""
        self._our_cryptos: tuple[Crypto, ...] = ()
        self.own_tag = ""
        self.their_tag = ""
        """What the other side calls itself; empty: not known yet."""
        """As the other side has to name us, once we have said it (RFC 3261 §12.1.1)."""
        self._we_offered = False
        """Whose the last offer was."""
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- the door: called by the call's driver

    def hang_up(self, status: int = 200) -> None:
        """See `CallLeg.hang_up`. A refusal without a status of its own is 603 Decline."""
        self._end(Ending(by=self.us, status=_OK, reason="Normal call clearing"), status)

    def _keys_wait(self) -> None:
        self._send_keys()

    def _press(self, digits: str) -> None:
        self._media.press(digits)

    def _measured(self) -> RtpMeasured:
        return self._media.measured()

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        """See `CallLeg.transfer`; where the stack cannot send the REFER, that is its outcome."""
        if self._is_over:
            return
        library, target = self._stack.library, uri.encode()

        def send(native: int) -> bool:
            if consulted is None:
                return len(target) <= _LONGEST_TARGET and not library.call_transfer(native, target)
            other = library.find(consulted.sip_call_id) if isinstance(consulted, Leg) else 0
            return bool(other) and not library.call_replace_transfer(native, other)

        def refer(native: int) -> None:
            if not send(native):
                self._tell_transfer(_SERVER_ERROR)

        self._is_transferring = True
        self._with_native(refer)

    # ---- the endpoint

    @property
    def is_agreed_to(self) -> bool:
        """Whether what is refused from now on is a change of the call, and not the call."""
        return True

    def check(self, now_ns: int) -> None:
        """End the call if its other side has sent no RTP for too long, and was to send some."""
        is_quiet = self._theirs is not None and not self._theirs.speaks
        if self._is_over or is_quiet or not self._media.is_live:
            return
        limit_ms = self._stack.options.rtp_timeout_ms
        quiet_ms = (now_ns - self._media.heard_ns) // NS_PER_MS
        if limit_ms and quiet_ms >= limit_ms:
            reason = f"no RTP for {quiet_ms} ms"
            self._end(Ending(by="network", status=_TIMEOUT, reason=reason))

    def release(self) -> None:
        """Let go of what waits."""
        self._media.disconnect()
        self._media.drop()
        for task in self._tasks:
            task.cancel()

    def fall_silent(self) -> None:
        """Nothing more is to be said; on any thread."""
        self._media.fall_silent()

    def on_message(self, sent: bool, message: SipMessage) -> None:
        """One of the call's messages has come, or gone."""
        if self._end_reported:
            return
        self._read_description(sent, message)
        if sent:
            self.own_tag = self.own_tag or _own_tag(message)
            self._on_sent(message)
        elif message.status:
            self._on_response(message)
        else:
            self._on_request(message)

    def on_event(self, event: StackEvent) -> None:
        """What baresip tells of the call."""
        if event.event is Told.CALL_ESTABLISHED:
            self._be_up()
        elif event.event is Told.CALL_CLOSED:
            self._on_closed(event.text or "")

    # ---- inside

    def _adopt(self, call: Call) -> None:
        """The stack has the call: its RTP is ours from now on."""
        self._call = call
        self.sip_call_id = call.call_id or ""
        public = self._stack.options.rtp_public_host or self._stack.options.public_host
        library = self._stack.library

        def taken(native: int, own: RtpSocket) -> None:
            library.want_audio_alone(native)
            if public and family_in_sdp(public) == library.family_of_call(native):
                library.advertise_rtp(native, public, own.port)
            self._stack.tell(self._on_socket, own)

        self._stack.run(lambda: self._stack.take_rtp(self.sip_call_id, taken))

    def _on_socket(self, own: RtpSocket) -> None:
        """Our RTP's; media may be up already."""
        self._media.adopt(own)
        self._agree()

    def _with_native(self, job: Callable[[int], object]) -> None:
        """Do something with the stack's object of this call, if it still has one."""

        def found() -> None:
            native = self._stack.library.find(self.sip_call_id)
            if native:
                job(native)

        self._stack.run(found)

    def _be_up(self) -> None:
        self._is_up = True
        self._quieten()
        self._agree()

    def _quieten(self) -> None:
        """With each description the stack starts sound of its own."""
        self._with_native(self._stack.library.be_silent)

    def _read_description(self, sent: bool, message: SipMessage) -> None:
        """RFC 3264: an offer counts once it is answered, with what answers it."""
        text = message.description
        is_final_no = message.status >= _REFUSAL and message.method in _INVITES
        if sent and is_final_no:
            self._offered = None
        if not text or (message.method not in (*_INVITES, "ACK")):
            return
        found = described(text, self._stack.options.codecs, None if sent else self._our_family)
        if sent:
            self._our_family = found.family if found else self._our_family
            self._our_direction = found.direction if found else self._our_direction
            self._our_cryptos = found.cryptos if found else ()
            self._we_offered = not message.status and message.method != "ACK"
            if message.status and self._offered is not None:
                self._theirs, self._offered = self._offered, None
                self._agree()
        elif message.status or message.method == "ACK":
            self._theirs = found or self._theirs
            self._is_unmet = self._theirs is None
            self._agree()
        else:
            self._offered = found

    def _agree(self) -> None:
        """What both sides have said is how it is now."""
        theirs = self._theirs
        if self._is_up and self._is_unmet:
            self._end(NOTHING_AGREED)
        if not self._is_up or theirs is None or self._is_over or not self._media.port:
            return
        we_hold = self._we_offered and self._our_direction in ("sendonly", "inactive")
        if theirs.holds or we_hold:  # answered so, we speak to one that only receives
            if self._media.hold(theirs) and theirs.holds:
                self._inputs.post(MediaHeld())
            return
        fresh = not self._media.is_live
        self._media.connect(theirs, agreed(self._our_cryptos, theirs.cryptos))
        if fresh or theirs.codec != self._codec:
            self._codec = theirs.codec
            self._inputs.post(MediaReady(codec=theirs.codec))

    def _on_sent(self, message: SipMessage) -> None:
        """What was asked for counts when it is agreed to: a CANCEL may come behind the answer."""
        if message.status and message.method in _INVITES and message.description and self._is_up:
            self._quieten()
        if message.method == "BYE" and _OK <= message.status < _REFUSAL:
            self._ending = self._ending or Ending(
                by=self.them, status=_OK, reason="Normal call clearing"
            )
        elif message.method == "INVITE" and message.status == _TERMINATED and not self._is_up:
            self._ending = self._ending or Ending(
                by=self.them, status=_TERMINATED, reason="Request Terminated"
            )

    def _on_request(self, message: SipMessage) -> None:
        if message.method == "NOTIFY":
            self._on_notified(message)
        elif message.method == "REFER":
            self._inputs.post(TransferRequested(uri=readable(message.header("refer-to"))))

    def _on_notified(self, message: SipMessage) -> None:
        """Of a transfer; one that tells no more, and never told the end, has come to nothing."""
        status = message.fragment_status
        if 0 < status < _OK and message.header("subscription-state").startswith("terminated"):
            status = _TIMEOUT
        if status >= _OK:
            self._tell_transfer(status)

    def _on_response(self, message: SipMessage) -> None:
        if message.method == "REFER" and message.status >= _REFUSAL:
            self._tell_transfer(message.status)
        elif message.method == "INVITE":
            if _OK <= message.status < _REFUSAL:
                self.their_tag = self.their_tag or message.to_tag
            if self._is_up:
                self._quieten()

    def _end(self, ending: Ending, status: int = 0) -> None:
        if self._is_over:
            return
        self._ending = ending
        self._media.disconnect()
        library = self._stack.library
        code = self._goodbye_status(status)
        reason = _REASONS.get(code, "Declined" if code else "").encode() or None

        def hang_up() -> None:
            native = library.find(self.sip_call_id)
            if native:  # its end is reported, too
                library.ua_hangup(library.call_get_ua(native), native, code, reason)
            else:
                self._stack.tell(self._on_closed, "")

        self._stack.run(hang_up)

    def _goodbye_status(self, status: int) -> int:  # noqa: ARG002 - of a refusal alone
        """What a refusal says; 0: it is none."""
        return 0

    def _on_closed(self, text: str) -> None:
        """One that is up, and that nobody has hung up, the stack has given up by itself."""
        code, _, reason = text.partition(" ")
        status = int(code) if code.isdecimal() else 0
        by = self.them if status and not self._is_up else "network"
        self._finish(by=by, status=status or 503, reason=reason if status else _in_words(text))

    def _finish(self, *, by: Party, status: int, reason: str) -> None:
        """Nothing follows."""
        self._media.disconnect()
        self._report_end(by=by, status=status, reason=reason)
        self._host.forget(self)

    def _send_keys(self) -> None:
        """Send the key that is due by INFO, and come again for the next."""
        key = self._keys.due(time.monotonic_ns())
        if key is not None and self._call is not None and not self._is_over:
            self._run("send DTMF", self._call.send_dtmf(key))
        due_ns = self._keys.due_ns
        if due_ns is not None and not self._is_over:
            wait_ns = max(0, due_ns - time.monotonic_ns())
            self._stack.loop.call_later(wait_ns / NS_PER_S, self._send_keys)

    def _run(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Do what takes a turn of the stack; what the call's state does not allow is logged."""

        async def attempt() -> None:
            try:
                await work
            except BaresipError as error:
                if not self._is_over:
                    _log.warning("sip_operation_failed", operation=what, reason=str(error))

        task = self._stack.loop.create_task(attempt())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class AnsweringHost(LegHost, Protocol):
    """What the leg of an incoming call needs of its endpoint besides."""

    was_full: bool
    """Whether there was no place for one more call, now or a little ago."""

    def consult(self, uri: str, rate_hz: int, called: str) -> BaresipLeg:
        """A second call; see `CallLeg.consult`."""


class BaresipCallLeg(BaresipLeg):
    """An incoming call: `agent.telephony.interface.CallLeg`. Its first input is `CallReceived`."""

    def __init__(
        self,
        host: AnsweringHost,
        call: Call,
        invite: SipMessage,
        *,
        called: str,
        caller: str,
        rate_hz: int,
        signalled: str | None = None,
    ) -> None:
        super().__init__(host, rate_hz, signalled=signalled)
        self._answering = host
        self._called = called
        self._adopt(call)
        self._answered_ns: int | None = None
        self.begins_with(invite)
        self.their_tag = invite.from_tag
        if invite.description:
            self._offered = described(invite.description, self._stack.options.codecs)
        self._inputs.post(
            CallReceived(
                called=called,
                caller=caller,
                sip_call_id=readable(self.sip_call_id),
                traceparent=traceparent(invite.text),
            )
        )

    @property
    def is_agreed_to(self) -> bool:
        """See `BaresipLeg`."""
        return self._answered_ns is not None

    def consult(self, uri: str) -> CallLeg:
        """See `CallLeg.consult`."""
        return self._answering.consult(uri, self.sample_rate_hz, self._called)

    def answer(self, status: int = 200) -> None:
        """See `CallLeg.answer`; 180 has been sent already."""
        if self._is_over or self._call is None or self._answered_ns is not None:
            return
        if status >= _REFUSAL:
            self.hang_up(status)
        elif status >= _OK:
            self._answered_ns = time.monotonic_ns()
            self._run("answer", self._call.answer())

    def check(self, now_ns: int) -> None:
        """See `BaresipLeg`; and see `agent.telephony.leg.is_unacknowledged`."""
        was_full = self._answering.was_full
        if self._is_up:
            super().check(now_ns)
        elif is_unacknowledged(self._answered_ns, now_ns, was_full=was_full):
            self._end(UNACKNOWLEDGED)

    def _be_up(self) -> None:
        if not self._is_up:
            self._inputs.post(CallAnswered())
        super()._be_up()

    def _goodbye_status(self, status: int) -> int:
        if self._answered_ns is not None:
            return 0
        code = status if status >= _REFUSAL else _DECLINE
        if self._ending is not None and self._ending.by == self.us:
            self._ending = replace(self._ending, status=code, reason=_REASONS.get(code, "Declined"))
        return code


def _own_tag(sent: SipMessage) -> str:
    """What a message of ours calls us; what refuses a stray request of the call names nobody."""
    if not sent.status:
        return sent.from_tag
    return sent.to_tag if sent.method == "INVITE" else ""


def _in_words(text: str) -> str:
    error = _ERROR.fullmatch(text)
    if error is None:
        return text
    return f"the SIP stack has given the call up: {os.strerror(int(error[1]))}"
