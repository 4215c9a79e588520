"""The commands around writing scenarios that play nothing: new, list, say, schema."""

import argparse
import sys
from pathlib import Path

from callerside.audio_files import AudioFileError
from callerside.simulator.cli.common import add_choice
from callerside.simulator.runner.selection import choose
from callerside.simulator.scenario import authoring, loader
from callerside.speech.voices import DEFAULT_SPEED_WPM, DEFAULT_VOICE, VoiceError

EXIT_FINE, EXIT_BAD_INPUT = 0, 2


def add_new(parser: argparse.ArgumentParser) -> None:
    """What `new` takes."""
    parser.add_argument(
        "name", metavar="NAME", help="becomes scenarios/NAME.yaml, or FOLDER/NAME.yaml"
    )
    parser.add_argument("--folder", type=Path, help="default: scenarios, or what NAME says")
    parser.add_argument(
        "--agent",
        action="store_true",
        help="for an agent of your own (run --agent): the caller's side alone, and no beep of ours",
    )
    parser.set_defaults(command=_new)


def add_list(parser: argparse.ArgumentParser) -> None:
    """What `list` takes."""
    add_choice(parser)
    parser.set_defaults(command=_list)


def add_say(parser: argparse.ArgumentParser) -> None:
    """What `say` takes."""
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument("-o", "--output", type=_wav_file, required=True, metavar="FILE")
    parser.add_argument(
        "--voice",
        default=DEFAULT_VOICE,
        help="heart (English), or one of espeak-ng's (default: heart)",
    )
    parser.add_argument(
        "--speed", type=_speed, default=DEFAULT_SPEED_WPM, metavar="WPM", help="default: 160"
    )
    parser.add_argument("--rate", type=_rate, default=24_000, metavar="HZ", help="default: 24000")
    parser.set_defaults(command=_say)


def add_schema(parser: argparse.ArgumentParser) -> None:
    """What `schema` takes: nothing."""
    parser.set_defaults(command=_schema)


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
        path = authoring.new(name, folder, ours=not given.agent)
    except authoring.AuthoringError as error:
        return _bad_input(error)
    whose = " --agent sip:number@host" if given.agent else ""
    print(f"{path}: edit it, then: callerside check {path} && callerside run {path}{whose}")
    return EXIT_FINE


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
