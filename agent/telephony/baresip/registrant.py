"""Our place at a registrar, kept with baresip, and won back where baresip would not.

It tries again after half a minute, whatever it is told, and says nothing of a refresh that is never
answered: so what is granted is counted here, and asked for again.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable

import structlog
from baresip import BaresipError, Event, RegistrationError, StackEvent, UserAgent

from callerside.agent.telephony.baresip.stack import Stack
from callerside.agent.telephony.engine import OnRegistration
from callerside.agent.telephony.options import Registration
from callerside.agent.telephony.registration import (
    NO_ANSWER,
    STILL_KNOWN,
    RefusalRetry,
    granted_s,
    log_change,
)
from callerside.agent.telephony.sip_message import SipMessage

_log = structlog.get_logger(__name__)

_ANSWER_S = 10.0
"""For how long an answer is waited for."""
_LEAVE_S = 1.0
_OK = 200


class Registrant:
    """One place. `on_change` is told each change of it."""

    def __init__(
        self, stack: Stack, place: Registration, on_change: OnRegistration | None = None
    ) -> None:
        self.registered: bool | None = None
        """Whether the registrar knows us; None before its answer."""
        self._stack = stack
        self._place = place
        self._on_change = on_change
        self._refusals = RefusalRetry(place.retry_s)
        self._agent: UserAgent | None = None
        self._asking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Until we ask again, or until the registrar has forgotten us."""
        self._is_leaving = False

    async def open(self) -> None:
        """Ask for the place."""
        self._agent = await self._stack.registering_agent(self._place)
        self._agent.on(self._on_event)
        self._ask()

    async def leave(self) -> None:
        """Un-REGISTER (RFC 3261 §10.2.2)."""
        self._is_leaving = True
        self._stop_timer()
        if self._asking is not None:
            self._asking.cancel()
        if self._agent is not None and self.registered:
            with contextlib.suppress(BaresipError):
                await self._agent.unregister(timeout=_LEAVE_S)
            if self.registered:
                self._changed(False, NO_ANSWER, STILL_KNOWN)

    def on_message(self, message: SipMessage) -> None:
        """The registrar's answer has come; baresip tells it, too, but not what is granted."""
        if message.method == "REGISTER" and message.status == _OK and not self._is_leaving:
            self._stop_timer()
            self._set_timer(granted_s(message, self._place.expires_s), self._run_out)

    def _ask(self) -> None:
        if not self._is_leaving and (self._asking is None or self._asking.done()):
            self._asking = self._stack.loop.create_task(self._register())

    async def _register(self) -> None:
        assert self._agent is not None  # noqa: S101 - opened
        try:
            await self._agent.register(timeout=_ANSWER_S)
        except RegistrationError as error:
            if not error.status:  # else its event has told it
                self._changed(False, NO_ANSWER, str(error))

    def _run_out(self) -> None:
        self._changed(False, NO_ANSWER, "not refreshed in time")

    def _on_event(self, event: StackEvent) -> None:
        if event.event not in (Event.REGISTER_OK, Event.REGISTER_FAIL):
            return
        is_there = event.event is Event.REGISTER_OK
        told = event.text or ""
        if not is_there:
            told = self._stack.answer_of_registrar(told)
        code, _, reason = told.partition(" ")
        status = int(code) if code.isdecimal() else (_OK if is_there else 503)
        is_known = is_there and not self._is_leaving
        self._changed(is_known, status, reason if code.isdecimal() else told)

    def _changed(self, registered: bool, status: int, reason: str) -> None:
        self.registered = registered
        log_change(
            self._place,
            registered=registered,
            status=status,
            reason=reason,
            is_leaving=self._is_leaving,
        )
        if self._on_change is not None:
            self._on_change(registered, status, reason)
        if self._is_leaving:
            return
        refused_s = self._refusals.next_s(status, registered=registered)
        if refused_s is not None:
            _log.info("sip_registration_again", in_s=refused_s)
        if not registered:
            soon_s = random.uniform(self._place.retry_s, 2 * self._place.retry_s)
            self._stop_timer()
            self._set_timer(soon_s if refused_s is None else refused_s, self._ask)

    def _set_timer(self, wait_s: float, then: Callable[[], None]) -> None:
        self._timer = self._stack.loop.call_later(wait_s, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
