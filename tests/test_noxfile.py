"""What the noxfile's jobs end with."""

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from nox.command import CommandFailed

from callerside.simulator.runner.plan import plan
from callerside.simulator.runner.selection import choose
from callerside.simulator.scenario.loader import load

ROOT = Path(__file__).parents[1]
JOBS = runpy.run_path(str(ROOT / "noxfile.py"))


class Session:
    """One whose commands end with a code."""

    posargs: tuple[str, ...] = ("-k", "barge")

    def __init__(self, code: int) -> None:
        self.code = code
        self.commands: list[tuple[str, ...]] = []
        self.env: dict[str, str] = {}

    def install(self, *_: str) -> None:
        """Nothing is."""

    def run(self, *command: str, **_: Any) -> None:
        self.commands.append(command)
        if self.code:
            raise CommandFailed(f"Returned code {self.code}")


@pytest.mark.parametrize(
    ("job", "command"),
    [("scenarios", ("callerside", "run", "-k", "barge")), ("tests", ("pytest", "-k", "barge"))],
)
def test_what_could_not_run_ends_nox_with_2_and_a_failure_with_1(
    job: str, command: tuple[str, ...]
) -> None:
    session = Session(0)
    JOBS[job].func(session)
    ((program, *arguments),) = session.commands
    assert program == command[0]
    assert tuple(arguments[-len(command) + 1 :]) == command[1:]
    with pytest.raises(CommandFailed):  # of which nox makes 1
        JOBS[job].func(Session(1))
    with pytest.raises(SystemExit) as ended:
        JOBS[job].func(Session(2))
    assert ended.value.code == 2


def test_what_tests_leaves_to_attack_is_played_in_ci() -> None:
    session = Session(0)
    session.posargs = ("--small",)
    JOBS["attack"].func(session)
    ((*_, files, screening),) = session.commands
    assert (files, screening) == ("tests/attack", "tests/agent/telephony/test_screening.py")
    assert "nox -s attack -- --small\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_oldest_official_client_is_the_one_that_is_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (allowed,) = [
        one
        for one in project["project"]["optional-dependencies"]["test"]
        if one.startswith("openai")
    ]
    oldest, newest = JOBS["SDKS"]
    assert allowed.startswith(f"openai>={oldest.removesuffix('.0')},")
    assert newest > oldest


def test_the_first_command_plays_at_most_a_hundred_calls_and_another_job_all_others() -> None:
    paths = [ROOT / "scenarios"]
    core = choose(paths, "core", "sip")
    assert all("core" in one.tags for one in core), "a forerunner of one is core as well"
    assert 0 < len(plan(core, repeat=None, seed=0)) <= 100
    played = {one.name for one in core}
    left = {one.name for one in load(paths) if "sip" in one.lanes} - played
    if left:
        assert left <= {one.name for one in choose(paths, "not core", "sip")}
    assert "nox -s others -- --sample 0.1" in (ROOT / ".ci" / "run").read_text()
