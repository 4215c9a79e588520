"""Playing the stages of a run: how many at once, in which order, and which ones once more.

A call that fails on a machine that stood still is played again, under a name of its own: if its
times were late by no more than that explains, or if it went otherwise than scripted
(`runner.confidence`). The last attempt has the machine for itself, behind all calls that wait.
What is late even then is an error of the run; what goes otherwise even then is the agent's failure,
as is whatever fails on a machine that kept time, at once.
"""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace

from callerside.reports.verdict.results import RunInfo
from callerside.simulator.lanes.planned_call import Lane, Played, Stage
from callerside.simulator.runner.confidence import is_bent, is_unmeasured, not_vouched
from callerside.simulator.runner.evaluate import Evaluated, evaluate
from callerside.simulator.runner.plan import again_name
from callerside.simulator.runner.process_pool import process_pool
from callerside.simulator.runner.progress import Progress

MOST_ATTEMPTS = 5

_LOWEST_PRIORITY = 19
_WORTH_A_PROCESS = 10
"""Calls: starting a process takes about as long as measuring so many."""

Play = Callable[[Stage], Awaitable[Played]]


def with_attempts(stages: Sequence[Stage]) -> list[Stage]:
    """The stages and all further attempts at them, which a lane must know beforehand."""
    return [attempt(stage, number) for stage in stages for number in range(1, MOST_ATTEMPTS + 1)]


def attempt(stage: Stage, number: int) -> Stage:
    """The n-th attempt at a stage: the first one is the stage itself."""
    if number == 1:
        return stage
    name = again_name(stage.name, number - 1)
    own_cache = stage.greeting_cache == stage.name
    cache = name if own_cache else stage.greeting_cache
    return replace(
        stage,
        name=name,
        greeting_cache=cache,
        again=stage.name,
        alone=number == MOST_ATTEMPTS,
    )


async def play_all(
    stages: Sequence[Stage],
    play: Play,
    *,
    jobs: int,
    lane: Lane,
    progress: Progress,
    done: list[Evaluated],
    pages_of: RunInfo | None = None,
) -> None:
    """Play, measure and judge every stage: `jobs` at once, each after its forerunner.

    Callers of one scenario call together; where `jobs` is not enough for them, nobody else does.

    What is done is added to `done`, which in the end has the order of `stages`. With `pages_of`,
    the run, the calls' pages are written as well, while further calls are played.

    Raises:
        ProcessError: a process died; nothing more can be played.
    """
    places = _Places(stages, jobs)
    over = {stage.name: asyncio.Event() for stage in stages}
    loop = asyncio.get_running_loop()
    judge = _judge(lane, len(stages))

    async def one(stage: Stage) -> None:
        if stage.after:
            await over[stage.after].wait()
        for number in range(1, MOST_ATTEMPTS + 1):
            tried = attempt(stage, number)
            await places.take(tried)
            try:
                if number == 1 and lane == "sip":  # in memory nobody waits
                    await asyncio.sleep(stage.start_delay_ms / 1000)
                played = await play(tried)
            finally:
                places.give_back(tried)
            call = await loop.run_in_executor(judge, evaluate, played, lane, pages_of)
            if not is_bent(call):
                break
            progress.phase(stage.name, "once more: this machine stood still")
        else:
            call = not_vouched(call, MOST_ATTEMPTS) if is_unmeasured(call) else call
        done.append(call)
        over[stage.name].set()
        progress.finished(stage.name, call.verdict, call.sentence, played.took_s)

    # Those who need many places at once go first, while all are free: nobody waits for them then.
    groups = Counter(stage.together for stage in stages)
    order = sorted(stages, key=lambda stage: -groups[stage.together])
    tasks = [asyncio.create_task(one(stage)) for stage in order]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        judge.shutdown(cancel_futures=True)
        place = {name: index for index, name in enumerate(over)}
        done.sort(key=lambda call: place[call.stage.again or call.stage.name])


def _judge(lane: Lane, calls: int) -> Executor:
    """Who measures and judges what was played, one call after the other.

    Over SIP a thread that gives way to calls that are still going on. In memory a process of its
    own, for playing and measuring are both nothing but work; unless it would not pay.
    """
    if lane == "virtual" and calls >= _WORTH_A_PROCESS:
        return process_pool(1)
    return ThreadPoolExecutor(1, "judge", initializer=_give_way)


class _Places:
    """So many calls at once. Callers of one scenario call together: they get their places at once.

    One taker at a time waits for what it needs, so that no two scenarios hold half of theirs. A
    scenario with more callers than there are places has all places, until its last call is over.
    A further attempt needs one place; or all of them, where it is to be `alone`: as takers have
    their turns in order, that is when those who waited before it have had theirs.
    """

    def __init__(self, stages: Sequence[Stage], count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._taking = asyncio.Lock()
        self._groups = Counter(stage.together for stage in stages)
        self._count = count
        self._have_places: dict[str, asyncio.Event] = {}
        self._left: dict[str, int] = {}
        """Of the groups that have all places: how many of their calls are not over."""

    async def take(self, stage: Stage) -> None:
        """Wait for a place; the first time together with the other callers."""
        needed = self._groups[stage.together]
        if stage.again is not None or needed == 1:
            await self._take(self._count if stage.alone else 1)
        elif stage.together in self._have_places:
            await self._have_places[stage.together].wait()
        else:
            self._have_places[stage.together] = asyncio.Event()
            await self._take(min(needed, self._count))
            if needed > self._count:
                self._left[stage.together] = needed
            self._have_places[stage.together].set()

    def give_back(self, stage: Stage) -> None:
        """A call is over: others may have its place."""
        given = self._count if stage.alone else 1
        if stage.again is None and stage.together in self._left:
            self._left[stage.together] -= 1
            given = 0 if self._left[stage.together] else self._count
        for _ in range(given):
            self._free.release()

    async def _take(self, needed: int) -> None:
        async with self._taking:
            for _ in range(needed):
                await self._free.acquire()


def _give_way() -> None:
    """Measuring must not take time from calls that are still going on (Linux: by thread)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
