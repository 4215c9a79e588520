"""The terminal on which a command tells what goes on."""

import os

from rich.console import Console


class Terminal(Console):
    """What a run tells while it goes on; who reads may leave, as in `callerside run | head -1`."""

    def on_broken_pipe(self) -> None:
        """Go on without a word: what was begun is to be finished, and its report written."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
