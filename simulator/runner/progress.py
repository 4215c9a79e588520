"""What a person sees while calls run: a live table on a terminal, plain lines anywhere else."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

# The extra `sim` has it, and what shows nothing does without.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

VERDICT_STYLE = {
    "played": "cyan",
    "passed": "green",
    "failed": "bold red",
    "known failure": "yellow",
    "flaky": "yellow",
    "not measured": "yellow",
    "error": "bold magenta",
}


class Progress(Protocol):
    """Gets what happens to each call."""

    def phase(self, call: str, phase: str) -> None:
        """A call has come to a new phase: dialing, greeting, reply 2, ..."""

    def played(self, call: str, took_s: float) -> None:
        """A call is over; it is judged when no other is up any more."""

    def finished(self, call: str, verdict: str, sentence: str, took_s: float) -> None:
        """A call is over and judged; `sentence` says why, if it did not pass."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""


class PlainProgress:
    """One line when a call is judged, and of many also when it is over: for logs and CI."""

    def __init__(self, console: "Console", total: int) -> None:
        self._console = console
        self._total = total
        self._played = self._done = 0

    def phase(self, call: str, phase: str) -> None:
        """See `Progress.phase`: a log does not want every phase."""

    def played(self, call: str, took_s: float) -> None:
        """See `Progress.played`: a log that says nothing for minutes looks like one that hangs."""
        self._played += 1
        if self._total > 1:
            self._console.print(_line(self._played, self._total, call, "played", "", took_s))

    def finished(self, call: str, verdict: str, sentence: str, took_s: float) -> None:
        """See `Progress.finished`."""
        self._done += 1
        self._console.print(_line(self._done, self._total, call, verdict, sentence, took_s))

    def __enter__(self) -> Self:
        """See `Progress.__enter__`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `Progress.__exit__`."""


class LiveProgress:
    """The phases of the calls under way, below the lines of those that are over."""

    def __init__(self, console: "Console", total: int) -> None:
        from rich.live import Live

        self._console = console
        self._total = total
        self._done = 0
        self._unjudged: set[str] = set()
        self._phases: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def phase(self, call: str, phase: str) -> None:
        """See `Progress.phase`; with the first there is something to be shown."""
        self._phases[call] = phase
        self._live.start()
        self._show()

    def played(self, call: str, took_s: float) -> None:  # noqa: ARG002 - as the protocol has it
        """See `Progress.played`."""
        self._phases.pop(call, None)
        self._unjudged.add(call)
        self._show()

    def finished(self, call: str, verdict: str, sentence: str, took_s: float) -> None:
        """See `Progress.finished`."""
        self._done += 1
        self._phases.pop(call, None)
        self._unjudged.discard(call)
        self._show()
        self.refresh()  # else the line is printed above what was shown before
        self._console.print(_line(self._done, self._total, call, verdict, sentence, took_s))

    def refresh(self) -> None:
        """Draw now, and not with the next frame."""
        self._live.refresh()

    def _show(self) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for call, phase in self._phases.items():
            table.add_row(Text("…", style="cyan"), Text(call), Text(phase, style="dim"))
        if self._unjudged:
            told = f"{len(self._unjudged)} of {self._total} are over; judged when no call is up"
            table.add_row(Text("…", style="cyan"), Text(told, style="dim"))
        self._live.update(table)

    def __enter__(self) -> Self:
        """See `Progress.__enter__`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `Progress.__exit__`."""
        self._live.stop()


def make_progress(console: "Console", total: int) -> Progress:
    """The one that fits where the output goes."""
    return LiveProgress(console, total) if console.is_terminal else PlainProgress(console, total)


def summary_table(
    rows: Sequence[tuple[str, str, Sequence[str]]], columns: Sequence[str]
) -> "Table":
    """The closing table: a row (call, verdict, cells) for each call, `columns` name the cells."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("call", no_wrap=True, min_width=max((len(row[0]) for row in rows), default=0))
    table.add_column("verdict")
    for column in columns:
        table.add_column(column, justify="right")
    for call, verdict, cells in rows:
        table.add_row(Text(call), Text(verdict, style=VERDICT_STYLE[verdict]), *cells)
    return table


def _line(done: int, total: int, call: str, verdict: str, sentence: str, took_s: float) -> "Text":
    from rich.text import Text

    width = len(str(total))
    return Text.assemble(
        (f"{done:>{width}}/{total}  ", "dim"),
        (f"{verdict:<6}", VERDICT_STYLE[verdict]),
        f"  {call}",
        (f"  {took_s:.1f} s", "dim"),
        f"  {sentence}" if sentence else "",
    )
