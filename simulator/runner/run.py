"""A run: load, choose, plan, play, measure, judge. A pipeline of plain functions.

The run's directory is `out/<time>/`, and `out/latest` points to the newest. Whatever a lane needs
besides evidence (scripts, configuration, logs) lies in its `work/`.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from callerside import host
from callerside.addresses import is_ipv6
from callerside.agent.telephony.engine import PROFILES, Capability, EngineChoice, lack
from callerside.agent.telephony.engines import EngineUnavailableError, resolve
from callerside.agent.telephony.options import SipAccount
from callerside.reports.verdict.looked_at import FEW
from callerside.reports.verdict.results import RunInfo
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.lanes.planned_call import Lane, PlannedCall
from callerside.simulator.lanes.sip.child_process import ProcessError
from callerside.simulator.lanes.sip.config import address_towards
from callerside.simulator.lanes.sip.process_pair import calls_at_once
from callerside.simulator.runner.capabilities import missing
from callerside.simulator.runner.evaluate import Evaluated
from callerside.simulator.runner.functions import unofferable
from callerside.simulator.runner.kept_runs import GOES_ON, KEEP
from callerside.simulator.runner.percentiles import evaluate_together
from callerside.simulator.runner.plan import PlanError, plan
from callerside.simulator.runner.process_pool import copies, worth_copies
from callerside.simulator.runner.progress import Progress, make_progress
from callerside.simulator.runner.scheduler import play_all
from callerside.simulator.runner.selection import RunError, choose
from callerside.simulator.runner.speech import SpeechError, prepare_all
from callerside.simulator.scenario.model import Scenario

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What `callerside run` was asked for."""

    paths: Sequence[Path] = (Path("scenarios"),)
    expression: str | None = None
    sample: float | None = None
    """The share of what is chosen that is drawn by `seed` and played; None: all."""
    lane: Lane = "sip"
    seed: int = 0
    repeat: int | None = None
    jobs: int = field(default_factory=calls_at_once)
    out: Path = Path("out")
    keep: int = KEEP
    """Of the runs in `out`; 0: all of them."""
    strict: bool = False
    """Calls that are flaky or were not measured decide, too."""
    engine: EngineChoice = "auto"
    """The agent's SIP engine, and the caller's, if it has none of its own."""
    caller_engine: EngineChoice | None = None
    agent_uri: str | None = None
    """An agent that we did not start: only what the caller hears is measured."""
    account: SipAccount | None = None
    """As whom it is called."""
    account_file: Path | None = None
    """Where that was read, if anywhere."""


@dataclass(kw_only=True)
class Run:
    """A run that was done, as far as it came."""

    directory: Path
    started_at: datetime
    held: int | None = None
    """The number of an open file: until it is closed no other run takes the directory away."""
    calls: list[Evaluated] = field(default_factory=list, repr=False)
    """Not in the repr: `asyncio.run` forms that of its task's result, twice, and drops it."""
    duration_s: float = 0.0
    failure: str | None = None
    """Why it ended early, if it did."""
    held_back: str = ""
    """What kept it from placing its calls faster, in a line; over SIP."""
    interrupted: bool = False
    """Whether somebody wanted it to end."""
    together: list[str] = field(default_factory=list)
    """A line for each call whose verdict only all calls of its scenario gave, at the end."""

    @property
    def began(self) -> str:
        """When, as reports have it."""
        return self.started_at.isoformat(timespec="seconds")

    def withdraw(self) -> None:
        """Take its directory away again, in which there is nothing yet."""
        self.over()
        self.directory.rmdir()

    def over(self) -> None:
        """Nothing is written into its directory any more."""
        if self.held is not None:
            (self.directory / GOES_ON).unlink(missing_ok=True)
            os.close(self.held)
            self.held = None


async def run(options: RunOptions, console: "Console") -> Run:
    """Play and judge what `options` ask for; `reports.formats.write` makes pages of it.

    A process that dies ends the run, and `Run.failure` says so; the calls until then are kept. So
    does being cancelled, once there are calls: those under way are hung up, and do not count.

    Raises:
        RunError: it could not even begin.
    """
    try:
        chosen = choose(
            options.paths,
            options.expression,
            options.lane,
            sample=options.sample,
            seed=options.seed,
        )
        planned_calls = plan(chosen, repeat=options.repeat, seed=options.seed)
    except PlanError as error:
        raise RunError(str(error)) from None
    see_that_it_can_be_played(options, chosen)
    done = begin_run(options.out)
    with make_progress(console, len(planned_calls)) as progress:
        try:
            await play_run(planned_calls, options, done, progress)
        except asyncio.CancelledError:
            done.interrupted = True
            done.failure = (
                f"interrupted: {len(done.calls)} of {len(planned_calls)} calls were played"
            )
    return done


