"""One call on pjsua2: what the agent's and the caller's side of it have in common, and the agent's.

`SipLeg` stands between PJSUA2's callbacks and the inputs of `telephony.interface`: it translates,
and decides nothing. Everything here runs on the loop's thread.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pjsua2
import structlog

from callerside.agent.telephony import dtmf
from callerside.agent.telephony.engine import CALLED_HEADER, OnArrival, OnHeard, OnLeft
from callerside.agent.telephony.input_queue import InputQueue
from callerside.agent.telephony.interface import (
    CallAnswered,
    CallLeg,
    CallProgressed,
    CallReceived,
    DtmfMethod,
    DtmfReceived,
    LegInput,
    MediaHeld,
    MediaReady,
    Party,
    RtpMeasured,
    TransferRequested,
)
from callerside.agent.telephony.invite import readable
from callerside.agent.telephony.leg import (
    NOTHING_AGREED,
    UNACKNOWLEDGED,
    Ending,
    Leg,
    is_unacknowledged,
)
from callerside.agent.telephony.options import PeerList, SipOptions, as_dialled
from callerside.agent.telephony.pjsua.call import Call, response
from callerside.agent.telephony.pjsua.media import LegMedia
from callerside.agent.telephony.pjsua.native.invite_session import InviteSession, give_up
from callerside.agent.telephony.pjsua.native.media import Stream
from callerside.agent.telephony.pjsua.rtp_stats import RtpCounter
from callerside.agent.telephony.pjsua.stack import Stack
from callerside.audio import Encoding
from callerside.clock import NS_PER_MS

_log = structlog.get_logger(__name__)

_BAD_REQUEST = 400
_REQUEST_TIMEOUT = 408
_BUSY = 486
_NOT_NEGOTIATED = (406, 415, 488)
"""With which the stack ends a call whose answer has nothing of our offer, or none of it at all."""
_INTERNAL_ERROR = 500
_DECLINE = 603
_RINGING = 180
_FINAL = 200  # and above
_ACCEPTED = 202
_REFUSAL = 300  # and above

_ON_HOLD = (pjsua2.PJSUA_CALL_MEDIA_LOCAL_HOLD, pjsua2.PJSUA_CALL_MEDIA_REMOTE_HOLD)

_G711: dict[str, Encoding] = {"PCMU": "pcmu", "PCMA": "pcma"}

_DTMF_METHODS: dict[DtmfMethod, int] = {
    "rfc4733": pjsua2.PJSUA_DTMF_METHOD_RFC2833,  # which RFC 4733 replaced
    "info": pjsua2.PJSUA_DTMF_METHOD_SIP_INFO,
}


class LegHost(Protocol):
    """What a leg needs of its endpoint."""

    options: SipOptions
    stack: Stack

    def operating(self) -> AbstractContextManager[None]:
        """Around whatever asks something of the stack: nothing is sent meanwhile."""

    def new_input_queue(self) -> InputQueue:
        """A queue of inputs into the endpoint's loop."""

    def due_sooner(self) -> None:
        """Something of a leg has come to be due before what was (`SipLeg.due_ns`)."""

    def lets_offer_in(self, sdp: str) -> bool:
        """Whether a new offer, within a call, may be met."""

    def forget(self, leg: "SipLeg") -> None:
        """The call is over: drop it, once its last callback has returned."""


