"""The run behind a pytest session: plays in a thread of its own, and hands out what is done."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from callerside.agent.telephony.engine import EngineChoice
from callerside.reports.formats.write import call_directory
from callerside.reports.verdict.outcome import Outcome
from callerside.simulator.cli.run import account_of, whom, write_report
from callerside.simulator.lanes.planned_call import Lane
from callerside.simulator.lanes.sip.process_pair import calls_at_once
from callerside.simulator.runner.evaluate import Evaluated
from callerside.simulator.runner.percentiles import evaluate_together
from callerside.simulator.runner.plan import PlanError, plan, with_forerunners
from callerside.simulator.runner.run import (
    RunOptions,
    begin_run,
    play_run,
    see_that_it_can_be_played,
)
from callerside.simulator.runner.selection import RunError
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Scenario

PREFIX = "--callerside-"
"""Of the options' names."""
_CLOSE_LIMIT_S = 30.0
_ANSWER_LIMIT_S = 3600.0
"""A run ends by its own limits long before; this only bounds the wait if the thread is gone."""


class PlayerError(RuntimeError):
    """The run could not be done, or ended before this call was played: says why."""


class Player:
    """Plays scenarios, beginning at once, and answers for each.

    Args:
        scenarios: what pytest is going to test.
        lane: where to play.
        seed: of everything random.
        jobs: calls at once, where the lane allows it; None: as many as this machine can carry.
        out: where reports go.
        strict: see `RunOptions`.
        engine: the SIP engine of agent and caller.
        caller_engine: the caller's, where it is to be another one.
        agent_uri: an agent that runs elsewhere; None: one of ours.
        account_file: see `account_of`.

    Raises:
        PlayerError: the scenarios cannot be played together, or not with that agent or engine.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        *,
        lane: Lane,
        seed: int,
        jobs: int | None,
        out: Path,
        strict: bool = False,
        engine: EngineChoice = "auto",
        caller_engine: EngineChoice | None = None,
        agent_uri: str | None = None,
        account_file: Path | None = None,
    ) -> None:
        self.report: Path | None = None
        self.outcome: Outcome | None = None
        """What the calls come to, when the run is over."""
        if clashing := "\n".join(loader.clashes(scenarios)):
            raise PlayerError(clashing)
        try:
            self._options = RunOptions(
                lane=lane,
                seed=seed,
                jobs=jobs or calls_at_once(),
                out=out,
                strict=strict,
                engine=engine,
                caller_engine=caller_engine,
                agent_uri=agent_uri,
                account=account_of(agent_uri, account_file, lane, prefix=PREFIX),
                account_file=account_file,
            )
            chosen = with_forerunners(scenarios, loader.with_forerunners_beside(scenarios))
            see_that_it_can_be_played(self._options, chosen, prefix=PREFIX)
            self._planned_calls = plan(chosen, repeat=None, seed=seed)
            self._run = begin_run(out)
        except (PlanError, RunError, loader.ScenarioError) as error:
            raise PlayerError(str(error)) from None
        self._done: dict[str, Future[Evaluated]] = {
            planned.name: Future() for planned in self._planned_calls
        }
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._play, name="callerside", daemon=True)
        self._thread.start()

    @property
    def whom(self) -> str:
        """A line that says which agent was called."""
        return whom(self._options, prefix=PREFIX)

    def calls_of(self, scenario: Scenario) -> list[Evaluated]:
        """All calls of a scenario, when they are done.

        Raises:
            PlayerError: the run ended before.
        """
        names = [
            planned.name
            for planned in self._planned_calls
            if planned.scenario.name == scenario.name
        ]
        return evaluate_together([self._done[name].result(_ANSWER_LIMIT_S) for name in names])

    def page(self, call: Evaluated) -> Path:
        """Where the page of a call is, or will be when the run is over."""
        return call_directory(self._run.directory, call.planned.name) / "call.html"

    def close(self) -> None:
        """End the run, if it has not ended, and write the report of what was played."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(_CLOSE_LIMIT_S)
        if self._run.calls:
            report = write_report(self._run, self._options, "pytest", every_page=True)
            self.report = self._run.directory / "index.html"
            self.outcome = report.outcome

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _play(self) -> None:
        """The thread: everything asynchronous happens here."""
        reason = "the run was ended before this call"
        try:
            self._task = self._loop.create_task(
                play_run(self._planned_calls, self._options, self._run, _Resolve(self._resolve))
            )
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except RunError as error:
            reason = str(error)
        except Exception as error:  # whatever it is, the tests that wait must hear of it
            reason = f"the run broke down: {type(error).__name__}: {error}"
        finally:
            self._loop.close()
        reason = self._run.failure or reason
        for future in self._done.values():
            if not future.done():
                future.set_exception(PlayerError(reason))

    def _resolve(self, name: str) -> None:
        call = next(call for call in self._run.calls if name == call.planned.name)
        self._done[name].set_result(call)


class _Resolve:
    """A `simulator.runner.progress.Progress` that shows nothing: waiting tests get results."""

    def __init__(self, resolve: Callable[[str], None]) -> None:
        self._resolve = resolve

    def phase(self, call: str, phase: str) -> None:
        """See `Progress.phase`."""

    def played(self, call: str, took_s: float) -> None:
        """See `Progress.played`."""

    def finished(self, call: str, verdict: str, sentence: str, took_s: float) -> None:  # noqa: ARG002 - as the protocol has it
        """See `Progress.finished`."""
        self._resolve(call)

    def __enter__(self) -> Self:
        """See `Progress.__enter__`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See `Progress.__exit__`."""
