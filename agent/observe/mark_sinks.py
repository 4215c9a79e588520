"""Where marks go: to several places at once, none of which may hurt the call."""

from collections.abc import Callable, Sequence

import structlog

from callerside.marks import Mark, MarkSink

_log = structlog.get_logger(__name__)


class SafeSink:
    """A sink that gives up, with one line in the log, when its disk does: calls go on.

    Args:
        name: of what it writes.
        sink: raises OSError where the disk does not take a mark.
        on_lost: called once, when it gives up.
    """

    def __init__(
        self, name: str, sink: MarkSink, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self._name = name
        self._sink: MarkSink | None = sink
        self._on_lost = on_lost

    def __call__(self, mark: Mark) -> None:
        """Pass a mark on, until that fails."""
        if self._sink is None:
            return
        try:
            self._sink(mark)
        except OSError as error:
            self._give_up(error, call=mark.call)

    def close(self, close: Callable[[], None]) -> None:
        """The last marks of a call may not fit the disk, as those before; `close` raises OSError.

        What was given up is closed as well, for its handle.
        """
        try:
            close()
        except OSError as error:
            if self._sink is not None:
                self._give_up(error)

    def _give_up(self, error: OSError, **fields: str) -> None:
        _log.error("marks_lost", sink=self._name, error=str(error), **fields)
        self._sink = None
        self._on_lost()


def fan_out(sinks: Sequence[MarkSink]) -> MarkSink:
    """One sink that passes each mark of a call to all, in order.

    A bug in one of them hurts neither the others nor the call, whose end is a mark, too. It is told
    in the log, once for each sink: some marks come fifty times a second.
    """
    failed: set[int] = set()

    def mark(fact: Mark) -> None:
        for number, sink in enumerate(sinks):
            try:
                sink(fact)
            except (
                Exception
            ):  # whatever it is: nothing that only listens may keep a call from ending
                if number not in failed:
                    failed.add(number)
                    _log.exception("mark_failed", mark=fact.name, call=fact.call, sink=repr(sink))

    return mark
