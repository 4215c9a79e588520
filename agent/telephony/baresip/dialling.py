"""Placing calls with baresip: the answering side's code from the other end, and what callers do."""

import asyncio
import contextlib
from collections.abc import Mapping

from baresip import BaresipError, Call, RegistrationError, StackEvent, UserAgent

from callerside.agent.telephony.baresip.endpoint import BaresipStation, Refusal, fault
from callerside.agent.telephony.baresip.leg import BaresipLeg
from callerside.agent.telephony.baresip.media import RtpSocket
from callerside.agent.telephony.baresip.placing import BaresipPlacedLeg, Placing
from callerside.agent.telephony.baresip.stack import SWALLOWED
from callerside.agent.telephony.engine import (
    REGISTER_S,
    OutgoingCall,
    RegistrationFailedError,
)
from callerside.agent.telephony.errors import NoFreeCallError
from callerside.agent.telephony.interface import Party
from callerside.agent.telephony.offer_retry import OfferRetry
from callerside.agent.telephony.options import SipOptions, transport_for
from callerside.agent.telephony.sip_message import SipMessage

_OK = 200
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
        self.placing = Placing()
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
            told = self.stack.answer_of_registrar(told)
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

    def dialled(self, leg: BaresipPlacedLeg) -> None:
        """See `PlacedLegHost`."""
        if isinstance(leg, BaresipCallerLeg):
            self._waiting.discard(leg)
        self.add(leg)

    def on_new_message(self, sent: bool, message: SipMessage) -> None:
        """See `BaresipStation`."""
        self.placing.on_new_message(sent, message)

    def on_new_event(self, event: StackEvent) -> None:
        """See `BaresipStation`."""
        self.placing.on_new_event(event)

    def forget(self, leg: BaresipLeg) -> None:
        """See `LegHost`."""
        super().forget(leg)
        if isinstance(leg, BaresipCallerLeg):
            self._waiting.discard(leg)

    def refusal_of(self, message: SipMessage, source: str) -> Refusal | None:
        """See `Screen`: nobody calls us; who has vanished hears nothing."""
        if message.call_id in self.gone:
            return SWALLOWED
        leg = self.legs.get(message.call_id)
        if message.begins_call:
            return (480, "Temporarily Unavailable", "")
        if not message.status and message.method == "REFER" and isinstance(leg, BaresipCallerLeg):
            return None if leg.wish.lets_itself_be_transferred else (603, "Decline", "")
        faulty = None if message.status or leg is None else fault(message)
        return super().refusal_of(message, source) if faulty is None else faulty[0]

    async def close_stack(self) -> None:
        """Who has vanished stays so."""
        await self.stack.stop(without_a_word=bool(self.gone))


class BaresipCallerLeg(BaresipPlacedLeg):
    """An outgoing call: `telephony.interface.CallerLeg`."""

    us: Party = "caller"
    them: Party = "agent"

    def __init__(self, endpoint: BaresipDialler, wish: OutgoingCall) -> None:
        rate_hz = endpoint.options.sample_rate_hz
        assert rate_hz is not None  # noqa: S101 - a caller's audio has one rate
        super().__init__(endpoint, rate_hz, wish.on_left, wish.on_heard, wish.on_arrival)
        self.wish = wish
        self._endpoint = endpoint
        self._offers: OfferRetry | None = None
        self._one_offer = asyncio.Lock()

    async def who_dials(self, uri: str) -> tuple[UserAgent, Mapping[str, str]]:
        """See `BaresipPlacedLeg`: the caller's account, or anybody's."""
        options = self._stack.options
        codecs = options.codecs if self.wish.codec is None else (self.wish.codec,)
        over = transport_for(uri, options.account)
        agent = await self._stack.agent(self.wish.user, codecs, over)
        return agent, dict(options.account.headers if options.account else ())

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

    def release(self) -> None:
        """See `BaresipLeg`."""
        super().release()
        self.wish.on_released()

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
            wait_s = offers.own_wait_s()
            if wait_s is None:
                raise
            self._stack.loop.call_later(wait_s, self._try_offer)
