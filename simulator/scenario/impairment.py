"""What a bad network does to one direction, in numbers."""

from dataclasses import dataclass


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