class SipLeg(Leg):
    """One call, from either side."""

    def __init__(
        self,
        host: LegHost,
        rate_hz: int,
        *,
        on_left: OnLeft | None = None,
        on_heard: OnHeard | None = None,
        on_arrival: OnArrival | None = None,
        signalled: str | None = None,
    ) -> None:
        options = host.options
        self._host = host
        inputs = host.new_input_queue()
        self.deliver = inputs.deliver
        """Tell what has come."""
        self._media = LegMedia(
            inputs,
            host.stack.pacer,
            rate_hz=rate_hz,
            max_playout_ms=options.max_playout_ms,
            conceals=options.conceal_loss,
            peers=PeerList(options.allowed_peers) if options.allowed_peers else None,
            signalled=signalled,
            on_left=on_left,
            on_heard=on_heard,
            on_arrival=on_arrival,
            on_missing=host.due_sooner,
        )
        super().__init__(inputs, self._media, rate_hz)
        self._call: Call | None = None
        self._rtp = RtpCounter()
        self._stream: Stream | None = None
        self._pending: int | None = None
        """Of an INVITE or UPDATE of ours: its transaction, until it is answered."""
        self._is_confirmed = False
        """Whether the call has been up."""
        self._is_spoken_to = True
        """By the other side's own word: one that only receives sends no RTP (RFC 3264 §5.1)."""

    # ---- the door: called by the call's driver

    def hang_up(self, status: int = 200) -> None:
        """See `CallLeg.hang_up`. A refusal without a status of its own is 603 Decline."""
        self._end(Ending(by=self.us), status)

    def _keys_wait(self) -> None:
        """`tick` sends them."""
        self._host.due_sooner()

    def _press(self, digits: str) -> None:
        self._send_keys(digits, "rfc4733")

    def _measured(self) -> RtpMeasured:
        return self._rtp.measured(self._media.jitter_ms)

    def _send_keys(self, digits: str, method: DtmfMethod) -> None:
        parameters = pjsua2.CallSendDtmfParam()
        parameters.digits = digits
        parameters.method = _DTMF_METHODS[method]
        with self._host.operating():  # no packet of audio comes between
            sent = self._attempt("send DTMF", lambda call: call.sendDtmf(parameters))
            if sent and method == "rfc4733":
                self._media.press(len(digits))

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        """See `CallLeg.transfer`; where the stack cannot send the REFER, that is its outcome."""
        other = consulted._call if isinstance(consulted, SipLeg) else None  # noqa: SLF001 - a leg

        def refer(call: Call) -> None:
            if consulted is None:
                call.xfer(uri, response(0))
            else:
                call.xferReplaces(other, response(0))

        is_gone = consulted is not None and other is None
        self._is_transferring = not self._is_over
        if is_gone or not self._attempt("transfer", refer):
            self._tell_transfer(_INTERNAL_ERROR)

    # ---- the endpoint, now and then

    @property
    def due_ns(self) -> int | None:
        """When `tick` has something to do, if nothing comes before."""
        dues = [due for due in (self._media.due_ns, self._keys.due_ns) if due is not None]
        return min(dues, default=None)

    def tick(self, now_ns: int) -> None:
        """Do what is due, and tell what has come."""
        due_ns = self._media.due_ns
        if due_ns is not None and now_ns >= due_ns:
            self._media.expire(now_ns)
        key = self._keys.due(now_ns)
        if key is not None:
            self._send_keys(key, "info")
        self.deliver()

    def check(self, now_ns: int) -> None:
        """End the call if its other side has sent no RTP for too long, and was to send some."""
        if self._call is None or not (self._media.is_live and self._is_spoken_to):
            return
        limit_ms = self._host.options.rtp_timeout_ms
        quiet_ms = (now_ns - self._media.heard_ns) // NS_PER_MS
        if limit_ms and quiet_ms >= limit_ms:
            reason = f"no RTP for {quiet_ms} ms"
            self._end(Ending(by="network", status=_REQUEST_TIMEOUT, reason=reason))

    @property
    def place(self) -> int | None:
        """Which of the stack's places it has."""
        return None if self._call is None else int(self._call.getId())

    def release(self) -> Call | None:
        """Let go of what waits and of the stack's object, which the endpoint sees to."""
        call, self._call = self._call, None
        self._media.drop()
        return call

    # ---- see `agent.telephony.pjsua.call.CallListener`

    def on_state(self, info: Any, event: Any) -> None:
        """Progress, or the end."""
        self._is_confirmed |= info.state == pjsua2.PJSIP_INV_STATE_CONFIRMED
        if info.state == pjsua2.PJSIP_INV_STATE_DISCONNECTED:
            self._give_up_request()
            self._on_disconnected(info, event)
        else:
            self.on_progress(info)

    def on_progress(self, info: Any) -> None:
        """The call has come further."""

    def on_media(self, info: Any) -> None:
        """One audio stream is ours, wherever it stands: the stack takes one and refuses others."""
        if not self._is_over:
            media = _audio_in_use(info.media)
            if media is None:
                self._media.disconnect()
            else:
                self._on_audio(media)

    def on_offer(self, sdp: str) -> bool:
        """The endpoint knows what it can bear."""
        return self._host.lets_offer_in(sdp)

    def on_invite(self, transaction: int) -> None:
        """Nothing in it is news to us."""

    def on_own_request(self, transaction: int, *, is_pending: bool) -> None:
        """See `_give_up_request`."""
        if is_pending:
            self._pending = transaction
        elif transaction == self._pending:
            self._pending = None

    def _give_up_request(self) -> None:
        """Of a call that ends: a first INVITE is cancelled instead, and its end waited for."""
        pending, self._pending = self._pending, None
        if pending is not None and self._is_confirmed:
            give_up(pending)

    def on_offer_refused(self, status: int) -> None:
        """We make none."""

    def on_local_sdp(self, sdp: str) -> None:
        """Nothing in it is news to us."""

    def terminate(self, call: Call, status: int) -> None:  # noqa: ARG002 - only a refusal has one
        """BYE or CANCEL, whichever fits; the stack reports the end within this call."""
        call.hangup(response(0))

    def on_stream_created(self, parameters: Any) -> None:
        """It is played here, once the call is up."""
        self._stream = self._host.stack.stream_created(parameters)

    def on_stream_destroyed(self, parameters: Any) -> None:
        """A re-INVITE ends one stream and begins another: keep the first one's numbers."""
        self._host.stack.stream_ends(parameters)
        self._media.lose_stream()
        self._stream = None
        if self._call is not None:
            self._rtp.read(self._call)
            self._rtp.next_stream()

    def on_dtmf(self, digit: str) -> None:
        """A key press came by RFC 4733."""
        if digit in dtmf.DIGITS:
            self._inputs.post(DtmfReceived(digit=digit, method="rfc4733"))

    def on_transfer_request(self, uri: str) -> int:
        """A REFER came. Nobody sends us elsewhere."""
        self._inputs.post(TransferRequested(uri=readable(uri)))
        return _DECLINE

    def on_transfer_status(self, status: int, final: bool) -> None:
        """What became of our REFER: refused at once, or reported by NOTIFY (RFC 3515 §2.4.4)."""
        if final and status < _FINAL:  # it tells no more, and never told the end
            status = _REQUEST_TIMEOUT
        if final or (status >= _FINAL and status != _ACCEPTED):  # which is of the REFER itself
            self._tell_transfer(status)

    # ---- inside

    def _attempt(self, what: str, operation: Callable[[Call], object]) -> bool:
        """Returns False if it failed; on a call that is over there is nothing to do."""
        call = self._call
        if call is None or self._is_over:
            return True
        with self._host.operating():
            return _tried(what, lambda: operation(call))

    def _on_audio(self, media: Any) -> None:
        assert self._call is not None  # noqa: S101 - only a call has media
        self._is_spoken_to = bool(media.dir & pjsua2.PJMEDIA_DIR_DECODING)
        if media.status == pjsua2.PJSUA_CALL_MEDIA_ACTIVE and self._stream is not None:
            self._connect(self._call, media.index, self._stream)
        else:
            if media.status == pjsua2.PJSUA_CALL_MEDIA_LOCAL_HOLD and self._stream is not None:
                self._join(self._call, media.index, self._stream)  # whoever holds can press keys
            news = self._media.hold()
            if news and media.status == pjsua2.PJSUA_CALL_MEDIA_REMOTE_HOLD:
                self._inputs.post(MediaHeld())

    def _connect(self, call: Call, line: int, stream: Stream) -> None:
        """Hear and speak, on the stream of the description's n-th line."""
        fresh = not self._media.is_live
        codec = self._join(call, line, stream)
        self._rtp.begin(line)
        if fresh or codec != self._codec:
            self._codec = codec
            self._inputs.post(MediaReady(codec=codec))

    def _join(self, call: Call, line: int, stream: Stream) -> str:
        """Have the stream for our audio; returns its codec."""
        told = call.getStreamInfo(line)
        codec = str(told.codecName)
        audio, setting = told.audCodecParam.info, told.audCodecParam.setting
        host, _, port = str(told.remoteRtpAddress).rpartition(":")
        self._media.connect(
            stream,
            (host, int(port)),
            codec_hz=int(audio.clockRate),
            encoding=_G711.get(codec),
            payload_type=int(told.rxPt),
            packet_ms=int(audio.frameLen * setting.frmPerPkt),
            piece_ms=int(audio.frameLen),
        )
        return codec

    def _end(self, ending: Ending, status: int = 0) -> None:
        if self._is_over or self._call is None:
            return
        with self._host.operating():
            self._rtp.read(
                self._call
            )  # the stack reports nothing of a stream that we end ourselves
            self._media.disconnect()
            self._ending = ending
            call = self._call
            if self._is_confirmed:
                self._give_up_request()
            _tried("hang up", lambda: self.terminate(call, status))

    def _on_disconnected(self, info: Any, event: Any) -> None:
        assert self._call is not None  # noqa: S101 - it is the call that calls
        by = self.us
        if self._ending is None:
            self._rtp.read(self._call)
            by = "network" if _is_ours(event) else self.them
            if by == "network" and info.lastStatusCode in _NOT_NEGOTIATED:
                self._ending = NOTHING_AGREED
        self._media.disconnect()
        self._report_end(by=by, status=info.lastStatusCode, reason=info.lastReason)
        self._host.forget(self)


