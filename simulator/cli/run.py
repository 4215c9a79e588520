"""`callerside run`: what it takes, what it prints, and the report that it writes."""

import argparse
import asyncio
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from callerside.addresses import is_ipv6
from callerside.agent.telephony.engine import CHOICES
from callerside.agent.telephony.options import SipAccount
from callerside.command_line import at_least_none, positive, seed
from callerside.interrupts import EXIT_INTERRUPTED
from callerside.ports import HIGHEST_PORT
from callerside.reports.formats.write import write_judged
from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.calibration_file import kept
from callerside.reports.verdict.call_result import CallResult
from callerside.reports.verdict.looked_at import looked_at
from callerside.reports.verdict.outcome import Outcome, called, counted, told_of_warnings
from callerside.reports.verdict.results import RunInfo
from callerside.simulator.cli.common import add_choice
from callerside.simulator.lanes.planned_call import Lane
from callerside.simulator.lanes.sip.account import PASSWORD, AccountError
from callerside.simulator.lanes.sip.account import load as load_account
from callerside.simulator.lanes.sip.process_pair import calls_at_once
from callerside.simulator.runner.evaluate import Evaluated, without_evidence
from callerside.simulator.runner.interruption import interruptible
from callerside.simulator.runner.kept_runs import KEEP, remove_old_runs
from callerside.simulator.runner.progress import summary_table
from callerside.simulator.runner.run import (
    Run,
    RunOptions,
    latest_of,
    point_latest_at,
    run,
)
from callerside.simulator.runner.selection import RunError

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 140
"""Of the closing table where no terminal says how wide it is."""

_SIP_URI = re.compile(
    r"sips?:[^@\s;]+@(?:[^@\s;:\[\]]+|\[([^\]]*)\])(?::(\d+))?(;\S*)?", re.IGNORECASE
)
_TRANSPORT = re.compile(r";transport=(?!(?:udp|tcp|tls)(?:;|$))([^;]*)", re.IGNORECASE)

_NOT_SHOWN = {"agent", "realtime", "after"}
"""Sections of a scenario that an agent which is not ours never gets."""

_BUSY = (486, 503, 600)
"""Statuses by which an agent says that it takes no call more now (RFC 3261 §21)."""

_CHALLENGES = (401, 407)
"""By which it asks for a digest (RFC 3261 §22)."""

_HEARD = ("speech_heard", "beep_heard")
"""Marks of the caller's ear."""

_NOT_ACCEPTABLE = 488
"""With which an engine of ours ends a call whose answer has nothing of its offer."""

SUMMARY_COLUMNS = ("greeting_ms", "turn_ms", "agent_overhead_ms", "barge_in_stop_ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Places the calls of scenarios, measures what the caller hears, and writes "
        "index.html, results.json and junit.xml to out/<time>/ (and out/latest)."
    )
    parser.epilog = "Example: callerside run scenarios -k 'barge and not late' --repeat 5"
    add_choice(parser)
    parser.add_argument(
        "--lane",
        choices=get_args(Lane),
        default="sip",
        help="sip: real calls, in real time; virtual: in memory, in no time (default: sip)",
    )
    parser.add_argument("--repeat", type=positive, metavar="N", help="place each call N times")
    parser.add_argument("--seed", type=seed, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--sample",
        type=_share,
        metavar="SHARE",
        help="of the chosen scenarios only a share, drawn by the seed: 0.1 (at least one)",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=calls_at_once(),
        metavar="N",
        help="calls at once (default: %(default)s, for this machine's cores); more than a machine "
        "can carry are not measured",
    )
    parser.add_argument(
        "--engine",
        choices=CHOICES,
        default="auto",
        help="the SIP engine of agent and caller (docs/engines.md); auto: the better one of those "
        "that are installed (default)",
    )
    parser.add_argument(
        "--caller-engine",
        choices=CHOICES,
        help="of the caller, where it is to be another one than the agent's",
    )
    parser.add_argument(
        "--agent",
        metavar="URI",
        type=sip_uri,
        help="dial this agent (sip:number@host) instead of starting one; what only our own agent "
        "and server could report is then not measured",
    )
    parser.add_argument(
        "--account",
        type=Path,
        metavar="FILE",
        help="the caller's own SIP account at whoever runs that agent (docs/your-agent.md); its "
        f"password is only ever read from {PASSWORD}",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 also where a call went wrong and was right when it was placed once more "
        "(flaky), and with 2 where any call could not be measured",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="default: out")
    parser.add_argument(
        "--keep",
        type=at_least_none,
        default=KEEP,
        metavar="N",
        help="runs that stay there, the newest; older ones are removed (default: %(default)s; "
        "0: all stay)",
    )
    parser.add_argument("--open", action="store_true", help="open the report in a browser")
    parser.add_argument("--json", action="store_true", help="print results.json, nothing else")
    parser.set_defaults(command=_run)


