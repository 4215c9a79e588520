"""The metrics against an independent truth: calls made by hand, whose numbers are known."""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from made_call import MadeCall, Truth
from made_cases import KINDS

from callerside.reports.metrics.metrics import Measured, measure
from callerside.reports.metrics.registry import METRICS

WITHIN = {"beep_hz": 1.0, "intelligibility": 1.0}
WITHIN_MS = 10.0


class Wrong(NamedTuple):
    """A number that is not the true one."""

    case: str
    truth: Truth
    told: float | None

    def __str__(self) -> str:
        metric, value, turn = self.truth.metric, self.truth.value, self.truth.turn
        return f"{self.case}: {metric} of turn {turn}: {self.told}, true {value}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_is_true(kind: str) -> None:
    wrong = [one for name, make in KINDS[kind].items() for one in wrongs(name, make())]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("kind", ["early answer", "no beep", "beep before the recording"])
def test_no_metric_is_absent_without_its_reason(kind: str) -> None:
    for make in KINDS[kind].values():
        measured = measure(make().evidence())
        known = {one.name for one in measured.measurements}
        why = {one.name: one.reason for one in measured.unmeasured}
        assert known | set(why) == set(METRICS)
        assert all(why.values())


def wrongs(name: str, call: MadeCall) -> Iterator[Wrong]:
    """What a report says wrongly of a call; None is what it does not say."""
    measured = measure(call.evidence())
    for truth in call.truths:
        told = _told(measured, truth)
        if truth.value is None:
            if told is not None:
                yield Wrong(name, truth, told)
        elif told is None or abs(told - truth.value) > WITHIN.get(truth.metric, WITHIN_MS):
            yield Wrong(name, truth, told)


def _told(measured: Measured, truth: Truth) -> float | None:
    values = [
        one.value
        for one in measured.measurements
        if one.name == truth.metric and truth.turn in (None, one.turn)
    ]
    return values[0] if values else None


def main(words: list[str]) -> None:
    """The table: `python -m tests.reports.metrics.test_truth [KIND]`, with what is wrong."""
    for kind, makers in KINDS.items():
        if words and words[0] not in kind:
            continue
        found = {name: [*wrongs(name, make())] for name, make in makers.items()}
        bad = sum(map(bool, found.values()))
        sys.stdout.write(f"{kind:28} {bad:3} of {len(found):3} calls wrong\n")
        if words:
            sys.stdout.writelines(f"{one}\n" for wrong in found.values() for one in wrong)


if __name__ == "__main__":
    main(sys.argv[1:])
