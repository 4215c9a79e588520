"""The harness's own lateness: how late the event loop of this process runs what is due.

A run on a machine that is too busy measures the machine. The caller's process watches itself, and
the report marks a call whose measurements cannot be trusted instead of blaming the agent.

Told by the packets of its calls, which the kernel stamps when they come: fifty times a second and
call something is due, so that nothing has to wake the loop only to see how late it is.
"""

import time

from callerside.clock import NS_PER_MS


class LagWatch:
    """Notes how long after its arrival each packet was taken."""

    def __init__(self) -> None:
        self._worst_ms: dict[str, float] = {}
        """By call."""

    def begin(self, call: str) -> None:
        """From now on note the worst lag for this call."""
        self._worst_ms[call] = 0.0

    def end(self, call: str) -> float:
        """The worst lag since `begin`, in milliseconds."""
        return self._worst_ms.pop(call, 0.0)

    def arrived(self, at_ns: int) -> None:
        """A packet that is taken now came in then: all calls had to wait, not only its own."""
        late_ms = (time.monotonic_ns() - at_ns) / NS_PER_MS
        for call, worst_ms in self._worst_ms.items():
            if late_ms > worst_ms:
                self._worst_ms[call] = late_ms
