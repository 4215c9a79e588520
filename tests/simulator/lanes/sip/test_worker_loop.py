"""The callers' process has the loop of processes that carry calls, which packets wake for less."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from callerside import event_loop
from callerside.simulator.lanes.sip import worker


class Callers:
    """Whose engine can be made once in a process."""

    async def run(self) -> None:
        """Nothing is played."""


@pytest.mark.parametrize(("arguments", "loop"), [([], "ours"), (["--relay"], "asyncio's")])
def test_it_has_that_loop(monkeypatch: pytest.MonkeyPatch, arguments: list[str], loop: str) -> None:
    """But where packets wait for their time: libuv's timers have whole milliseconds."""
    begun: list[str] = []

    def begins(which: str) -> Callable[[Coroutine[Any, Any, None]], None]:
        def run(work: Coroutine[Any, Any, None]) -> None:
            begun.append(which)
            work.close()

        return run

    monkeypatch.setattr(worker, "CallerProcess", lambda *_: Callers())
    monkeypatch.setattr(event_loop, "run", begins("ours"))
    monkeypatch.setattr(asyncio, "run", begins("asyncio's"))
    monkeypatch.setattr(sys, "argv", ["worker", *arguments])
    worker.main()
    assert begun == [loop]
