"""The same scenarios in both lanes tell the same story: the virtual lane can be believed.

Compared are the marks in their order, the time between neighbours, and the verdicts. The agent
hears of telephone and API independently, so each source tells several stories, and each is compared
by itself.

`CALLERSIDE_SIP_RUN` names the directory of a run over SIP (`nox -s scenarios` leaves one in
`out/latest`): then every call of that run is compared, which takes no further real time (`nox -s
lanes`). Without it, a few scenarios are placed over SIP here.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
from rich.console import Console

from callerside.clock import NS_PER_MS, ns_to_ms
from callerside.marks import Mark
from callerside.reports.metrics.registry import METRICS
from callerside.simulator.cli.run import write_report
from callerside.simulator.lanes.planned_call import Lane
from callerside.simulator.runner.run import RunOptions, run
from callerside.timelines import read_timeline

pytestmark = pytest.mark.e2e

FEW = (
    "first_call",
    "second_call",
    "barge_in",
    "barge_in_greeting",
    "function_call",
    "server_closes",
    "mission_profile",
    "transfer",
)
"""Of each kind one, for when there is no run over SIP of all of them: that takes minutes."""
FOLDER = Path(__file__).parents[2] / "scenarios"
SIP_RUN = os.environ.get("CALLERSIDE_SIP_RUN")

TOLERANCE_MS = 150.0
"""Between two neighbouring marks. Over SIP each crossing of the line takes 20 to 60 ms more (two
processes, their polling, real jitter buffers). What the machine stood still meanwhile comes on top:
the timeline has it."""
TOLERANCE_SHARE = 0.03
"""And of the time itself: in three seconds of talk there is about one such crossing."""
STALLED_MS = 100.0
"""A machine that stood still for so long says nothing about order either: a verdict is compared."""
LEAST_COMPARED = 0.5
"""Of the calls of a whole run, in their order: with fewer, nothing was shown."""

OVERHEAD_APART_MS = 5.0
"""Medians of what agent and path add: what waking processes and filters take, and sockets."""

ONLY_SIP = {
    "call_progressed": "SIP answers 100 Trying by itself; in memory nobody rings",
    "realtime_closed": "who notices the end first is up to the socket",
    "media_resumed": "a re-INVITE that locks the codec; in memory there is one codec",
}
"""Marks that only the sip lane can show, and why; left out of every story."""

_RACE = "the caller leaves while the API connects: how far that has come is a race of two sockets"
_DICE = "a network that is bad by chance: the dice fall at other packets, as the calls begin apart"
APART = {
    "cancel": "a real CANCEL takes longer, and media may be up before it arrives",
    "no_ack": "an answer that nobody acknowledges: in memory media does not wait for the ACK",
    "hold": "over SIP the re-INVITE that resumes tells the caller, too, that there is media",
    "hang_up_anywhere-answer": _RACE,
    "hang_up_anywhere-answer-200ms": _RACE,
    "hang_up_anywhere-beep-100ms": _RACE,
    "burst_loss": _DICE,
    "jitter-30ms": _DICE,
    "jitter-60ms": _DICE,
    "loss-10": _DICE,
    "slow_connect": "a whole question goes up at once when the session is ready, and the hold sound"
    " is dropped before its answer is created, or just after",
}
"""Calls whose stories may differ, and why: what only one lane can show. Verdicts are compared."""

_BAND = (
    "noise is 12 kHz wide in memory and 4 kHz over G.711: a neural VAD hears another end of speech"
)
OTHER_TIMES = {"noise-5": _BAND, "noise-10": _BAND, "noise-20": _BAND}
"""Calls that tell the same story at other times, and why."""


class Number(NamedTuple):
    """What the report measured."""

    name: str
    value: float
    packet_ms: float
    """What of it was the wait for the next packet."""


class Call(NamedTuple):
    """One call of one lane."""

    verdict: str
    """The caller's."""
    marks: list[Mark]
    metrics: list[Number]


PATHS = [
    name for name, metric in METRICS.items() if metric.unit == "ms" and name != "heard_error_ms"
]
"""Of an error alone a negative value can be true."""

