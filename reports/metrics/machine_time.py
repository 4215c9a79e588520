"""How much of a time the machine took: the host, or work that is not the agent's.

A time is made of parts, one after the other: the hops of a turn's way, or the stretches between the
marks that another time passes.

What is told of it (`machine_stalled`) are waits of single processes, and stalls of processors. A
wait lengthens a hop only if the hop's end had to wait for it: it is that of the process that ends
the hop, and the hop ended as soon as it was over. That much was **surely** taken. What else lay
within the time was taken **at most**: it may have passed beside it.

The agent's own time is in none of it: whoever tells of a wait has taken off what the agent ran
meanwhile (`simulator/lanes/sip/cpu_wait.py`). Nothing is sure that was told without a priority of
its own.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from callerside.clock import ms_to_ns, ns_to_ms
from callerside.marks import Mark
from callerside.reports.metrics.machine_stalls import each_stall
from callerside.reports.metrics.measurement import NOTHING_TAKEN, Taken
from callerside.reports.metrics.turn_path import LATENCY_PATH, PACKET_MS, TO_PLAYOUT, Hop

RESUMED_MS = 10.0
"""Within so long after a wait a process has ended a hop that waited for it: two looks."""

AGENT, CALLER, SERVER = "agent", "caller", "fake-realtime"
"""Processes, by the beginning of their names."""
_OWNERS = {"heard": AGENT, "appended": AGENT, "received": SERVER, "delta_received": AGENT}
"""Whose main thread a hop ends in. The packets are sent and stamped by threads that wait for
nobody, and kernels; and what the server takes for itself is its own delay, whatever it is."""
_OWNER_OF_HOP = {
    checkpoint.hop: _OWNERS[name] for name, checkpoint in LATENCY_PATH.items() if name in _OWNERS
}
_BY_ITSELF = "server"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a time: from the end of the one before it."""

    end_ns: int
    owner: str | None = None
    """Whose main thread ends it; None: nobody's, or nobody knows whose."""
    paced: bool = False
    """It has a length of its own, as a sound has: what the machine did long before its end is made
    up for by then."""
    aside: bool = False
    """It is the server's own delay, whatever that is made of."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What one mark tells."""

    start_ns: int
    end_ns: int
    """Between these it lay,"""
    length_ns: int
    """and so long it was."""
    process: str
    sure: bool

    def least_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of a time it took at least, wherever it lay."""
        outside_ns = max(0, start_ns - self.start_ns) + max(0, self.end_ns - end_ns)
        return max(0, self.length_ns - outside_ns)

    def most_ns(self, start_ns: int, end_ns: int) -> int:
        """The same at most."""
        within_ns = min(self.end_ns, end_ns) - max(self.start_ns, start_ns)
        return max(0, min(self.length_ns, within_ns))


class _InTime:
    """What was told, by when it lay: a busy machine tells thousands, and each packet asks."""

    def __init__(self, told: Iterable[_Told]) -> None:
        self._told = sorted(told, key=lambda one: one.end_ns)
        self._ends_ns = [one.end_ns for one in self._told]
        self._longest_ns = max((one.end_ns - one.start_ns for one in self._told), default=0)

    def within(self, start_ns: int, end_ns: int) -> list[_Told]:
        """Those that lay in a time, or partly in it: no other can have taken any of it."""
        first = bisect_right(self._ends_ns, start_ns)
        past = bisect_left(self._ends_ns, end_ns + self._longest_ns, first)
        return [one for one in self._told[first:past] if one.start_ns < end_ns]


class MachineTime:
    """What the machine took in a call.

    Args:
        marks: of the call; `machine_stalled` is what counts.
    """

    def __init__(self, marks: Iterable[Mark]) -> None:
        told = [(_told(mark), mark) for mark in each_stall(marks)]
        self._took_nothing = not told  # as in memory, where each packet asks as well
        self._waits = _InTime([one for one, _ in told if one.process])
        self._stalls = _InTime([one for one, _ in told if not one.process])
        self._of_all = _InTime(
            _of_all_processors([(one, mark) for one, mark in told if not one.process])
        )

    def of_hop(self, hop: Hop) -> Taken:
        """What was taken of one part of a turn's way."""
        is_aside = hop.party == _BY_ITSELF
        part = Part(hop.end_ns, _OWNER_OF_HOP.get(hop.name), aside=is_aside)
        return self._of(hop.start_ns, part)

    def of_time(self, start_ns: int, parts: Iterable[Part]) -> Taken:
        """What was taken of a time that begins then and has these parts, in any order."""
        taken = NOTHING_TAKEN
        for part in sorted(parts, key=lambda part: part.end_ns):
            if part.end_ns > start_ns:
                taken += self._of(start_ns, part)
                start_ns = part.end_ns
        return taken

    def of_sound(
        self, start_ns: int, parts: Sequence[Part], heard_ns: int, playout_ns: int | None = None
    ) -> Taken:
        """What was taken of the time until something sounds at the ear, or falls silent there.

        Args:
            start_ns: when the time begins.
            parts: up to where it was handed over to be played, or to be cut.
            heard_ns: when the ear heard that.
            playout_ns: when its first packet left, or the last one before it; None: not known.
        """
        parts = [part for part in parts if part.end_ns <= heard_ns]
        ready_ns = max((start_ns, *(part.end_ns for part in parts)))
        left_ns = ready_ns if playout_ns is None else min(max(playout_ns, ready_ns), heard_ns)
        before = self.of_time(start_ns, parts)
        before += Taken(0.0, self._of(ready_ns, Part(left_ns)).most_ms)
        gap_ms = PACKET_MS if playout_ns is None else ns_to_ms(left_ns - ready_ns)
        return _by_packets(before, gap_ms) + self._of(left_ns, Part(heard_ns))

    def of_spans(self, spans: Iterable[tuple[int, int]]) -> Taken:
        """What was taken at most of times of which nobody knows who ended them."""
        return Taken(
            0.0, sum(self._of(start_ns, Part(end_ns)).most_ms for start_ns, end_ns in spans)
        )

    def of_way(self, hops: Sequence[Hop]) -> Taken:
        """What was taken of the way of an answer, or of its end, up to the ear."""
        before, behind, gap_ms = NOTHING_TAKEN, NOTHING_TAKEN, 0.0
        for hop in hops:
            if hop.name == TO_PLAYOUT:
                gap_ms = hop.length_ms
                before += Taken(0.0, self.of_hop(hop).most_ms)
            elif hop.party == "telephone" and hop.name == LATENCY_PATH["ear"].hop:
                behind = self.of_hop(hop)
            else:
                before += self.of_hop(hop)
        return _by_packets(before, gap_ms) + behind

    def _of(self, start_ns: int, part: Part) -> Taken:
        end_ns = part.end_ns
        if self._took_nothing or part.aside or end_ns <= start_ns:
            return NOTHING_TAKEN
        last_ns = end_ns - ms_to_ns(RESUMED_MS)
        within = self._waits.within(start_ns, end_ns)
        waits = [one for one in within if _is_of(one.process, part.owner)]
        stalls = self._stalls.within(start_ns, end_ns)
        possible = [one for one in (*waits, *stalls) if not part.paced or one.end_ns >= last_ns]
        most_ns = sum(one.most_ns(start_ns, end_ns) for one in possible)
        of_all = self._of_all.within(start_ns, end_ns)
        sure = [one for one in (*waits, *of_all) if one.sure]
        least_ns = 0
        if part.owner is not None:
            ends_it = [one.least_ns(start_ns, end_ns) for one in sure if one.end_ns >= last_ns]
            # A stall of the machine is in the wait of a process, too: the longer one of them.
            least_ns = max(ends_it, default=0)
        most_ns = min(most_ns, end_ns - start_ns)
        return Taken(ns_to_ms(min(least_ns, most_ns)), ns_to_ms(most_ns))


