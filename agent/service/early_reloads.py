"""Reloads that are asked for while the process starts: they wait until somebody can do them.

Imported first of all, and so imports next to nothing: until then SIGHUP ends the process.
"""

import signal

_asked: list[int] = []


def remember_reloads() -> None:
    """Let SIGHUP, which would end a process that is starting, wait until it is asked for here."""
    signal.signal(signal.SIGHUP, lambda number, _frame: _asked.append(number))


def reload_was_asked_for() -> bool:
    """Whether there was one since this was asked last."""
    was_asked_for = bool(_asked)
    _asked.clear()
    return was_asked_for
