import pytest

from callerside.simulator.lanes.virtual.clock import VirtualClock, VirtualTimeError


def test_time_stands_at_the_callback_that_runs() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    for when_ns in (30, 10, 20):
        clock.call_at(when_ns, lambda: seen.append(clock.now_ns()))
    assert clock.run_until(25) == 2
    assert seen == [10, 20]
    assert clock.now_ns() == 25
    assert clock.run_until(30) == 1
    assert seen == [10, 20, 30]


def test_time_that_has_passed_is_not_passed_again() -> None:
    clock = VirtualClock(start_ns=100)
    clock.run_until(50)
    assert clock.now_ns() == 100


def test_runs_until_it_is_stopped_and_no_further() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    for when_ns in range(10):
        clock.call_at(when_ns, lambda: seen.append(clock.now_ns()))
    clock.call_at(3, clock.stop)
    assert clock.run(100)
    assert seen == [0, 1, 2, 3]
    assert clock.now_ns() == 3
    assert not clock.run(100)
    assert len(seen) == 10


def test_what_is_due_after_the_bound_waits() -> None:
    clock = VirtualClock()
    clock.call_at(101, clock.stop)
    assert not clock.run(100)
    assert clock.run(101)


class Beat:
    """Ticks every 10 ns, and notes when it did and how far it might have gone by itself."""

    def __init__(self, clock: VirtualClock) -> None:
        self.due_ns, self.sequence = 10, clock.take_sequence()
        self.beats: list[tuple[int, int]] = []
        self._clock = clock

    def beat(self, before_ns: int) -> None:
        self.beats.append((self._clock.now_ns(), before_ns))
        self.due_ns += 10
        self.sequence = self._clock.take_sequence()


def test_a_metronome_beats_in_its_turn_and_knows_what_is_due_next() -> None:
    clock = VirtualClock()
    clock.metronome = beat = Beat(clock)
    order: list[str] = []
    clock.call_at(20, lambda: order.append(f"asked for after {len(beat.beats)} beats"))
    clock.call_at(25, lambda: None).cancel()
    clock.call_at(28, lambda: order.append(f"{len(beat.beats)} beats before 28"))
    clock.run_until(35)
    # At 20 the callback is first: it was asked for before the beat at 10 took its next place.
    assert order == ["asked for after 1 beats", "2 beats before 28"]
    assert beat.beats == [(10, 20), (20, 28), (30, 36)]


def test_a_callback_that_asks_for_itself_for_ever_is_an_error() -> None:
    clock = VirtualClock()

    def again() -> None:
        clock.call_at(clock.now_ns(), again)

    clock.call_at(7, again)
    with pytest.raises(VirtualTimeError, match="1000 callbacks have run and more are due at 7 ns"):
        clock.run_until(10, max_callbacks=1000)
