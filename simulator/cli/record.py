"""`callerside record`: a call against a real server, for runs without one."""

import argparse
import os
import sys
from pathlib import Path

from callerside.agent.telephony.engine import CHOICES
from callerside.simulator.runner.record import RecordOptions, record

EXIT_FINE, EXIT_FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Plays a scenario once, over SIP, against a Realtime server, and writes "
        "NAME.realtime (what was said) and NAME-recorded.yaml (the scenario that plays it, "
        "without a server and a key) beside it. Keys, organisations and the caller's sound are "
        "not in them. The server's key is read from OPENAI_API_KEY."
    )
    parser.epilog = (
        "Example: callerside record first_call --upstream wss://api.openai.com/v1/realtime"
    )
    parser.add_argument("scenario", type=Path, metavar="SCENARIO", help="a file, or its name")
    parser.add_argument(
        "--upstream", required=True, metavar="URL", help="such as wss://api.openai.com/v1/realtime"
    )
    parser.add_argument(
        "--keep-audio", action="store_true", help="record the sound of the caller, too"
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="record anew what was recorded before, and print what has changed",
    )
    parser.add_argument(
        "--engine", choices=CHOICES, default="auto", help="the SIP engine of agent and caller"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="default: out")
    parser.set_defaults(command=_record)


def _record(given: argparse.Namespace) -> int:
    options = RecordOptions(
        path=given.scenario,
        upstream=given.upstream,
        key=os.environ.get("OPENAI_API_KEY") or None,
        keep_audio=given.keep_audio,
        refresh=given.refresh,
        out=given.out,
        engine=given.engine,
    )
    done = record(options, lambda _call, _phase: None)
    if done.scenario is None:
        print(f"failed: {done.detail}", file=sys.stderr)
        print(f"{done.recording}: how it went; nothing beside the scenario is changed")
        return EXIT_FAILED
    if done.sessions > 1:
        print(
            f"the agent had {done.sessions} sessions; only the first is recorded", file=sys.stderr
        )
    for line in done.changes:
        print(line)
    if given.refresh and not done.changes:
        print("nothing has changed")
    print(f"{done.recording}: recorded; without a server: callerside run {done.scenario}")
    return EXIT_FINE
