"""Has the prompts made that calls may need, in the background of a process that takes calls.

Nobody shall have to remember `callerside-agent greet`: a caller for whom the API fails is told so
in words, not by a tone. It begins at start, and again with every reload, as other instructions are
other prompts. What could not be made is tried again for some hours, ever less often.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from callerside.agent.config.loader import Secrets
from callerside.agent.config.settings import Settings
from callerside.agent.prompts.prefetch import Outcome, warm

RETRY_S = (60, 300, 900, 3600, 3600, 3600)

_log = structlog.get_logger(__name__)

Make = Callable[[Settings, Secrets, Callable[[Outcome], None]], Awaitable[bool]]


class Warming:
    """One round of making prompts at a time, the newest settings' own."""

    def __init__(self, secrets: Secrets, make: Make = warm) -> None:
        self._secrets = secrets
        self._make = make
        self._task: asyncio.Task[None] | None = None

    def begin(self, settings: Settings) -> None:
        """Make what these settings want and the cache does not have."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        routes = [route for route in settings.routes if route.settings.greeting.warm_at_start]
        if routes:
            wanted = settings.model_copy(update={"routes": routes})
            self._task = asyncio.get_running_loop().create_task(self._until_made(wanted))

    async def stop(self) -> None:
        """Leave off; what is not made stays so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _until_made(self, settings: Settings) -> None:
        for wait_s in (*RETRY_S, 0):
            if await self._make(settings, self._secrets, _log_outcome):
                return
            if wait_s:
                await asyncio.sleep(wait_s)
        _log.warning("prompts_given_up", hint="callerside-agent greet makes them")


def _log_outcome(outcome: Outcome) -> None:
    wanted = outcome.wanted
    if outcome.problem is not None:
        _log.warning(
            "prompt_not_made", called=wanted.called, what=wanted.what, problem=outcome.problem
        )
    elif outcome.made_ms:
        _log.info(
            "prompt_ready", called=wanted.called, what=wanted.what, made_ms=round(outcome.made_ms)
        )
