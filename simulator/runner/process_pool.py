"""Processes that compute for this one, each with a fresh interpreter of its own.

`multiprocessing` makes their command lines itself, and hands them the search path of this process:
with `python -m pytest` the working directory stands first there. What `callerside.child_processes`
says holds for them, too.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path

_SAFE_PATH = "PYTHONSAFEPATH"
_WARNINGS = "PYTHONWARNINGS"


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that import nothing from the working directory that is somewhere else as well."""
    with _working_directory_last():
        resource_tracker.ensure_running()  # a process, too, that would be started by the way
    return ProcessPoolExecutor(workers, mp_context=_Context(), initializer=_leave_it_to_the_run)


def _leave_it_to_the_run() -> None:
    """A Ctrl-C reaches every process of a terminal; only the one that leads the run answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Process(SpawnProcess):
    def start(self) -> None:
        """Start it; what it is given is read from this process while that lasts."""
        with _working_directory_last():
            super().start()


class _Context(SpawnContext):
    Process = _Process


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
