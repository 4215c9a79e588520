"""How late packets are taken, as the lag of the calls that were up then."""

import time

from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.sip.loop_lag import LagWatch


def came_ms_ago(watch: LagWatch, age_ms: float) -> None:
    watch.arrived(time.monotonic_ns() - round(age_ms * NS_PER_MS))


def test_the_worst_counts_for_every_call_that_is_up() -> None:
    watch = LagWatch()
    watch.begin("early")
    came_ms_ago(watch, 500)
    watch.begin("late")
    came_ms_ago(watch, 300)
    came_ms_ago(watch, 1)
    assert 300 <= watch.end("late") < 500 <= watch.end("early")


def test_of_a_call_without_a_packet_nothing_is_known() -> None:
    watch = LagWatch()
    watch.begin("silent")
    assert watch.end("silent") == 0
    came_ms_ago(watch, 300)
    assert watch.end("unknown") == 0
