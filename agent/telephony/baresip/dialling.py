"""Placing calls with baresip: the answering side's code from the other end, and what callers do."""

import asyncio
import contextlib
from collections.abc import Callable

from baresip import BaresipError, Call, RegistrationError, StackEvent, UserAgent
from baresip import Event as Told

from callerside.agent.telephony.baresip.endpoint import BaresipStation, Refusal
from callerside.agent.telephony.baresip.leg import BaresipLeg
from callerside.agent.telephony.baresip.media import RtpSocket
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
)
from callerside.agent.telephony.leg import Ending
from callerside.agent.telephony.offer_retry import OfferRetry
from callerside.agent.telephony.options import SipOptions, transport_for
from callerside.agent.telephony.sip_message import SipMessage

_RINGING, _OK = 180, 200
_REFUSAL = 300
_BAD_REQUEST = 400
_TERMINATED = 487
_CHALLENGES = (401, 407)
_STOP_S = 1.0
"""For how long `stop` waits for the un-REGISTER."""


class BaresipDialler(BaresipStation):
    """Places calls: `telephony.engine.DiallingEndpoint`. One in a process."""

    def __init__(self, options: SipOptions) -> None:
        super().__init__(options)
        self.gone: set[str] = set()
        """Call-IDs of those who left without a word."""
        self._waiting: set[BaresipCallerLeg] = set()
        """Who has not dialled yet, or is about to."""
        self._call_ids: dict[int, str] = {}
        """Of calls that are being placed, by baresip's handle."""
        self._early: dict[str, list[Callable[[BaresipCallerLeg], None]]] = {}
        """What was told of them before they were legs, by Call-ID."""
        self._registrant: UserAgent | None = None

    @property
    def active_calls(self) -> int:
        """See `Endpoint`."""
        return len(self.legs) + len(self._waiting)

    async def open_accounts(self) -> None:
        """The one that registers, where the caller's account is to."""
        account = self.options.account
        if account is None or account.registration is None:
            return
        self._registrant = await self.stack.registering_caller(account)
        try:
            await self._registrant.register(timeout=REGISTER_S)
        except RegistrationError as error:
            told = f"{error.status or ''} {error.reason or error}".strip()
            self._registrant = None
            raise RegistrationFailedError(account, told) from None

    async def say_goodbye(self) -> None:
        """Un-REGISTER (RFC 3261 §10.2.2)."""
        if self._registrant is not None:
            with contextlib.suppress(BaresipError):
                await self._registrant.unregister(timeout=_STOP_S)

    def new_call(self, call: OutgoingCall) -> "BaresipCallerLeg":
        """See `DiallingEndpoint.new_call`."""
        if self.active_calls >= self.options.max_calls:
            raise NoFreeCallError(self.active_calls)
        leg = BaresipCallerLeg(self, call)
        self._waiting.add(leg)
        return leg

    def call_id_of(self, call: Call) -> str:
        """Of a call that has been placed."""
        return self._call_ids.pop(call.handle, "")

    def dialled(self, leg: "BaresipCallerLeg") -> None:
        """It has a Call-ID now; what was told of it already, it is told."""
        self._waiting.discard(leg)
        self.add(leg)
        for tell in self._early.pop(leg.sip_call_id, ()):
            tell(leg)

    def on_new_message(self, sent: bool, message: SipMessage) -> None:
        """See `BaresipStation`."""
        if sent and message.begins_call:
            self._early.setdefault(message.call_id, [])
        if message.call_id in self._early:
            self._early[message.call_id].append(lambda leg: leg.on_message(sent, message))

    def on_new_event(self, event: StackEvent) -> None:
        """See `BaresipStation`."""
        if event.event is Told.CALL_OUTGOING:
            self._call_ids[event.call] = event.call_id or ""
            self._early.setdefault(event.call_id or "", [])
        if event.call_id in self._early:
            self._early[event.call_id].append(lambda leg: leg.on_early_event(event))

    def forget(self, leg: BaresipLeg) -> None:
        """See `LegHost`."""
        super().forget(leg)
        if isinstance(leg, BaresipCallerLeg):
            self._waiting.discard(leg)

    def refusal_of(self, message: SipMessage, source: str) -> Refusal | None:
        """See `Screen`: nobody calls us; who has vanished hears nothing."""
        if message.call_id in self.gone:
            return (0, "", "")
        leg = self.legs.get(message.call_id)
        if message.begins_call:
            return (480, "Temporarily Unavailable", "")
        if not message.status and message.method == "REFER" and isinstance(leg, BaresipCallerLeg):
            return None if leg.wish.lets_itself_be_transferred else (603, "Decline", "")
        return super().refusal_of(message, source)

    async def close_stack(self) -> None:
        """Who has vanished stays so."""
        await self.stack.stop(without_a_word=bool(self.gone))


