"""Placing the calls of a run over SIP: how many at once, in which order, and which ones once more.

A call is placed once more, when all others are over and the machine keeps still, if what the
machine did to it may be why it went wrong, or leaves its times unmeasured
(`runner.second_attempt`). The last attempt counts, and the one before is kept with it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

from callerside.host import give_way
from callerside.reports.evidence import ATTEMPT
from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall
from callerside.simulator.runner.evaluate import Evaluated, evaluate
from callerside.simulator.runner.held_back import Carries, HeldBack
from callerside.simulator.runner.outlast import outlast
from callerside.simulator.runner.plan import expected_ms
from callerside.simulator.runner.progress import Progress
from callerside.simulator.runner.second_attempt import is_worth_an_attempt

MOST_ATTEMPTS = 2

DIAL_GAP_S = 0.2
"""Between two calls over SIP: setting up a call is the most that it asks of a machine at once."""

_MOST_UNJUDGED = 4
"""Calls that are over and wait to be judged: more of them are no gain, for one is judged at a time,
and whoever wants the run to end would wait for them all."""
_LOWEST_PRIORITY = 19

Play = Callable[[PlannedCall], Awaitable[PlayedCall]]


def set_aside(directory: Path, attempt: int) -> None:
    """Make room in a call's directory for the next attempt: what is there gets a folder in it."""
    evidence = list(directory.iterdir())
    kept = directory / f"{ATTEMPT}{attempt}"
    kept.mkdir()
    for path in evidence:
        path.rename(kept / path.name)


def put_back(directory: Path, attempt: int) -> None:
    """The other way round; what the next attempt has left there so far is gone."""
    kept = directory / f"{ATTEMPT}{attempt}"
    for path in directory.iterdir():
        if path != kept:
            path.unlink()
    for path in list(kept.iterdir()):
        path.rename(directory / path.name)
    kept.rmdir()


async def play_all(
    planned_calls: Sequence[PlannedCall],
    play: Play,
    *,
    jobs: int,
    progress: Progress,
    done: list[Evaluated],
    carries: Carries | None = None,
) -> str:
    """Play, measure and judge every call: `jobs` at once, each after its forerunner.

    The longest calls begin, so that none of them is left at the end by itself. Callers of one
    scenario call together; where `jobs` is not enough for them, nobody else does.

    What is done is added to `done`, which in the end has the order of `planned_calls`. When this is
    cancelled, or a process dies, what was played until then is still judged.
    With `carries`, a call that has a place waits until the machine carries it. None is placed while
    as many as `_MOST_UNJUDGED` wait to be judged.

    Returns:
        What held it back, in a line.

    Raises:
        ProcessError: a process died; nothing more can be played.
    """
    held, begun_s, one_by_one = HeldBack(), monotonic(), asyncio.Lock()
    places = _Places(planned_calls, jobs, held)
    under_way = 0
    over = {planned.name: asyncio.Event() for planned in planned_calls}
    loop = asyncio.get_running_loop()
    judge, unjudged = _judge(), _Unjudged()
    groups = Counter(planned.together for planned in planned_calls)
    dials = _Dials(groups)

    async def one(planned: PlannedCall) -> None:
        if planned.after:
            await over[planned.after].wait()
        played = await placed(planned)
        call, is_to_end = await judged(played)
        if not is_to_end and is_worth_an_attempt(call):
            progress.phase(planned.name, "waits to be placed once more, alone")
            set_aside(played.directory, planned.attempt)
            try:
                played = await placed(replace(planned, attempt=MOST_ATTEMPTS))
            except asyncio.CancelledError:
                put_back(played.directory, planned.attempt)  # what was played counts, then
            else:
                call, _ = await judged(played)
        done.append(call)
        over[planned.name].set()
        progress.finished(planned.name, call.called, call.sentence, played.took_s)

    async def placed(tried: PlannedCall) -> PlayedCall:
        nonlocal under_way
        await places.take(tried)
        try:
            async with one_by_one:
                with held.by_the_machine():
                    if groups[tried.together] == 1:  # callers of one scenario call as it says
                        await unjudged.are_few()
                        await (carries or _carries_any)(lambda: under_way)
                under_way += 1
            try:
                await dials.wait(tried)
                return await play(tried)
            finally:
                under_way -= 1
        finally:
            places.give_back(tried)

    async def judged(played: PlayedCall) -> tuple[Evaluated, bool]:
        with unjudged.one_more():
            return await outlast(loop.run_in_executor(judge, evaluate, played, "sip"))

    # Those who need many places at once go first, while all are free: nobody waits for them then.
    order = sorted(
        planned_calls,
        key=lambda planned: (-groups[planned.together], -expected_ms(planned.scenario)),
    )
    tasks = [asyncio.create_task(one(planned)) for planned in order]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        judge.shutdown(cancel_futures=True)
        place = {name: index for index, name in enumerate(over)}
        done.sort(key=lambda call: place.get(call.planned.name, -1))  # others were done before
    return held.sentence(jobs, begun_s)


