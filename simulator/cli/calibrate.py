"""`callerside calibrate`."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from callerside import host
from callerside.command_line import positive
from callerside.reports.verdict.calibration import Calibration, table, to_data
from callerside.reports.verdict.calibration_file import default_path, kept, save
from callerside.simulator.calibration.burner import BUSY_MS, OF_MS
from callerside.simulator.calibration.calibrate import CALLS, Calibrated, calibrate
from callerside.simulator.calibration.placing import CalibrateError
from callerside.simulator.calibration.speech import calibrate as on_speech
from callerside.simulator.calibration.speech import conditions, over_sip, utterances
from callerside.simulator.calibration.speech import table as speech_table
from callerside.simulator.lanes.sip.child_process import ProcessError
from callerside.simulator.lanes.sip.process_pair import MOST_CALLS_AT_ONCE, calls_at_once

GOAL_MS = 10.0
"""The most that the error of a time may be (p95) for the numbers to be worth their name."""

DISTURBED = 2.0
"""Times its error in calm: what a time may be off while other work wants the processors."""
LEAST_MS = 1.0
"""An error in calm is taken for no less: what is below is the arithmetic of sounds."""

EXIT_GOOD, EXIT_TOO_FAR_OFF, EXIT_COULD_NOT_RUN = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Calls a responder whose behaviour is known to the sample, over real SIP and "
        "RTP, and prints how far off the harness was: bias, p50, p95, p99. The result is kept "
        "for this machine and shown in every later report. Exits 1 when any time is off by more "
        f"than {GOAL_MS:g} ms (p95)."
    )
    parser.add_argument(
        "--calls", type=positive, metavar="N", help=f"default: {CALLS}, a minute and a half"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="as many calls as go on at once, in half a minute; p95 is then the worst of a dozen",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=calls_at_once(),
        metavar="N",
        help="calls at once (default: as many as `callerside run` places, here %(default)s)",
    )
    parser.add_argument(
        "--disturbed",
        action="store_true",
        help=f"while other work wants every processor for {BUSY_MS} ms of each {OF_MS}: exits 1 "
        "when a time is off by more than twice of what was kept in calm; keeps nothing",
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
        "--sample", type=positive, metavar="N", help="with --speech: only N of its calls, by a seed"
    )
    parser.add_argument(
        "--sip",
        action="store_true",
        help="with --speech: calls over real SIP and RTP instead, on lines that differ in codec "
        f"and level; --sample says how many (default: {over_sip.SAMPLE}, some three minutes)",
    )
    parser.set_defaults(command=_calibrate)


def _calibrate(given: argparse.Namespace) -> int:
    if given.sip and not given.speech:
        print("--sip goes with --speech: without it all calls are over SIP", file=sys.stderr)
        return EXIT_COULD_NOT_RUN
    return _on_speech(given) if given.speech else _over_sip(given)


def _on_speech(given: argparse.Namespace) -> int:
    remarks = [*utterances.missing(), *conditions.available()[1]]
    for remark in remarks:
        print(remark, file=sys.stderr)

    def progress(done: int, of: int) -> None:
        if done == of or not done % 100:
            print(f"{done} of {of} calls", file=sys.stderr)

    if given.sip:
        try:
            errors = _speech_over_sip(given)
        except (CalibrateError, ProcessError) as error:
            print(error, file=sys.stderr)
            return EXIT_COULD_NOT_RUN
    else:
        jobs = len(host.processors())
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


def _speech_over_sip(given: argparse.Namespace) -> list[on_speech.Error]:
    with tempfile.TemporaryDirectory(prefix="callerside-calibrate-") as scratch:
        return asyncio.run(
            over_sip.calibrate_over_sip(
                given.keep or Path(scratch),
                sample=given.sample or over_sip.SAMPLE,
                concurrency=given.jobs,
                progress=lambda line: print(line, file=sys.stderr),
            )
        )


def _over_sip(given: argparse.Namespace) -> int:
    calls = given.calls if given.calls is not None else given.jobs if given.quick else CALLS
    if given.jobs > MOST_CALLS_AT_ONCE:
        print(f"--jobs: expected at most {MOST_CALLS_AT_ONCE} at once", file=sys.stderr)
        return EXIT_COULD_NOT_RUN

    in_calm = kept() if given.disturbed else None
    if given.disturbed and in_calm is None:
        print("--disturbed: run `callerside calibrate` in calm first", file=sys.stderr)
        return EXIT_COULD_NOT_RUN

    def progress(line: str) -> None:
        print(line, file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="callerside-calibrate-") as scratch:
        try:
            calibrated = asyncio.run(
                calibrate(
                    given.keep or Path(scratch),
                    calls=calls,
                    concurrency=given.jobs,
                    disturbed=given.disturbed,
                    progress=progress,
                )
            )
        except (CalibrateError, ProcessError) as error:
            print(error, file=sys.stderr)
            return EXIT_COULD_NOT_RUN
    calibration = calibrated.calibration
    if in_calm is not None:
        return _compared(calibrated, in_calm, as_json=given.json)
    save(calibration, default_path())
    if given.json:
        print(json.dumps(to_data(calibration), indent=2))
    else:
        print(table(calibration))
        print(_untold(calibrated))
        print(f"Kept in {default_path()}; later reports show it.")
    far = calibration.beyond(GOAL_MS)
    if far:
        print(f"off by more than {GOAL_MS:g} ms (p95): {', '.join(far)}", file=sys.stderr)
    return EXIT_TOO_FAR_OFF if far else EXIT_GOOD


def _untold(calibrated: Calibrated) -> str:
    share = f"{calibrated.untold_share:.1%} of the values"
    return (
        f"The machine took nobody knows how much of {share}: these cannot be told, nor are in it."
    )


def _compared(disturbed: Calibrated, in_calm: Calibration, *, as_json: bool) -> int:
    """Tell what other work does to the errors, and what cannot be told meanwhile."""
    calm = in_calm.errors_ms
    far = {
        one.name: DISTURBED * max(LEAST_MS, calm[one.name])
        for one in disturbed.calibration.metrics
        if one.unit == "ms"
        and one.name in calm
        and one.left > DISTURBED * max(LEAST_MS, calm[one.name])
    }
    if as_json:
        told = {"untold_share": round(disturbed.untold_share, 4), "untold": dict(disturbed.untold)}
        print(json.dumps(to_data(disturbed.calibration) | told, indent=2))
    else:
        print(table(disturbed.calibration))
        print(f"Other work wanted every processor for {BUSY_MS} ms of each {OF_MS}.")
        print(_untold(disturbed))
    for name, most_ms in far.items():
        left_ms = disturbed.calibration.errors_ms[name]
        print(f"{name} is off by {left_ms:.1f} ms (p95), wanted {most_ms:.1f}", file=sys.stderr)
    return EXIT_TOO_FAR_OFF if far else EXIT_GOOD
