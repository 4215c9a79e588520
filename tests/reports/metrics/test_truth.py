"""The metrics against an independent truth: calls made by hand, whose numbers are known."""

import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from random import Random
from statistics import median
from typing import NamedTuple

import pytest
from made_call import MadeCall, Truth
from made_cases import KINDS

from callerside.reports.metrics.metrics import measure
from callerside.reports.metrics.registry import METRICS

pytestmark = pytest.mark.timeout(900)  # hundreds of calls are heard: a minute on an idle machine

WITHIN = {
    "beep_hz": 1.0,
    "intelligibility": 1.0,
    "false_stops": 0.1,
    "double_talk_share": 1.0,
    "agent_level_dbfs": 0.5,
    "agent_clipping_share": 1.0,
    "echo_return_loss_db": 1.0,
    "mos_heard": 0.05,
    "mos_sent": 0.05,
}
WITHIN_MS = 10.0
MOST_OUTSIDE = 0.01
CLEAN_MS = 5.0
MANY = 20
ONE_OF_MANY = 3
"""Of a kind with more calls than that, one of so many is heard; all where `CALLERSIDE_FAULTS` is
set: `nox -s speech` hears all."""


class Told(NamedTuple):
    """What a report says of a number whose truth is known; None is what it does not say."""

    case: str
    truth: Truth
    value: float | None
    bound: float | None

    @property
    def off(self) -> float | None:
        """How far it is from the truth."""
        if self.value is None or self.truth.value is None:
            return None
        return abs(self.value - self.truth.value)

    def __str__(self) -> str:
        metric, value, turn = self.truth.metric, self.truth.value, self.truth.turn
        return f"{self.case}: {metric} of turn {turn}: {self.value} ± {self.bound}, true {value}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_is_true(kind: str) -> None:
    wrong = [*_wrong(told_of(kind))]
    assert not wrong, "\n".join(map(str, wrong))


def test_few_errors_lie_outside_their_bounds() -> None:
    told = [one for kind in KINDS for one in told_of(kind)]
    outside = [one for one in told if one.off is not None and one.off > (one.bound or 0.0)]
    assert len(outside) <= MOST_OUTSIDE * len(told), "\n".join(map(str, outside))


def test_what_is_clean_has_small_bounds() -> None:
    bounds: dict[str, list[float]] = {}
    for one in told_of("clean"):
        if one.bound is not None and METRICS[one.truth.metric].unit == "ms":
            bounds.setdefault(one.truth.metric, []).append(one.bound)
    medians = {metric: median(sizes) for metric, sizes in bounds.items()}
    assert {metric: size for metric, size in medians.items() if size > CLEAN_MS} == {}


@pytest.mark.parametrize("kind", ["early answer", "no beep", "beep before the recording"])
def test_no_metric_is_absent_without_its_reason(kind: str) -> None:
    for make in KINDS[kind].values():
        measured = measure(make().evidence())
        known = {one.name for one in measured.measurements}
        why = {one.name: one.reason for one in measured.unmeasured}
        assert known | set(why) == set(METRICS)
        assert all(why.values())


@cache
def told_of(kind: str) -> tuple[Told, ...]:
    """What a report says of the calls of a kind."""
    makers = list(KINDS[kind].items())
    if len(makers) > MANY and "CALLERSIDE_FAULTS" not in os.environ:
        makers = Random(kind).sample(makers, len(makers) // ONE_OF_MANY)
    return tuple(one for name, make in makers for one in _told(name, make()))


def _told(name: str, call: MadeCall) -> Iterator[Told]:
    measured = measure(call.evidence())
    for truth in call.truths:
        found = [
            one
            for one in measured.measurements
            if one.name == truth.metric and truth.turn in (None, one.turn)
        ]
        if not found:
            yield Told(name, truth, None, None)
        else:
            bound = found[0].bound
            yield Told(name, truth, found[0].value, None if bound is None else bound.size)


def _wrong(told: Iterable[Told]) -> Iterator[Told]:
    for one in told:
        if (one.value is None) != (one.truth.value is None) or (
            one.off is not None and one.off > WITHIN.get(one.truth.metric, WITHIN_MS)
        ):
            yield one


def main(words: list[str]) -> None:
    """The table: `python -m tests.reports.metrics.test_truth [KIND]`, with what is wrong."""
    for kind, makers in KINDS.items():
        if words and words[0] not in kind:
            continue
        wrong = [*_wrong(told_of(kind))]
        bad = len({one.case for one in wrong})
        sys.stdout.write(f"{kind:28} {bad:3} of {len(makers):3} calls wrong\n")
        if words:
            sys.stdout.writelines(f"{one}\n" for one in wrong)


if __name__ == "__main__":
    main(sys.argv[1:])
