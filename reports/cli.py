"""The commands that read what has been written: report, compare, baseline."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from callerside.ports import port_from
from callerside.reports.evidence import EvidenceError, export_wav
from callerside.reports.formats.markdown import changes_table
from callerside.reports.formats.rebuild import rebuild
from callerside.reports.formats.write import CALLS, INDEX, call_directory
from callerside.reports.metrics.registry import METRICS, TOLERANCE
from callerside.reports.page_server import PageServer
from callerside.reports.sound.files import SoundFileError, recordings_at
from callerside.reports.sound.report import report, report_directory
from callerside.reports.verdict.baselines import (
    StoredError,
    baseline_path,
    load_results,
    save_baseline,
)
from callerside.reports.verdict.budget import BudgetError
from callerside.reports.verdict.budget_file import read_budget
from callerside.reports.verdict.call_result import CallResult
from callerside.reports.verdict.compare import Change, compare, notes, regressions
from callerside.reports.verdict.outcome import told_of_warnings
from callerside.reports.verdict.results import RunInfo
from callerside.timelines import TimelineError

EXIT_FINE, EXIT_WORSE, EXIT_BAD_INPUT = 0, 1, 2

_LATEST = Path("out/latest")


def add_report(parser: argparse.ArgumentParser) -> None:
    """What `report` takes."""
    parser.description = (
        "Reports on recordings of anybody's calls (WAV, FLAC, OGG, MP3; two mono files "
        "are one call; or a folder of them), or measures and judges again what is in DIR: a run "
        "(out/latest), one call's directory, or the folder into which an agent in production "
        "writes its timelines."
    )
    parser.epilog = (
        "Example: callerside report call.wav; callerside report recordings/ --budget "
        "budget.yaml; callerside report /var/lib/callerside/timelines --out report"
    )
    parser.add_argument("paths", type=Path, nargs="+", metavar="CALL or DIR")
    parser.add_argument(
        "--out", type=Path, help="where to (default: in place, DIR/report, or CALL.report)"
    )
    parser.add_argument(
        "--caller",
        choices=["left", "right"],
        help="of recordings: the caller's channel, or which of two files (default: guessed)",
    )
    parser.add_argument(
        "--budget",
        type=Path,
        metavar="FILE",
        help="limits, as a scenario's budget has them: for recordings and an agent's timelines",
    )
    parser.add_argument(
        "--recordings", type=Path, metavar="DIR", help="where an agent's recordings are (*.wav)"
    )
    parser.add_argument(
        "--wav", action="store_true", help="write each call's recording as call.wav, too"
    )
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="show what changed against this baseline (default: against the run before of the same "
        "agent that has a scenario of this one)",
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="show it on this machine, at the address that is printed, until Ctrl-C; pages that a "
        "run has not written are made at a click",
    )
    parser.add_argument(
        "--port", type=port_from(1), metavar="N", help="of --serve (default: any that is free)"
    )
    parser.set_defaults(command=_report)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """What `compare` takes."""
    parser.description = (
        "Compares run B with run A: per metric the difference, with the least and the "
        "most that it may be (each with 95 % certainty), and a verdict. Exits 1 when something "
        "surely got worse by more than is tolerated."
    )
    parser.epilog = (
        "Example: callerside run --repeat 5, twice; then "
        "callerside compare out/<one> out/<other> --tolerance turn_ms=10"
    )
    parser.add_argument("before", type=Path, metavar="A", help="a run's directory or results.json")
    parser.add_argument("after", type=Path, metavar="B")
    _add_comparison(parser)
    parser.set_defaults(command=_compare)


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """What `baseline` takes."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    save = actions.add_parser("save", help="keep a run's results as baselines/NAME.json")
    save.add_argument("name", metavar="NAME")
    save.add_argument("run", type=Path, nargs="?", default=_LATEST, metavar="DIR")
    save.set_defaults(command=_save)
    check = actions.add_parser(
        "check", help="compare a run with a baseline; exits 1 if it is worse"
    )
    check.add_argument("name", metavar="NAME")
    check.add_argument("run", type=Path, nargs="?", default=_LATEST, metavar="DIR")
    _add_comparison(check)
    check.set_defaults(command=_check)


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="N or METRIC=N",
        type=_tolerance,
        help=f"how much worse is no regression, in the metric's unit (default: {TOLERANCE:g}, and "
        "some have their own: docs/metrics.md); may be given again for single metrics",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")


def _tolerance(text: str) -> tuple[str | None, float]:
    name, _, number = text.rpartition("=")
    if name and name not in METRICS:
        raise argparse.ArgumentTypeError(f"{name}: no such metric; known: {', '.join(METRICS)}")
    try:
        tolerated = float(number)
    except ValueError:
        tolerated = -1.0
    if not tolerated >= 0:  # which NaN is not, either
        raise argparse.ArgumentTypeError(f"{text}: expected METRIC=N or N, a number from 0 on")
    return name or None, tolerated


