"""What a bad network does to packets, decided from a seed: one model for both lanes.

The sip lane applies it to real RTP in a relay (`simulator.relay`), the virtual lane to frames under
a virtual clock. It does no I/O and reads no clock: it is told when a packet was sent, and answers
when it arrives - never, once, or twice.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from agent.clock import NS_PER_MS, ms_to_ns

REORDER_MS = 30
"""How long a reordered packet is held back: one that follows 20 ms later overtakes it."""

DUPLICATE_MS = 5
"""How long after the first the second copy of a packet arrives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Impairment:
    """One direction of a network. Shares are of packets, from 0 to 1.

    Raises:
        ValueError: a value is out of its range; the message names it.
    """

    loss: float = 0.0
    """Lost independently of one another."""
    burst_loss: float = 0.0
    """Lost in bursts (Gilbert-Elliott: a good state that loses none, a bad one that loses all)."""
    burst_packets: float = 5.0
    """The mean length of such a burst."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Added to the delay: evenly from 0 to this much, in order, as a queue would."""
    reorder: float = 0.0
    """Held back by `REORDER_MS`, so that later ones overtake."""
    duplicate: float = 0.0
    dead_ms: tuple[tuple[float, float], ...] = ()
    """Intervals, from and to since the first packet, in which nothing passes."""

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.burst_loss < 1:
            raise ValueError(f"burst_loss: expected 0 or more, below 1, got {self.burst_loss}")
        if self.burst_packets < 1:
            raise ValueError(f"burst_packets: expected 1 or more, got {self.burst_packets}")
        if self.enter_burst > 1:
            raise ValueError(
                f"burst_loss: {self.burst_loss} needs bursts of more than {self.burst_packets}"
            )
        for name in ("delay_ms", "jitter_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for begin_ms, end_ms in self.dead_ms:
            if not 0 <= begin_ms < end_ms:
                raise ValueError(f"dead_ms: expected 0 <= from < to, got {begin_ms} to {end_ms}")

    @property
    def enter_burst(self) -> float:
        """The chance of a packet to begin a burst that makes their share `burst_loss`."""
        return self.burst_loss / (1 - self.burst_loss) / self.burst_packets


class Impairer:
    """Decides the fate of each packet of one direction, in the order in which they are sent.

    Each effect draws once a packet from a generator of its own, so that changing one leaves the
    others' decisions as they were: adding jitter to a run does not lose other packets.
    """

    def __init__(self, impairment: Impairment, rng: random.Random) -> None:
        self._settings = impairment
        self._draws = {what: random.Random(rng.getrandbits(64)) for what in _EFFECTS}
        self._applied: Counter[str] = Counter()
        self._first_ns: int | None = None
        self._latest_ns = 0
        self._in_burst = False

    @property
    def applied(self) -> Mapping[str, int]:
        """Packets so far, by what befell them: the `what` and `packets` of `impairment_applied`."""
        return dict(self._applied)

    def arrivals(self, sent_ns: int) -> tuple[int, ...]:
        """When the packet sent at `sent_ns` arrives: at no time, once, or twice."""
        if self._first_ns is None:
            self._first_ns = sent_ns
        draw = {what: rng.random() for what, rng in self._draws.items()}
        fate = self._fate(sent_ns, draw)
        if fate is not None:
            self._applied[fate] += 1
            return ()
        return self._delivered(sent_ns, draw)

    def _fate(self, sent_ns: int, draw: Mapping[str, float]) -> str | None:
        """What loses the packet, if anything does."""
        self._step_burst(draw["burst_loss"])
        if self._is_dead(sent_ns):
            return "dead"
        if self._in_burst:
            return "burst_loss"
        return "loss" if draw["loss"] < self._settings.loss else None

    def _delivered(self, sent_ns: int, draw: Mapping[str, float]) -> tuple[int, ...]:
        late_ms = self._settings.delay_ms + draw["jitter"] * self._settings.jitter_ms
        arrival_ns = sent_ns + ms_to_ns(late_ms)
        if draw["reorder"] < self._settings.reorder:
            self._applied["reorder"] += 1
            arrival_ns += REORDER_MS * NS_PER_MS
        else:
            arrival_ns = self._latest_ns = max(arrival_ns, self._latest_ns)
        if draw["duplicate"] < self._settings.duplicate:
            self._applied["duplicate"] += 1
            return arrival_ns, arrival_ns + DUPLICATE_MS * NS_PER_MS
        return (arrival_ns,)

    def _is_dead(self, sent_ns: int) -> bool:
        assert self._first_ns is not None  # noqa: S101 - set by the only caller
        since_ms = (sent_ns - self._first_ns) / NS_PER_MS
        return any(begin <= since_ms < end for begin, end in self._settings.dead_ms)

    def _step_burst(self, draw: float) -> None:
        """One step of the two-state chain (Gilbert 1960, Elliott 1963)."""
        settings = self._settings
        leave = 1 / settings.burst_packets if self._in_burst else settings.enter_burst
        self._in_burst ^= draw < leave


_EFFECTS = ("burst_loss", "loss", "jitter", "reorder", "duplicate")
