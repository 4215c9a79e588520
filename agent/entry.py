"""Where the command `callerside-agent` begins: it loads what it needs."""

import sys
from collections.abc import Callable

from callerside.interrupts import begin


def main() -> int:
    """The command; returns the exit code, 130 after a Ctrl-C before it serves."""
    return begin(_load)


def _load() -> Callable[[], int]:
    if sys.argv[1:2] == ["serve"]:  # loading takes time, and a reload may be asked for
        from callerside.agent.service.early_reloads import remember_reloads

        remember_reloads()
    from callerside.agent.cli import main as command

    return command
