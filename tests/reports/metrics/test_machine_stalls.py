"""What several processors and processes report of one stall is one stall."""

from callerside.marks import Mark
from callerside.reports.metrics.machine_stalls import stall_intervals

MS = 1_000_000


def stalled(end_ms: float, late_ms: float, process: str = "") -> Mark:
    fields = {"late_ms": late_ms, "cpu": -1, "process": process}
    at_ns = round(end_ms * MS)
    return Mark(at_ns=at_ns, source="caller", call="x", name="machine_stalled", fields=fields)


def test_what_overlaps_is_one_and_the_worst_of_it_is_kept() -> None:
    marks = [stalled(110, 10, "agent"), stalled(112, 30, "fake"), stalled(115, 4, "caller")]
    (one,) = stall_intervals(marks)
    assert (one.start_ns, one.end_ns, one.length_ms) == (82 * MS, 115 * MS, 33)
    assert one.worst.fields["process"] == "fake"


def test_what_is_apart_stays_apart_in_order_of_time() -> None:
    found = stall_intervals([stalled(300, 20), stalled(100, 20)])
    assert [one.end_ns for one in found] == [100 * MS, 300 * MS]


def test_other_marks_tell_nothing_of_it() -> None:
    assert (
        stall_intervals([Mark(at_ns=1, source="caller", call="x", name="call_dialed", fields={})])
        == []
    )
