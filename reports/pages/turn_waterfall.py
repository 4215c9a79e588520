"""A turn's hops as a waterfall: one below the other, each where it lies in the turn."""

from dataclasses import dataclass

from callerside.reports.metrics.audible import NS_PER_MS
from callerside.reports.metrics.machine_time import MachineTime
from callerside.reports.metrics.measurement import Taken
from callerside.reports.metrics.turns import Turn
from callerside.reports.pages.axis import Axis, Span


@dataclass(frozen=True, slots=True)
class HopView:
    """One hop: its place in percent of the turn, and its length."""

    name: str
    party: str
    left: float
    width: float
    length_ms: float
    taken: Taken
    """What the machine took of it."""


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn, its hops to the turn's own scale, and the same on the call's axis."""

    turn: Turn
    hops: list[HopView]
    axis: list[Span]
    taken: Taken
    """What the machine took of the turn: playout goes by packets, so it is not the hops' sum."""

    @property
    def overhead_ms(self) -> float | None:
        """What agent and path added."""
        if self.turn.turn_ms is None or self.turn.own_ms is None:
            return None
        return self.turn.turn_ms - self.turn.own_ms


def turn_view(turn: Turn, axis: Axis, machine: MachineTime) -> TurnView:
    """The view of a turn; without an answer it has no hops."""
    hops = turn.hops
    instants = [instant for hop in hops for instant in (hop.start_ns, hop.end_ns)] or [0]
    first_ns, whole_ns = min(instants), max(1, max(instants) - min(instants))
    views, spans = [], []
    for row, hop in enumerate(hops):
        party = hop.party or "mixed"
        start_ns, end_ns = sorted((hop.start_ns, hop.end_ns))  # one may go back: docs/metrics.md
        views.append(
            HopView(
                name=hop.name,
                party=party,
                left=round(100 * (start_ns - first_ns) / whole_ns, 3),
                width=round(100 * (end_ns - start_ns) / whole_ns, 3),
                length_ms=(hop.end_ns - hop.start_ns) / NS_PER_MS,
                taken=machine.of_hop(hop),
            )
        )
        label = f"{hop.name}: {hop.length_ms:.1f} ms"
        spans.append(axis.span(start_ns, end_ns, label, party, row))
    return TurnView(turn, views, spans, machine.of_way(hops))
