"""`callerside`: the command line of the harness."""

import sys

if __name__ == "__main__":  # what follows takes its time, in which there may be a Ctrl-C
    from callerside.simulator.cli.entry import main as entry

    sys.exit(entry())

import argparse
import errno
import os
from collections.abc import Callable, Sequence

from callerside.agent.telephony.engines import TellVersion, sentence
from callerside.command_line import Parser
from callerside.files import begin_in_utf8
from callerside.interrupts import EXIT_INTERRUPTED
from callerside.reports import cli as reports_cli
from callerside.reports.verdict.budget import BudgetError
from callerside.simulator.cli import (
    authoring,
    calibrate,
    capacity,
    demo,
    doctor,
    fuzz,
    migrate,
    record,
    run,
)
from callerside.simulator.doctor.machine import missing
from callerside.simulator.runner.run import EXIT_COULD_NOT_RUN, RunError
from callerside.simulator.scenario.loader import ScenarioError
from callerside.terminal import guard

_NOWHERE_TO_WRITE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
)
"""The disk is full, or not ours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; returns the exit code."""
    if arguments is None:
        begin_in_utf8()
        guard()
    given = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        if command is not doctor.command:
            _need_the_extra()
        code = command(given)
        sys.stdout.flush()
    except (RunError, ScenarioError, BudgetError) as error:
        print(error, file=sys.stderr)
        return EXIT_COULD_NOT_RUN
    except BrokenPipeError:  # whoever reads has had enough, as in `callerside list | head`
        _say_no_more()
        return EXIT_COULD_NOT_RUN
    except OSError as error:
        if error.errno not in _NOWHERE_TO_WRITE:
            raise
        _say_no_more()
        what = error.filename or "what there is to tell"
        print(f"cannot write {what}: {error.strerror}", file=sys.stderr)
        return EXIT_COULD_NOT_RUN
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _need_the_extra() -> None:
    """Of a plain install the doctor tells what it lacks, and nothing else runs.

    Raises:
        RunError: it is one.
    """
    if absent := missing():
        raise RunError(
            f"{absent[0]} is not installed: the agent and the fake server run without it, and "
            f"the harness does not: pip install 'callerside[sim]'\n{sentence()}"
        )


def _say_no_more() -> None:
    """Let go what has not been printed yet: Python would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    callerside: argparse.ArgumentParser = Parser(
        prog="callerside",
        description="Judges a voice agent on the telephone by what the caller hears.",
        epilog="Exit codes: 0 all passed; 1 a scenario or a limit failed; 2 could not run; "
        "130 interrupted.",
    )
    callerside.add_argument(
        "--version", action=TellVersion, nargs=0, help="and the SIP engines here"
    )
    commands = callerside.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run.add_command(commands)
    record.add_command(commands)
    authoring.add_commands(commands)
    migrate.add_command(commands)
    fuzz.add_command(commands)
    reports_cli.add_commands(commands)
    calibrate.add_command(commands)
    capacity.add_command(commands)
    demo.add_command(commands)
    doctor.add_command(commands)
    return callerside