def _share(text: str) -> float:
    """A part of a whole, for `type=` of an argument."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a share above 0, at most 1, as 0.1")
    return share


def sip_uri(text: str) -> str:
    """An address that a telephone can dial, for `type=` of an argument."""
    expected = "expected sip:number@host or sip:number@host:port"
    if other := _TRANSPORT.search(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: transport={other[1]}: expected udp, tcp or tls"
        )
    found = _SIP_URI.fullmatch(text)
    if found is not None and found[1] is not None and not is_ipv6(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: in brackets stands an address of IPv6")
    if found is None or (found[2] and not 1 <= int(found[2]) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r}: {expected} with a port of 1 to {HIGHEST_PORT}")
    return text


def _run(given: argparse.Namespace) -> int:
    from callerside.simulator.cli.terminal import Terminal

    account = account_of(given.agent, given.account, given.lane)
    in_log = not sys.stdout.isatty()
    console = Terminal(
        highlight=False, soft_wrap=in_log, width=LOG_WIDTH if in_log else None, quiet=given.json
    )
    options = RunOptions(
        paths=given.paths,
        expression=given.expression,
        sample=given.sample,
        lane=given.lane,
        seed=given.seed,
        repeat=given.repeat,
        jobs=given.jobs,
        out=given.out,
        strict=given.strict,
        engine=given.engine,
        caller_engine=given.caller_engine,
        agent_uri=given.agent,
        account=account,
        account_file=given.account,
        keep=given.keep,
    )
    done = play(options, console)
    command = " ".join(["callerside", *sys.argv[1:]])
    # A name of bytes that are no text cannot be written down as it is.
    command = command.encode(errors="backslashreplace").decode()
    report = write_report(done, options, command)
    if given.json:
        print(json.dumps(report.data, indent=2))
        if done.failure:
            print(f"The run could not go on: {done.failure}", file=sys.stderr)
    show(console, done, options, report)
    if given.open:
        webbrowser.open((done.directory / "index.html").resolve().as_uri())
    return EXIT_INTERRUPTED if done.interrupted else report.outcome.exit_code


def play(options: RunOptions, console: "Console") -> Run:
    """Play a run to its end, or until a signal asks for its end.

    Raises:
        RunError: it could not even begin.
    """

    async def played() -> Run:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - this is one

        def end() -> None:
            print("ending the calls; once more to leave at once", file=sys.stderr)
            loop.call_soon_threadsafe(task.cancel)

        with interruptible(end):
            return await run(options, console)

    return asyncio.run(played())


def account_of(
    agent_uri: str | None, file: Path | None, lane: Lane, *, prefix: str = "--"
) -> SipAccount | None:
    """As whom to call an agent that runs elsewhere; None: there is none.

    Args:
        agent_uri: whom to call; None: an agent of ours.
        file: where the account is, besides the environment.
        lane: in which.
        prefix: what the names of the options begin with, for what is said.

    Raises:
        RunError: these do not go together, or the account cannot be read.
    """
    if not agent_uri:
        if file:
            raise RunError(
                f"{prefix}account is for an agent that runs elsewhere: it needs {prefix}agent"
            )
        return None
    if lane != "sip":
        raise RunError(f"{prefix}agent is called over SIP: it needs {prefix}lane sip")
    try:
        return load_account(file, os.environ)
    except AccountError as error:
        raise RunError(str(error)) from None


class Report(NamedTuple):
    """What was written about a run."""

    calls: list[CallResult]
    outcome: Outcome
    data: dict[str, Any]
    """What `results.json` holds."""


def write_report(
    done: Run, options: RunOptions, command: str, *, every_page: bool = False
) -> Report:
    """Write the report of a run, point `latest` at it, and remove runs that are too many.

    `every_page`: also those of calls that nobody will look at (`looked_at`).
    """
    info = _run_info(done, options, command)
    judged = [call.result or without_evidence(call, options.lane) for call in done.calls]
    written = {call.result.slug for call in done.calls if call.result and call.has_page}
    pages = None if every_page else looked_at(judged)
    data = write_judged(done.directory, info, judged, written=written, pages=pages)
    point_latest_at(done.directory)
    done.over()
    remove_old_runs(done.directory.parent, options.keep)
    return Report(judged, info.outcome(judged), data)


def _run_info(done: Run, options: RunOptions, command: str) -> RunInfo:
    return RunInfo(
        started_at=done.began,
        command=command,
        lane=options.lane,
        commit=_commit(),
        seed=options.seed,
        concurrency=options.jobs if options.lane == "sip" else 1,
        duration_s=done.duration_s,
        failure=done.failure or "",
        strict=options.strict,
        calibration=kept() if options.lane == "sip" else None,
        environment={
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": str(os.cpu_count()),
            "agent": options.agent_uri or "callerside's own",
        },
    )


def show(console: "Console", done: Run, options: RunOptions, report: Report) -> None:
    """Print a row for each call, and what all of them come to."""
    rows = [
        (call.slug, called(call), [_worst(call, name) for name in SUMMARY_COLUMNS])
        for call in report.calls
    ]
    console.print()
    console.print(summary_table(rows, SUMMARY_COLUMNS))
    console.print()
    for line in done.together:  # the call's own line, when it was over, said otherwise
        console.print(line, markup=False)
    if done.failure:
        console.print(f"The run could not go on: {done.failure}", style="bold red")
    console.print(whom(options), markup=False)
    if options.agent_uri:
        console.print("\n".join(_not_known(done, options)))
        for hint in _hints(done, options):
            console.print(hint, style="yellow", markup=False)
    if report.outcome.verdict == "not measured":
        for why in report.outcome.why:
            console.print(f"Too little was measured: {why}", style="bold yellow", markup=False)
    if done.held_back:
        console.print(done.held_back, markup=False)
    if warned := told_of_warnings(report.calls):
        console.print(warned, style="yellow", markup=False)
    index = (latest_of(done.directory) or done.directory) / "index.html"
    console.print(f"{counted(report.calls)}   {index}")


def whom(options: RunOptions, *, prefix: str = "--") -> str:
    """A line that says which agent was called; `prefix`: see `account_of`."""
    ours = f"callerside's own, which this run started (yours: {prefix}agent URI)"
    return f"The agent that was called: {options.agent_uri or ours}"


def _not_known(done: Run, options: RunOptions) -> Iterator[str]:
    """What only an agent and a server of ours could have reported."""
    agent_uri = options.agent_uri
    measured = {one.name for call in done.calls if call.result for one in call.result.judged}
    if not done.interrupted and not any(map(_was_answered, done.calls)):
        yield f"No call was answered: {_doctor(options)} says where a call to it fails"
        if options.account and not options.account.password:
            yield f"{PASSWORD} is not set in the environment: whoever asks for a digest got none"
    missing = sum(name not in measured for name in METRICS)
    yield (
        f"{agent_uri} is not ours: measured at the caller's ear alone; {missing} metrics are not "
        "measured, and each call's page says why"
    )
    scenarios = {call.planned.scenario.name: call.planned.scenario for call in done.calls}
    for name, scenario in scenarios.items():
        if unseen_by_it := sorted(_NOT_SHOWN & scenario.model_fields_set):
            yield f"  {name}: without effect on it: {', '.join(unseen_by_it)}"


def _doctor(options: RunOptions) -> str:
    """What looks at one call to the agent, to be typed."""
    whose = f" --account {shlex.quote(str(options.account_file))}"
    return f"callerside doctor {options.agent_uri}{whose if options.account_file else ''}"


def _hints(done: Run, options: RunOptions) -> Iterator[str]:
    """What to do about calls that an agent which is not ours refused, or answered and left mute."""

    def how_many(is_one: Callable[[CallResult], bool]) -> int:
        return sum(any(map(is_one, _attempts(call))) for call in done.calls)

    busy = how_many(lambda one: _status(one) in _BUSY)
    if busy and options.jobs > 1 and len(done.calls) > 1:
        yield (
            f"{_calls(busy)} refused as by somebody busy ({', '.join(map(str, _BUSY))}), and this "
            f"run places up to {options.jobs} at once: for an agent that takes one, add --jobs 1"
        )
    unknown = how_many(lambda one: _status(one) in _CHALLENGES)
    if unknown and not options.account:
        yield (
            f"{_calls(unknown)} refused by somebody who asks who calls "
            f"({', '.join(map(str, _CHALLENGES))}): give an account, --account FILE "
            "(docs/your-agent.md)"
        )
    if unmet := how_many(_is_unmet):
        yield (
            f"{_calls(unmet)} answered with no audio that was offered: {_doctor(options)} shows "
            "the answer"
        )
    if mute := how_many(_is_mute):
        yield (
            f"{_calls(mute)} answered, and not one packet came of the sound that was agreed to: "
            "most likely the agent sends nothing, or something else: see its log; "
            f"{_doctor(options)} looks at such a call"
        )
    if silent := how_many(_is_silent):
        yield (
            f"{_calls(silent)} answered, packets came, and nothing was to be heard in them: the "
            "agent says nothing, or sends what was not agreed to: see its log; "
            f"{_doctor(options)} looks at such a call"
        )


def _calls(count: int) -> str:
    return "1 call was" if count == 1 else f"{count} calls were"


def _attempts(call: Evaluated) -> Iterator[CallResult]:
    if call.result:
        yield from call.result.attempts


def _status(result: CallResult) -> int | None:
    """With what the call was refused; None where it was answered."""
    ended = result.evidence.last("caller", "call_ended")
    if ended is None or result.evidence.first("caller", "call_answered"):
        return None
    return int(ended.fields["status"])


def _is_unmet(result: CallResult) -> bool:
    """Whether its caller's offer was answered with nothing of it, which ended the call."""
    ended = result.evidence.last("caller", "call_ended")
    answered = result.evidence.first("caller", "call_answered")
    return bool(
        answered
        and ended
        and ended.fields["by"] == "network"
        and ended.fields["status"] == _NOT_ACCEPTABLE
    )


