"""Where the command `callerside-agent` begins: it loads what it needs."""

from collections.abc import Callable

from callerside.interrupts import begin


def main() -> int:
    """The command; returns the exit code, 130 after a Ctrl-C before it serves."""
    return begin(_load)


def _load() -> Callable[[], int]:
    from callerside.agent.cli import main as command

    return command