STORIES: Mapping[str, tuple[str, frozenset[str]]] = {
    "telephone": (
        "agent",
        frozenset({"call_received", "answer_sent", "media_ready", "beep_started", "call_ended"}),
    ),
    "API": (
        "agent",
        frozenset(
            {"realtime_connecting", "realtime_connected", "session_created", "session_updated"}
        ),
    ),
    "conversation": (
        "agent",
        frozenset(
            {
                "beep_ended",
                "greeting_requested",
                "greeting_started",
                "greeting_ended",
                "speech_started",
                "speech_stopped",
                "committed",
                "response_created",
                "first_delta",
                "playout_cleared",
                "truncate_sent",
                "truncated",
            }
        ),
    ),
    # When the next frame leaves is up to the pacing: between two events of the API, or behind both.
    "playout": (
        "agent",
        frozenset(
            {
                "beep_started",
                "beep_ended",
                "greeting_started",
                "greeting_ended",
                "playout_started",
                "playout_cleared",
                "truncate_sent",
            }
        ),
    ),
    "caller": (
        "caller",
        frozenset(
            {
                "call_dialed",
                "call_answered",
                "media_ready",
                "beep_heard",
                "utterance_started",
                "utterance_ended",
                "hang_up_sent",
                "scenario_ended",
            }
        ),
    ),
    "server": (
        "realtime",
        frozenset(
            {
                "session_opened",
                "session_updated",
                "speech_started",
                "speech_stopped",
                "committed",
                "response_planned",
                "response_created",
                "response_done",
                "truncated",
            }
        ),
    ),
    # An agent that moves to a new session leaves the old one on a socket of its own.
    "sessions left": ("realtime", frozenset({"session_closed"})),
}


def kept(directory: Path) -> dict[str, Call]:
    """The calls of a run that was done, by name: of several attempts, the one that counted."""
    results = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    calls = {}
    for told in results["scenarios"]:
        timeline = directory / told["artifacts"]["timeline"]
        metrics = [
            Number(one["name"], one["value"], one.get("packet_ms", 0.0))
            for one in told["metrics"]
            if "statistic" not in one
        ]
        calls[timeline.parent.name] = _call(timeline, metrics)
    return calls


def play(lane: Lane, out: Path, names: Sequence[str] = FEW) -> dict[str, Call]:
    """Verdict of the caller and timeline of each call of some scenarios; of none, of all."""
    paths = [FOLDER / f"{name}.yaml" for name in names] or [FOLDER]
    options = RunOptions(paths=paths, lane=lane, out=out)
    done = asyncio.run(run(options, Console(quiet=True)))
    assert done.failure is None
    write_report(done, options, "the lanes, compared")
    return kept(done.directory)


def _call(timeline: Path, metrics: list[Number]) -> Call:
    marks = read_timeline(timeline)
    verdict = next(str(m.fields["verdict"]) for m in marks if m.name == "scenario_ended")
    return Call(verdict, marks, metrics)


def _lag_ms(marks: list[Mark]) -> float:
    return max(float(m.fields["worst_ms"]) for m in marks if m.name == "scheduling_lag")


