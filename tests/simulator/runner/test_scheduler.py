"""Playing many calls: order, places, and calls that a busy machine has disturbed."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import hand_played
import pytest
from rich.console import Console

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence, CallInfo, Verdict
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.results import RunInfo, judge_call
from callerside.simulator.lanes.planned_call import Lane, PlannedCall, PlayedCall
from callerside.simulator.runner import scheduler
from callerside.simulator.runner.evaluate import Evaluated, call_info
from callerside.simulator.runner.plan import plan
from callerside.simulator.runner.progress import PlainProgress
from callerside.simulator.runner.scheduler import MOST_ATTEMPTS, attempt, play_all, with_attempts
from callerside.simulator.scenario.model import Scenario


def planned(name: str, after: str | None = None, together: str | None = None) -> PlannedCall:
    scenario = cast("Scenario", SimpleNamespace(name=name))
    return PlannedCall(
        name=name,
        scenario=scenario,
        seed=1,
        greeting_cache=after or name,
        after=after,
        together=together or name,
    )


class Machine:
    """A lane and a judge: calls take a turn of the loop, verdicts and lags are as told.

    A verdict may also be "late": as scripted, and 50 ms beyond a limit.
    """

    def __init__(self, verdicts: dict[str, tuple[str, float]]) -> None:
        self.verdicts = verdicts
        self.played: list[str] = []
        self.at_once = self.most_at_once = 0
        self.others: dict[str, int] = {}
        """How many other calls went on when one began."""

    async def play(self, planned: PlannedCall) -> PlayedCall:
        self.played.append(planned.name)
        self.others[planned.name] = self.at_once
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return PlayedCall(
            planned=planned, directory=Path(), verdict="passed", detail="", took_s=1.0
        )

    def evaluate(self, played: PlayedCall, _lane: Lane, _page_of: RunInfo | None) -> Evaluated:
        verdict, lag_ms = self.verdicts.get(played.planned.name, ("passed", 1.0))
        lag = Mark(
            at_ns=1, source="caller", call="", name="scheduling_lag", fields={"worst_ms": lag_ms}
        )
        late = [Judged(name="turn_ms", value=1.0, unit="ms", verdict="failed", margin=-50.0)]
        scripted, beyond = ("passed", late) if verdict == "late" else (verdict, [])
        info = CallInfo(name=played.planned.name, verdict=cast("Verdict", scripted))
        evidence = CallEvidence(info=info, marks=[lag])
        return Evaluated(
            planned=played.planned,
            verdict="failed" if beyond else cast("Verdict", verdict),
            sentence="over budget",
            took_s=1.0,
            result=replace(judge_call(evidence), judged=beyond),
        )


async def played(
    monkeypatch: pytest.MonkeyPatch,
    planned_calls: list[PlannedCall],
    verdicts: dict[str, tuple[str, float]],
    jobs: int = 4,
) -> tuple[Machine, list[Evaluated]]:
    machine = Machine(verdicts)
    monkeypatch.setattr(scheduler, "evaluate", machine.evaluate)
    done: list[Evaluated] = []
    progress = PlainProgress(Console(quiet=True), len(planned_calls))
    await play_all(planned_calls, machine.play, jobs=jobs, lane="sip", progress=progress, done=done)
    return machine, done


async def test_a_stage_waits_for_its_forerunner_and_results_keep_the_plans_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, done = await played(
        monkeypatch, [planned("b", after="a"), planned("a"), planned("c")], {}
    )
    assert machine.played.index("a") < machine.played.index("b")
    assert [call.planned.name for call in done] == ["b", "a", "c"]


async def test_no_more_than_jobs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, done = await played(monkeypatch, [planned(str(n)) for n in range(9)], {}, jobs=2)
    assert machine.most_at_once == 2
    assert len(done) == 9


@pytest.mark.parametrize("verdict", ["failed", "late"])
async def test_a_call_that_a_busy_machine_bent_is_played_again(
    monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    machine, (call,) = await played(monkeypatch, [planned("a")], {"a": (verdict, 80.0)})
    assert machine.played == ["a", "a-again1"]
    assert (call.verdict, call.planned.name) == ("passed", "a-again1")


def names_of(one: PlannedCall) -> list[str]:
    return [attempt(one, number).name for number in range(1, MOST_ATTEMPTS + 1)]


async def test_a_call_that_is_always_late_is_an_error_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = names_of(planned("a"))
    disturbed = dict.fromkeys(attempts, ("late", 80.0))
    machine, (call,) = await played(monkeypatch, [planned("a")], disturbed)
    assert machine.played == attempts
    assert (call.verdict, call.unmeasured) == ("error", True)
    assert "in each of 5 attempts (for 80 ms at most" in call.sentence


@pytest.mark.parametrize("last", ["late", "failed"])
async def test_what_goes_otherwise_in_every_attempt_has_failed_whatever_the_machine_did(
    monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    attempts = names_of(planned("a"))
    wrong = dict.fromkeys(attempts, ("failed", 80.0)) | {attempts[-1]: (last, 80.0)}
    machine, (call,) = await played(monkeypatch, [planned("a")], wrong)
    assert machine.played == attempts
    assert call.verdict == ("error" if last == "late" else "failed")
    assert call.unmeasured == (last == "late")


async def test_the_last_attempt_is_alone_behind_all_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [planned(str(n)) for n in range(20)]
    planned_calls = [planned("a"), planned("c", after="a"), *others]
    disturbed = dict.fromkeys(names_of(planned("a"))[:-1], ("failed", 80.0))
    machine, done = await played(monkeypatch, planned_calls, disturbed, jobs=3)
    assert machine.others["a-again4"] == 0
    assert machine.most_at_once == 3
    assert machine.played[-2:] == ["a-again4", "c"]
    assert [call.verdict for call in done] == ["passed"] * 22


@pytest.mark.timeout(10)
@pytest.mark.parametrize("jobs", [1, 2, 4])
async def test_last_attempts_of_callers_at_once_wait_for_nobody_for_ever(
    monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    groups = [planned(f"{group}{n}", together=group) for n in range(3) for group in "xy"]
    disturbed = {name: ("failed", 80.0) for one in groups for name in names_of(one)}
    machine, done = await played(monkeypatch, groups, disturbed, jobs=jobs)
    assert [call.verdict for call in done] == ["failed"] * 6
    assert {machine.others[names_of(one)[-1]] for one in groups} == {0}


async def test_a_failure_on_a_quiet_machine_is_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, (call,) = await played(monkeypatch, [planned("a")], {"a": ("failed", 4.0)})
    assert machine.played == ["a"]
    assert call.verdict == "failed"


def test_a_further_attempt_says_what_it_is_an_attempt_at(tmp_path: Path) -> None:
    scenario = hand_played.scenario(tmp_path, "steps: [hang_up]")
    (first,) = plan([scenario], repeat=None, seed=0)
    infos = []
    for n in (1, 2):
        again = attempt(first, n)
        done = PlayedCall(
            planned=again, directory=tmp_path, verdict="passed", detail="", took_s=1.0
        )
        infos.append(call_info(done, "sip"))
    assert [info.again for info in infos] == ["", first.name]


def test_a_further_attempt_has_a_greeting_cache_of_its_own_unless_it_was_lent() -> None:
    assert attempt(planned("a"), 2).greeting_cache == "a-again1"
    assert attempt(planned("b", after="a"), 2).greeting_cache == "a"
    assert [s.name for s in with_attempts([planned("a")])][:3] == ["a", "a-again1", "a-again2"]


async def test_callers_of_one_scenario_wait_until_all_have_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned_calls = [
        planned("x"),
        *(planned(f"c{n}", together="c") for n in range(3)),
        planned("y"),
    ]
    machine, done = await played(monkeypatch, planned_calls, {}, jobs=3)
    assert machine.played[:3] == ["c0", "c1", "c2"]
    assert machine.most_at_once == 3
    assert len(done) == 5


async def test_callers_of_one_scenario_all_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    group = [planned(f"g{n}", together="g") for n in range(3)]
    machine, done = await played(monkeypatch, [planned("a"), *group, planned("b")], {}, jobs=3)
    assert len(done) == 5
    assert machine.most_at_once == 3


@pytest.mark.timeout(10)
@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 5])
async def test_scenarios_with_many_callers_never_wait_for_each_others_places(
    monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    groups = [planned(f"{group}{n}", together=group) for n in range(3) for group in "xyz"]
    machine, done = await played(monkeypatch, [*groups, planned("a")], {}, jobs=jobs)
    assert len(done) == 10
    assert 3 <= machine.most_at_once <= max(jobs, 3)
