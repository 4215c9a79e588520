"""Placing the calls of a run over SIP: how many at once, in which order, and which ones once more.

Nothing is measured while a call is up: it would want the processors that the calls are measured on.
What was played is judged when all of it is over. Then a call is placed once more, alone and when
the machine keeps still, if what the machine did to it may be why it went wrong, or leaves its times
unmeasured (`runner.second_attempt`). The last attempt counts, and the one before is kept with it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import monotonic

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
    judges: Executor | None = None,
) -> str:
    """Play every call, `jobs` at once, each after its forerunner; then measure and judge them all.

    The longest calls begin, so that none of them is left at the end by itself. Callers of one
    scenario call together; where `jobs` is not enough for them, nobody else does.

    What is done is added to `done`, which in the end has the order of `planned_calls`. When this is
    cancelled, or a process dies, what was played until then is still judged.
    With `carries`, a call that has a place waits until the machine carries it.

    Args:
        planned_calls: the calls of a run.
        play: plays one.
        jobs: see above.
        progress: is told of each.
        done: see above.
        carries: see above.
        judges: the processes where calls are judged: of each, an outline of the evidence is kept
            then. By default one thread of this process does it, and keeps all.

    Returns:
        What held it back, in a line.

    Raises:
        ProcessError: a process died; nothing more can be played.
    """
    is_far = judges is not None
    judges = judges or ThreadPoolExecutor(1, "judge")
    run = _Run(play, progress, done, judges, outlines=is_far)
    try:
        try:
            held_back = await _played(planned_calls, run, jobs, carries)
        finally:
            await run.settle()
    finally:
        judges.shutdown(cancel_futures=True)
        place = {planned.name: index for index, planned in enumerate(planned_calls)}
        done.sort(key=lambda call: place.get(call.planned.name, -1))  # others were done before
    return held_back


async def _played(
    planned_calls: Sequence[PlannedCall], run: "_Run", jobs: int, carries: Carries | None
) -> str:
    """Play every call for the first time; answers what held it back."""
    held, begun_s, one_by_one = HeldBack(), monotonic(), asyncio.Lock()
    places = _Places(planned_calls, jobs, held)
    under_way = 0
    over = {planned.name: asyncio.Event() for planned in planned_calls}
    groups = Counter(planned.together for planned in planned_calls)
    dials = _Dials(groups)

    async def one(planned: PlannedCall) -> None:
        nonlocal under_way
        if planned.after:
            await over[planned.after].wait()
        await places.take(planned)
        try:
            async with one_by_one:
                with held.by_the_machine():
                    if groups[planned.together] == 1:  # callers of one scenario call as it says
                        await (carries or _carries_any)(lambda: under_way)
                under_way += 1
            try:
                await dials.wait(planned)
                run.is_over(await run.play(planned))
            finally:
                under_way -= 1
        finally:
            places.give_back(planned)
        over[planned.name].set()

    # Those who need many places at once go first, while all are free: nobody waits for them then.
    order = sorted(
        planned_calls,
        key=lambda planned: (-groups[planned.together], -expected_ms(planned.scenario)),
    )
    tasks = [asyncio.create_task(one(planned)) for planned in order]
    try:
        await asyncio.gather(*tasks)
        return held.sentence(jobs, begun_s)
    except BaseException:
        run.is_to_end = True
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carries_any(_under_way: Callable[[], int]) -> None:
    """A machine that has time for all of them."""


class _Run:
    """What was played so far, and what becomes of it."""

    def __init__(
        self,
        play: Play,
        progress: Progress,
        done: list[Evaluated],
        judges: Executor,
        *,
        outlines: bool,
    ) -> None:
        self.play = play
        self.is_to_end = False
        """Whether nothing more is to be played, or can be."""
        self._progress = progress
        self._done = done
        self._judges = judges
        self._outlines = outlines
        self._played: list[PlayedCall] = []

    def is_over(self, played: PlayedCall) -> None:
        """A call was played for the first time."""
        self._played.append(played)
        self._progress.played(played.planned.name, played.took_s)

    async def settle(self) -> None:
        """No call is up any more: judge them, and place those once more that are worth it.

        Raises:
            CancelledError: somebody wants this to end; what was played counts.
            ProcessError: see `play_all`; likewise.
        """
        again, wants_end = await outlast(asyncio.ensure_future(self._judged()))
        try:
            if wants_end:
                raise asyncio.CancelledError
            while again and not self.is_to_end:
                await self._once_more(*again.pop(0))
        finally:
            for played, call in again:
                self._finish(played, call)

    async def _judged(self) -> list[tuple[PlayedCall, Evaluated]]:
        """Judge all calls; answers those that are to be placed once more, forerunners first."""
        pending: list[tuple[PlayedCall, Evaluated]] = []

        async def one(played: PlayedCall) -> None:
            call = await self._judge(played)
            if is_worth_an_attempt(call) or (played.planned.after and call.verdict != "passed"):
                pending.append((played, call))
            else:
                self._finish(played, call)

        await asyncio.gather(*map(one, self._played))
        worth = {call.planned.name for _, call in pending if is_worth_an_attempt(call)}
        again = []
        for played, call in sorted(pending, key=lambda one: one[0].planned.after is not None):
            # What a forerunner's attempt has left counts as little as the attempt.
            if {played.planned.name, played.planned.after} & worth:
                again.append((played, call))
            else:
                self._finish(played, call)
        return again

    async def _once_more(self, played: PlayedCall, call: Evaluated) -> None:
        planned = played.planned
        self._progress.phase(planned.name, "is placed once more, alone")
        set_aside(played.directory, planned.attempt)
        try:
            last = await self.play(replace(planned, attempt=MOST_ATTEMPTS))
        except BaseException:  # what was played counts, then
            put_back(played.directory, planned.attempt)
            self._finish(played, call)
            raise
        call, is_to_end = await outlast(self._judge(last))
        self._finish(last, call)
        if is_to_end:
            raise asyncio.CancelledError

    def _judge(self, played: PlayedCall) -> "asyncio.Future[Evaluated]":
        return asyncio.get_running_loop().run_in_executor(
            self._judges, _judge, played, self._outlines
        )

    def _finish(self, played: PlayedCall, call: Evaluated) -> None:
        self._done.append(call)
        self._progress.finished(played.planned.name, call.called, call.sentence, played.took_s)


def _judge(played: PlayedCall, outlines: bool) -> Evaluated:
    """Measure and judge a call; the evidence need not go from one process to another."""
    call = evaluate(played, "sip")
    if call.result is None or not outlines:
        return call
    return replace(call, result=call.result.outline())


class _Dials:
    """One call is placed after the other; callers of one scenario call as it says."""

    def __init__(self, groups: Mapping[str, int]) -> None:
        self._groups = groups
        self._next_s = 0.0
        self._placed_s = float("-inf")

    async def wait(self, planned: PlannedCall) -> None:
        """Until it is to be placed."""
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
        if needed == 1:
            await self._take(1)
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
        given = 1
        if planned.together in self._left:
            self._left[planned.together] -= 1
            given = 0 if self._left[planned.together] else self._count
        for _ in range(given):
            self._free.release()

    async def _take(self, needed: int) -> None:
        async with self._taking:
            with self._held.by_places():
                for _ in range(needed):
                    await self._free.acquire()
