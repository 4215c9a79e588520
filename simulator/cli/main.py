"""`callerside`: the command line of the harness."""

import sys

if __name__ == "__main__":  # what follows takes its time, in which there may be a Ctrl-C
    from callerside.simulator.cli.entry import main as entry

    sys.exit(entry())

import argparse
import errno
import os
from collections.abc import Callable, Collection, Sequence

from callerside import command_line
from callerside.command_line import Command, CommandError, Parser, Tell
from callerside.files import begin_in_utf8
from callerside.interrupts import EXIT_INTERRUPTED
from callerside.simulator.doctor.extra import missing
from callerside.terminal import guard

EXIT_COULD_NOT_RUN = 2
_NOWHERE_TO_WRITE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
)
"""The disk is full, or not ours."""

_CLI = "callerside.simulator.cli"
_COMMANDS = (
    Command(
        "run",
        "place the calls of scenarios, measure them, and write the report",
        f"{_CLI}.run:add_arguments",
    ),
    Command(
        "record",
        "play a scenario once against a real server, and record it for runs without one",
        f"{_CLI}.record:add_arguments",
    ),
    Command("new", "write a commented scenario to start from", f"{_CLI}.authoring:add_new"),
    Command(
        "scenario",
        "make a scenario of a call that was recorded",
        f"{_CLI}.scenario:add_arguments",
    ),
    Command(
        "check",
        "read scenarios and say what is wrong with them; no call is made",
        f"{_CLI}.check:add_arguments",
    ),
    Command("list", "the scenarios, and what each is about", f"{_CLI}.authoring:add_list"),
    Command("say", "speak a text to a WAV file, as a scenario would", f"{_CLI}.authoring:add_say"),
    Command(
        "schema",
        "print the JSON Schema of scenarios, for editors",
        f"{_CLI}.authoring:add_schema",
    ),
    Command(
        "migrate",
        "rewrite scenarios, settings and scripts of an older version",
        f"{_CLI}.migrate:add_arguments",
    ),
    Command(
        "fuzz",
        "make calls nobody thought of, and check what must be true of every call",
        f"{_CLI}.fuzz:add_arguments",
    ),
    Command(
        "report",
        "report on recordings of calls, or build a report anew",
        "callerside.reports.cli:add_report",
    ),
    Command(
        "compare",
        "what changed between two runs, and how sure that is",
        "callerside.reports.cli:add_compare",
    ),
    Command(
        "baseline",
        "keep a run's results under a name, and check later runs against them",
        "callerside.reports.cli:add_baseline",
    ),
    Command(
        "calibrate",
        "measure the harness's own error, metric by metric",
        f"{_CLI}.calibrate:add_arguments",
    ),
    Command(
        "knee",
        "how many calls at once, until callers notice",
        f"{_CLI}.capacity:add_arguments",
    ),
    Command(
        "demo",
        "one call with a function and an interruption, and its page; needs no file and no key",
        f"{_CLI}.demo:add_arguments",
    ),
    Command(
        "doctor",
        "what this machine lacks for calls; or where a call to an agent fails",
        f"{_CLI}.doctor:add_arguments",
    ),
)


def load(words: Collection[str]) -> None:
    """Load what a command line asks for, before anything begins."""
    command_line.load(_COMMANDS, words)


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; returns the exit code."""
    if arguments is None:
        begin_in_utf8()
        guard()
        arguments = sys.argv[1:]
    given = parser(arguments).parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        if given.needs_the_extra:
            _need_the_extra()
        code = command(given)
        sys.stdout.flush()
    except CommandError as error:
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
        CommandError: it is one.
    """
    if absent := missing():
        from callerside.agent.telephony.engines import sentence

        raise CommandError(
            f"{absent[0]} is not installed: the agent and the fake server run without it, and "
            f"the harness does not: pip install 'callerside[sim]'\n{sentence()}"
        )


def _say_no_more() -> None:
    """Let go what has not been printed yet: Python would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser(words: Collection[str] | None = None) -> argparse.ArgumentParser:
    """What the command line takes; of commands that are not among `words`, if any, no arguments."""
    callerside: argparse.ArgumentParser = Parser(
        prog="callerside",
        description="Judges a voice agent on the telephone by what the caller hears.",
        epilog="Exit codes: 0 all passed; 1 a scenario or a limit failed; 2 could not run; "
        "130 interrupted.",
    )
    callerside.set_defaults(needs_the_extra=True)
    callerside.add_argument(
        "--version",
        action=Tell,
        place="callerside.agent.telephony.engines:told_version",
        help="and the SIP engines here",
    )
    command_line.add_commands(callerside, _COMMANDS, words)
    return callerside