@pytest.fixture(scope="module")
def over_sip(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    return kept(Path(SIP_RUN)) if SIP_RUN else play("sip", tmp_path_factory.mktemp("s"))


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    return play("virtual", tmp_path_factory.mktemp("virtual"), () if SIP_RUN else FEW)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each call of the run over SIP that can be compared so."""
    if "name" in metafunc.fixturenames:
        names = sorted(kept(Path(SIP_RUN))) if SIP_RUN else FEW
        otherwise = APART.keys() | OTHER_TIMES.keys() if "time" in metafunc.definition.name else ()
        metafunc.parametrize("name", [name for name in names if name not in otherwise])


def told(call: Call, story: str) -> list[Mark]:
    source, names = STORIES[story]
    return [
        m for m in call.marks if m.source == source and m.name in names and m.name not in ONLY_SIP
    ]


def test_the_verdicts_are_the_same(
    over_sip: dict[str, Call], in_memory: dict[str, Call], name: str
) -> None:
    assert over_sip[name].verdict == in_memory[name].verdict == "passed"


def test_the_same_marks_come_in_the_same_order(
    over_sip: dict[str, Call], in_memory: dict[str, Call], name: str
) -> None:
    apart = [
        f"{story}: {' '.join(sip)} over SIP, {' '.join(memory)} in memory"
        for story in STORIES
        for sip, memory in [_names(over_sip[name], in_memory[name], story)]
        if sip != memory
    ]
    assert apart == [] or _is_excused(name, over_sip[name]), apart


def test_the_same_time_passes_between_them(
    over_sip: dict[str, Call], in_memory: dict[str, Call], name: str
) -> None:
    apart = [
        f"{one.name} to {two.name}: {sip_ms:.0f} ms over SIP, {memory_ms:.0f} ms in memory, "
        f"{stalled_ms:.0f} ms stood still"
        for story in STORIES
        for one, two, memory_ms in _intervals(over_sip[name], in_memory[name], story)
        for sip_ms in [ns_to_ms(two.at_ns - one.at_ns)]
        for stalled_ms in [_stalled_ms(over_sip[name], one, two)]
        if abs(sip_ms - memory_ms) > TOLERANCE_MS + TOLERANCE_SHARE * memory_ms + stalled_ms
    ]
    assert apart == []


def test_no_path_takes_less_than_no_time(
    over_sip: dict[str, Call], in_memory: dict[str, Call], name: str
) -> None:
    wrong = [
        f"{one.name} is {one.value} {where}"
        for where, call in (("over SIP", over_sip[name]), ("in memory", in_memory[name]))
        for one in call.metrics
        if one.name in PATHS and one.value < 0
    ]
    assert not wrong


def test_agent_and_path_add_about_the_same_in_both_lanes(
    over_sip: dict[str, Call], in_memory: dict[str, Call]
) -> None:
    """But for the wait for the next packet: where in its 20 ms an answer comes is chance.

    Over SIP it is one and the same for most calls of a run, as one thread paces all calls of a
    process, the agent's and the caller's. In memory each call has its own.
    """
    both = [
        [
            one.value - one.packet_ms
            for name, call in lane.items()
            for one in call.metrics
            if one.name == "agent_overhead_ms" and name not in APART
        ]
        for lane in (over_sip, in_memory)
    ]
    assert all(both)
    sip, memory = map(median, both)
    if SIP_RUN:
        assert abs(sip - memory) <= OVERHEAD_APART_MS, (sip, memory)


def test_a_whole_run_was_compared(over_sip: dict[str, Call], in_memory: dict[str, Call]) -> None:
    if SIP_RUN:
        excused = [name for name, call in over_sip.items() if _is_excused(name, call)]
        assert len(excused) <= (1 - LEAST_COMPARED) * len(over_sip), excused
        assert set(APART) | set(OTHER_TIMES) <= set(in_memory)


def _is_excused(name: str, sip: Call) -> bool:
    """Whether a call's story may differ: it is told otherwise by nature, or the machine stalled."""
    return name in APART or _lag_ms(sip.marks) > STALLED_MS


def _names(sip: Call, memory: Call, story: str) -> tuple[list[str], list[str]]:
    first, second = ([mark.name for mark in told(call, story)] for call in (sip, memory))
    return first, second


def _intervals(sip: Call, memory: Call, story: str) -> Iterator[tuple[Mark, Mark, float]]:
    """Neighbouring marks over SIP, and the time between the same two in memory."""
    pairs = zip(pairwise(told(sip, story)), pairwise(told(memory, story)), strict=False)
    for (one, two), (first, second) in pairs:
        yield one, two, ns_to_ms(second.at_ns - first.at_ns)


def _stalled_ms(call: Call, one: Mark, two: Mark) -> float:
    """How long the machine stood still between two marks, by the thing that stood longest."""
    by_place: defaultdict[object, float] = defaultdict(float)
    for mark in call.marks:
        if mark.name == "machine_stalled":
            late_ms = float(mark.fields["late_ms"])
            began_ns = mark.at_ns - late_ms * NS_PER_MS
            if one.at_ns <= mark.at_ns and began_ns <= two.at_ns:
                by_place[mark.fields["cpu"], mark.fields["process"]] += late_ms
    return max(by_place.values(), default=0.0)