class AnsweringHost(LegHost, Protocol):
    """What the leg of an incoming call needs of its endpoint besides."""

    was_full: bool
    """Whether there was no place for one more call, now or a little ago."""

    def consult(self, uri: str, rate_hz: int, called: str) -> SipLeg:
        """A second call; see `CallLeg.consult`."""


class SipCallLeg(SipLeg):
    """An incoming call: `agent.telephony.interface.CallLeg`. Its first input is `CallReceived`."""

    def __init__(
        self,
        host: AnsweringHost,
        account: Any,
        call_id: int,
        *,
        called: str,
        caller: str,
        traceparent: str,
        rate_hz: int,
        signalled: str | None = None,
    ) -> None:
        super().__init__(host, rate_hz, signalled=signalled)
        self._answering = host
        self._called = called
        self._call = Call(self, account, call_id)
        self.sip_call_id = str(self._call.getInfo().callIdString)
        self._inputs.post(
            CallReceived(
                called=called,
                caller=caller,
                sip_call_id=readable(self.sip_call_id),
                traceparent=traceparent,
            )
        )
        self._session: InviteSession | None = None
        self._answered_ns: int | None = None
        self._is_acknowledged = False
        self._is_given_up = False

    def consult(self, uri: str) -> CallLeg:
        """See `CallLeg.consult`."""
        return self._answering.consult(uri, self.sample_rate_hz, self._called)

    def ring(self) -> None:
        """Tell the caller that it rings: trunks watch for that (RFC 6076 §4.3)."""
        self._attempt("ring", lambda call: call.answer(response(_RINGING)))

    def answer(self, status: int = 200) -> None:
        """See `CallLeg.answer`."""
        if status >= _FINAL and self._answered_ns is None:
            self._answered_ns = time.monotonic_ns()
        self._attempt("answer", lambda call: call.answer(response(status)))

    def terminate(self, call: Call, status: int) -> None:
        """See `SipLeg`; before an answer it is a refusal, of status 603 if no other is given."""
        if self._is_given_up and self._session is not None:
            self._session.drop(_REQUEST_TIMEOUT)
        elif self._answered_ns is not None:
            super().terminate(call, status)
        else:
            code = status if status >= _REFUSAL else _DECLINE
            call.answer(response(code, self._host.options.retry_after_s))

    def check(self, now_ns: int) -> None:
        """See `SipLeg`; and see `agent.telephony.leg.is_unacknowledged`."""
        was_full = self._answering.was_full
        if self._is_acknowledged:
            super().check(now_ns)
        elif is_unacknowledged(self._answered_ns, now_ns, was_full=was_full):
            self._is_given_up = True
            if self._is_known():
                self._end(UNACKNOWLEDGED)
            else:
                self._report_end(by="network", status=_REQUEST_TIMEOUT, reason="the call is gone")
                self._host.forget(self)

    def _is_known(self) -> bool:
        """Whether the stack still has the call: of one that was cancelled it may tell no end."""
        try:
            info = self._call.getInfo() if self._call is not None else None
        except pjsua2.Error:
            return False
        return info is not None and str(info.callIdString) == self.sip_call_id

    def on_invite(self, transaction: int) -> None:
        """See `CallListener`: of the first, which makes the call."""
        self._session = self._session or InviteSession(transaction)

    def on_progress(self, info: Any) -> None:
        """The call is up, with its media, when our 200 OK is acknowledged."""
        if info.state == pjsua2.PJSIP_INV_STATE_CONFIRMED and not self._is_acknowledged:
            self._is_acknowledged = True
            self._inputs.post(CallAnswered())
            self.on_media(info)
            if _audio_in_use(info.media) is None:
                self._end(NOTHING_AGREED)

    def on_media(self, info: Any) -> None:
        """Before the ACK the caller may not have read our answer, and would not hear all of it."""
        if self._is_acknowledged:
            super().on_media(info)