async def _carries_any(_under_way: Callable[[], int]) -> None:
    """A machine that has time for all of them."""


def _judge() -> ThreadPoolExecutor:
    """Who measures and judges what was played: it gives way to calls that are still going on."""
    return ThreadPoolExecutor(1, "judge", initializer=give_way, initargs=(_LOWEST_PRIORITY,))


class _Unjudged:
    """Counts the calls that are over and not judged."""

    def __init__(self) -> None:
        self._count = 0
        self._few = asyncio.Event()
        self._few.set()

    async def are_few(self) -> None:
        """Wait until one more call may be played."""
        await self._few.wait()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """While a call waits for its judge, and while that is at work."""
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    def _add(self, count: int) -> None:
        self._count += count
        if self._count < _MOST_UNJUDGED:
            self._few.set()
        else:
            self._few.clear()


class _Dials:
    """One call is placed after the other; callers of one scenario call as it says."""

    def __init__(self, groups: Mapping[str, int]) -> None:
        self._groups = groups
        self._next_s = 0.0
        self._placed_s = float("-inf")

    async def wait(self, planned: PlannedCall) -> None:
        """Until it is to be placed; a call that is alone does not wait."""
        if planned.attempt > 1:
            return
        if self._groups[planned.together] == 1:
            await self._gap()
        await asyncio.sleep(planned.start_delay_ms / 1000)

    async def _gap(self) -> None:
        loop = asyncio.get_running_loop()
        at_s = max(self._next_s, loop.time())
        self._next_s = at_s + DIAL_GAP_S
        await asyncio.sleep(at_s - loop.time())
        # The one before may have woken late; time alone ends this wait, and no event.
        while (left_s := self._placed_s + DIAL_GAP_S - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_s)
        self._placed_s = loop.time()


class _Places:
    """So many calls at once. Callers of one scenario call together: they get their places at once.

    One taker at a time waits for what it needs, so that no two scenarios hold half of theirs. A
    scenario with more callers than there are places has all places, until its last call is over.
    A further attempt needs all of them, for it is to be alone: as takers have their turns in order,
    that is when those who waited before it have had theirs.
    """

    def __init__(self, planned_calls: Sequence[PlannedCall], count: int, held: HeldBack) -> None:
        self._held = held
        self._free = asyncio.Semaphore(count)
        self._taking = asyncio.Lock()
        self._groups = Counter(planned.together for planned in planned_calls)
        self._count = count
        self._have_places: dict[str, asyncio.Event] = {}
        self._left: dict[str, int] = {}
        """Of the groups that have all places: how many of their calls are not over."""

    async def take(self, planned: PlannedCall) -> None:
        """Wait for a place; the first time together with the other callers."""
        needed = self._groups[planned.together]
        if planned.attempt > 1 or needed == 1:
            await self._take(self._count if planned.attempt > 1 else 1)
        elif planned.together in self._have_places:
            await self._have_places[planned.together].wait()
        else:
            self._have_places[planned.together] = asyncio.Event()
            await self._take(min(needed, self._count))
            if needed > self._count:
                self._left[planned.together] = needed
            self._have_places[planned.together].set()

    def give_back(self, planned: PlannedCall) -> None:
        """A call is over: others may have its place."""
        given = self._count if planned.attempt > 1 else 1
        if planned.attempt == 1 and planned.together in self._left:
            self._left[planned.together] -= 1
            given = 0 if self._left[planned.together] else self._count
        for _ in range(given):
            self._free.release()

    async def _take(self, needed: int) -> None:
        async with self._taking:
            with self._held.by_places():
                for _ in range(needed):
                    await self._free.acquire()
