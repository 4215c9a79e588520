"""The `machine_stalled` marks that are made of what a watch tells."""

from collections.abc import Iterable
from dataclasses import asdict, replace

from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.marks import Mark
from callerside.reports.metrics.machine_stalls import BEFORE, DISTORTS_MS
from callerside.simulator.lanes.sip.stall import Stall

_TOGETHER_NS = NS_PER_S
"""Within so long short ones are told in one mark: a machine with much else to do has hundreds."""


def marks_of(stalls: Iterable[Stall], call: str) -> list[Mark]:
    """What is told of them in a call that went on then, in order of time.

    Nothing of them is lost: who reads the marks has each again (`each_stall`).
    """
    marks, together = [], dict[Stall, list[Stall]]()
    for stall in sorted(stalls, key=lambda one: one.at_ns):
        if stall.late_ms >= DISTORTS_MS:  # a page shows it where it was
            marks.append(_mark([stall], call))
            continue
        alike = replace(stall, at_ns=0, late_ms=0.0, within_ms=0.0)
        group = together.setdefault(alike, [])
        if group and stall.at_ns - group[0].at_ns > _TOGETHER_NS:
            marks.append(_mark(group, call))
            group.clear()
        group.append(stall)
    marks += [_mark(group, call) for group in together.values()]
    return sorted(marks, key=lambda mark: mark.at_ns)


def _mark(stalls: list[Stall], call: str) -> Mark:
    """That of the last, with those before it."""
    *before, last = stalls
    fields = {key: value for key, value in asdict(last).items() if key != "at_ns"}
    if before:
        fields[BEFORE] = [
            [round((last.at_ns - one.at_ns) / NS_PER_MS, 3), one.late_ms, one.within_ms]
            for one in before
        ]
    return Mark(at_ns=last.at_ns, source="caller", call=call, name="machine_stalled", fields=fields)
