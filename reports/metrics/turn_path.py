"""The way of a turn: the instants that it passes, the hops between them, and whose they are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from callerside.reports.metrics.audible import NS_PER_MS

Party = Literal["telephone", "agent", "network", "server"]
"""Whose time a hop is. On one machine the network takes none: there it is the reader's lateness."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An instant that a turn's way passes, and the hop that ends there."""

    name: str
    hop: str
    party: Party


# In the order of the path. What comes after a point that is not known begins at the one before.
LATENCY_PATH = {
    "heard": Checkpoint("RTP received", "RTP to agent", "telephone"),
    "appended": Checkpoint("append", "agent to append", "agent"),
    "received": Checkpoint("the server's receipt", "append to server", "network"),
    "speech_stopped": Checkpoint("speech_stopped", "server hears the end (VAD)", "server"),
    "committed": Checkpoint("committed", "commit", "server"),
    "response_created": Checkpoint("response_created", "response created", "server"),
    "delta_sent": Checkpoint("first delta sent", "server thinks", "server"),
    "delta_received": Checkpoint("first delta", "delta to agent", "agent"),
    "playout_started": Checkpoint("playout", "delta to playout", "agent"),
    "lead_in": Checkpoint("the answer's own silence", "answer's leading silence", "server"),
    "ear": Checkpoint("ear", "playout to ear", "telephone"),
}

WAYS: Mapping[str, tuple[str, Party]] = {
    "received": ("way to the model", "server"),
    "delta_received": ("way back", "server"),
}
"""What of a hop is the way that the scenario asks for: it is no more the agent's than the think
time is, and stands before what is left of the hop."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One part of a turn's way."""

    name: str
    start_ns: int
    end_ns: int
    party: Party | None = None
    """Whose time it is; None where it is several parts in one, of different parties."""

    @property
    def length_ms(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / NS_PER_MS


PACKET_MS = 20.0
"""What leaves, leaves by packets of so long."""
TO_PLAYOUT = LATENCY_PATH["playout_started"].hop


def packet_wait_ms(hops: Iterable[Hop]) -> float:
    """How long an answer that was there waited for the next packet, of 0 to 20 ms.

    That is chance: where in a packet's time it came. What is longer than two packets is no such
    wait, but that for something else that was still being played.
    """
    lengths_ms = [hop.length_ms for hop in hops if hop.name == TO_PLAYOUT]
    return sum(ms % PACKET_MS for ms in lengths_ms if 0 < ms < 2 * PACKET_MS)


def hops_of(
    start_ns: int,
    instants: Mapping[str, int],
    end_ns: int,
    ways_ns: Mapping[str, int] | None = None,
) -> list[Hop]:
    """The parts of a way, in order; where an instant is unknown two parts are one.

    Args:
        start_ns: the packet with the last voiced sample left.
        instants: when the points of `LATENCY_PATH` were passed, as far as that is known.
        end_ns: the first voiced sample of the answer at the ear.
        ways_ns: what the scenario's way took of the hops that end there (`WAYS`).
    """
    hops, names = [], list(LATENCY_PATH)
    known = {**instants, names[-1]: end_ns}
    place, first = "mouth", 0
    for last, name in enumerate(names):
        if name not in known:
            continue
        parts = [LATENCY_PATH[part] for part in names[first : last + 1]]
        parties = {part.party for part in parts}
        if len(parts) == 1 and ways_ns and name in ways_ns:
            under_way_ns = start_ns + ways_ns[name]
            hops.append(Hop(WAYS[name][0], start_ns, under_way_ns, WAYS[name][1]))
            start_ns = under_way_ns
        hops.append(
            Hop(
                parts[0].hop if len(parts) == 1 else f"{place} to {parts[-1].name}",
                start_ns,
                known[name],
                parties.pop() if len(parties) == 1 else None,
            )
        )
        start_ns, place, first = known[name], parts[-1].name, last + 1
    return hops
