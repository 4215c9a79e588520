"""A scenario that the fuzzer writes fails where the fault is, and passes where it is not.

So it may go to `scenarios/found/` once the fault is mended, and says whether it is.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from planted_bugs import BUGS, BrokenMachine

import callerside.simulator.fuzz.runner
import callerside.simulator.lanes.virtual.lane
from callerside.agent.call import events
from callerside.agent.call.events import CallInput, Effect
from callerside.simulator.cli import main
from callerside.simulator.cli.fuzz import as_json, as_text
from callerside.simulator.fuzz.calls import GREETED
from callerside.simulator.fuzz.play import Outcome, joined, play_seed, shrink_outcome
from callerside.simulator.fuzz.runner import Finding, Summary, write_up
from callerside.simulator.lanes.virtual.call import play_call
from callerside.simulator.lanes.virtual.invariants import Breach
from callerside.simulator.runner.lint import problems
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Scenario

MOST_PLAYS = 60


class StaysWhenAsked(BrokenMachine):
    """It goes on with a call that is to end at once."""

    def answer(self, event: CallInput, now_ns: int) -> list[Effect]:
        if isinstance(event, events.EndRequested):
            return []
        return super().answer(event, now_ns)


Written = Callable[[type[BrokenMachine], int], Finding]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes what a broken agent's seed shows, made small."""

    def write(bug: type[BrokenMachine], seed: int) -> Finding:
        runner = callerside.simulator.fuzz.runner
        monkeypatch.setattr(runner, "play_seed", partial(play_seed, make_machine=bug))
        monkeypatch.setattr(runner, "shrink_outcome", partial(shrink_outcome, make_machine=bug))
        return write_up(seed, tmp_path / "found", max_plays=MOST_PLAYS)

    return write


def run(paths: list[Path], folder: Path) -> int:
    given = ["run", "--lane", "virtual", "--jobs", "1", "--out", str(folder), *map(str, paths)]
    return main.main(given)


def break_agent(monkeypatch: pytest.MonkeyPatch, bug: type[BrokenMachine]) -> None:
    broken = partial(play_call, make_machine=bug)
    monkeypatch.setattr(callerside.simulator.lanes.virtual.lane, "play_call", broken)


@pytest.mark.parametrize(
    ("bug", "invariant", "seed"),
    [*((bug, name, seed) for bug, name, _, seed in BUGS), (StaysWhenAsked, "ends_when_asked", 66)],
)
def test_what_is_written_fails_with_the_fault_and_passes_without(
    bug: type[BrokenMachine],
    invariant: str,
    seed: int,
    written: Written,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finding = written(bug, seed)
    assert "callerside run --lane virtual" in as_text(Summary(first_seed=0, findings=[finding]))
    assert run(finding.paths, tmp_path / "good") == 0, capsys.readouterr().out
    break_agent(monkeypatch, bug)
    assert run(finding.paths, tmp_path / "bad") == 1
    assert finding.invariant in capsys.readouterr().out
    steps = yaml.safe_load(finding.path.read_text(encoding="utf-8"))["steps"]
    assert len(steps) <= 8
    assert joined(steps) == steps


def test_numbers_and_steps_are_no_matter_of_an_invariant(tmp_path: Path) -> None:
    """An answer that a watchdog had to ask for is late, and a step may be met by nothing."""
    data: dict[str, Any] = {
        "version": 2,
        "about": "The caller speaks into the answer, and waits for what nobody says.",
        "agent": {"turns": {"watchdogs": {"response_end_ms": 4000}}},
        "steps": [{"say": "What time do you open?"}, {"pause": 2000}, {"say": "Hello?"}],
    }
    path = tmp_path / "late.yaml"
    for more, code in (
        ({}, 1),
        ({"judged_by": "invariants"}, 0),
        ({"judged_by": "invariants", "never": ["reply"], "budget": {"turn_ms": 100}}, 0),
    ):
        path.write_text(yaml.safe_dump({**data, **more}), encoding="utf-8")
        assert run([path], tmp_path / "out") == code, more


def test_what_holds_nothing_then_is_told(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(
        {
            "about": "A limit that nobody holds the call to.",
            "judged_by": "invariants",
            "never": ["reply"],
            "budget": {"turn_ms": 100, "gap_ms": "off"},
            "steps": [{"say": "Hello?"}],
        }
    )
    assert [line.partition(": ")[2] for line in problems(scenario)] == [
        f"{key} fails no call that is judged_by: invariants; leave one out"
        for key in ("never", "budget")
    ]


def test_who_must_be_answered_and_is_not_fails_it(tmp_path: Path) -> None:
    """The agent is idle, as far as its settings go: only that it recovers is broken."""
    data = {
        "version": 2,
        "about": "The server never answers.",
        "judged_by": "invariants",
        "agent": {
            "turns": {"vad": {"create_response": False}, "watchdogs": {"response_ms": 60000}}
        },
        "realtime": {"replies": [{"sends_only": "nothing"}]},
        "steps": [{"pause": 4000}, {"say": "Hello?"}, {"expect": "reply", "within": 3000}],
    }
    path = tmp_path / "unanswered.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    assert run([path], tmp_path / "out") == 1


def test_two_that_come_after_calls_of_their_own_keep_these_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were written over the same file before."""
    outcomes = found_after_calls_of_their_own(2)
    breach = Breach(invariant="none", detail="to see it written")

    def play(seed: int) -> Outcome:
        return outcomes[seed]

    monkeypatch.setattr(callerside.simulator.fuzz.runner, "play_seed", play)
    for outcome in outcomes.values():
        object.__setattr__(outcome, "breaches", [breach])
    found = [write_up(seed, tmp_path, small=False) for seed in outcomes]
    assert len({finding.after for finding in found}) == 2
    for finding, outcome in zip(found, outcomes.values(), strict=True):
        before, after = loader.load(finding.paths)
        assert after.after == before.name
        assert before.about == (outcome.before or {})["about"]
        assert before.judged_by == "invariants"
    assert as_json(Summary(first_seed=0, findings=found))["findings"][0]["after"]


def found_after_calls_of_their_own(count: int) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}
    for seed in range(400):
        if seed % 8 < 6 and len(found) < count:
            outcome = play_seed(seed)
            if outcome.before not in (None, GREETED):
                found[seed] = outcome
    return found


def test_pauses_behind_pauses_are_one_and_none_lasts_no_time() -> None:
    steps = [{"pause": 0}, {"say": "Hi."}, {"pause": 0}, {"pause": 20}, {"pause": 2000}, "hang_up"]
    assert joined(steps) == [{"say": "Hi."}, {"pause": 2020}, "hang_up"]
    assert joined([{"pause": 1, "when": "answer"}, {"pause": 2}]) == [
        {"pause": 1, "when": "answer"},
        {"pause": 2},
    ]
