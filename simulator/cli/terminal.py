"""The terminal on which a command tells what goes on."""

import os
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from callerside.terminal import shown


class Terminal(Console):
    """What a run tells while it goes on; who reads may leave, as in `callerside run | head -1`."""

    def on_broken_pipe(self) -> None:
        """Go on without a word: what was begun is to be finished, and its report written."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As any console; of what is told nothing is a command to the terminal but our own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))