class SipConsultLeg(SipLeg):
    """A call that we place on a caller's behalf: see `CallLeg.consult`."""

    them: Party = "network"

    def __init__(self, host: LegHost, account: Any, uri: str, rate_hz: int, called: str) -> None:
        """`account`: None where there is no place for one more call."""
        super().__init__(host, rate_hz)
        self._account = account
        self._uri = uri
        self._for_number = called

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """See `CallLeg.consult`. A URI that cannot be dialled ends the call with status 400."""
        super().start(on_input)
        if self._call is not None or self._is_over:
            return
        if self._account is None:
            self._give_up(_BUSY, "all places for calls are taken")
            return
        self._call = Call(self, self._account)
        parameters = response(0)
        header = pjsua2.SipHeader()
        header.hName, header.hValue = CALLED_HEADER, self._for_number
        parameters.txOption.headers.append(header)
        try:
            with self._host.operating():
                self._call.makeCall(as_dialled(self._uri, None), parameters)
                self.sip_call_id = str(self._call.getInfo().callIdString)
        except pjsua2.Error as error:
            self._call = None
            self._give_up(_BAD_REQUEST, f"cannot dial {self._uri!r}: {error.reason}")

    def _give_up(self, status: int, reason: str) -> None:
        self._report_end(by="agent", status=status, reason=reason)
        self._host.forget(self)

    def on_progress(self, info: Any) -> None:
        """Provisional responses, and the 200 OK."""
        if info.state == pjsua2.PJSIP_INV_STATE_EARLY:
            self._inputs.post(CallProgressed(status=info.lastStatusCode))
        elif info.state == pjsua2.PJSIP_INV_STATE_CONNECTING:
            self._inputs.post(CallAnswered(status=info.lastStatusCode))


