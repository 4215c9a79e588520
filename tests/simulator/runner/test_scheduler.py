"""Playing many calls: order, places, and calls that a busy machine has disturbed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import hand_played
import pytest
from rich.console import Console

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence, CallInfo, Verdict
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.call_result import judge_call
from callerside.simulator.lanes.planned_call import Lane, PlannedCall, PlayedCall
from callerside.simulator.lanes.sip.child_process import ProcessError
from callerside.simulator.runner import held_back, scheduler
from callerside.simulator.runner.evaluate import Evaluated, call_info
from callerside.simulator.runner.held_back import HeldBack
from callerside.simulator.runner.plan import plan
from callerside.simulator.runner.progress import PlainProgress
from callerside.simulator.runner.scheduler import play_all
from callerside.simulator.scenario.model import Scenario, name_of


def planned(name: str, after: str | None = None, together: str | None = None) -> PlannedCall:
    steps = [{"expect": "reply", "within": "50ms"}]
    scenario = Scenario.model_validate({"about": "x", "steps": steps}).named(name)
    return PlannedCall(
        name=name,
        scenario=scenario,
        seed=1,
        greeting_cache=after or name,
        after=after,
        together=together or name,
    )


class Machine:
    """A lane and a judge: calls take a turn of the loop, and their attempts end as told.

    A verdict may also be "late": as scripted, and 50 ms beyond a limit, of which the machine took
    as much. What is "failed" while the machine stood still may be its doing, too.
    """

    def __init__(self, folder: Path, verdicts: Mapping[str, Sequence[tuple[str, float]]]) -> None:
        self.folder = folder
        self.verdicts = verdicts
        self.played: list[str] = []
        self.dialled_s: list[float] = []
        self.at_once = self.most_at_once = 0
        self.others: dict[str, int] = {}
        """How many other calls went on when one began."""

    async def play(self, planned: PlannedCall) -> PlayedCall:
        self.played.append(planned.address)
        self.dialled_s.append(asyncio.get_running_loop().time())
        self.others[planned.address] = self.at_once
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        directory = self.folder / planned.name
        directory.mkdir(exist_ok=True)
        (directory / "timeline.jsonl").write_text(planned.address)
        return PlayedCall(
            planned=planned, directory=directory, verdict="passed", detail="", took_s=1.0
        )

    def evaluate(self, played: PlayedCall, _lane: Lane) -> Evaluated:
        told = self.verdicts.get(played.planned.name, [])
        number = played.planned.attempt - 1
        verdict, stalled_ms = told[number] if number < len(told) else ("passed", 1.0)
        late = [
            Judged(
                name="turn_ms",
                value=1.0,
                unit="ms",
                verdict="not measured",
                reason="machine",
                margin=-50.0,
            )
        ]
        within = [replace(late[0], verdict="passed", reason=None, margin=50.0)]
        scripted, judged = ("passed", late) if verdict == "late" else (verdict, within)
        detail = "step 1: expected reply within 50 ms, but nothing"
        info = CallInfo(name=played.planned.name, verdict=cast("Verdict", scripted), detail=detail)
        marks = [
            caller_mark(0, "step_started", step=0),
            caller_mark(100, "step_ended", step=0, ok=False),
            caller_mark(100, "machine_stalled", late_ms=stalled_ms, cpu=0, process=""),
        ]
        result = replace(judge_call(CallEvidence(info=info, marks=marks)), judged=judged)
        return Evaluated(planned=played.planned, sentence="over budget", took_s=1.0, result=result)


def caller_mark(at_ms: int, name: str, **fields: object) -> Mark:
    return Mark(at_ns=at_ms * 1_000_000, source="caller", call="", name=name, fields=fields)


@dataclass
class Rig:
    """Plays calls on a machine that does as it is told."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    async def play(
        self,
        planned_calls: list[PlannedCall],
        verdicts: Mapping[str, Sequence[tuple[str, float]]] | None = None,
        jobs: int = 4,
    ) -> tuple[Machine, list[Evaluated]]:
        machine = Machine(self.folder, verdicts or {})
        self.monkeypatch.setattr(scheduler, "evaluate", machine.evaluate)
        done: list[Evaluated] = []
        progress = PlainProgress(Console(quiet=True), len(planned_calls))
        await play_all(planned_calls, machine.play, jobs=jobs, progress=progress, done=done)
        return machine, done


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(scheduler, "DIAL_GAP_S", 0.0)
    return Rig(tmp_path, monkeypatch)


