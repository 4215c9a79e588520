"""Where the parts of the call machine put their effects while one input is handled.

The machine sets `now_ns` and an empty list of `effects`, hands the input to the parts that it
concerns, and returns what gathered.
"""

from typing import Any

from callerside.agent.call.events import CancelTimer, Effect, EmitMark, SendEvent, SetTimer, Timer
from callerside.clock import NS_PER_MS


class CallContext:
    """Effects in the order in which they are wanted."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.effects: list[Effect] = []
        self._timers: set[Timer] = set()
        self._events_sent = 0

    def add(self, effect: Effect) -> None:
        """Want an effect."""
        self.effects.append(effect)

    def mark(self, name: str, fields: dict[str, Any] | None = None, *, at_ns: int = 0) -> None:
        """Write a mark, as of now unless `at_ns` is given."""
        self.effects.append(EmitMark(name=name, at_ns=at_ns or self.now_ns, fields=fields or {}))

    def send(self, event: dict[str, Any]) -> str:
        """Send an event with an `event_id` of our own, by which an `error` can name it."""
        self._events_sent += 1
        event_id = f"agent_{self._events_sent}"
        self.effects.append(SendEvent(event={**event, "event_id": event_id}))
        return event_id

    def set_timer(self, timer: Timer, delay_ms: float) -> None:
        """Have `TimerFired` come after `delay_ms`."""
        self.set_timer_at(timer, self.now_ns + round(delay_ms * NS_PER_MS))

    def set_timer_at(self, timer: Timer, at_ns: int) -> None:
        """Be told `TimerFired` at `at_ns`."""
        self._timers.add(timer)
        self.effects.append(SetTimer(timer=timer, at_ns=at_ns))

    def is_running(self, timer: Timer) -> bool:
        """Whether a timer has been set and has not fired yet."""
        return timer in self._timers

    def cancel_timer(self, timer: Timer) -> None:
        """Call a timer off, if it is running."""
        if timer in self._timers:
            self._timers.remove(timer)
            self.effects.append(CancelTimer(timer=timer))

    def cancel_all_timers(self) -> None:
        """Call every timer off."""
        for timer in sorted(self._timers):
            self.cancel_timer(timer)

    def timer_fired(self, timer: Timer) -> bool:
        """Note that a timer fired; False if it was not running (it came too late)."""
        if timer not in self._timers:
            return False
        self._timers.remove(timer)
        return True
