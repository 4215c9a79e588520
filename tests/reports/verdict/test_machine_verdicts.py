"""What a machine that stands still makes unmeasurable, and what it does not."""

from dataclasses import replace

import pytest
from msgspec import structs

from callerside.marks import Mark
from callerside.reports.metrics.measurement import Taken
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.machine import disturbance, without_the_machines


def mark(name: str, **fields: float) -> Mark:
    return Mark(at_ns=1, source="caller", call="a", name=name, fields=fields)


def stalled(*lengths_ms: float, apart_ms: int = 1_000) -> list[Mark]:
    """Stalls that end so far apart."""
    return [
        structs.replace(
            mark("machine_stalled", late_ms=late_ms, cpu=0), at_ns=number * apart_ms * 1_000_000
        )
        for number, late_ms in enumerate(lengths_ms, 1)
    ]


def over(by_ms: float, unit: str = "ms", name: str = "turn_ms") -> Judged:
    return Judged(name=name, value=1.0, unit=unit, verdict="failed", margin=-by_ms)


@pytest.mark.parametrize(
    ("marks", "by_ms", "explained"),
    [
        pytest.param([], 1, False, id="a machine that kept time explains nothing"),
        pytest.param([mark("scheduling_lag", worst_ms=9)], 1, False, id="nor does a usual lag"),
        pytest.param(stalled(5), 44, True, id="its length and a frame each way"),
        pytest.param(stalled(5), 46, False, id="no more than that"),
        pytest.param(stalled(5, 30), 74, True, id="stalls add up"),
        pytest.param(stalled(5, 30, apart_ms=0), 74, False, id="but not of the same time"),
        pytest.param([mark("scheduling_lag", worst_ms=25)], 64, True, id="the harness was late"),
        pytest.param([mark("scheduling_lag", worst_ms=25)], 66, False, id="but not so late"),
    ],
)
def test_what_is_explained_is_not_measured(
    marks: list[Mark], by_ms: float, explained: bool
) -> None:
    (one,) = without_the_machines([over(by_ms)], disturbance(marks))
    assert (one.verdict, one.reason) == (
        ("not measured", "machine") if explained else ("failed", None)
    )


@pytest.mark.parametrize(
    ("span_ms", "explained"),
    [
        pytest.param((900, 2_500), True, id="the stall is within it"),
        pytest.param((0, 970), False, id="over before the machine stood still"),
        pytest.param((1_010, 1_900), False, id="begun when it went on"),
        pytest.param((990, 1_900), True, id="a part of it is"),
    ],
)
def test_only_a_stall_within_a_time_explains_it(span_ms: tuple[int, int], explained: bool) -> None:
    first_ms, last_ms = span_ms
    one = replace(over(45), span_ns=(first_ms * 1_000_000, last_ms * 1_000_000))
    (judged,) = without_the_machines([one], disturbance(stalled(30)))
    assert (judged.verdict == "not measured") is explained


@pytest.mark.parametrize(("by_ms", "explained"), [(44, True), (46, False)])
def test_a_wait_that_is_off_the_value_is_not_doubted_again(by_ms: float, explained: bool) -> None:
    """The lag of 25 ms, with a frame each way, may be the wait of which 20 ms were taken off."""
    one = replace(over(by_ms), taken=Taken(20.0, 60.0))
    (judged,) = without_the_machines([one], disturbance([mark("scheduling_lag", worst_ms=25)]))
    assert (judged.verdict == "not measured") is explained


def test_each_number_is_explained_by_itself() -> None:
    found = without_the_machines([over(10), over(100)], disturbance(stalled(5)))
    assert [one.verdict for one in found] == ["not measured", "failed"]


def test_what_is_no_time_is_never_explained() -> None:
    tone = over(1, unit="Hz", name="beep_hz")
    assert without_the_machines([tone], disturbance(stalled(5_000))) == [tone]