async def test_a_stage_waits_for_its_forerunner_and_results_keep_the_plans_order(
    rig: Rig,
) -> None:
    machine, done = await rig.play([planned("b", after="a"), planned("a"), planned("c")], {})
    assert machine.played.index("a") < machine.played.index("b")
    assert [call.planned.name for call in done] == ["b", "a", "c"]


async def test_the_longest_calls_begin(rig: Rig) -> None:
    short, long = planned("short"), planned("long")
    steps = [*long.scenario.steps] * 3
    long = replace(long, scenario=long.scenario.model_copy(update={"steps": steps}))
    machine, _ = await rig.play([short, long], jobs=1)
    assert machine.played == ["long", "short"]


async def test_calls_are_dialled_one_after_the_other(rig: Rig) -> None:
    gap_s = 0.05
    rig.monkeypatch.setattr(scheduler, "DIAL_GAP_S", gap_s)
    machine, _ = await rig.play([planned(str(n)) for n in range(3)])
    gaps_s = [after - before for before, after in pairwise(machine.dialled_s)]
    assert all(gap >= gap_s - 0.001 for gap in gaps_s)
    assert machine.most_at_once == 1


async def test_no_more_than_jobs_at_once(rig: Rig) -> None:
    machine, done = await rig.play([planned(str(n)) for n in range(9)], jobs=2)
    assert machine.most_at_once == 2
    assert len(done) == 9


@pytest.mark.parametrize("verdict", ["failed", "late"])
async def test_a_call_that_a_machine_bent_is_placed_once_more_under_its_own_name(
    rig: Rig, verdict: str
) -> None:
    machine, (call,) = await rig.play([planned("a")], {"a": [(verdict, 80.0)]})
    assert machine.played == ["a", "a.2"]
    assert (call.verdict, call.planned.name, call.planned.attempt) == ("passed", "a", 2)
    assert (rig.folder / "a" / "timeline.jsonl").read_text() == "a.2"
    assert (rig.folder / "a" / "attempt-1" / "timeline.jsonl").read_text() == "a"


@pytest.mark.parametrize(
    ("verdict", "stalled_ms", "at_last"),
    [
        ("failed", 4.0, "failed"),
        ("failed", 49.0, "failed"),
        ("passed", 80.0, "passed"),
        ("error", 80.0, "error"),
    ],
)
async def test_what_the_machine_does_not_explain_is_believed_at_once(
    rig: Rig, verdict: str, stalled_ms: float, at_last: str
) -> None:
    machine, (call,) = await rig.play([planned("a")], {"a": [(verdict, stalled_ms)]})
    assert machine.played == ["a"]
    assert call.verdict == at_last


@pytest.mark.parametrize(("last", "verdict"), [("late", "not measured"), ("failed", "failed")])
async def test_the_second_attempt_is_the_last_one_and_counts(
    rig: Rig, last: str, verdict: str
) -> None:
    machine, (call,) = await rig.play([planned("a")], {"a": [("failed", 80.0), (last, 80.0)]})
    assert machine.played == ["a", "a.2"]
    assert call.verdict == verdict


async def test_a_second_attempt_is_alone_behind_all_that_wait(rig: Rig) -> None:
    others = [planned(str(n)) for n in range(20)]
    planned_calls = [planned("a"), planned("c", after="a"), *others]
    machine, done = await rig.play(planned_calls, {"a": [("failed", 80.0)]}, jobs=3)
    assert machine.others["a.2"] == 0
    assert machine.most_at_once == 3
    assert machine.played[-1] == "a.2"
    assert "c" in machine.played[:-1]
    assert [call.verdict for call in done] == ["passed"] * 22