class BaresipCallerLeg(BaresipLeg):
    """An outgoing call: `telephony.interface.CallerLeg`."""

    us: Party = "caller"
    them: Party = "agent"

    def __init__(self, endpoint: BaresipDialler, wish: OutgoingCall) -> None:
        rate_hz = endpoint.options.sample_rate_hz
        assert rate_hz is not None  # noqa: S101 - a caller's audio has one rate
        super().__init__(endpoint, rate_hz, wish.on_left, wish.on_heard, wish.on_arrival)
        self.wish = wish
        self._endpoint = endpoint
        self._is_dialling = False
        self._behind_dialling: Callable[[], None] | None = None
        """An end that was asked for before there was a call to end."""
        self._offers: OfferRetry | None = None
        self._one_offer = asyncio.Lock()
        self._answered = False

    def dial(self, uri: str) -> None:
        """See `CallerLeg.dial`. A URI that cannot be dialled ends the call with status 400."""
        if not self._is_over and not self._is_dialling:
            self._is_dialling = True
            self._stack.loop.create_task(self._dial(uri))

    def hang_up(self, status: int = 200) -> None:
        """See `CallLeg.hang_up`: BYE, or CANCEL before the answer."""
        if self._is_over:
            return
        if self._is_dialling and self._call is None:
            self._behind_dialling = self.hang_up
        elif self._call is None:
            self._give_up(_TERMINATED, "hung up before dialling")
        elif not self._answered:
            self._end(Ending(by=self.us, status=_TERMINATED, reason="Request Terminated"), status)
        else:
            super().hang_up(status)

    def hold(self) -> None:
        """See `CallerLeg.hold`."""
        self._offers = OfferRetry(holding=True)
        self._try_offer()

    def resume(self) -> None:
        """See `CallerLeg.resume`."""
        self._offers = OfferRetry(holding=False)
        self._try_offer()

    def vanish(self) -> None:
        """See `CallerLeg.vanish`: what comes for the call is not heard, and nothing is said."""
        if self._is_over:
            return
        if self._call is None:
            self._behind_dialling = self.vanish
            return
        self._endpoint.gone.add(self.sip_call_id)
        self._finish(by=self.us, status=_OK, reason="vanished")

    def on_early_event(self, event: StackEvent) -> None:
        """One of before the bindings had a `Call`: it has not heard it, and goes by what it hears.

        One that has missed that it is up refuses to hold for good.
        """
        if self._call is not None:
            self._call._on_stack_event(event)  # noqa: SLF001 - they offer no other way
        self.on_event(event)

    def release(self) -> None:
        """See `BaresipLeg`."""
        super().release()
        self.wish.on_released()

    async def _dial(self, uri: str) -> None:
        options = self._stack.options
        codecs = options.codecs if self.wish.codec is None else (self.wish.codec,)
        try:
            over = transport_for(uri, options.account)
            agent = await self._stack.agent(self.wish.user, codecs, over)
            call = await agent.dial(uri, dict(options.account.headers if options.account else ()))
        except (BaresipError, ValueError) as error:
            self._give_up(_BAD_REQUEST, f"cannot dial {uri!r}: {error}")
            return
        call.call_id = self._endpoint.call_id_of(call)
        self._adopt(call)
        self._endpoint.dialled(self)
        if self._behind_dialling is not None:
            self._behind_dialling()

    def _on_response(self, message: SipMessage) -> None:
        super()._on_response(message)
        if message.method != "INVITE" or self._is_up or self._answered:
            return
        status = message.status
        if _RINGING <= status < _OK:
            self._inputs.post(CallProgressed(status=status))
        elif _OK <= status < _REFUSAL:
            self._answered = True
            self._inputs.post(CallAnswered(status=status))
        elif status >= _REFUSAL and status not in _CHALLENGES:
            reason = message.reason or ""
            self._ending = self._ending or Ending(by=self.them, status=status, reason=reason)

    def _on_socket(self, own: RtpSocket) -> None:
        self.wish.on_own_rtp(own.port)
        super()._on_socket(own)

    def _agree(self) -> None:
        if self._theirs is not None:
            self.wish.on_other_rtp(self._theirs.port)
        super()._agree()

    def _on_request(self, message: SipMessage) -> None:
        super()._on_request(message)
        if message.method == "REFER" and self.wish.lets_itself_be_transferred:
            library = self._stack.library
            self._with_native(lambda native: library.notify_transfer(native, _OK, "OK"))

    def _try_offer(self) -> None:
        call, offers = self._call, self._offers
        if call is not None and offers is not None and not self._is_over:
            self._run("hold" if offers.holding else "resume", self._offered_now(call, offers))

    async def _offered_now(self, call: Call, offers: OfferRetry) -> None:
        """As often as another one is in its way; behind our own, for the bindings know it late."""
        try:
            async with self._one_offer:
                await (call.hold() if offers.holding else call.resume())
        except BaresipError:
            wait_s = offers.wait_s()
            if wait_s is None:
                raise
            self._stack.loop.call_later(wait_s, self._try_offer)

    def _give_up(self, status: int, reason: str) -> None:
        self._finish(by=self.us, status=status, reason=reason)
