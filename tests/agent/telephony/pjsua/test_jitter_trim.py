"""What a jitter buffer keeps and does not need is given away; what it needs is not."""

from collections.abc import Iterator

from callerside.agent.telephony.pjsua.jitter_buffer import WINDOW_NS, JitterTrim
from callerside.clock import NS_PER_MS

POLL_NS = 4 * NS_PER_MS


class Filling:
    """A buffer that is polled five times in a frame's 20 ms: twice before its packet is taken."""

    def __init__(self, kept: int = 0) -> None:
        self.kept = kept
        """Frames that are left when the clock has taken one packet's two."""
        self.drops: list[int] = []
        self._polls = self._polled()

    def waiting(self) -> int:
        return next(self._polls)

    def drop(self) -> None:
        self.drops.append(self.kept)
        self.kept = 0

    def _polled(self) -> Iterator[int]:
        while True:
            for waits in (2, 2, 0, 0, 0):
                yield self.kept + waits


def look(trim: JitterTrim, start_ns: int, length_ns: int) -> list[int]:
    """What is dropped meanwhile."""
    times = range(start_ns, start_ns + length_ns, POLL_NS)
    return [dropped for now_ns in times if (dropped := trim.look(now_ns))]


def test_what_waits_all_the_time_is_dropped_and_no_packet_with_it() -> None:
    buffer = Filling(kept=2)
    trim = JitterTrim(buffer)
    assert look(trim, 0, WINDOW_NS) == []
    assert look(trim, WINDOW_NS, WINDOW_NS) == [2]
    assert buffer.drops == [2]


def test_a_buffer_that_runs_empty_is_left_alone() -> None:
    buffer = Filling()
    assert look(JitterTrim(buffer), 0, 10 * WINDOW_NS) == []
    assert buffer.drops == []


def test_what_a_late_packet_leaves_is_dropped_however_long_the_call_went_well() -> None:
    buffer = Filling()
    trim = JitterTrim(buffer)
    assert look(trim, 0, 4 * WINDOW_NS) == []
    buffer.kept = 1
    assert look(trim, 4 * WINDOW_NS, WINDOW_NS // 2) == []
    assert look(trim, 4 * WINDOW_NS + WINDOW_NS // 2, WINDOW_NS) == [1]


def test_a_line_on_which_packets_are_often_late_keeps_what_it_needs() -> None:
    buffer = Filling(kept=3)
    trim = JitterTrim(buffer)
    for window in range(5):
        start_ns = window * WINDOW_NS
        buffer.kept = 3
        assert look(trim, start_ns, WINDOW_NS - 20 * POLL_NS) == []
        buffer.kept = 0  # a packet so late that the buffer ran empty
        assert look(trim, start_ns + WINDOW_NS - 20 * POLL_NS, 20 * POLL_NS) == []
    assert buffer.drops == []