def _by_packets(before: Taken, gap_ms: float) -> Taken:
    """What was late before the playout made that late by whole packets.

    The pace of those goes on whatever is ready, and it was ready so long before its packet left:
    what is ready later by less than that may be heard as late by a whole one.
    """
    if not before:
        return before
    gap_ms = min(gap_ms, PACKET_MS - 1e-3)
    return Taken(
        PACKET_MS * (before.least_ms // PACKET_MS),
        PACKET_MS * ((before.most_ms + gap_ms) // PACKET_MS),
    )


def _is_of(process: str, owner: str | None) -> bool:
    return owner is None or process.startswith(owner)


def _told(mark: Mark) -> _Told:
    fields = mark.fields
    length_ns = ms_to_ns(float(fields["late_ms"]))
    within_ns = max(length_ns, ms_to_ns(float(fields.get("within_ms") or 0.0)))
    return _Told(
        start_ns=mark.at_ns - within_ns,
        end_ns=mark.at_ns,
        length_ns=length_ns,
        process=str(fields.get("process") or ""),
        sure=bool(fields.get("sure")),
    )


def _of_all_processors(told: Sequence[tuple[_Told, Mark]]) -> list[_Told]:
    """When none of the processors did anything for us: whatever ran on one, it stood."""
    edges: list[tuple[int, int]] = []
    watched = 0
    for one, mark in told:
        if not one.sure:
            continue
        watched = max(watched, int(mark.fields.get("cpus") or 0))
        edges += [(one.end_ns - one.length_ns, 1), (one.end_ns, -1)]
    found, standing, since_ns = [], 0, 0
    for at_ns, change in sorted(edges):
        if change > 0 and standing + 1 == watched:
            since_ns = at_ns
        if change < 0 and standing == watched:
            found.append(_Told(since_ns, at_ns, at_ns - since_ns, "", sure=True))
        standing += change
    return [one for one in found if one.length_ns > 0]
