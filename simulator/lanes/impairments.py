"""What a bad network does to packets, decided from a seed: one model for both lanes.

The sip lane applies it to real RTP in a relay (`sip.rtp_relay`), the virtual lane to frames under
a virtual clock. It does no I/O and reads no clock: it gets when a packet was sent, and answers
when it arrives - never, once, or twice.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callerside.clock import NS_PER_MS, ms_to_ns
from callerside.simulator.scenario.network import Direction

REORDER_MS = 30
"""How long a reordered packet is held back: one that follows 20 ms later overtakes it."""

DUPLICATE_MS = 5
"""How long after the first the second copy of a packet arrives."""

_SOON_NS = 30 * NS_PER_MS
"""Packets that fare alike within this time of one another, neighbours, are reported as one."""
_MOST_STRUCK = 1000
"""So many are kept apart; from then on, each kind is counted to its latest."""


@dataclass(kw_only=True, slots=True)
class Struck:
    """Packets of one direction that the same thing befell, one soon after another."""

    what: str
    first_ns: int
    last_ns: int
    packets: int = 1

    def fields(self, direction: str) -> dict[str, object]:
        """Of its `impairment_applied` mark, which is at `first_ns`."""
        lasted_ms = (self.last_ns - self.first_ns) / NS_PER_MS
        return {
            "what": self.what,
            "at": direction,
            "packets": self.packets,
            "lasted_ms": round(lasted_ms, 3),
        }


class Impairer:
    """Decides the fate of each packet of one direction, in the order in which they are sent.

    Each effect draws once a packet from a generator of its own, so that changing one leaves the
    others' decisions as they were: adding jitter to a run does not lose other packets.
    """

    def __init__(self, direction: Direction, rng: random.Random) -> None:
        self._settings = direction
        self._draws = {what: random.Random(rng.getrandbits(64)) for what in _EFFECTS}
        self._struck: list[Struck] = []
        self._latest: dict[str, Struck] = {}
        self._first_ns: int | None = None
        self._latest_ns = 0
        self._in_burst = False

    @property
    def struck(self) -> Sequence[Struck]:
        """What befell the packets so far, and when: what `impairment_applied` reports."""
        return tuple(self._struck)

    def arrivals(self, sent_ns: int) -> tuple[int, ...]:
        """When the packet sent at `sent_ns` arrives: at no time, once, or twice."""
        if self._first_ns is None:
            self._first_ns = sent_ns
        draw = {what: rng.random() for what, rng in self._draws.items()}
        fate = self._fate(sent_ns, draw)
        if fate is not None:
            self._note(fate, sent_ns)
            return ()
        return self._delivered(sent_ns, draw)

    def queue_full(self, sent_ns: int) -> None:
        """Note that a packet did not find room where packets wait for their time of arrival."""
        self._note("queue_full", sent_ns)

    def _fate(self, sent_ns: int, draw: Mapping[str, float]) -> str | None:
        """What loses the packet, if anything does."""
        self._step_burst(draw["burst_loss"])
        if self._is_dead(sent_ns):
            return "dead"
        if self._in_burst:
            return "burst_loss"
        return "loss" if draw["loss"] < self._settings.loss else None

    def _delivered(self, sent_ns: int, draw: Mapping[str, float]) -> tuple[int, ...]:
        late_ms = self._settings.delay + draw["jitter"] * self._settings.jitter
        arrival_ns = sent_ns + ms_to_ns(late_ms)
        if late_ms:
            self._note("delay", sent_ns)
        held_ms = self._held_ms(sent_ns)
        if held_ms:
            self._note("stalled", sent_ns)
            arrival_ns = max(arrival_ns, sent_ns + ms_to_ns(held_ms))
        if draw["reorder"] < self._settings.reorder:
            self._note("reorder", sent_ns)
            arrival_ns += REORDER_MS * NS_PER_MS
        else:
            arrival_ns = self._latest_ns = max(arrival_ns, self._latest_ns)
        if draw["duplicate"] < self._settings.duplicate:
            self._note("duplicate", sent_ns)
            return arrival_ns, arrival_ns + DUPLICATE_MS * NS_PER_MS
        return (arrival_ns,)

    def _note(self, what: str, sent_ns: int) -> None:
        latest = self._latest.get(what)
        full = len(self._struck) >= _MOST_STRUCK
        if latest is not None and (full or sent_ns - latest.last_ns <= _SOON_NS):
            latest.last_ns = sent_ns
            latest.packets += 1
        else:
            self._latest[what] = Struck(what=what, first_ns=sent_ns, last_ns=sent_ns)
            self._struck.append(self._latest[what])

    def _is_dead(self, sent_ns: int) -> bool:
        since_ms = self._since_first_ms(sent_ns)
        return any(begin <= since_ms < end for begin, end in self._settings.dead)

    def _held_ms(self, sent_ns: int) -> float:
        """For how long what is sent now is held back; 0: it is not."""
        since_ms = self._since_first_ms(sent_ns)
        held = (end - since_ms for begin, end in self._settings.stalled if begin <= since_ms < end)
        return max(held, default=0.0)

    def _since_first_ms(self, sent_ns: int) -> float:
        assert self._first_ns is not None  # noqa: S101 - `arrivals` has set it
        return (sent_ns - self._first_ns) / NS_PER_MS

    def _step_burst(self, draw: float) -> None:
        """One step of the two-state chain (Gilbert 1960, Elliott 1963)."""
        settings = self._settings
        leave = 1 / settings.burst_packets if self._in_burst else settings.enter_burst
        self._in_burst ^= draw < leave


_EFFECTS = ("burst_loss", "loss", "jitter", "reorder", "duplicate")
