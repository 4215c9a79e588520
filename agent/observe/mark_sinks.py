"""Where marks go: to several places at once, none of which may hurt the call."""

from collections.abc import Sequence

import structlog

from callerside.marks import Mark, MarkSink

_log = structlog.get_logger(__name__)


class SafeSink:
    """A sink that gives up, with one line in the log, when its disk does: calls go on."""

    def __init__(self, name: str, sink: MarkSink) -> None:
        self._name = name
        self._sink: MarkSink | None = sink

    def __call__(self, mark: Mark) -> None:
        """Pass a mark on, until that fails."""
        if self._sink is None:
            return
        try:
            self._sink(mark)
        except OSError as error:
            _log.error("marks_lost", sink=self._name, call=mark.call, error=str(error))
            self._sink = None


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
