"""One call's inputs on their way to the loop: in order, from any thread, never dropped unseen.

What arrives comes on the loop's thread, what was played on the pacer's, and the call machine must
see both in one order: above all, every frame played before `clear` is told before the answer to it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable

import structlog

from callerside.agent.telephony.interface import (
    FRAME_MS,
    AudioReceived,
    DtmfReceived,
    FramePlayed,
    LegInput,
    TaggedSamples,
    joined,
)

_log = structlog.get_logger(__name__)

MAX_WAITING_MS = 5_000
"""Audio that may wait for a loop that is stuck; beyond it, the newest is dropped and counted."""

_MAX_WAITING = 2 * MAX_WAITING_MS // FRAME_MS  # a frame each way


class InputQueue:
    """A bounded queue into the loop; `post` may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.dropped_frames = 0
        """Frames of the other side's audio that a stuck loop has cost."""
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: deque[LegInput] = deque()
        self._on_input: Callable[[LegInput], None] | None = None
        self._wake_is_due = False
        self._owed: TaggedSamples = ()
        """What has left in frames that found no room."""

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """Deliver to `on_input` from now on: in the next turns of the loop, never in this call."""
        with self._lock:
            self._on_input = on_input
            wake = self._must_wake()
        if wake:
            self._wake()

    def post(self, item: LegInput) -> None:
        """Queue one input behind those that wait."""
        self._post(item, behind=0)

    def post_soon(self, item: LegInput) -> None:
        """The same for what may wait for the next input, but not for one after the next.

        A wake of the loop costs more than what is to be told: where packets come, they take it
        along.
        """
        self._post(item, behind=1)

    def deliver(self, newest: AudioReceived | DtmfReceived | None = None) -> None:
        """Deliver what waits and `newest` behind it, now.

        On the loop's thread, and not within a leg's method.
        """
        self._wake_is_due = False  # first: what is posted from here on may wake the loop once more
        if newest is not None:
            self._waiting.append(newest)
        if self._on_input is None:
            self._drop_what_is_too_much()
            return
        for _ in range(len(self._waiting)):  # what comes meanwhile is for the next time
            item = self._waiting.popleft()
            try:
                self._on_input(item)  # which may have been changed by the one before
            except Exception:  # one broken input must not silence the call
                _log.exception("sip_input_failed", input=type(item).__name__)

    def _drop_what_is_too_much(self) -> None:
        """Before anybody listens; see `_post`."""
        if len(self._waiting) > _MAX_WAITING and isinstance(self._waiting[-1], AudioReceived):
            self._waiting.pop()
            self.dropped_frames += 1

    def _post(self, item: LegInput, *, behind: int) -> None:
        """Wakes the loop where more wait than `behind`."""
        with self._lock:
            if len(self._waiting) < _MAX_WAITING or not isinstance(
                item, AudioReceived | FramePlayed
            ):
                self._waiting.append(self._with_owed(item) if self._owed else item)
            elif isinstance(item, FramePlayed):
                self._owed = joined(self._owed, item.played)
            else:
                self.dropped_frames += 1
            wake = len(self._waiting) > behind and self._must_wake()
        if wake:
            self._wake()

    def _with_owed(self, item: LegInput) -> LegInput:
        """What was played is counted even where its own input found no room."""
        if not isinstance(item, FramePlayed):
            return item
        owed, self._owed = self._owed, ()
        return FramePlayed(played=joined(owed, item.played), at_ns=item.at_ns)

    def _must_wake(self) -> bool:
        if self._wake_is_due or self._on_input is None or not self._waiting:
            return False
        self._wake_is_due = True
        return True

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.deliver)
        except RuntimeError:  # the loop is closed: the process is on its way out
            _log.debug("sip_input_after_loop")
