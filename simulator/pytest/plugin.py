"""pytest sees scenarios: `pytest scenarios/` plays each file, and each cell of a matrix, as a test.

A YAML file is a scenario if it lies in a project's folder `scenarios`, or has `about` and `steps`.
All that was collected and not deselected is played as one run, several calls at once where the lane
allows it; each test waits for its own call. `-k` chooses by name, a scenario's `tags` are markers
for `-m`, JUnit carries the metrics and the call's page as properties, and a failure names the page.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Loaded with every pytest of an environment: what it needs is imported when a scenario is there.
if TYPE_CHECKING:
    from callerside.simulator.pytest.session_player import Player
    from callerside.simulator.runner.evaluate import Evaluated
    from callerside.simulator.scenario.model import Scenario

FOLDER = "scenarios"
_SUITE_FILE, _STEPS = "suite.yaml", ".steps.yaml"
_HEAD = re.compile(r"^about:.*^steps:|^steps:.*^about:", re.MULTILINE | re.DOTALL)

_PLAYER = pytest.StashKey["Player"]()
_ENDED = pytest.StashKey[dict[str, Any]]()
"""What there is to say of the run that is over."""
_OUTPUT = "callerside"
"""Under which one of several processes tells it to the first."""


class ScenarioFailedError(Exception):
    """A call did not go as its scenario says; the message is all that there is to say."""


def _seed(text: str) -> int:
    """As for `callerside run`; loaded when it is asked for, as all of ours is."""
    from callerside.command_line import seed

    return seed(text)


def _positive(text: str) -> int:
    from callerside.command_line import positive

    return positive(text)


def _sip_uri(text: str) -> str:
    from callerside.simulator.cli.run import sip_uri

    return sip_uri(text)


def _engine(text: str) -> str:
    from callerside.agent.telephony.engine import CHOICES

    if text not in CHOICES:
        raise argparse.ArgumentTypeError(f"{text!r}: expected one of {', '.join(CHOICES)}")
    return text


def pytest_addoption(parser: pytest.Parser) -> None:
    """How to play: lane, seed, calls at once, where reports go."""
    group = parser.getgroup("callerside", "telephone scenarios")
    group.addoption(
        "--callerside-lane",
        choices=("sip", "virtual"),
        default="sip",
        help="sip: real calls in real time; virtual: in memory, in no time (default: sip)",
    )
    group.addoption(
        "--callerside-seed", type=_seed, default=0, help="of everything random (default: 0)"
    )
    group.addoption(
        "--callerside-jobs",
        type=_positive,
        metavar="N",
        help="calls at once (default: as many as `callerside run` places here)",
    )
    group.addoption(
        "--callerside-out", type=Path, default=Path("out"), metavar="DIR", help="default: out"
    )
    group.addoption(
        "--callerside-engine",
        type=_engine,  # which a default in words would call at every start of pytest
        metavar="ENGINE",
        help="the SIP engine of agent and caller, as `callerside run --engine` takes it "
        "(default: auto)",
    )
    group.addoption(
        "--callerside-caller-engine",
        type=_engine,
        metavar="ENGINE",
        help="of the caller, where it is to be another one than the agent's",
    )
    group.addoption(
        "--callerside-agent",
        type=_sip_uri,
        metavar="URI",
        help="dial this agent (sip:number@host) instead of starting one, as `callerside run` does",
    )
    group.addoption(
        "--callerside-account",
        type=Path,
        metavar="FILE",
        help="the caller's own SIP account there, as `callerside run --account` takes it",
    )
    group.addoption(
        "--callerside-strict",
        action="store_true",
        help="fail also what is flaky or was not measured",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    """A scenario file, if it is one."""
    if _is_scenario(file_path, parent.config):
        collected: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
        return collected
    return None


def _is_scenario(path: Path, config: pytest.Config) -> bool:
    no_scenario = path.name == _SUITE_FILE or path.name.endswith(_STEPS)
    if path.suffix != ".yaml" or no_scenario:
        return False
    root = config.rootpath  # what lies above a project, and how it is called, is no matter
    below = path.relative_to(root).parts if path.is_relative_to(root) else ()
    in_folder = FOLDER in (root.name, *below, path.parent.name)
    return in_folder or bool(_HEAD.search(path.read_text(errors="replace")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With `-n`, one of the processes plays all scenarios; None: there are none to be spread."""
    from callerside.simulator.pytest.one_process import scheduler, yaml_files

    if config.getoption("dist") == "each":
        return None
    found = any(_is_scenario(path, config) for path in yaml_files(config))
    return scheduler(config, log) if found else None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no process behind, and write the report."""
    config = session.config
    player = config.stash.get(_PLAYER, None)
    if player is not None:
        player.close()
        outcome = player.outcome
        too_little = outcome is not None and outcome.verdict == "not measured"
        config.stash[_ENDED] = {
            "report": str(player.report or ""),
            "whom": player.whom,
            "too_little": list(outcome.why) if outcome and too_little else [],
            "exit_code": outcome.exit_code if outcome and too_little else 0,
        }
        if hasattr(config, "workeroutput"):  # one of several processes: the first one tells
            config.workeroutput[_OUTPUT] = config.stash[_ENDED]
    ended = config.stash.get(_ENDED, None)
    if ended and ended["exit_code"] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = ended["exit_code"]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What the process that has played the scenarios has to tell."""
    if ended := getattr(node, "workeroutput", {}).get(_OUTPUT):
        node.config.stash[_ENDED] = ended


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where the report is."""
    ended = config.stash.get(_ENDED, None)
    if ended and ended["report"]:
        for why in ended["too_little"]:
            terminalreporter.write_line(f"too little was measured: {why}", yellow=True)
        terminalreporter.write_line(ended["whom"])
        terminalreporter.write_line(f"callerside report: {ended['report']}")


class ScenarioFile(pytest.File):
    """A file, of which each scenario is a test."""

    def collect(self) -> Iterator["ScenarioItem"]:
        """One test, or one for each cell of the matrix."""
        from callerside.simulator.scenario.loader import ScenarioError, load_file

        try:
            scenarios = load_file(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None
        for scenario in scenarios:
            if self.config.getoption("--callerside-lane") in scenario.lanes:
                item: ScenarioItem = ScenarioItem.from_parent(
                    self, name=scenario.name, scenario=scenario
                )
                yield item


class ScenarioItem(pytest.Item):
    """One scenario as a test."""

    def __init__(self, *, scenario: "Scenario", **given: Any) -> None:
        super().__init__(**given)
        self.scenario = scenario
        for tag in scenario.tags:
            self.config.addinivalue_line("markers", f"{tag}: a tag of scenarios")
            self.add_marker(tag)
        if self.config.pluginmanager.has_plugin("timeout"):
            # A test waits for its turn among the calls; these end by their own limits.
            self.add_marker(pytest.mark.timeout(0))

    def runtest(self) -> None:
        """Wait for the call, or calls, and judge them."""
        player = _player(self.session)
        calls = player.calls_of(self.scenario)
        self.user_properties += list(_properties(calls, player))
        pages = "\n".join(str(player.page(call)) for call in calls)
        self.add_report_section("call", "report", pages)
        strict = self.config.getoption("--callerside-strict")
        wrong = ("failed", "error", *(("flaky", "not measured") if strict else ()))
        for verdicts, tell in (
            (wrong, _fail),
            (("not measured",), pytest.skip),
            (("known failure",), pytest.xfail),
            (("flaky",), self._warn_of),
        ):
            told = "\n".join(
                f"{call.planned.name}: {call.sentence}\n  see {player.page(call)}"
                for call in calls
                if call.called in verdicts
            )
            if told:
                tell(told)

    def _warn_of(self, told: str) -> None:
        self.warn(pytest.PytestWarning(f"flaky: {told}"))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any) -> Any:
        """The sentence alone; where it happened in our code says nothing."""
        from callerside.simulator.pytest.session_player import PlayerError

        if isinstance(excinfo.value, (ScenarioFailedError, PlayerError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The file, its first line, and the name."""
        return self.path, 0, f"scenario {self.name}"