def see_that_it_can_be_played(
    options: RunOptions, chosen: Sequence[Scenario], *, prefix: str = "--"
) -> None:
    """Look before anything is played whether engines, and an agent that is not ours, can be called.

    Args:
        options: what the run was asked for.
        chosen: what it would play.
        prefix: what the names of its options begin with, for what is said.

    Raises:
        RunError: they cannot, or are not for this lane.
    """
    if options.lane != "sip":
        if options.engine != "auto" or options.caller_engine:
            raise RunError(
                f"engines are for SIP: {prefix}engine and {prefix}caller-engine need "
                f"{prefix}lane sip"
            )
        return
    see_that_engines_can(
        None if options.agent_uri is not None else options.engine,
        options.caller_engine or options.engine,
        chosen,
    )
    see_that_it_can_be_dialled(options, chosen, prefix=prefix)


def see_that_engines_can(
    engine: EngineChoice | None, caller_engine: EngineChoice, chosen: Sequence[Scenario]
) -> None:
    """Look before anything is played; `engine`: the agent's; None: it is somebody else's.

    Raises:
        RunError: an engine is not here, or cannot do what a scenario asks of it.
    """
    try:
        caller = resolve(caller_engine)
        agent = caller if engine is None else resolve(engine)
    except EngineUnavailableError as error:
        raise RunError(str(error)) from None
    problems = list(missing(chosen, agent=agent, caller=caller))
    if problems:
        raise RunError("\n".join(problems))


def see_that_it_can_be_dialled(
    options: RunOptions, chosen: Sequence[Scenario], *, prefix: str = "--"
) -> None:
    """Look before anything is played whether an agent that is not ours can be; if there is one.

    `prefix`: see `see_that_it_can_be_played`.

    Raises:
        RunError: nothing leads there, or a scenario needs an agent of ours.
    """
    uri = options.agent_uri
    if uri is None:
        return
    try:
        here = address_towards(uri, options.account)
    except OSError as error:
        raise RunError(f"{uri}: cannot be dialled from here: {error.strerror}") from None
    try:
        caller = resolve(options.caller_engine or options.engine)
    except EngineUnavailableError as error:
        raise RunError(str(error)) from None
    if is_ipv6(here) and Capability.IPV6 not in PROFILES[caller].capabilities:
        raise RunError(f"{uri}: {lack(caller, Capability.IPV6)}")
    bad = [scenario for scenario in chosen if scenario.network is not None]
    if bad:
        listed = "".join(f"\n{one.at('network')}: {one.name}" for one in bad)
        raise RunError(
            f"with {prefix}agent no network is made bad, as its packets would have to pass here "
            f"first; leave these out (-k 'not ...'):{listed}"
        )


def begin_run(out: Path) -> Run:
    """A run that begins now, with a directory of its own below `out`.

    Raises:
        RunError: there can be no such directory.
    """
    started_at = datetime.now(UTC)
    directory = _new_directory(out, started_at)
    try:
        held = host.hold(directory / GOES_ON)
    except OSError as error:
        raise RunError(f"{directory}: cannot write there: {error.strerror}") from None
    return Run(directory=directory, started_at=started_at, held=held)


async def play_run(
    planned_calls: Sequence[PlannedCall], options: RunOptions, done: Run, progress: Progress
) -> None:
    """Play and judge calls in the lane that `options` name; the calls go into `done`.

    Raises:
        RunError: something that is to be said cannot be; nothing was played.
    """
    try:  # on no other thread, as what follows: of a process with one there can be no copy
        prepare_all(planned_calls, _caller_hz(options.lane))
    except SpeechError as error:
        done.withdraw()
        raise RunError(str(error)) from None
    await asyncio.sleep(0)  # whoever wants the run to end is heard
    play = _play_virtual if options.lane == "virtual" else _play_sip
    if options.agent_uri is None:
        _tell_unplayable(planned_calls, done, progress)
    wrong = {call.planned.name for call in done.calls}
    playable = [planned for planned in planned_calls if planned.name not in wrong]
    try:
        if playable:
            await play(playable, options, done, progress)
    finally:
        place = {planned.name: number for number, planned in enumerate(planned_calls)}
        done.calls.sort(key=lambda call: place[call.planned.name])
        together = evaluate_together(done.calls)
        done.together += [
            f"{now.verdict}  {now.planned.name}  {now.sentence}"
            for now, before in zip(together, done.calls, strict=True)
            if now.verdict != before.verdict
        ]
        done.calls[:] = together
        done.duration_s = (datetime.now(UTC) - done.started_at).total_seconds()


