"""The end of a call: who wants it, and how long the last words may take.

A call that we end waits, for a bounded time, until the caller has heard what is still to be heard;
then it is hung up, or transferred where that was wanted, and hung up if that fails. The leg's
`HungUp` is the last thing that the machine learns; the waits for it and for a transfer's outcome
are bounded, too.
"""

from collections.abc import Callable

from callerside.agent.call.api_session import ApiSession
from callerside.agent.call.context import CallContext
from callerside.agent.call.events import Finish, HangUp, Timer, Transfer
from callerside.agent.call.playout import Playout
from callerside.agent.call.responses import Purpose, Responses
from callerside.agent.call.states import StateChart, Trigger
from callerside.agent.config.settings import LimitSettings
from callerside.agent.telephony.interface import HungUp

_HANG_UP_LIMIT_MS = 10_000
"""For the leg to report `HungUp`. A BYE may take 32 s (RFC 3261 §17.1.2.2): nobody hears that."""
TRANSFER_LIMIT_MS = 30_000
"""For the outcome of a transfer: as long as a telephone rings."""


class Termination:
    """Hanging up, from the wish to the last mark."""

    def __init__(
        self,
        context: CallContext,
        chart: StateChart,
        playout: Playout,
        session: ApiSession,
        responses: Responses,
        limits: LimitSettings,
    ) -> None:
        self._context = context
        self._chart = chart
        self._playout = playout
        self._session = session
        self._responses = responses
        self._limits = limits
        self.on_over: Callable[[], None] = lambda: None
        """Called when the telephone's side is over."""
        self._wish: str | None = None
        self._transfer_to: str | None = None
        self.transferring = False
        """The caller is being sent elsewhere: whatever comes of it, the call ends."""
        self.goodbye_owed = False
        """The model was to take leave, and nothing of it has been heard yet."""
        self.hanging_up = False
        """We have hung up; nothing matters any more but the leg's last word."""

    @property
    def wanted(self) -> bool:
        """The call is to end as soon as the last word has been heard."""
        return self._wish is not None

    def after_last_word(self, reason: str, *, transfer_to: str | None = None) -> None:
        """End the call once everything that will be said has been heard."""
        if self._wish is None and not self.hanging_up:
            self._wish = reason
            self._transfer_to = transfer_to
            self._limit_last_words()

    def with_goodbye(self, reason: str) -> None:
        """End the call after the model has taken leave, if there is one to do so."""
        if self._wish is None:
            self.goodbye_owed = True
            if self._session.ready:
                self._responses.request(Purpose.GOODBYE, self._limits.goodbye_instructions)
        self.after_last_word(reason)

    def proceed(self, *, more_to_come: bool) -> None:
        """Hang up or transfer if it is wanted and nothing is left to be heard."""
        if self._wish is None or more_to_come or not self._playout.idle or self.transferring:
            return
        if self._transfer_to is None:
            self.now(self._wish)
            return
        self.transferring = True
        self._session.close()
        self._context.cancel_all_timers()
        self._context.add(Transfer(uri=self._transfer_to))
        self._context.mark("transfer_sent", {"uri": self._transfer_to})
        self._context.set_timer(Timer.TRANSFER_LIMIT, TRANSFER_LIMIT_MS)

    def transferred(self) -> None:
        """The caller is in good hands: our part is over."""
        self.now(self._wish or "transferred")

    def transfer_failed(self) -> None:
        """The caller is still here: hang up instead, once the last words have been heard."""
        self.transferring = False
        self._transfer_to = None
        self._context.cancel_timer(Timer.TRANSFER_LIMIT)
        self._limit_last_words()

    def limit_reached(self, timer: Timer) -> None:
        """A wait of the end's, or one that the call cannot outlive, is over."""
        self._context.mark("watchdog_fired", {"what": timer.value})
        self.now(self._wish or f"limit reached: {timer.value}")

    def now(self, reason: str, status: int = 200) -> None:
        """Hang up at once."""
        if self.hanging_up:
            return
        self.hanging_up = True
        self._playout.end()
        self._session.close()
        self._context.cancel_all_timers()
        self._context.mark("hang_up_sent", {"reason": reason})
        self._context.add(HangUp(status=status))
        self._context.set_timer(Timer.HANG_UP_LIMIT, _HANG_UP_LIMIT_MS)

    def hung_up(self, event: HungUp) -> None:
        """The telephone's side is over, whoever ended it."""
        self._playout.end()
        self._session.close()
        self._context.cancel_all_timers()
        self.on_over()
        fields = {"by": event.by, "status": event.status, "reason": event.reason}
        self._chart.move(Trigger.ENDED)
        self._context.mark("call_ended", fields)
        self._context.add(Finish())

    def wait_for_own_words(self) -> None:
        """What the model did not say, we say; it is only a matter of its being heard."""
        self._limit_last_words()

    def _limit_last_words(self) -> None:
        """What waits to be heard takes its time; only what comes beside it is limited."""
        limit_ms = self._playout.waiting_ms + self._limits.farewell_ms
        self._context.set_timer(Timer.FAREWELL_LIMIT, limit_ms)

    def never_hung_up(self) -> None:
        """The leg did not report the end of the call: do without."""
        self.hung_up(HungUp(by="agent", status=200, reason="the leg did not answer"))