@pytest.mark.timeout(10)
@pytest.mark.parametrize("jobs", [1, 2, 4])
async def test_second_attempts_of_callers_at_once_wait_for_nobody_for_ever(
    rig: Rig, jobs: int
) -> None:
    groups = [planned(f"{group}{n}", together=group) for n in range(3) for group in "xy"]
    disturbed = {one.name: [("failed", 80.0)] * 2 for one in groups}
    machine, done = await rig.play(groups, disturbed, jobs=jobs)
    assert [call.verdict for call in done] == ["failed"] * 6
    assert {machine.others[f"{one.name}.2"] for one in groups} == {0}


def test_a_second_attempt_says_that_it_is_one(tmp_path: Path) -> None:
    scenario = hand_played.scenario(tmp_path, "steps: [hang_up]")
    (first,) = plan([scenario], repeat=None, seed=0)
    infos = []
    for one in (first, replace(first, attempt=2)):
        done = PlayedCall(planned=one, directory=tmp_path, verdict="passed", detail="", took_s=1.0)
        infos.append(call_info(done, "sip"))
    assert [(info.stage, info.attempt) for info in infos] == [(first.name, 1), (first.name, 2)]


def test_no_scenario_is_called_as_an_attempt_is() -> None:
    first, second = planned("a"), replace(planned("a"), attempt=2)
    assert (first.address, second.address) == ("a", "a.2")
    assert name_of("a.2") != second.address


async def test_callers_of_one_scenario_wait_until_all_have_a_place(
    rig: Rig,
) -> None:
    planned_calls = [
        planned("x"),
        *(planned(f"c{n}", together="c") for n in range(3)),
        planned("y"),
    ]
    machine, done = await rig.play(planned_calls, jobs=3)
    assert machine.played[:3] == ["c0", "c1", "c2"]
    assert machine.most_at_once == 3
    assert len(done) == 5


async def test_callers_of_one_scenario_all_call_at_once(rig: Rig) -> None:
    group = [planned(f"g{n}", together="g") for n in range(3)]
    machine, done = await rig.play([planned("a"), *group, planned("b")], jobs=3)
    assert len(done) == 5
    assert machine.most_at_once == 3


@pytest.mark.timeout(10)
@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 5])
async def test_scenarios_with_many_callers_never_wait_for_each_others_places(
    rig: Rig, jobs: int
) -> None:
    groups = [planned(f"{group}{n}", together=group) for n in range(3) for group in "xyz"]
    machine, done = await rig.play([*groups, planned("a")], jobs=jobs)
    assert len(done) == 10
    assert 3 <= machine.most_at_once <= max(jobs, 3)


async def test_what_was_played_is_judged_when_the_run_is_to_end(rig: Rig) -> None:
    """Also a call whose second attempt has not come to its end: then the first one counts."""
    machine = Machine(rig.folder, {"b": [("late", 1.0)]})
    rig.monkeypatch.setattr(scheduler, "evaluate", machine.evaluate)
    begun = asyncio.Event()

    async def play(call: PlannedCall) -> PlayedCall:
        if call.attempt == 2:
            (rig.folder / "b" / "caller.jsonl").write_text("half of it")
            begun.set()
            await asyncio.sleep(60)
        return await machine.play(call)

    done: list[Evaluated] = []
    progress = PlainProgress(Console(quiet=True), 2)
    run = asyncio.create_task(
        play_all(
            [planned("a"), planned("b")],
            play,
            jobs=1,
            progress=progress,
            done=done,
        )
    )
    await asyncio.wait_for(begun.wait(), 10)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [(call.planned.name, call.verdict) for call in done] == [
        ("a", "passed"),
        ("b", "not measured"),
    ]
    assert [path.name for path in (rig.folder / "b").iterdir()] == ["timeline.jsonl"]
    assert (rig.folder / "b/timeline.jsonl").read_text() == "b"


