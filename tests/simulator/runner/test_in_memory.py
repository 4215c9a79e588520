"""A run in memory: who plays its calls, in which order, and what is left when it is to end."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall
from callerside.simulator.lanes.virtual.lane import VirtualLane
from callerside.simulator.runner import process_pool
from callerside.simulator.runner.evaluate import Evaluated
from callerside.simulator.runner.in_memory import play_in_memory
from callerside.simulator.runner.plan import plan
from callerside.simulator.runner.progress import PlainProgress
from callerside.simulator.scenario.loader import load

GREETED = "about: Greeted.\nsteps: [{expect: greeting}, hang_up]\n"
PAUSES = "about: Waits.\nsteps: [{expect: greeting}, {pause: 20s}, hang_up]\n"
LATER = "about: Later.\nafter: greeted\nbudget: {greeting_ms: 700}\n" + GREETED[16:]
ON_ONE = """
import os, sys
from callerside.simulator.cli.entry import main
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv.pop(1))])
sys.exit(main())
"""


def planned_calls(folder: Path, **texts: str) -> list[PlannedCall]:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return plan(load([folder]), repeat=None, seed=3)


def played_names(
    planned: list[PlannedCall], play: Callable[[PlannedCall], PlayedCall]
) -> tuple[list[str], list[Evaluated]]:
    names: list[str] = []
    done: list[Evaluated] = []

    def noted(one: PlannedCall) -> PlayedCall:
        names.append(one.name)
        return play(one)

    progress = PlainProgress(Console(quiet=True), len(planned))
    asyncio.run(play_in_memory(planned, noted, progress=progress, done=done))
    return names, done


def test_the_longest_begins_a_caller_who_comes_later_does_and_results_keep_the_plans_order(
    tmp_path: Path,
) -> None:
    planned = planned_calls(tmp_path, later=LATER, greeted=GREETED, a=GREETED, waits=PAUSES)
    names, done = played_names(planned, VirtualLane(planned, tmp_path / "out").play)
    assert names[0] == "waits"
    assert names.index("greeted") + 1 == names.index("later")
    assert [call.planned.name for call in done] == [one.name for one in planned]
    assert {call.verdict for call in done} == {"passed"}, "the later one's greeting was kept"


def test_a_run_that_is_to_end_ends_between_two_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = planned_calls(tmp_path, a=GREETED, b=GREETED, c=GREETED)
    lane = VirtualLane(planned, tmp_path / "out")
    done: list[Evaluated] = []

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None

        def play(one: PlannedCall) -> PlayedCall:
            task.cancel()
            return lane.play(one)

        progress = PlainProgress(Console(quiet=True), 3)
        await play_in_memory(planned, play, progress=progress, done=done)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert [call.verdict for call in done] == ["passed"]


def results(folder: Path, processors: int) -> dict[str, Any]:
    program = folder / "on_some.py"
    program.write_text(ON_ONE)
    out = folder / f"out-{processors}"
    command = [sys.executable, "-P", str(program), str(processors), "run", "calls"]
    done = subprocess.run(
        [*command, "--lane", "virtual", "--out", str(out)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data: dict[str, Any] = json.loads((out / "latest/results.json").read_text())
    return data


ASKED = """
import gc, sys
from callerside.simulator.runner.process_pool import frozen
if sys.argv[1] == "early":
    gc.freeze()
before = gc.get_freeze_count()
with frozen():
    within = gc.get_freeze_count()
print(before, within, gc.get_freeze_count())
"""


@pytest.mark.parametrize("when", ["early", "never"])
def test_what_a_command_has_frozen_from_its_start_is_not_looked_through_behind_its_copies(
    when: str,
) -> None:
    command = [sys.executable, "-c", ASKED, when]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    before, within, behind = map(int, told.split())
    assert within > before
    assert (behind >= before > 0) if when == "early" else (behind == before == 0)


def test_copies_find_what_one_process_finds(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    count = process_pool._WORTH_COPIES
    many = {f"a{number}": GREETED for number in range(count)}
    planned_calls(calls, later=LATER, greeted=GREETED, **many)
    one, more = results(tmp_path, 1), results(tmp_path, 2)
    assert one["scenarios"] == more["scenarios"]
    assert len(one["scenarios"]) == count + 2