def _audio_in_use(media: Any) -> Any | None:
    """The audio that was agreed upon (`CallMediaInfo`); a live one before one on hold."""
    for wanted in ((pjsua2.PJSUA_CALL_MEDIA_ACTIVE,), _ON_HOLD):
        for line in media:
            if line.type == pjsua2.PJMEDIA_TYPE_AUDIO and line.status in wanted:
                return line
    return None


def _is_ours(event: Any) -> bool:
    """Whether the stack ended a call by itself: a timer, a transport that failed, its own BYE.

    It says BYE unasked where a session was not refreshed (RFC 4028 §10), and where the other side
    knows of no such call (RFC 3261 §12.2.1.2); the call is then over with the answer to that.
    """
    if event.type != pjsua2.PJSIP_EVENT_TSX_STATE:
        return bool(event.type != pjsua2.PJSIP_EVENT_RX_MSG)
    moved = event.body.tsxState
    if moved.tsx.role == pjsua2.PJSIP_ROLE_UAC and moved.tsx.method == "BYE":
        return True
    return moved.type in (pjsua2.PJSIP_EVENT_TIMER, pjsua2.PJSIP_EVENT_TRANSPORT_ERROR)


def _tried(what: str, operation: Callable[[], object]) -> bool:
    """Run what the state of the call may not allow: that is logged, not raised."""
    try:
        operation()
    except pjsua2.Error as error:
        _log.warning("sip_operation_failed", operation=what, reason=error.reason)
        return False
    return True
