"""`earshot`: the command line of the harness."""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias, get_args

from rich.console import Console

from reports.budget import BudgetError
from reports.results import CallResult, RunInfo
from reports.write import write_judged
from simulator import loader
from simulator.progress import summary_table
from simulator.runner import (
    EXIT_COULD_NOT_RUN,
    EXIT_PASSED,
    Run,
    RunError,
    RunOptions,
    choose,
    point_latest_at,
    run,
)
from simulator.sip_lane import CALLS_AT_ONCE
from simulator.stage import Lane

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it

SUMMARY_COLUMNS = ("greeting_ms", "turn_ms", "agent_overhead_ms", "barge_in_stop_ms")


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (RunError, loader.ScenarioError, BudgetError) as error:
        print(error, file=sys.stderr)
        return EXIT_COULD_NOT_RUN
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_COULD_NOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="earshot",
        description="Judges a voice agent on the telephone by what the caller hears.",
        epilog="Exit codes: 0 all passed; 1 a scenario or a limit failed; 2 could not run.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_check(commands)
    _add_list(commands)
    return parser


def _add_run(commands: Commands) -> None:
    parser = commands.add_parser(
        "run",
        help="place the calls of scenarios, measure them, and write the report",
        description="Places the calls of scenarios, measures what the caller hears, and writes "
        "index.html, results.json and junit.xml to out/<time>/ (and out/latest).",
        epilog="Example: earshot run scenarios -k 'barge and not late' --repeat 5",
    )
    _add_choice(parser)
    parser.add_argument("--repeat", type=_positive, metavar="N", help="place each call N times")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--lane",
        choices=get_args(Lane),
        default="sip",
        help="sip: real calls, in real time; virtual: in memory, in no time (default: sip)",
    )
    parser.add_argument(
        "--jobs",
        type=_positive,
        default=CALLS_AT_ONCE,
        metavar="N",
        help="calls at once (default and most: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="default: out")
    parser.add_argument("--open", action="store_true", help="open the report in a browser")
    parser.set_defaults(command=_run)


def _add_check(commands: Commands) -> None:
    parser = commands.add_parser(
        "check",
        help="read scenarios and say what is wrong with them; no call is made",
        description="Reads scenarios and says what is wrong with them, with line and column.",
    )
    _add_choice(parser)
    parser.set_defaults(command=_check)


def _add_list(commands: Commands) -> None:
    parser = commands.add_parser("list", help="the scenarios, and what each is about")
    _add_choice(parser)
    parser.set_defaults(command=_list)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        type=Path,
        nargs="*",
        default=[Path("scenarios")],
        metavar="PATH",
        help="scenario files or folders of them (default: scenarios)",
    )
    parser.add_argument(
        "-k", dest="expression", metavar="EXPR", help="only names that fit: 'barge and not late'"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return number


def _options(given: argparse.Namespace) -> RunOptions:
    return RunOptions(
        paths=given.paths,
        expression=given.expression,
        lane=getattr(given, "lane", "sip"),
        seed=getattr(given, "seed", 0),
        repeat=getattr(given, "repeat", None),
        jobs=min(getattr(given, "jobs", CALLS_AT_ONCE), CALLS_AT_ONCE),
        out=getattr(given, "out", Path("out")),
    )


def _check(given: argparse.Namespace) -> int:
    scenarios = choose(_options(given))
    print(f"{len(scenarios)} scenario{'s are' if len(scenarios) != 1 else ' is'} well-formed")
    return EXIT_PASSED


def _list(given: argparse.Namespace) -> int:
    for scenario in choose(_options(given)):
        print(f"{scenario.name:<28} {scenario.about}")
    return EXIT_PASSED


def _run(given: argparse.Namespace) -> int:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    options = _options(given)
    done = asyncio.run(run(options, console))
    results = [call.result for call in done.calls if call.result]
    write_judged(done.directory, _run_info(done, options), results)
    point_latest_at(done.directory)
    _show(console, done)
    if given.open:
        webbrowser.open((done.directory / "index.html").resolve().as_uri())
    return done.exit_code


def _run_info(done: Run, options: RunOptions) -> RunInfo:
    return RunInfo(
        started_at=done.started_at.isoformat(timespec="seconds"),
        command=" ".join(["earshot", *sys.argv[1:]]),
        lane=options.lane,
        commit=_commit(),
        seed=options.seed,
        concurrency=options.jobs,
        duration_s=done.duration_s,
        environment={
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": str(os.cpu_count()),
        },
    )


def _show(console: Console, done: Run) -> None:
    rows = [
        (
            call.stage.name,
            call.verdict,
            [_worst(call.result, name) for name in SUMMARY_COLUMNS],
        )
        for call in done.calls
    ]
    console.print()
    console.print(summary_table(rows, SUMMARY_COLUMNS))
    console.print()
    if done.failure:
        console.print(f"The run could not go on: {done.failure}", style="bold red")
    counts = {v: sum(c.verdict == v for c in done.calls) for v in ("passed", "failed", "error")}
    told = ", ".join(f"{n} {v}" for v, n in counts.items() if n or v == "passed")
    console.print(f"{told}   {done.directory.parent / 'latest' / 'index.html'}")


def _worst(result: CallResult | None, name: str) -> str:
    values = [one.value for one in result.judged if one.name == name] if result else []
    return f"{max(values):.0f}" if values else ""


def _commit() -> str:
    """The checkout's commit, if this is one."""
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git is where the user has it
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
