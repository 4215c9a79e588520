"""`callerside scenario`: a scenario made of a call that was recorded."""

import argparse
import re
import sys
from pathlib import Path

from callerside.reports.evidence import EvidenceError
from callerside.reports.formats.rebuild import call_at, evidence_name
from callerside.reports.sound.files import SoundFileError
from callerside.simulator.runner.from_call import FromCallError, write_scenario
from callerside.simulator.scenario import loader
from callerside.timelines import TimelineError

EXIT_FINE, EXIT_BAD_INPUT = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Makes a scenario of a call: of its directory in a run, of an agent's timeline "
        "(*.jsonl) with its recording, or of a bare recording. The caller's side is cut out of the "
        "recording, and hangs on the agent's turns as it hung there."
    )
    parser.epilog = "Example: callerside scenario bad.wav --from 01:12 --name slow_refund"
    parser.add_argument("call", type=Path, metavar="CALL")
    parser.add_argument(
        "--from", dest="from_s", type=_place, default=0.0, metavar="MM:SS", help="begin there"
    )
    parser.add_argument("--name", help="becomes NAME.yaml (default: the call's name)")
    parser.add_argument("--folder", type=Path, help="where to (default: scenarios)")
    parser.add_argument(
        "--caller",
        choices=["left", "right"],
        help="of a bare recording: the caller's channel (default: guessed)",
    )
    parser.set_defaults(command=_scenario)


def _place(text: str) -> float:
    """A place in a recording, in seconds: `72`, `01:12`, `1:02:03.5`."""
    seconds = 0.0
    try:
        for part in text.split(":"):
            seconds = seconds * 60 + float(part)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 86_400:
        raise argparse.ArgumentTypeError(f"{text}: expected a place as 01:12, or seconds")
    return seconds


def _scenario(given: argparse.Namespace) -> int:
    try:
        evidence = call_at(given.call, given.caller)
        name = given.name or re.sub(r"[^A-Za-z0-9_-]+", "_", evidence_name(evidence, given.call))
        folder = given.folder or loader.folder_of_scenarios()
        path = write_scenario(evidence, name, folder, from_s=given.from_s)
    except (FromCallError, EvidenceError, TimelineError, SoundFileError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    bare = evidence.info.recording
    if bare is not None and bare.unfit:
        print(f"{given.call}: {'; '.join(bare.told)}", file=sys.stderr)
    print(f"{path}: edit it, then: callerside run {path}")
    return EXIT_FINE
