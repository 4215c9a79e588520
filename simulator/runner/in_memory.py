"""Playing the calls of a run in memory: each is played, measured and judged in one go.

Nothing there waits for anything, so a call is nothing but work. Copies of this process share it,
one for each processor; a call's evidence then never leaves the process that played it.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from callerside.reports.pages import html
from callerside.reports.verdict.call_result import CallResult
from callerside.reports.verdict.results import RunInfo
from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall
from callerside.simulator.runner.evaluate import Evaluated, evaluate
from callerside.simulator.runner.outlast import outlast
from callerside.simulator.runner.plan import expected_ms
from callerside.simulator.runner.process_pool import copies, frozen, worth_copies
from callerside.simulator.runner.progress import Progress

Play = Callable[[PlannedCall], PlayedCall]
Chain = list[PlannedCall]
"""Calls that share a greeting's cache, in the order in which they are played."""


async def play_in_memory(
    planned_calls: Sequence[PlannedCall],
    play: Play,
    *,
    progress: Progress,
    done: list[Evaluated],
    pages_of: RunInfo | None = None,
) -> None:
    """Play, measure and judge every call, the longest first.

    What is done is added to `done`, which in the end has the order of `planned_calls`. When this is
    cancelled, what is being played is played to its end, and counts.

    Args:
        planned_calls: the calls of a run.
        play: plays one.
        progress: is told of each.
        done: see above.
        pages_of: the run, if only outlines of the evidence are to be kept; the pages of calls that
            did not pass are written at once, then.

    Raises:
        BrokenExecutor: a process that plays has died.
    """
    work = _Work(_chains(planned_calls), play, pages_of)
    try:
        if not await _by_copies(work, progress, done):
            await _here(work, progress, done)
    finally:
        place = {planned.name: index for index, planned in enumerate(planned_calls)}
        done.sort(key=lambda call: place.get(call.planned.name, -1))  # others were done before


async def _here(work: "_Work", progress: Progress, done: list[Evaluated]) -> None:
    """By this process alone."""
    with _few_full_collections():
        for planned in (one for chain in work.chains for one in chain):
            await asyncio.sleep(0)  # between two calls whoever wants the run to end is heard
            progress.phase(planned.name, "in memory")
            _finish(planned, work.result_of(planned), progress, done)


async def _by_copies(work: "_Work", progress: Progress, done: list[Evaluated]) -> bool:
    """By copies of this process, if there can be any: answers whether there are."""
    count = worth_copies(sum(map(len, work.chains)), pieces=len(work.chains))
    if count and work.pages_of is not None:
        html.prepare()  # a tenth of a second in each of them
    pool = copies(count, work.begin) if count else None
    if pool is None:
        return False
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(count + 1)  # one waits, so that no copy does

    async def played(number: int, chain: Chain) -> None:
        async with places:
            for planned in chain:
                progress.phase(planned.name, "in memory")
            results, _ = await outlast(loop.run_in_executor(pool, _results_of, number))
        for planned, result in zip(chain, results, strict=True):
            _finish(planned, result, progress, done)

    tasks = [asyncio.create_task(played(*one)) for one in enumerate(work.chains)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        pool.shutdown(cancel_futures=True)
    return True


def _finish(
    planned: PlannedCall, result: "_Result", progress: Progress, done: list[Evaluated]
) -> None:
    call = Evaluated(planned=planned, **result._asdict())
    done.append(call)
    progress.finished(planned.name, call.called, call.sentence, call.took_s)


def _chains(planned_calls: Sequence[PlannedCall]) -> list[Chain]:
    """The calls by the cache of greetings that they use, the longest first."""
    chains: dict[str, Chain] = {}
    for planned in planned_calls:
        chains.setdefault(planned.greeting_cache, []).append(planned)
    return sorted(
        chains.values(), key=lambda chain: -sum(expected_ms(one.scenario) for one in chain)
    )


class _Result(NamedTuple):
    """Of `Evaluated` what is not known before: so much goes from one process to another."""

    sentence: str
    took_s: float
    result: CallResult | None
    has_page: bool


class _Work(NamedTuple):
    """What is to be done, and how. A copy has it from the process that it is one of."""

    chains: list[Chain]
    play: Play
    pages_of: RunInfo | None

    def begin(self) -> None:
        """In a copy: this is the work that `_results_of` is asked for by numbers."""
        global _work
        _work = self
        gc.set_threshold(*_rare(gc.get_threshold()))

    def result_of(self, planned: PlannedCall) -> _Result:
        """Play and judge a call."""
        call = evaluate(self.play(planned), "virtual", self.pages_of)
        return _Result(call.sentence, call.took_s, call.result, call.has_page)


_work: _Work | None = None


def _results_of(number: int) -> list[_Result]:
    """In a copy: play and judge a chain."""
    assert _work is not None  # noqa: S101 - it began with it
    return [_work.result_of(planned) for planned in _work.chains[number]]


@contextmanager
def _few_full_collections() -> Iterator[None]:
    """Look through all that there is only now and then: nearly all of it stays until the report.

    A call in memory makes so many objects that the evidence of those before it was looked through
    at every eighth call; a tenth of a run's time went there.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_rare(before))
    try:
        with frozen():
            yield
    finally:
        gc.set_threshold(*before)


def _rare(threshold: tuple[int, int, int]) -> tuple[int, int, int]:
    young, middle, old = threshold
    return young, middle, 5 * old
