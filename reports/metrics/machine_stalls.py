"""When the machine stood still during a call.

A `machine_stalled` mark is about one processor, or of one process that waited for it, so the same
stall is reported several times over. Here what overlaps is one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from callerside.clock import ms_to_ns
from callerside.marks import Mark
from callerside.reports.metrics.audible import NS_PER_MS

LEAST_MS = 3.0
"""Of one stall: what is shorter costs less than a frame's slack, and happens all the time."""
DISTORTS_MS = 10.0
"""Half a frame: what is shorter distorts nothing that is heard."""
BEFORE = "before"
"""The field of a mark that tells of others before its own, which are shorter than that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StallInterval:
    """A time in which something of the machine stood still all the while."""

    start_ns: int
    end_ns: int
    worst: Mark
    """The mark of who stood longest."""

    @property
    def worst_ms(self) -> float:
        """How long that was."""
        return _late_ms(self.worst)

    @property
    def length_ms(self) -> float:
        """From the first that stopped to the last that went on."""
        return (self.end_ns - self.start_ns) / NS_PER_MS


def each_stall(marks: Iterable[Mark]) -> Iterator[Mark]:
    """One `machine_stalled` mark a stall, also where one tells of several."""
    for mark in marks:
        if mark.name != "machine_stalled":
            continue
        for ago_ms, late_ms, within_ms in mark.fields.get(BEFORE, ()):
            own = {**mark.fields, "late_ms": late_ms, "within_ms": within_ms, BEFORE: ()}
            yield replace(mark, at_ns=mark.at_ns - ms_to_ns(ago_ms), fields=own)
        yield mark


def stall_intervals(marks: Iterable[Mark]) -> list[StallInterval]:
    """What `machine_stalled` marks report that bends anything, in order of time.

    Nothing overlaps.
    """
    found: list[StallInterval] = []
    stalls = (mark for mark in each_stall(marks) if _late_ms(mark) >= LEAST_MS)
    for mark in sorted(stalls, key=_start_ns):
        last = found[-1] if found else None
        if last is None or _start_ns(mark) > last.end_ns:
            found.append(StallInterval(start_ns=_start_ns(mark), end_ns=mark.at_ns, worst=mark))
        else:
            worst = max(last.worst, mark, key=_late_ms)
            end_ns = max(last.end_ns, mark.at_ns)
            found[-1] = StallInterval(start_ns=last.start_ns, end_ns=end_ns, worst=worst)
    return found


def _late_ms(mark: Mark) -> float:
    return float(mark.fields["late_ms"])


def _start_ns(mark: Mark) -> int:
    return mark.at_ns - round(_late_ms(mark) * NS_PER_MS)
