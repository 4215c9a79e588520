"""Ctrl-C before a command has begun its work: it ends without a word, as shells expect it to.

Loading a command takes a second or more, in which Python would raise `KeyboardInterrupt` in the
midst of an import, and some libraries make another error of that. This module imports next to
nothing, and so do the modules in which commands begin.
"""

import gc
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

EXIT_INTERRUPTED = 130
"""As shells have it for SIGINT: 128 and its number."""

Code = TypeVar("Code")


def begin(load: Callable[[], Callable[[], Code]]) -> Code | int:
    """Load a command, and run it; returns its exit code, or 130 after a Ctrl-C that it let through.

    For a process whose end is near when this returns.

    Where SIGINT is ignored, as in what a shell starts in the background, it stays so.

    Args:
        load: imports the command and returns it. Nothing is begun yet that needs an end.
    """
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_pythons:
        signal.signal(signal.SIGINT, _leave)
    try:
        command = _loaded(load)
        if is_pythons:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return command()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:  # Python takes a moment to end, too
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)


def _loaded(load: Callable[[], Callable[[], Code]]) -> Callable[[], Code]:
    """Load a command; nothing of what is loaded is garbage, and to look for some takes a tenth."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return load()
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)
