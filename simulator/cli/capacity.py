"""`callerside knee`."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from callerside.agent.telephony.engine import CHOICES, PROFILES, EngineChoice
from callerside.agent.telephony.engines import resolve
from callerside.agent.telephony.errors import SipError
from callerside.atomic_files import write_atomically
from callerside.audio_files import AudioFileError
from callerside.reports.pages.html import knee_page
from callerside.reports.verdict.calibration_file import kept
from callerside.reports.verdict.capacity import table, to_json
from callerside.simulator.capacity.load_ramp import SCENARIO, STEPS, KneeError, find_knee
from callerside.simulator.lanes.sip.child_process import ProcessError
from callerside.simulator.lanes.sip.process_pair import LEAST_CALLS_AT_ONCE, calls_a_pair
from callerside.speech.voices import VoiceError

MOST_CALLS = 96
MOST_CALLS_A_WORKER = max(profile.calls_a_process for profile in PROFILES.values())
EXIT_FINE, EXIT_NOT_EVEN_ONE, EXIT_COULD_NOT_RUN = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Places more and more calls at once until p95 of the agent's part of a turn "
        "leaves the budget, and draws latency, CPU and memory against concurrency to "
        "knee.html and knee.json. Exits 1 when not even the first step is within the budget."
    )
    parser.epilog = "Example: callerside knee --steps 1,4,16"
    parser.add_argument(
        "scenario",
        type=Path,
        nargs="?",
        default=SCENARIO,
        metavar="PATH",
        help="what every caller does (default: six short questions, and one interruption)",
    )
    parser.add_argument(
        "--steps",
        type=_steps,
        default=STEPS,
        metavar="N,N,...",
        help=f"calls at once (default: {','.join(map(str, STEPS))})",
    )
    parser.add_argument(
        "--calls-a-worker",
        type=int,
        choices=range(1, MOST_CALLS_A_WORKER + 1),
        default=LEAST_CALLS_AT_ONCE,
        metavar="N",
        help="how many calls each of the agent's workers takes (default: %(default)s)",
    )
    parser.add_argument(
        "--engine",
        choices=CHOICES,
        default="auto",
        help="the SIP engine of agent and callers (docs/engines.md); auto: the better one of those "
        "that are installed (default)",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="default: out")
    parser.add_argument("--json", action="store_true", help="print knee.json, nothing else")
    parser.set_defaults(command=_knee)


def _steps(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    steps = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(steps) != len(parts) or list(steps) != sorted(set(steps)) or not steps[0]:
        raise argparse.ArgumentTypeError(f"{text}: expected rising numbers from 1 on: 1,4,16")
    if steps[-1] > MOST_CALLS:
        raise argparse.ArgumentTypeError(f"{steps[-1]}: expected at most {MOST_CALLS}")
    return steps


def known_error_ms() -> float | None:
    """The harness's own error in an agent's part of a turn, if this machine was calibrated."""
    calibration = kept()
    return calibration.errors_ms.get("agent_overhead_ms") if calibration else None


def _check_places(calls_a_worker: int, engine: EngineChoice) -> None:
    most = calls_a_pair(engine)
    if calls_a_worker > most:
        raise SipError(
            f"--calls-a-worker: expected at most {most}, which is what {resolve(engine)} holds "
            f"in a process (docs/engines.md), got {calls_a_worker}"
        )


def _knee(given: argparse.Namespace) -> int:
    directory = given.out.resolve() / f"knee-{datetime.now(UTC):%Y%m%d-%H%M%S}"

    def progress(line: str) -> None:
        print(line, file=sys.stderr)

    try:
        _check_places(given.calls_a_worker, given.engine)
        knee = asyncio.run(
            find_knee(
                given.scenario,
                directory,
                steps=given.steps,
                calls_a_worker=given.calls_a_worker,
                engine=given.engine,
                error_ms=known_error_ms(),
                progress=progress,
            )
        )
    except (ProcessError, SipError, KneeError, VoiceError, AudioFileError) as error:
        print(error, file=sys.stderr)
        return EXIT_COULD_NOT_RUN
    write_atomically(directory / "knee.html", knee_page(knee).encode())
    write_atomically(directory / "knee.json", (to_json(knee) + "\n").encode())
    if given.json:
        print(to_json(knee))
    else:
        print(table(knee))
        print(directory / "knee.html")
    return EXIT_FINE if knee.calls else EXIT_NOT_EVEN_ONE