def _caller_hz(lane: Lane) -> int:
    """At how many samples a second the callers of a lane speak."""
    if lane == "sip":
        return CALLER_RATE_HZ
    from callerside.simulator.lanes.virtual.leg import LineOptions

    return LineOptions().sample_rate_hz


def _tell_unplayable(planned_calls: Sequence[PlannedCall], done: Run, progress: Progress) -> None:
    """Add the calls whose functions cannot be offered to those that are done, as errors."""
    wrong = unofferable(planned_calls)
    for planned in planned_calls:
        if planned.name in wrong:
            why = wrong[planned.name]
            done.calls.append(Evaluated(planned=planned, sentence=why, took_s=0, result=None))
            progress.finished(planned.name, "error", why, 0)


async def _play_sip(
    planned_calls: Sequence[PlannedCall], options: RunOptions, done: Run, progress: Progress
) -> None:
    from callerside.simulator.lanes.sip.lane import SipLane
    from callerside.simulator.lanes.sip.nursery import Nursery

    # What a process gets is absolute: the folder that it runs in is its own affair.
    directory = done.directory.resolve()
    at_once = min(options.jobs, len(planned_calls))  # processes are made for calls, not for jobs
    places = max([at_once, *(planned.scenario.callers.count for planned in planned_calls)])
    count = worth_copies(len(planned_calls))
    nursery = Nursery.made()  # before this process has a thread, as what follows
    judges = copies(count) if count else None
    try:
        async with SipLane(
            planned_calls,
            directory,
            progress.phase,
            calls_at_once=places,
            engine=options.engine,
            caller_engine=options.caller_engine or options.engine,
            agent_uri=options.agent_uri,
            account=options.account,
            nursery=nursery,
        ) as lane:
            done.held_back = await play_all(
                planned_calls,
                lane.play,
                jobs=options.jobs,
                progress=progress,
                done=done.calls,
                carries=lane.headroom.wait,
                judges=judges,
            )
    except ProcessError as error:
        done.failure = f"{error}\nThe logs are in {done.directory / 'work' / 'logs'}"
    except BrokenExecutor:
        done.failure = _one_has_died("judges", done, planned_calls)
    finally:
        if judges is not None:
            judges.shutdown(cancel_futures=True)
        if nursery is not None:
            nursery.close()


async def _play_virtual(
    planned_calls: Sequence[PlannedCall], _options: RunOptions, done: Run, progress: Progress
) -> None:
    from callerside.simulator.lanes.virtual.lane import VirtualLane
    from callerside.simulator.runner.in_memory import play_in_memory

    lane = VirtualLane(planned_calls, done.directory.resolve())
    of_many = RunInfo(started_at=done.began, lane="virtual")
    try:
        await play_in_memory(
            planned_calls,
            lane.play,
            progress=progress,
            done=done.calls,
            pages_of=of_many if len(planned_calls) > FEW else None,
        )
    except BrokenExecutor:
        done.failure = _one_has_died("plays and judges", done, planned_calls)


def _one_has_died(which: str, done: Run, planned_calls: Sequence[PlannedCall]) -> str:
    return (
        f"a process that {which} has died: somebody ended it, or there was no memory left; "
        f"{len(done.calls)} of {len(planned_calls)} calls were judged"
    )


def _new_directory(out: Path, started_at: datetime) -> Path:
    """`out/<time>`, with a number behind it if there is one already."""
    stem = started_at.astimezone().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        directory = out / (stem if number == 1 else f"{stem}-{number}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"{out}: cannot write reports there: {error.strerror}") from None
        return directory
    raise RunError(f"{out}: cannot make a directory for this run")


def point_latest_at(directory: Path) -> None:
    """Make `latest`, beside the run's directory, a link to it; replaced in one step.

    What somebody has put there that is no link is theirs, and stays (`latest_of` tells).
    """
    link = directory.parent / "latest"
    if link.exists() and not link.is_symlink():
        return
    temporary = directory.parent / f".latest-{directory.name}"
    temporary.symlink_to(directory.name)
    temporary.replace(link)


def latest_of(directory: Path) -> Path | None:
    """The link `latest` to a run's directory; None where there is none."""
    link = directory.parent / "latest"
    return link if link.is_symlink() and link.readlink() == Path(directory.name) else None
