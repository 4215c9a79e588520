"""The thread that paces what is sent, for all calls of the process; without calls it sleeps.

A thread, for a loop that is busy must not make a caller's sound stutter; one, because a wake costs
more than a packet; and in a hurry (`callerside.host`), because a packet that comes late at the
other side makes its jitter buffer grow. What it sends waits in the calls' playout buffers. The
packets of one tick are made first, and then sent one right behind the other: whoever gets those of
several calls wakes once for all of them, and not for each.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.host import hurry

_log = structlog.get_logger(__name__)

_MOST_BEHIND_NS = 100 * NS_PER_MS
"""A pacer that could not run makes up for so much, and no more: a flood of old packets is of no use
to anybody. Of a longer time nothing is sent, and what is sent then stays on the clock: the other
side hears silence of that length, and what follows is no later than what came before."""
_BREATH_NS = NS_PER_MS
"""Between two rounds in any case: a thread that wants the lock back at once gets it, before all who
wait for it, and calls that cannot be sent in time would keep every other from coming and going."""
_STOP_S = 2.0
_PRIORITY = 10
"""Of 1 to 99: above everything ordinary, below what the kernel itself needs. A tick that comes late
makes the other side's jitter buffer grow by whole frames, and PJSIP's shrinks slowly or, by a
frame, never: every answer of the rest of the call is heard 20 ms later."""


class Paced(Protocol):
    """What sends. All of it is used on the pacer's thread, under its lock."""

    period_ns: int
    """Between one packet and the next; a multiple of 10 ms."""

    def make(self, at_ns: int) -> Callable[[], object] | None:
        """Make the packet that is due now; answers what sends it, if it is to be sent."""

    def pass_over(self, packets: int, at_ns: int) -> None:
        """The time of so many has passed: what waits goes on waiting.

        The last of them was due at `at_ns`.
        """


class Pacer:
    """Has each that was added make a packet in its period, and sends it.

    Args:
        lock: held meanwhile; whoever destroys what these use holds it, too.
        register: called once, on the thread, before all else.
    """

    def __init__(self, lock: threading.RLock, register: Callable[[], None]) -> None:
        self._lock = lock
        self._register = register
        self._due_ns: dict[Paced, int] = {}
        self._failed: set[Paced] = set()
        """Whose failure is logged already: a traceback takes longer than a packet has."""
        self._began_ns = 0
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def add(self, paced: Paced) -> None:
        """From the next tick on; all ticks lie on one grid, so that one wake serves all."""
        with self._lock:
            now_ns = time.monotonic_ns()
            if self._thread is None:
                self._began_ns = now_ns
                self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)
                self._thread.start()
            passed_ns = (now_ns - self._began_ns) % paced.period_ns
            self._due_ns[paced] = now_ns - passed_ns + paced.period_ns
        self._wake.set()

    def remove(self, paced: Paced) -> None:
        """Not again, once this has returned."""
        with self._lock:
            self._due_ns.pop(paced, None)
            self._failed.discard(paced)

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        self._register()
        hurry(_PRIORITY)
        while not self._stopping:
            wait_ns = self._send_what_is_due()
            if wait_ns is None:
                self._wake.wait()
                self._wake.clear()
            else:
                time.sleep(max(wait_ns, _BREATH_NS) / NS_PER_S)

    def _send_what_is_due(self) -> int | None:
        """Returns how long to wait for the next; None: until something is added."""
        with self._lock:
            now_ns = time.monotonic_ns()
            made: list[tuple[Paced, Callable[[], object]]] = []
            for paced, due_ns in tuple(self._due_ns.items()):
                if due_ns > now_ns:
                    continue
                behind_ns = now_ns - due_ns
                missed = behind_ns // paced.period_ns if behind_ns > _MOST_BEHIND_NS else 0
                try:
                    if missed:
                        paced.pass_over(missed, due_ns + (missed - 1) * paced.period_ns)
                    send = paced.make(now_ns)
                    if send is not None:
                        made.append((paced, send))
                except Exception:  # the other calls of this process must go on
                    self._tell_failure(paced)
                self._due_ns[paced] = due_ns + (missed + 1) * paced.period_ns
            for paced, send in made:
                try:
                    send()
                except Exception:
                    self._tell_failure(paced)
            if not self._due_ns:
                return None
            return min(self._due_ns.values()) - time.monotonic_ns()

    def _tell_failure(self, paced: Paced) -> None:
        """Within `except`."""
        if paced not in self._failed:
            self._failed.add(paced)
            _log.exception("sip_media_failed")
