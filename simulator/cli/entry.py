"""Where the command `callerside` begins: it loads what it needs."""

import os
import sys
from collections.abc import Callable

from callerside.child_processes import ONE_THREAD
from callerside.host import keep_freed_memory
from callerside.interrupts import begin


def main() -> int:
    """The command; returns the exit code, 130 after a Ctrl-C."""
    os.environ.setdefault(ONE_THREAD, "1")  # before anything imports numpy
    keep_freed_memory()  # a seventh of the time of measuring
    return begin(_load)


def _load() -> Callable[[], int]:
    from callerside.simulator.cli import main as command

    command.load(sys.argv[1:])
    return command.main
