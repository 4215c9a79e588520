"""What all functions that a model may call have in common, wherever they run."""

import asyncio
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from callerside.agent.call.builtin_tools import Declaration

Result = TypeVar("Result")


class ToolError(Exception):
    """A function that cannot be offered to a model, or a module without one; says which and why."""


def failed(reason: str) -> tuple[bool, str]:
    """What a run that did not work returns (`Tool.run`)."""
    return False, json.dumps({"error": reason})


class CancelledError(Exception):
    """Nobody waits for the result any more."""


class Cancellation:
    """Whether somebody still waits for one run of a function. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._stop: Callable[[], object] | None = None

    def cancel(self) -> None:
        """Nobody does any more: what runs is stopped, if it can be."""
        with self._lock:  # what runs is not over before it has been told
            self._cancelled.set()
            if self._stop is not None:
                self._stop()
                self._stop = None

    @contextmanager
    def stopping(self, stop: Callable[[], object]) -> Iterator[None]:
        """Have `stop` called, in another thread, if it is cancelled meanwhile; never afterwards.

        It must wait for nothing.

        Raises:
            CancelledError: it has been cancelled already.
        """
        with self._lock:
            if self._cancelled.is_set():
                raise CancelledError("nobody waits for it any more")
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None

    def sleep(self, length_s: float) -> None:
        """Wait.

        Raises:
            CancelledError: it is cancelled, or has been.
        """
        if self._cancelled.wait(length_s):
            raise CancelledError("nobody waits for it any more")

    def run(self, work: Awaitable[Result]) -> Result:
        """`asyncio.run`, which is stopped when this is cancelled.

        Raises:
            CancelledError: it was.
        """

        async def stoppable() -> Result:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()

            def stop() -> None:
                if task is not None:
                    loop.call_soon_threadsafe(task.cancel)

            with self.stopping(stop):
                return await work

        try:
            return asyncio.run(stoppable())
        except (asyncio.CancelledError, CancelledError):
            if inspect.iscoroutine(work):
                work.close()  # it may not have begun
            raise CancelledError("nobody waits for it any more") from None


class Tool(Protocol):
    """One function. Many calls may run it at the same time, each in a thread of its own."""

    @property
    def declaration(self) -> Declaration:
        """What the model is told."""

    def run(
        self,
        arguments: Mapping[str, Any],
        keys: str = "",
        cancellation: Cancellation | None = None,
    ) -> tuple[bool, str]:
        """Call it; returns whether it worked, and the output for the model. Never raises.

        Args:
            arguments: the model's.
            keys: what the caller has pressed in the call.
            cancellation: whether somebody still waits for this run; None: somebody does.
        """
