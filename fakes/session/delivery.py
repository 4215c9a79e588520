"""The delivery of what a session sends to its client, which faults can block, double or shuffle."""

from collections import deque
from collections.abc import Callable

from msgspec import structs

from callerside.fakes.session.interface import (
    DropConnection,
    Effect,
    EmitMark,
    KeepSent,
    SendEvent,
    SendText,
)

_MOST_HELD = 2**17  # the longest reply in the shortest deltas, several times

Sent = SendEvent | SendText | EmitMark | KeepSent


class Delivery:
    """Passes on what is sent, and the marks that say when it was sent."""

    def __init__(self, deliver: Callable[[Effect], None]) -> None:
        self._deliver = deliver
        self._stalled = False
        self._keeps = False
        self._held: deque[Sent] = deque()
        self._lost = 0
        self._doubled = 0
        self._swap = False
        self._first: SendEvent | None = None

    def push(self, sent: Sent) -> None:
        """Send, now or when the connection works again."""
        if self._stalled:
            if len(self._held) >= _MOST_HELD:
                self._held.clear()
                self._keeps = False
                self._deliver(DropConnection())  # its client asks for ever more meanwhile
            elif self._keeps:
                self._held.append(sent)
        else:
            self._deliver(sent)

    def push_event(self, sent: SendEvent) -> None:
        """Send an event: the faults that concern single events apply."""
        if self._lost:
            self._lost -= 1
            return
        if self._swap and self._first is None:
            self._first = sent
            return
        self.push(sent)
        if self._doubled:
            self._doubled -= 1
            self.push(sent)
        if self._first is not None:
            first, self._first, self._swap = self._first, None, False
            self.push(first)

    def stall(self, *, keeps: bool) -> None:
        """Send nothing from now on; what comes meanwhile is kept for `release`, or lost."""
        self._stalled = True
        self._keeps = keeps

    def release(self, now_ns: int) -> None:
        """Send what has been kept, at once; marks say when it was really sent."""
        self._stalled = False
        while self._held:
            sent = self._held.popleft()
            if isinstance(sent, EmitMark):
                sent = EmitMark(structs.replace(sent.mark, at_ns=now_ns))
            self._deliver(sent)

    def double(self, events: int) -> None:
        """Send the next events twice."""
        self._doubled = events

    def lose(self, events: int) -> None:
        """Leave out the next events."""
        self._lost = events

    def swap(self) -> None:
        """Exchange the next two events."""
        self._swap = True
