"""`callerside calibrate`."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TypeAlias

from callerside.reports.verdict.calibration import table, to_data
from callerside.reports.verdict.calibration_file import default_path, save
from callerside.simulator.calibration.calibrate import CALLS, CalibrateError, calibrate
from callerside.simulator.calibration.speech import calibrate as on_speech
from callerside.simulator.calibration.speech import conditions, utterances
from callerside.simulator.calibration.speech import table as speech_table
from callerside.simulator.lanes.sip.child_process import ProcessError
from callerside.simulator.lanes.sip.process_pair import MOST_CALLS_AT_ONCE, calls_at_once

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it

GOAL_MS = 10.0
"""The most that the error of a time may be (p95) for the numbers to be worth their name."""

EXIT_GOOD, EXIT_TOO_FAR_OFF, EXIT_COULD_NOT_RUN = 0, 1, 2


def add_command(commands: Commands) -> None:
    """Add `calibrate` to a command line."""
    parser = commands.add_parser(
        "calibrate",
        help="measure the harness's own error, metric by metric",
        description="Calls a responder whose behaviour is known to the sample, over real SIP and "
        "RTP, and prints how far off the harness was: bias, p50, p95, p99. The result is kept "
        "for this machine and shown in every later report. Exits 1 when any time is off by more "
        f"than {GOAL_MS:g} ms (p95).",
    )
    parser.add_argument("--calls", type=int, help=f"default: {CALLS}, a minute and a half")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="as many calls as go on at once, in half a minute; p95 is then the worst of a dozen",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=calls_at_once(),
        metavar="N",
        help="calls at once (default: as many as `callerside run` places, here %(default)s)",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the calls' evidence there")
    parser.add_argument("--json", action="store_true", help="print JSON, nothing else")
    parser.add_argument(
        "--speech",
        action="store_true",
        help="instead, in memory: speech of all voices and recordings that are installed, on some "
        "thirty lines; how far off onsets, ends and turns are, with our fake and without",
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="with --speech: only N of its calls, by a seed"
    )
    parser.set_defaults(command=_calibrate)


def _calibrate(given: argparse.Namespace) -> int:
    return _on_speech(given) if given.speech else _over_sip(given)


def _on_speech(given: argparse.Namespace) -> int:
    if given.sample is not None and given.sample < 1:
        print("--sample: expected at least 1 call", file=sys.stderr)
        return EXIT_COULD_NOT_RUN
    remarks = [*utterances.missing(), *conditions.available()[1]]
    for remark in remarks:
        print(remark, file=sys.stderr)

    def progress(done: int, of: int) -> None:
        if done == of or not done % 100:
            print(f"{done} of {of} calls", file=sys.stderr)

    jobs = max(1, len(os.sched_getaffinity(0)))
    errors = on_speech.calibrate_on_speech(sample=given.sample, jobs=jobs, progress=progress)
    rows = speech_table.rows(errors)
    if given.json:
        calls = len({one.call for one in errors})
        print(json.dumps(speech_table.to_data(rows, calls, remarks), indent=1))
    else:
        print(speech_table.as_text(rows))
    far = speech_table.beyond(rows)
    if far:
        print(f"wanted, and not met: {'; '.join(far)}", file=sys.stderr)
    broken = speech_table.broken(rows)
    if broken:
        print(f"off by more than docs/metrics.md says: {'; '.join(broken)}", file=sys.stderr)
    return EXIT_TOO_FAR_OFF if broken else EXIT_GOOD


def _over_sip(given: argparse.Namespace) -> int:
    calls = given.calls if given.calls is not None else given.jobs if given.quick else CALLS
    if calls < 1 or not 1 <= given.jobs <= MOST_CALLS_AT_ONCE:
        print(f"expected at least 1 call, and 1 to {MOST_CALLS_AT_ONCE} at once", file=sys.stderr)
        return EXIT_COULD_NOT_RUN

    def progress(line: str) -> None:
        print(line, file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="callerside-calibrate-") as scratch:
        try:
            calibration = asyncio.run(
                calibrate(
                    given.keep or Path(scratch),
                    calls=calls,
                    concurrency=given.jobs,
                    progress=progress,
                )
            )
        except (CalibrateError, ProcessError) as error:
            print(error, file=sys.stderr)
            return EXIT_COULD_NOT_RUN
    save(calibration, default_path())
    if given.json:
        print(json.dumps(to_data(calibration), indent=2))
    else:
        print(table(calibration))
        print(f"Kept in {default_path()}; later reports show it.")
    far = calibration.beyond(GOAL_MS)
    if far:
        print(f"off by more than {GOAL_MS:g} ms (p95): {', '.join(far)}", file=sys.stderr)
    return EXIT_TOO_FAR_OFF if far else EXIT_GOOD
