"""Processes that compute for this one, with a fresh interpreter each, or as copies of this one.

`multiprocessing` makes their command lines itself, and hands them the search path of this process:
with `python -m pytest` the working directory stands first there. What `callerside.child_processes`
says holds for them, too.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.context import ForkContext, ForkProcess, SpawnContext, SpawnProcess
from pathlib import Path

from callerside.host import IS_LINUX, processors

_WORTH_COPIES = 10
"""Calls: fewer are over before as many copies would have begun."""
_MOST_COPIES = 8

_SAFE_PATH = "PYTHONSAFEPATH"
_OF_A_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WARNINGS = "PYTHONWARNINGS"


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that import nothing from the working directory that is somewhere else as well."""
    with _working_directory_last(), _signals_left_to_the_run():
        resource_tracker.ensure_running()  # a process, too, that would be started by the way
    return ProcessPoolExecutor(workers, mp_context=_Context(), initializer=_end_with_parent)


def worth_copies(calls: int, *, pieces: int | None = None) -> int:
    """How many copies should share so many calls; 0: they are over before copies have begun.

    Args:
        calls: to be judged, or played and judged.
        pieces: in how many they can be shared out; by default, each by itself.
    """
    count = min(len(processors()), _MOST_COPIES, calls if pieces is None else pieces)
    return count if calls >= _WORTH_COPIES and count > 1 else 0


def copies(workers: int, prepare: Callable[[], None] | None = None) -> ProcessPoolExecutor | None:
    """Processes that have all that this one has, and need to load nothing; there when this returns.

    None where there can be no copy: this process has another thread, which may hold a lock that
    nobody would give back in one, or the system is none of which it is known that it works.

    Args:
        workers: how many.
        prepare: called in each of them first, if anything is.
    """
    if not IS_LINUX or len([*Path("/proc/self/task").iterdir()]) > 1:
        return None
    with frozen():  # what is there is looked through by none of them: that would copy its memory
        pool = ProcessPoolExecutor(
            workers,
            mp_context=_CopyingContext(),
            initializer=_begin_copy,
            initargs=(prepare or _nothing,),
        )
        pool.submit(_nothing)  # with the first work all are copied, before the pool has its thread
    return pool


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """What is there now is not looked through for garbage meanwhile.

    Nor is it afterwards what a command had so from its start (`callerside.interrupts`): all modules
    would be looked through again and again while the report is written.
    """
    is_always = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not is_always:
            gc.unfreeze()


def _begin_copy(prepare: Callable[[], None]) -> None:
    _end_with_parent()
    prepare()


def _nothing() -> None:
    pass


def _end_with_parent() -> None:
    """Not to wait for ever for work of a process that was killed."""
    threading.Thread(target=_end_when_it_has, name="parent", daemon=True).start()


def _end_when_it_has() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


class _Copy(ForkProcess):
    def start(self) -> None:
        """Start it; see `_signals_left_to_the_run`."""
        with _signals_left_to_the_run():
            super().start()

    def terminate(self) -> None:
        """See `_Process.terminate`."""
        self.kill()


class _CopyingContext(ForkContext):
    Process = _Copy


class _Process(SpawnProcess):
    def start(self) -> None:
        """Start it; what it is given is read from this process while that lasts."""
        with _working_directory_last(), _signals_left_to_the_run():
            super().start()

    def terminate(self) -> None:
        """End it, as a pool does with the others when one of its processes has died."""
        self.kill()


class _Context(SpawnContext):
    Process = _Process


@contextlib.contextmanager
def _signals_left_to_the_run() -> Iterator[None]:
    """A process that begins now leaves it to this one when to end, from its first instruction on.

    A Ctrl-C, and what `timeout` sends, reaches every process of a group; only the one that leads
    the run answers. A mask of signals is inherited, where a handler would be set only when Python
    and what is to be computed have been loaded.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_A_GROUP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _working_directory_last() -> Iterator[None]:
    """Last, and not left out: what is to be computed may be defined there.

    Whoever cleans up behind us when a second Ctrl-C ends us at once does so without a word.
    """
    path, before = sys.path, {name: os.environ.get(name) for name in (_SAFE_PATH, _WARNINGS)}
    here = Path.cwd()
    os.environ[_SAFE_PATH] = "1"
    # The last one of them is the first that is asked.
    own = before[_WARNINGS]
    quiet = "ignore:resource_tracker"
    os.environ[_WARNINGS] = f"{own},{quiet}" if own else quiet
    sys.path = sorted(path, key=lambda entry: Path(entry).resolve() == here)
    try:
        yield
    finally:
        sys.path = path
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
