"""Where the command `fake-realtime` begins: it loads what it needs."""

from collections.abc import Callable

from callerside.interrupts import begin


def main() -> int | None:
    """The command; returns 130 after a Ctrl-C before it serves, and exits with any other code."""
    return begin(_load)


def _load() -> Callable[[], None]:
    from callerside.fakes.cli import main as command

    return command
