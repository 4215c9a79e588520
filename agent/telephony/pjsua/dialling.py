"""Placing calls with PJSUA2: the answering side's code from the other end, and what callers do.

They dial, hold, vanish without a word, and let themselves be transferred.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pjsua2
import structlog

from callerside.agent.telephony.blackhole import SocketBlackhole
from callerside.agent.telephony.engine import (
    REGISTER_S,
    OutgoingCall,
    RegistrationFailedError,
)
from callerside.agent.telephony.errors import NoFreeCallError
from callerside.agent.telephony.interface import (
    CallAnswered,
    CallProgressed,
    Party,
    TransferRequested,
)
from callerside.agent.telephony.leg import Ending
from callerside.agent.telephony.offer_retry import OfferRetry
from callerside.agent.telephony.options import (
    SipOptions,
    Transport,
    as_dialled,
    transport_for,
)
from callerside.agent.telephony.pjsua.admission import PLACES, ClosingSockets
from callerside.agent.telephony.pjsua.call import Call, reported, response
from callerside.agent.telephony.pjsua.endpoint import SipEndpoint
from callerside.agent.telephony.pjsua.leg import SipLeg
from callerside.agent.telephony.pjsua.limits import CALLS_PER_PROCESS
from callerside.agent.telephony.pjsua.line import CallerAccount, transfer_worked
from callerside.agent.telephony.refer import ReferTap
from callerside.clock import NS_PER_MS

_log = structlog.get_logger(__name__)

_AUDIO_PORT = re.compile(r"^m=audio (\d+)", re.MULTILINE)

_PLACE_WAIT_MS = 10
_PLACE_TRIES = 300  # three seconds
_TOO_MANY = 70_010
"""`PJ_ETOOMANY`."""
_MOST_CLOSING = PLACES // 2
"""Of sockets: whoever needs one more than the table has ends the process."""

_TRANSFER_NS = 20 * NS_PER_MS
"""How often a caller who is to be transferred looks whether that has come."""

_GONE_MS = 90_000
"""How long a telephone that vanished stays gone: as long as one may wait for its ACK or its answer
to a BYE (64 s, RFC 3261: timers H and F), or for its RTP (60 s, `rtp_timeout_ms`), and more."""

_NO_REFER = (
    "pjsua2 sees a REFER on the wire alone, and cannot be transferred over TLS: let the caller's "
    "engine be baresip"
)

_OK = 200
_BAD_REQUEST = 400
_REQUEST_TERMINATED = 487
_REQUEST_PENDING = 491


class PjsuaDialler(SipEndpoint):
    """Places calls: `telephony.engine.DiallingEndpoint`. One in a process.

    Its legs have one rate of audio, whatever the codec: `options.sample_rate_hz` must say which.
    """

    def __init__(self, options: SipOptions) -> None:
        super().__init__(options)
        self._lines: dict[Transport, list[CallerAccount]] = {"udp": [], "tcp": [], "tls": []}
        self._holes: deque[SocketBlackhole] = deque()
        self._closing = ClosingSockets()
        self._registrant: _Registrant | None = None

    async def start(self) -> int:
        """See `DiallingEndpoint`."""
        port = await super().start()
        account = self.options.account
        if self._registrant is not None and account is not None:
            try:
                async with asyncio.timeout(REGISTER_S):
                    status, reason = await self._registrant.answered
            except TimeoutError:
                status, reason = 0, f"nothing came within {REGISTER_S} s"
            if status != _OK:
                await self.stop()
                raise RegistrationFailedError(account, f"{status or ''} {reason}".strip())
        return port

    def add_accounts(self) -> None:
        """The one that registers, where the caller's account is to; calls have lines."""
        account = self.options.account
        if account is not None and account.registration is not None:
            self._registrant = _Registrant(self)
            try:
                self._registrant.create(self.stack.caller_config(account))
            except pjsua2.Error as error:
                raise RegistrationFailedError(account, error.reason) from None

    def begin_goodbyes(self) -> None:
        """Un-REGISTER (RFC 3261 §10.2.2)."""
        if self._registrant is not None and self._registrant.is_known:
            with contextlib.suppress(pjsua2.Error):
                self._registrant.setRegistration(False)

    def goodbyes_done(self) -> bool:
        """Whether the registrar has forgotten us."""
        return self._registrant is None or not self._registrant.is_known

    def new_call(self, call: OutgoingCall) -> "SipCallerLeg":
        """See `DiallingEndpoint.new_call`."""
        if len(self.legs) >= self.options.max_calls:
            raise NoFreeCallError(len(self.legs))
        leg = SipCallerLeg(self, call)
        self.legs.append(leg)
        return leg

    @property
    def has_room(self) -> bool:
        """Whether the stack has a place for every leg, and for its sockets.

        A BYE that waits for its answer takes a place, and so do sockets for a while.
        """
        closing = self._closing.places(time.monotonic_ns())
        return self.places_taken <= CALLS_PER_PROCESS and closing <= _MOST_CLOSING

    def forget(self, leg: SipLeg) -> None:
        """See `LegHost`; its sockets are closed now."""
        super().forget(leg)
        self._closing.add(1, time.monotonic_ns())

    def _poll(self) -> None:
        """Transfers first: what the stack sees of them it declines."""
        self._take_transfers()
        super()._poll()

    def do_what_is_due(self, now_ns: int) -> None:
        """See `SipEndpoint`; what the stack has answered passes where transfers are taken."""
        self._take_transfers()
        super().do_what_is_due(now_ns)

    def _take_transfers(self) -> None:
        for leg in tuple(self.legs):
            if isinstance(leg, SipCallerLeg):
                leg.take_transfer()

    def lease_account(self, transport: Transport) -> CallerAccount:
        """A telephone line that no other call uses.

        Raises:
            pjsua2.Error: PJSUA has room for eight SIP ports: four lines of both kinds are too many.
        """
        free = self._lines[transport]
        return free.pop() if free else CallerAccount(self.stack, transport)

    def release_account(self, line: CallerAccount) -> None:
        """Give a line back; one that was cut is of no more use, and leads nowhere for long."""
        if line.hole is None:
            self._lines[line.transport].append(line)
            return
        line.close()
        self._holes.append(line.hole)
        self.call_later(_GONE_MS, self._close_oldest_hole)

    def drop_accounts(self) -> None:
        """See `SipEndpoint`."""
        if self._registrant is not None:
            self._registrant.shutdown()
            self._registrant = None
        for lines in self._lines.values():
            for line in lines:
                line.close()
            lines.clear()
        while self._holes:
            self._close_oldest_hole()

    def _close_oldest_hole(self) -> None:
        if self._holes:
            self._holes.popleft().close()


