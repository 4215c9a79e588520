"""Calls that we place with baresip, from whichever end."""

from collections.abc import Callable, Mapping
from typing import Protocol

from baresip import BaresipError, Call, StackEvent, UserAgent
from baresip import Event as Told

from callerside.agent.telephony.baresip.leg import BaresipLeg, LegHost
from callerside.agent.telephony.engine import OnArrival, OnHeard, OnLeft
from callerside.agent.telephony.interface import CallAnswered, CallProgressed
from callerside.agent.telephony.leg import Ending
from callerside.agent.telephony.options import as_dialled
from callerside.agent.telephony.sip_message import SipMessage

_RINGING, _OK = 180, 200
_REFUSAL = 300
_BAD_REQUEST = 400
_TERMINATED = 487
_CHALLENGES = (401, 407)


class Placing:
    """What baresip tells of calls before they are legs, kept until they are."""

    def __init__(self) -> None:
        self._call_ids: dict[int, str] = {}
        """Of calls that are being placed, by baresip's handle."""
        self._early: dict[str, list[Callable[[BaresipPlacedLeg], None]]] = {}
        """What was told of them, by Call-ID."""

    def call_id_of(self, call: Call) -> str:
        """Of a call that has been placed."""
        return self._call_ids.pop(call.handle, "")

    def became(self, leg: "BaresipPlacedLeg") -> None:
        """It is a leg now: what was told of it already, it is told."""
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


class PlacedLegHost(LegHost, Protocol):
    """What a leg of a call that is placed needs of its endpoint."""

    placing: Placing

    def dialled(self, leg: "BaresipPlacedLeg") -> None:
        """It has a Call-ID now."""


class BaresipPlacedLeg(BaresipLeg):
    """A call that we place."""

    def __init__(
        self,
        host: PlacedLegHost,
        rate_hz: int,
        on_left: OnLeft | None = None,
        on_heard: OnHeard | None = None,
        on_arrival: OnArrival | None = None,
    ) -> None:
        super().__init__(host, rate_hz, on_left, on_heard, on_arrival)
        self._placed_by = host
        self._is_dialling = False
        self._behind_dialling: Callable[[], None] | None = None
        """An end that was asked for before there was a call to end."""
        self._behind_response: Callable[[], None] | None = None
        """One before there was anything to cancel (RFC 3261 §9.1): the stack would drop the call
        without a word, and the other side rings on."""
        self._responded = self._answered = False
        self._challenge: Ending | None = None
        """Who calls was asked for, and nothing has come since."""

    async def who_dials(self, uri: str) -> tuple[UserAgent, Mapping[str, str]]:
        """As whom `uri` is called, and what headers its INVITE has.

        Raises:
            BaresipError, ValueError: nobody can.
        """
        raise NotImplementedError

    def dial(self, uri: str) -> None:
        """Send the INVITE. A URI that cannot be dialled ends the call with status 400."""
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
        elif not self._responded:
            self._behind_response = self.hang_up
        elif not self._answered:
            self._end(Ending(by=self.us, status=_TERMINATED, reason="Request Terminated"), status)
        else:
            super().hang_up(status)

    def on_early_event(self, event: StackEvent) -> None:
        """One of before the bindings had a `Call`: it has not heard it, and goes by what it hears.

        One that has missed that it is up refuses to hold for good.
        """
        if self._call is not None:
            self._call._on_stack_event(event)  # noqa: SLF001 - they offer no other way
        self.on_event(event)

    async def _dial(self, uri: str) -> None:
        try:
            agent, headers = await self.who_dials(uri)
            account = self._stack.options.account
            call = await agent.dial(as_dialled(uri, account), dict(headers))
        except (BaresipError, ValueError) as error:
            self._give_up(_BAD_REQUEST, f"cannot dial {uri!r}: {error}")
            return
        call.call_id = self._placed_by.placing.call_id_of(call)
        self._adopt(call)
        self._placed_by.dialled(self)
        self._placed_by.placing.became(self)
        if self._behind_dialling is not None:
            self._behind_dialling()

    def _on_response(self, message: SipMessage) -> None:
        super()._on_response(message)
        if message.method != "INVITE" or self._is_up or self._answered:
            return
        self._responded = True
        self._take_response(message)
        behind, self._behind_response = self._behind_response, None
        if behind is not None and message.status < _REFUSAL:
            behind()

    def _on_closed(self, text: str) -> None:
        """Who has no answer to a challenge was refused: the stack would tell its own trouble."""
        self._ending = self._ending or self._challenge
        super()._on_closed(text)

    def _on_sent(self, message: SipMessage) -> None:
        super()._on_sent(message)
        if message.begins_call:  # again, and as whom
            self._challenge = None

    def _take_response(self, message: SipMessage) -> None:
        status = message.status
        self._challenge = None
        if _RINGING <= status < _OK:
            self._inputs.post(CallProgressed(status=status))
        elif _OK <= status < _REFUSAL:
            self._answered = True
            self._is_unmet |= self._theirs is None
            self._inputs.post(CallAnswered(status=status))
        elif status >= _REFUSAL:
            refused = Ending(by=self.them, status=status, reason=message.reason or "")
            if status in _CHALLENGES:
                self._challenge = refused
            else:
                self._ending = self._ending or refused

    def _give_up(self, status: int, reason: str) -> None:
        self._finish(by=self.us, status=status, reason=reason)
