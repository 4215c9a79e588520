"""`callerside fuzz`: generated calls in the virtual lane, progress, findings, what was reached."""

import argparse
import asyncio
import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callerside.command_line import CommandError, positive, seed
from callerside.files import is_there
from callerside.simulator.fuzz.runner import Finding, FuzzOptions, Summary, fuzz
from callerside.simulator.runner import run
from callerside.simulator.runner.run import RunOptions

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

EXIT_FINE, EXIT_FOUND = 0, 1
_LOG_EVERY_S = 10
_MOST_PROCESSES = 256
_MOST_TOLD = 12
"""Of one kind: what never came to some states, or places."""
_PAIRS = {
    "event": "states and events",
    "step": "states and the caller's steps",
    "fault": "faults and places",
}
"""Kinds of pairs of `simulator.fuzz.coverage`, and what they are called."""
_SHOWN = {"wrong": "passed, and should not have:", "client": "what the client asked for:"}
"""What the file of a finding is that no `run` shows, by its game."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Makes calls that nobody thought of, plays them in the virtual lane as fast as "
        "the machine allows, and checks what must be true of every call. A call that breaks it is "
        "shrunk and written as a small scenario."
    )
    parser.epilog = (
        "Example: callerside fuzz --seeds 10000 --jobs 2. A seed makes the same call again "
        "with the same version: callerside fuzz --first-seed 1234 --seeds 1. Exit codes: 0 nothing "
        "found; 1 a call broke an invariant; 2 could not run."
    )
    parser.add_argument(
        "--seeds",
        type=_calls,
        default=1000,
        metavar="N",
        help="how many calls (default: %(default)s)",
    )
    parser.add_argument(
        "--first-seed",
        type=seed,
        default=0,
        metavar="N",
        help="the seed of the first, one more for each behind it (default: 0)",
    )
    parser.add_argument(
        "--jobs",
        type=_processes,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: one for each core)",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="do not stop at the first failure"
    )
    parser.add_argument(
        "--found",
        type=Path,
        default=Path("out/found"),
        metavar="DIR",
        help="where scenarios of failures go (default: out/found)",
    )
    parser.add_argument(
        "--sip", action="store_true", help="try what was found in the sip lane as well"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(command=_fuzz)


def _fuzz(arguments: argparse.Namespace) -> int:
    """Fuzz as the arguments say; returns the exit code."""
    options = FuzzOptions(
        seeds=arguments.seeds,
        first_seed=arguments.first_seed,
        jobs=arguments.jobs,
        keep_going=arguments.keep_going,
        found=arguments.found,
    )
    from callerside.simulator.cli.terminal import Terminal

    with _folder(options.found):
        summary = _fuzz_in_sight(options, Terminal(stderr=True))
    tried = [try_over_sip(finding) for finding in summary.findings] if arguments.sip else []
    if arguments.json:
        told = {**as_json(summary), **({"over_sip": tried} if arguments.sip else {})}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(as_text(summary) + "".join(f"{line}\n" for line in tried))
    return EXIT_FOUND if summary.failed else EXIT_FINE


@contextlib.contextmanager
def _folder(found: Path) -> Iterator[None]:
    """There is one for what is found, before hours are spent on it; of ours an empty one goes.

    Raises:
        CommandError: there can be none.
    """
    is_new = not is_there(found)
    try:
        found.mkdir(parents=True, exist_ok=True)
        if not os.access(found, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        told = f"--found {found}: no scenario can be written there: {error.strerror}"
        raise CommandError(f"{told}; name a folder that can be made, or written to") from None
    try:
        yield
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # something is in it
                found.rmdir()


def _fuzz_in_sight(options: FuzzOptions, console: "Console") -> Summary:
    """Fuzz, and show how far it is: one line that changes, or, in a log, a line now and then."""
    from rich.live import Live
    from rich.text import Text

    if console.is_terminal:
        with Live(Text("starting"), console=console, transient=True) as live:
            return fuzz(options, lambda so_far: live.update(_progress(so_far, options.seeds)))
    told_s = 0.0

    def tell(so_far: Summary) -> None:
        nonlocal told_s
        if so_far.took_s - told_s >= _LOG_EVERY_S:
            told_s = so_far.took_s
            console.print(_progress(so_far, options.seeds))

    return fuzz(options, tell)


def try_over_sip(finding: Finding) -> str:
    """Play a found scenario for real, in real time; answers a line that says how it went.

    Raises:
        RunError: no call could be placed.
    """
    if not finding.for_sip:
        return f"seed {finding.seed} over SIP: its network is one that can be had in memory only"
    from callerside.simulator.cli.terminal import Terminal

    options = RunOptions(paths=finding.paths, lane="sip", out=finding.path.parent / "sip")
    done = asyncio.run(run.run(options, Terminal(stderr=True)))
    if done.failure or not done.calls:
        return f"seed {finding.seed} over SIP: could not be played: {done.failure}"
    call = done.calls[-1]
    return f"seed {finding.seed} over SIP: {call.verdict}: {call.sentence} ({done.directory})"


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "version": version("callerside"),
        "first_seed": summary.first_seed,
        "calls": summary.calls,
        "virtual_s": round(summary.virtual_s, 3),
        "took_s": round(summary.took_s, 3),
        "calls_a_second": round(summary.calls_a_second, 1),
        "failed": dict(summary.failed),
        "unwritten": summary.unwritten,
        "findings": [_finding_as_json(finding) for finding in summary.findings],
        "reached": sorted(summary.reached),
        "never_reached": summary.never_reached,
        "pairs": sorted(summary.pairs),
        "never_together": summary.never_together,
        "by_a_broken_protocol": summary.by_a_broken_protocol,
        "against_the_table": summary.against_the_table,
    }


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    after = str(finding.after) if finding.after else None
    return {**asdict(finding), "path": str(finding.path), "after": after}


def as_text(summary: Summary) -> str:
    """The summary for people."""
    last = summary.first_seed + summary.calls - 1
    hours = summary.virtual_s / 3600
    told = (
        f"callerside {version('callerside')}: {summary.calls} calls (seeds {summary.first_seed} to "
        f"{last}), {hours:.1f} h of telephone in {summary.took_s:.0f} s "
        f"({summary.calls_a_second:.1f} calls a second)"
    )
    lines = [told, *_of_coverage(summary)]
    lines += [line for finding in summary.findings for line in printed(finding)]
    if summary.unwritten:
        lines.append(f"{summary.unwritten} more calls failed, and were not written")
    if not summary.failed:
        lines.append("no invariant was broken")
    elif len(summary.failed) > 1 or summary.failed.total() > 1:
        counts = ", ".join(f"{name} {count}" for name, count in summary.failed.most_common())
        lines.append(f"calls that failed, by what they broke first: {counts}")
    return "\n".join(lines) + "\n"


def _of_coverage(summary: Summary) -> Iterator[str]:
    """It is long, and what was found is looked for at the end."""
    yield "came together, of what can (--json lists all):"
    for kind in _PAIRS:
        yield from (f"  {line}" for line in _of_pairs(summary, kind))
    if broken := summary.by_a_broken_protocol:
        yield f"  and {len(broken)} that only lost, doubled or misplaced events bring"
    if wrong := summary.against_the_table:
        yield f"  and {len(wrong)} that cannot be, as it seemed: {', '.join(wrong)}"
    if summary.never_reached:
        yield f"never reached: {', '.join(summary.never_reached)}"


def _of_pairs(summary: Summary, kind: str) -> Iterator[str]:
    """How many pairs of a kind there were, and which there were not, as far as it fits."""
    found, most = summary.share_of_pairs(kind)
    yield f"{_PAIRS[kind]}: {found} of {most}"
    missing: dict[str, list[str]] = {}
    for pair in summary.never_together:
        what, _, where = pair.rpartition(" ")
        if what.startswith(f"{kind} "):
            missing.setdefault(what.removeprefix(f"{kind} "), []).append(where)
    for what, places in islice(missing.items(), _MOST_TOLD):
        yield f"  not {what} {', '.join(places)}"
    if len(missing) > _MOST_TOLD:
        yield f"  not {len(missing) - _MOST_TOLD} more"


def printed(finding: Finding) -> list[str]:
    """What people are told of a finding, and the command that shows it once more."""
    paths = " ".join(map(str, finding.paths))
    told = [f"seed {finding.seed} broke {finding.invariant}: {finding.detail}"]
    if finding.game == "call" and not finding.unwritten:
        told.append(f"  play it again: callerside run --lane virtual {paths}")
    else:
        told.append(f"  play it again: callerside fuzz --first-seed {finding.seed} --seeds 1")
    if finding.unwritten:
        told.append(f"  not written:   {finding.unwritten}")
    elif finding.game in _SHOWN:
        told.append(f"  {_SHOWN[finding.game]} {paths}")
    if finding.for_sip and not finding.unwritten:
        told.append(f"  or for real:   callerside run --lane sip {paths}")
    return told


def _progress(summary: Summary, seeds: int) -> "Text":
    from rich.text import Text

    failed = f", {summary.failed.total()} failed" if summary.failed else ""
    return Text(
        f"{summary.calls} of {seeds} calls, {summary.calls_a_second:.1f} a second, "
        f"{len(summary.reached)} points reached{failed}"
    )


def _calls(text: str) -> int:
    """How many calls; who gives a range is told how that is written."""
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{error}; it is how many calls, and --first-seed says where they begin"
        ) from None


def _processes(text: str) -> int:
    count = positive(text)
    if count > _MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"{text}: expected at most {_MOST_PROCESSES}")
    return count