def _report(given: argparse.Namespace) -> int:
    if given.port and not given.serve:
        return _bad_input("--port is that of --serve")
    if given.serve and _is_written(given):
        return _serve(given.paths[0], given.port)
    try:
        budget = read_budget(given.budget) if given.budget else None
        sounds = recordings_at(given.paths)
        if sounds:
            where = given.out or report_directory(given.paths)
            info, calls = report(sounds, where, caller=given.caller, limits=budget)
        else:
            where, info, calls = _rebuilt(given, budget)
    except (
        StoredError,
        EvidenceError,
        TimelineError,
        BudgetError,
        SoundFileError,
        OSError,
    ) as error:
        return _bad_input(error)
    if given.wav:
        for call in calls:
            export_wav(call.evidence, call_directory(where, call.slug))
    for line in _told(calls):
        print(line, file=sys.stderr)
    outcome = info.outcome(calls)
    count = "1 call" if len(calls) == 1 else f"{len(calls)} calls"
    held_to_none = sounds and not budget and outcome.verdict == "passed"
    verdict = "held to no limit" if held_to_none else outcome.verdict
    print(f"{count}, {verdict}: {where / 'index.html'}")
    return _serve(where, given.port) if given.serve else outcome.exit_code


def _told(calls: Sequence[CallResult]) -> Iterator[str]:
    """What is to be known before the verdict is believed, a line each."""
    for call in calls:
        if call.verdict != "passed":
            yield f"{call.slug}: {call.detail}"
        bare = call.evidence.info.recording
        if bare is not None and bare.unfit:
            yield f"{call.slug}: {'; '.join(bare.told)}"
    if warned := told_of_warnings(calls):
        yield warned


def _is_written(given: argparse.Namespace) -> bool:
    """Whether it is a run whose report is there, and nothing is asked for that changes it."""
    (run, *others) = given.paths
    anew = (given.out, given.against, given.budget, given.recordings, given.caller, given.wav)
    return not others and not any(anew) and all((run / one).exists() for one in (CALLS, INDEX))


def _serve(directory: Path, port: int | None) -> int:
    """Until a signal ends it, which ends this command with the exit code of a Ctrl-C.

    Raises:
        KeyboardInterrupt: at its end.
    """
    # SIGINT, too: a shell has what it starts in the background ignore it
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        server = PageServer(directory, port or 0)
    except OSError as error:
        return _bad_input(f"port {port}: {error.strerror}")
    with server:
        print(f"{server.url}   (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    return EXIT_FINE


def _rebuilt(
    given: argparse.Namespace, budget: Mapping[str, Any] | None
) -> tuple[Path, RunInfo, list[CallResult]]:
    if len(given.paths) > 1:
        raise StoredError(f"{given.paths[1]}: one directory at a time, or recordings alone")
    if given.caller:
        raise StoredError(f"{given.paths[0]}: --caller is for recordings without a timeline")
    return rebuild(
        given.paths[0],
        given.out,
        recordings=given.recordings,
        against=baseline_path(given.against) if given.against else None,
        limits=budget,
    )


def _compare(given: argparse.Namespace) -> int:
    try:
        before, after = load_results(given.before), load_results(given.after)
    except StoredError as error:
        return _bad_input(error)
    return _print_verdict(before, after, given)


def _save(given: argparse.Namespace) -> int:
    try:
        print(save_baseline(given.name, given.run))
    except (StoredError, OSError) as error:
        return _bad_input(error)
    return EXIT_FINE


def _check(given: argparse.Namespace) -> int:
    try:
        before, after = load_results(baseline_path(given.name)), load_results(given.run)
    except StoredError as error:
        return _bad_input(error)
    return _print_verdict(before, after, given)


def _print_verdict(
    before: Mapping[str, Any], after: Mapping[str, Any], given: argparse.Namespace
) -> int:
    general = [number for name, number in given.tolerance if name is None]
    changes = compare(
        before,
        after,
        tolerance=general[-1] if general else TOLERANCE,
        tolerances={name: number for name, number in given.tolerance if name is not None},
    )
    if not changes:
        return _bad_input("the two runs have no scenario with a metric in common")
    noted = notes(before, after)
    print("".join(f"{note}\n" for note in noted), end="", file=sys.stderr)
    if given.json:
        data = {"changes": [asdict(change) for change in changes], "notes": noted}
        print(json.dumps(data, indent=2))
    elif given.markdown:
        print(changes_table(changes), end="")
    else:
        print(_table(changes))
    return EXIT_WORSE if regressions(changes) else EXIT_FINE


def _table(changes: list[Change]) -> str:
    lines = [f"{'metric':<20} {'before':>9} {'after':>9} {'difference':>11}  90 % interval"]
    for c in changes:
        interval = f"{c.low:+.1f} … {c.high:+.1f}" if c.by != "nothing" else "one value each"
        lines.append(
            f"{c.name:<20} {c.before:>9.1f} {c.after:>9.1f} {c.difference:>+11.1f}  "
            f"{interval:<19} {c.judged}"
        )
    return "\n".join(lines)


def _bad_input(error: object) -> int:
    if isinstance(error, OSError) and error.filename is not None:
        error = f"{error.filename}: {error.strerror}"
    print(error, file=sys.stderr)
    return EXIT_BAD_INPUT