def _fail(told: str) -> None:
    raise ScenarioFailedError(told)


def _player(session: pytest.Session) -> "Player":
    """The run of this session; it begins with the first scenario that is tested."""
    from callerside.simulator.pytest.session_player import Player

    stash = session.config.stash
    if _PLAYER not in stash:
        option = session.config.getoption
        stash[_PLAYER] = Player(
            [item.scenario for item in session.items if isinstance(item, ScenarioItem)],
            lane=option("--callerside-lane"),
            seed=option("--callerside-seed"),
            jobs=option("--callerside-jobs"),
            out=option("--callerside-out"),
            strict=option("--callerside-strict"),
            engine=option("--callerside-engine") or "auto",
            caller_engine=option("--callerside-caller-engine"),
            agent_uri=option("--callerside-agent"),
            account_file=option("--callerside-account"),
        )
    return stash[_PLAYER]


def _properties(calls: Sequence["Evaluated"], player: "Player") -> Iterable[tuple[str, object]]:
    """Each call's page and numbers, for JUnit; named as `junit.xml` of a run names them."""
    for call in calls:
        prefix = f"{call.planned.name}." if len(calls) > 1 else ""
        yield f"{prefix}report", str(player.page(call))
        for one in call.result.judged if call.result else ():
            turn = f".turn{one.turn}" if one.turn is not None else ""
            statistic = f".{one.statistic}" if one.statistic else ""
            yield f"{prefix}{one.name}{turn}{statistic}", round(one.value, 3)
