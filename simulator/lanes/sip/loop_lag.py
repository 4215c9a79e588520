"""The harness's own lateness: how late the event loop of this process runs what is due.

A run on a machine that is too busy measures the machine. The caller process watches itself, and
the report marks a call whose measurements cannot be trusted instead of blaming the agent.
"""

import asyncio
import time

TICK_S = 0.01


class LagWatch:
    """Sleeps in short ticks and notes by how much each came late."""

    def __init__(self) -> None:
        self._windows: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin watching, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def begin(self, call: str) -> None:
        """From now on note the worst lag for this call."""
        self._windows[call] = 0.0

    def end(self, call: str) -> float:
        """The worst lag since `begin`, in milliseconds."""
        return self._windows.pop(call, 0.0)

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            late_ms = max(0.0, (time.monotonic() - due) * 1000)
            for call, worst_ms in self._windows.items():
                if late_ms > worst_ms:
                    self._windows[call] = late_ms