class _Registrant(pjsua2.Account):  # type: ignore[misc] # the bindings have no types
    """The caller's place at a registrar."""

    def __init__(self, endpoint: PjsuaDialler) -> None:
        super().__init__()
        self._endpoint = endpoint
        self.answered: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        """Status and reason of the first final answer."""
        self.is_known = False

    def onRegState(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """The registrar's answer."""
        with reported("onRegState"):
            self.is_known = bool(self.getInfo().regIsActive) and prm.expiration > 0
            if not self.answered.done():
                self.answered.set_result((prm.code, prm.reason))
            self._endpoint.note_rest()


class SipCallerLeg(SipLeg):
    """An outgoing call: `telephony.interface.CallerLeg`."""

    us: Party = "caller"
    them: Party = "agent"

    def __init__(self, endpoint: PjsuaDialler, call: OutgoingCall) -> None:
        rate_hz = endpoint.options.sample_rate_hz
        assert rate_hz is not None  # noqa: S101 - see `PjsuaDialler`
        super().__init__(
            endpoint,
            rate_hz,
            on_left=call.on_left,
            on_heard=call.on_heard,
            on_arrival=call.on_arrival,
        )
        self._endpoint = endpoint
        self._wish = call
        self._line: CallerAccount | None = None
        self._tap: ReferTap | None = None
        self._looked_ns = 0
        self._told_own_rtp = False
        self._offers: OfferRetry | None = None

    def dial(self, uri: str) -> None:
        """See `CallerLeg.dial`. A URI that cannot be dialled ends the call with status 400.

        Where what is left of earlier calls still takes their places in the stack, this one waits.
        """
        if self._is_over or self._call is not None:
            return
        over = transport_for(uri, self._endpoint.options.account)
        if self._wish.lets_itself_be_transferred and over == "tls":
            self._give_up(_BAD_REQUEST, _NO_REFER)
        else:
            self._dial_when_possible(uri, _PLACE_TRIES)

    def _dial_when_possible(self, uri: str, tries: int) -> None:
        if self._is_over:
            return
        if not tries or self._endpoint.has_room:
            try:
                self._place(uri)
            except pjsua2.Error as error:
                # A call that is over may still have its place, unseen, until it is looked at.
                if not tries or error.status != _TOO_MANY:
                    self._give_up(_BAD_REQUEST, f"cannot dial {uri!r}: {error.reason}")
                    return
                self._drop_line()
                self._call = None
            else:
                return
        again = partial(self._dial_when_possible, uri, tries - 1)
        self._endpoint.call_later(_PLACE_WAIT_MS, again)

    def _place(self, uri: str) -> None:
        """Place the call, on a line of its own.

        Raises:
            pjsua2.Error: it cannot be.
        """
        account = self._endpoint.options.account
        self._line = self._endpoint.lease_account(transport_for(uri, account))
        self._call = Call(self, self._line.account)
        parameters = response(0)
        if account is None:
            host = self._endpoint.options.listen_host
            parameters.txOption.localUri = f"sip:{self._wish.user}@{host}:{self._endpoint.port}"
        for name, value in account.headers if account else ():
            header = pjsua2.SipHeader()
            header.hName, header.hValue = name, value
            parameters.txOption.headers.append(header)
        if self._wish.lets_itself_be_transferred:
            self._tap = self._line.tap_port()
        with self._endpoint.operating():
            self._offer(lambda call: call.makeCall(as_dialled(uri, account), parameters))
            self.sip_call_id = str(self._call.getInfo().callIdString)
        if self._wish.lets_itself_be_transferred and self._tap is None:
            self._tap = self._line.tap_connection(self._call)

    def hang_up(self, status: int = 200) -> None:
        """See `CallLeg.hang_up`: BYE, or CANCEL before the answer."""
        if self._call is None and not self._is_over:
            self._give_up(_REQUEST_TERMINATED, "hung up before dialling")
        super().hang_up(status)

    def hold(self) -> None:
        """See `CallerLeg.hold`."""
        self._offers = OfferRetry(holding=True)
        self._try_offer()

    def resume(self) -> None:
        """See `CallerLeg.resume`."""
        self._offers = OfferRetry(holding=False)
        self._try_offer()

    def on_offer_refused(self, status: int) -> None:
        """See `SipLeg`; one that has met the other side's is made again."""
        if status == _REQUEST_PENDING and self._offers is not None:
            self._try_again(self._offers.wait_s())

    def _try_offer(self) -> None:
        if self._offers is not None:
            holding = self._offers.holding
            self._attempt("hold" if holding else "resume", lambda _: self._offer_now(holding))

    def _offer_now(self, holding: bool) -> None:
        """As often as another one, of our own, is in its way."""
        parameters = response(0)
        try:
            if holding:
                self._offer(lambda call: call.setHold(parameters))
            else:
                parameters.opt.flag = pjsua2.PJSUA_CALL_UNHOLD
                self._offer(lambda call: call.reinvite(parameters))
        except pjsua2.Error:
            if self._offers is None or not self._try_again(self._offers.own_wait_s()):
                raise

    def _try_again(self, wait_s: float | None) -> bool:
        """Make the offer once more, after a while; returns False if it has been tried enough."""
        if wait_s is None:
            return False
        self._endpoint.call_later(wait_s * 1000, self._try_offer)
        return True

    def vanish(self) -> None:
        """See `CallerLeg.vanish`: the line is cut first, so that the stack's BYE goes nowhere."""
        if self._is_over or self._line is None or self._call is None:
            return
        if self._stream is not None:
            self._stream.go_deaf()  # or the loop would wait at sockets that are not there any more
        self._line.cut(self._call)
        self._end(Ending(by=self.us, status=_OK, reason="vanished"))

    @property
    def due_ns(self) -> int | None:
        """See `SipLeg`; a transfer is seen beside the stack, which does not wake for it."""
        due_ns = super().due_ns
        if self._tap is None:
            return due_ns
        look_ns = self._looked_ns + _TRANSFER_NS
        return look_ns if due_ns is None else min(due_ns, look_ns)

    def take_transfer(self) -> None:
        """Be transferred, if the other side has asked for it: it worked."""
        self._looked_ns = time.monotonic_ns()
        uri = self._tap.take() if self._tap is not None else None
        if uri is not None:
            self._inputs.post(TransferRequested(uri=uri))
            self._attempt("tell of a transfer", lambda call: call.sendRequest(transfer_worked()))

    def release(self) -> Call | None:
        """See `SipLeg`; the line is free for another call."""
        self._drop_line()
        self._wish.on_released()
        return super().release()

    def _drop_line(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._tap = None
        if self._line is not None:
            self._endpoint.release_account(self._line)
            self._line = None

    def on_media(self, info: Any) -> None:
        """See `SipLeg`; the other side's RTP port is known now."""
        if self._call is not None:
            for media in info.media:
                if media.audioConfSlot != pjsua2.INVALID_ID:
                    stream = self._call.getStreamInfo(media.index)
                    self._wish.on_other_rtp(int(stream.remoteRtpAddress.rpartition(":")[2]))
        super().on_media(info)

    def on_local_sdp(self, sdp: str) -> None:
        """See `OutgoingCall.on_own_rtp`; the port stays the call's."""
        port = _AUDIO_PORT.search(sdp)
        if port is not None and not self._told_own_rtp:
            self._told_own_rtp = True
            self._wish.on_own_rtp(int(port[1]))

    def on_progress(self, info: Any) -> None:
        """Provisional responses, and the 200 OK as it comes in (it is acknowledged later)."""
        if info.state == pjsua2.PJSIP_INV_STATE_EARLY:
            self._inputs.post(CallProgressed(status=info.lastStatusCode))
        elif info.state == pjsua2.PJSIP_INV_STATE_CONNECTING:
            self._inputs.post(CallAnswered(status=info.lastStatusCode))

    def _offer(self, operation: Callable[[Call], object]) -> None:
        """Run what makes an SDP offer: PJSUA's choice of codecs is one for all its calls."""
        assert self._call is not None  # noqa: S101 - dialled
        if self._wish.codec is not None:
            self._endpoint.stack.choose_codecs((self._wish.codec,))
        try:
            operation(self._call)
        finally:
            if self._wish.codec is not None:
                self._endpoint.stack.choose_codecs(self._endpoint.options.codecs)

    def _give_up(self, status: int, reason: str) -> None:
        self._report_end(by="caller", status=status, reason=reason)
        self._endpoint.forget(self)
