"""The same scenarios in both lanes tell the same story: the virtual lane can be believed.

Compared are the marks in their order, the time between neighbours, and the verdicts. The agent
hears of telephone and API independently, so each source tells several stories, and each is compared
by itself.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from agent.clock import ns_to_ms
from agent.timeline import Mark, read_timeline
from simulator.runner import RunOptions, run
from simulator.stage import Lane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SHIPPED = (
    "first_call",
    "second_call",
    "barge_in",
    "barge_in_greeting",
    "function_call",
    "server_closes",
    "mission_profile",
    "transfer",
)
"""Of each kind one: the whole library takes ten minutes over SIP."""
FOLDER = Path(__file__).parents[2] / "scenarios"

TOLERANCE_MS = 150.0
"""Between two neighbouring marks. Over SIP each crossing of the line takes 20 to 60 ms more (two
processes, their polling, real jitter buffers), and a test machine does other things as well."""
TOLERANCE_SHARE = 0.03
"""And of the time itself: in three seconds of talk there is about one such crossing."""
TRUSTED_LAG_MS = 20.0
ATTEMPTS = 3
"""A call during which the machine stalled says nothing about times, and is played again; if the
machine never keeps still, the order of the marks is compared, and not the time between them."""

ONLY_SIP = {
    "call_progressed": "SIP answers 100 Trying by itself; in memory nobody rings",
    "realtime_closed": "who notices the end first is up to the socket",
    "media_resumed": "a re-INVITE that locks the codec; in memory there is one codec",
}
"""What only the sip lane can show, and why; left out of every story."""

Lanes = dict[str, dict[str, tuple[str, list[Mark]]]]
"""By lane and scenario: the caller's verdict, and all marks."""

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
                "playout_started",
                "playout_cleared",
                "truncate_sent",
                "truncated",
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
                "session_closed",
            }
        ),
    ),
}


def play_undisturbed(lane: Lane, out: Path) -> dict[str, tuple[str, list[Mark]]]:
    """As `play`; calls during which the machine stalled are played again."""
    played = play(lane, out)
    for _ in range(ATTEMPTS - 1):
        disturbed = [name for name, (_, marks) in played.items() if _lag_ms(marks) > TRUSTED_LAG_MS]
        if not disturbed:
            break
        # Whoever follows another call is not played without it.
        names = [*disturbed, *(["first_call"] if "second_call" in disturbed else [])]
        played |= play(lane, out, sorted(set(names)))
    return played


def _lag_ms(marks: list[Mark]) -> float:
    return max(float(m.fields["worst_ms"]) for m in marks if m.name == "scheduling_lag")


def play(
    lane: Lane, out: Path, names: Sequence[str] = SHIPPED
) -> dict[str, tuple[str, list[Mark]]]:
    """Verdict of the caller and timeline of each scenario."""
    paths = [FOLDER / f"{name}.yaml" for name in names]
    done = asyncio.run(run(RunOptions(paths=paths, lane=lane, out=out), Console(quiet=True)))
    assert done.failure is None
    # The stage that counts: a call that a busy machine bent was played again, under another name.
    timelines = {
        call.stage.scenario.name: read_timeline(
            done.directory / "calls" / call.stage.name / "timeline.jsonl"
        )
        for call in done.calls
    }
    return {name: (_verdict(marks), marks) for name, marks in timelines.items()}


def _verdict(marks: list[Mark]) -> str:
    return next(str(m.fields["verdict"]) for m in marks if m.name == "scenario_ended")


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Lanes:
    return {
        "sip": play_undisturbed("sip", tmp_path_factory.mktemp("sip")),
        "virtual": play("virtual", tmp_path_factory.mktemp("virtual")),
    }


def told(marks: list[Mark], story: str) -> list[Mark]:
    source, names = STORIES[story]
    return [m for m in marks if m.source == source and m.name in names and m.name not in ONLY_SIP]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_verdicts_are_the_same(lanes: Lanes, name: str) -> None:
    assert lanes["sip"][name][0] == lanes["virtual"][name][0] == "passed"


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_marks_come_in_the_same_order(lanes: Lanes, name: str, story: str) -> None:
    sip, virtual = (told(lanes[lane][name][1], story) for lane in ("sip", "virtual"))
    assert [mark.name for mark in sip] == [mark.name for mark in virtual]


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_time_passes_between_them(lanes: Lanes, name: str, story: str) -> None:
    if _lag_ms(lanes["sip"][name][1]) > TRUSTED_LAG_MS:
        return
    apart = [
        f"{earlier} to {later}: {sip_ms:.0f} ms over SIP, {virtual_ms:.0f} ms in memory"
        for earlier, later, sip_ms, virtual_ms in _intervals(lanes, name, story)
        if abs(sip_ms - virtual_ms) > TOLERANCE_MS + TOLERANCE_SHARE * virtual_ms
    ]
    assert apart == []


def _intervals(lanes: Lanes, name: str, story: str) -> Iterator[tuple[str, str, float, float]]:
    sip, virtual = (told(lanes[lane][name][1], story) for lane in ("sip", "virtual"))
    for (one, two), (first, second) in zip(pairwise(sip), pairwise(virtual), strict=True):
        sip_ms = ns_to_ms(two.at_ns - one.at_ns)
        yield first.name, second.name, sip_ms, ns_to_ms(second.at_ns - first.at_ns)
