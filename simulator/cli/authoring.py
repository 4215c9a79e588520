"""The commands around writing scenarios: new, scenario, check, list, ... None makes a call."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from callerside.agent.telephony.engine import CHOICES, PROFILES, EngineChoice, EngineName
from callerside.agent.telephony.engines import EngineUnavailableError, resolve
from callerside.audio_files import AudioFileError
from callerside.reports.evidence import EvidenceError
from callerside.reports.formats.rebuild import call_at, evidence_name
from callerside.reports.sound.files import SoundFileError
from callerside.simulator.cli.common import Commands, add_choice
from callerside.simulator.runner.capabilities import missing
from callerside.simulator.runner.from_call import FromCallError, write_scenario
from callerside.simulator.runner.lint import all_problems, warnings
from callerside.simulator.runner.plan import PlanError, plan
from callerside.simulator.runner.run import choose
from callerside.simulator.scenario import authoring, loader
from callerside.simulator.scenario.model import Scenario
from callerside.speech.voices import DEFAULT_SPEED_WPM, DEFAULT_VOICE, VoiceError
from callerside.timelines import TimelineError

EXIT_FINE, EXIT_BAD_INPUT = 0, 2


def add_commands(commands: Commands) -> None:
    """Add them to a command line."""
    new = commands.add_parser("new", help="write a commented scenario to start from")
    new.add_argument(
        "name", metavar="NAME", help="becomes scenarios/NAME.yaml, or FOLDER/NAME.yaml"
    )
    new.add_argument("--folder", type=Path, help="default: scenarios, or what NAME says")
    new.set_defaults(command=_new)
    scenario = commands.add_parser(
        "scenario",
        help="make a scenario of a call that was recorded",
        description="Makes a scenario of a call: of its directory in a run, of an agent's timeline "
        "(*.jsonl) with its recording, or of a bare recording. The caller's side is cut out of the "
        "recording, and hangs on the agent's turns as it hung there.",
        epilog="Example: callerside scenario bad.wav --from 01:12 --name slow_refund",
    )
    scenario.add_argument("call", type=Path, metavar="CALL")
    scenario.add_argument(
        "--from", dest="from_s", type=_place, default=0.0, metavar="MM:SS", help="begin there"
    )
    scenario.add_argument("--name", help="becomes NAME.yaml (default: the call's name)")
    scenario.add_argument("--folder", type=Path, help="where to (default: scenarios)")
    scenario.add_argument(
        "--caller",
        choices=["left", "right"],
        help="of a bare recording: the caller's channel (default: guessed)",
    )
    scenario.set_defaults(command=_scenario)
    check = commands.add_parser(
        "check",
        help="read scenarios and say what is wrong with them; no call is made",
        description="Reads scenarios and says what is wrong with them, or cannot work, with file, "
        "line and column.",
    )
    add_choice(check)
    check.add_argument(
        "--engine",
        choices=CHOICES,
        help="the SIP engine that has to be able to play them, whether it is installed or not; "
        "auto: the one that `run` takes here (default)",
    )
    check.add_argument(
        "--caller-engine",
        choices=CHOICES,
        help="of the caller, where it is to be another one than the agent's",
    )
    check.add_argument(
        "--strict",
        action="store_true",
        help="exit with 2 also where there is nothing but warnings",
    )
    check.set_defaults(command=_check)
    listing = commands.add_parser("list", help="the scenarios, and what each is about")
    add_choice(listing)
    listing.set_defaults(command=_list)
    say = commands.add_parser("say", help="speak a text to a WAV file, as a scenario would")
    say.add_argument("text", metavar="TEXT")
    say.add_argument("-o", "--output", type=_wav_file, required=True, metavar="FILE")
    say.add_argument(
        "--voice",
        default=DEFAULT_VOICE,
        help="heart (English), or one of espeak-ng's (default: heart)",
    )
    say.add_argument(
        "--speed", type=_speed, default=DEFAULT_SPEED_WPM, metavar="WPM", help="default: 160"
    )
    say.add_argument("--rate", type=_rate, default=24_000, metavar="HZ", help="default: 24000")
    say.set_defaults(command=_say)
    schema = commands.add_parser("schema", help="print the JSON Schema of scenarios, for editors")
    schema.set_defaults(command=_schema)


def _speed(text: str) -> int:
    """Words a minute, as a scenario takes them."""
    return _whole(text, 80, 450, "words a minute")


def _rate(text: str) -> int:
    """Samples a second, as sound cards know them."""
    return _whole(text, 4000, 192_000, "Hz")


def _whole(text: str, least: int, most: int, unit: str) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text}: expected {least} to {most} {unit}")
    return int(text)


def _wav_file(text: str) -> Path:
    """A file to write sound to; nothing but WAV is written."""
    path = Path(text)
    if path.suffix.lower() != ".wav":
        raise argparse.ArgumentTypeError(f"{text}: expected a name that ends with .wav")
    return path


def _new(given: argparse.Namespace) -> int:
    said, _, name = given.name.rpartition("/")
    if said and given.folder is not None:
        return _bad_input(f"{given.name}: it names a folder, and so does --folder; one is enough")
    folder = given.folder or (Path(said) if said else loader.folder_of_scenarios())
    try:
        path = authoring.new(name, folder)
    except authoring.AuthoringError as error:
        return _bad_input(error)
    print(f"{path}: edit it, then: callerside check {path} && callerside run {path}")
    return EXIT_FINE


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
        return _bad_input(error)
    bare = evidence.info.recording
    if bare is not None and bare.unfit:
        print(f"{given.call}: {'; '.join(bare.told)}", file=sys.stderr)
    print(f"{path}: edit it, then: callerside run {path}")
    return EXIT_FINE


def _check(given: argparse.Namespace) -> int:
    scenarios = choose(given.paths, given.expression)
    problems = all_problems(scenarios)
    # What cannot be played at all is no place to look for what is perhaps not as it was meant.
    playable = [one for one in scenarios if not all_problems([one])] if problems else scenarios
    warned = list(dict.fromkeys(line for scenario in playable for line in warnings(scenario)))
    try:
        plan(scenarios, repeat=None, seed=0)
    except PlanError as error:
        problems += str(error).splitlines()
    old = list(dict.fromkeys(str(key) for scenario in scenarios for key in scenario.old_keys))
    if old:
        more = f" ({len(old) - 1} more like it)" if len(old) > 1 else ""
        print(f"{old[0]}{more}; `callerside migrate` rewrites the files", file=sys.stderr)
    try:
        problems += _beyond_engines(scenarios, given.engine, given.caller_engine)
    except EngineUnavailableError as error:
        return _bad_input(error)
    for line in warned:
        print(f"{line} (a warning)", file=sys.stderr)
    if problems:
        return _bad_input("\n".join(problems))
    if given.strict and warned:
        return EXIT_BAD_INPUT
    print(f"{len(scenarios)} scenario{'s are' if len(scenarios) != 1 else ' is'} well-formed")
    return EXIT_FINE


def _beyond_engines(
    scenarios: Sequence[Scenario], agents: EngineChoice | None, callers: EngineChoice | None
) -> list[str]:
    """What the engines of a run could not do; those that nobody has named are looked for last.

    Raises:
        EngineUnavailableError: one that was named is not here. Without a name nothing is said
            then: there are runs without an engine.
    """
    is_named = bool(agents or callers)
    if not is_named and not any(
        True for one in PROFILES for _ in missing(scenarios, agent=one, caller=one)
    ):
        return []
    agent, caller = agents or "auto", callers or agents or "auto"
    try:
        return list(missing(scenarios, agent=_judge(agent), caller=_judge(caller)))
    except EngineUnavailableError:
        if is_named:
            raise
        return []


def _judge(choice: EngineChoice) -> EngineName:
    return resolve(choice) if choice == "auto" else choice


def _list(given: argparse.Namespace) -> int:
    scenarios = choose(given.paths, given.expression)
    width = max(len(scenario.name) for scenario in scenarios)
    for scenario in scenarios:
        only = f" ({scenario.lanes[0]} lane only)" if len(set(scenario.lanes)) == 1 else ""
        tags = "".join(f" #{tag}" for tag in scenario.tags)
        print(f"{scenario.name:<{width}}  {' '.join(scenario.about.split())}{only}{tags}")
    return EXIT_FINE


def _say(given: argparse.Namespace) -> int:
    try:
        length_s = authoring.say(
            given.text,
            given.output,
            voice=given.voice,
            speed_wpm=given.speed,
            rate_hz=given.rate,
        )
    except (VoiceError, AudioFileError, OSError, ValueError) as error:
        return _bad_input(error)
    print(f"{given.output}: {length_s:.2f} s")
    return EXIT_FINE


def _schema(_given: argparse.Namespace) -> int:
    print(authoring.editor_schema_text())
    return EXIT_FINE


def _bad_input(error: object) -> int:
    print(error, file=sys.stderr)
    return EXIT_BAD_INPUT
