"""The end of a call: who wants it, and how long the last words may take.

A call that we end waits, for a bounded time, until the caller has heard what is still to be heard.
The leg's `HungUp` is then the last thing that the machine learns; that wait is bounded, too.
"""

from agent.effects import Finish, HangUp
from agent.inputs import Timer
from agent.leg import HungUp
from agent.link import Link
from agent.outbox import Outbox, StateChart
from agent.player import Player
from agent.settings import LimitSettings
from agent.states import Trigger

_HANG_UP_LIMIT_MS = 10_000
"""For the leg to tell `HungUp`. A BYE may take 32 s (RFC 3261 §17.1.2.2): nobody hears that."""


class Closing:
    """Hanging up, from the wish to the last mark."""

    def __init__(
        self, out: Outbox, chart: StateChart, player: Player, link: Link, limits: LimitSettings
    ) -> None:
        self._out = out
        self._chart = chart
        self._player = player
        self._link = link
        self._limits = limits
        self._wish: str | None = None
        self.hanging_up = False
        """We have hung up; nothing matters any more but the leg's last word."""

    @property
    def wanted(self) -> bool:
        """The call is to end as soon as the last word has been heard."""
        return self._wish is not None

    def after_last_word(self, reason: str) -> None:
        """End the call once everything that will be said has been heard."""
        if self._wish is None and not self.hanging_up:
            self._wish = reason
            self._out.set_timer(Timer.FAREWELL_LIMIT, self._limits.farewell_ms)

    def proceed(self, *, more_to_come: bool) -> None:
        """Hang up if it is wanted and nothing is left to be heard."""
        if self._wish is not None and not more_to_come and self._player.idle:
            self.now(self._wish)

    def farewell_limit(self) -> None:
        """The last words take too long."""
        self._out.mark("watchdog_fired", {"what": Timer.FAREWELL_LIMIT.value})
        self.now(self._wish or "farewell took too long")

    def now(self, reason: str, status: int = 200) -> None:
        """Hang up at once."""
        if self.hanging_up:
            return
        self.hanging_up = True
        self._link.close()
        self._out.cancel_all_timers()
        self._out.mark("hang_up_sent", {"reason": reason})
        self._out.add(HangUp(status=status))
        self._out.set_timer(Timer.HANG_UP_LIMIT, _HANG_UP_LIMIT_MS)

    def hung_up(self, event: HungUp) -> None:
        """The telephone's side is over, whoever ended it."""
        self._link.close()
        self._out.cancel_all_timers()
        fields = {"by": event.by, "status": event.status, "reason": event.reason}
        self._chart.move(Trigger.ENDED)
        self._out.mark("call_ended", fields)
        self._out.add(Finish())