def _is_mute(result: CallResult) -> bool:
    """Whether it failed, was answered, and its caller got no packet, by its own count of them."""
    return _packets(result) == 0


def _is_silent(result: CallResult) -> bool:
    """Whether it failed, and its caller got packets, and heard nothing whatever."""
    heard = any(result.evidence.first("caller", name) for name in _HEARD)
    return bool(_packets(result)) and not heard


def _packets(result: CallResult) -> int | None:
    """That came to the caller of a call that failed; None: it was none that was up."""
    if _is_unmet(result):
        return None
    rtp = result.evidence.last("caller", "rtp_measured")
    answered = result.evidence.first("caller", "call_answered")
    if result.verdict == "passed" or not answered or not rtp:
        return None
    return int(rtp.fields["received_packets"])


def _was_answered(call: Evaluated) -> bool:
    """Whether the caller heard of an answer, whatever became of the call, and of its measures."""
    return bool(call.result and call.result.evidence.first("caller", "call_answered"))


def _worst(call: CallResult, name: str) -> str:
    values = [one.value for one in call.judged if one.name == name]
    return f"{max(values):.0f}" if values else ""


def _commit() -> str:
    """The checkout's commit, if this is one."""
    try:
        text = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git is where the user has it
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # there is no git: nobody knows the commit then, and that is no reason to stop
        return ""
    return text.stdout.strip()