async def test_nothing_is_judged_while_a_call_is_up(rig: Rig) -> None:
    """Not even where a run is to end: the calls are hung up first."""
    up: set[str] = set()
    judged: list[str] = []
    all_but_one = asyncio.Event()
    verdicts: dict[str, Sequence[tuple[str, float]]] = {"c3": [("failed", 80.0)]}
    machine = Machine(rig.folder, verdicts)

    async def play(call: PlannedCall) -> PlayedCall:
        up.add(call.name)
        try:
            await asyncio.sleep(60 if call.name == "c29" else 0)
            return await machine.play(call)
        finally:
            up.discard(call.name)
            if len(machine.played) == 29:
                all_but_one.set()

    def evaluate(played: PlayedCall, lane: Lane) -> Evaluated:
        assert not up
        judged.append(played.planned.name)
        return machine.evaluate(played, lane)

    rig.monkeypatch.setattr(scheduler, "evaluate", evaluate)
    done: list[Evaluated] = []
    calls = [planned(f"c{number}") for number in range(30)]
    progress = PlainProgress(Console(quiet=True), len(calls))
    run = asyncio.create_task(play_all(calls, play, jobs=4, progress=progress, done=done))
    await asyncio.wait_for(all_but_one.wait(), 10)
    await asyncio.sleep(0.1)
    assert up == {"c29"}
    assert not judged
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert len(judged) == len(done) == 29
    assert [call.verdict for call in done[:5]] == ["passed"] * 3 + ["failed", "passed"]


async def test_what_follows_an_attempt_that_does_not_count_is_placed_once_more_with_it(
    rig: Rig,
) -> None:
    """Not where it is right all the same."""
    calls = [planned("a"), planned("b", after="a"), planned("c", after="a"), planned("d")]
    bent, wrong = [("late", 80.0)], [("failed", 0.0)]
    machine, done = await rig.play(calls, {"a": bent, "b": wrong, "d": wrong})
    assert machine.played[4:] == ["a.2", "b.2"]
    assert [call.verdict for call in done] == ["passed", "passed", "passed", "failed"]


async def test_a_process_that_dies_during_a_second_attempt_costs_the_first_nothing(
    rig: Rig,
) -> None:
    machine = Machine(rig.folder, {name: [("late", 80.0)] for name in "ab"})
    rig.monkeypatch.setattr(scheduler, "evaluate", machine.evaluate)

    async def play(call: PlannedCall) -> PlayedCall:
        if call.attempt == 2:
            raise ProcessError("the agent died")
        return await machine.play(call)

    done: list[Evaluated] = []
    progress = PlainProgress(Console(quiet=True), 2)
    with pytest.raises(ProcessError):
        await play_all([planned("a"), planned("b")], play, jobs=1, progress=progress, done=done)
    assert [(call.planned.attempt, call.verdict) for call in done] == [(1, "not measured")] * 2
    assert (rig.folder / "a" / "timeline.jsonl").read_text() == "a"


async def test_a_call_waits_until_the_machine_carries_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers of one scenario do not: they call as it says."""
    monkeypatch.setattr(scheduler, "DIAL_GAP_S", 0.0)
    machine = Machine(tmp_path, {})
    monkeypatch.setattr(scheduler, "evaluate", machine.evaluate)
    asked: list[int] = []

    async def carries(under_way: Callable[[], int]) -> None:
        asked.append(under_way())

    calls = [planned(name) for name in "abcdef"]
    calls += [planned(f"g{number}", together="g 1") for number in range(3)]
    told = await play_all(
        calls,
        machine.play,
        jobs=6,
        progress=PlainProgress(Console(quiet=True), len(calls)),
        done=[],
        carries=carries,
    )
    assert len(asked) == 6
    assert not told, "no call waited to speak of"


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (HeldBack(places_s=5.0, machine_s=1.0), "its 4 places"),
        (HeldBack(places_s=1.0, machine_s=5.0), "the machine"),
        (HeldBack(places_s=1.0, machine_s=2.0), "the last calls"),
    ],
)
def test_what_held_a_run_back_longest_is_told(
    monkeypatch: pytest.MonkeyPatch, held: HeldBack, why: str
) -> None:
    monkeypatch.setattr(held_back, "monotonic", lambda: 20.0)
    held.placed_s = 17.0
    told = held.sentence(4, begun_s=10.0)
    assert told.startswith(f"Held back by {why}"), told
    assert told.endswith("of 10 s.")


def test_a_single_place_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_back, "monotonic", lambda: 20.0)
    told = HeldBack(places_s=5.0, placed_s=17.0).sentence(1, begun_s=10.0)
    assert told == "Held back by its one place: it was taken for 5 of 10 s."
