"""The phrases that are shipped as sound, in `callerside/speech/phrases/`.

    python tools/phrases.py            # make what is missing, delete the rest; `nox -s reference`
    python tools/phrases.py --check    # exit code 1 if there is any of that; `nox -s lint`
    python tools/phrases.py --anew     # make all of them again, as with a new version of an engine

Shipped is what the library of scenarios says, and what callerside says by itself. Nothing that is
here already is made again unless it is asked for: another machine would make other samples of it.
To make a phrase, its engine is needed: the extras `sim` and `languages`.
"""

import argparse
import hashlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import soundfile
import yaml

from callerside.atomic_files import write_atomically
from callerside.audio import to_samples, tone
from callerside.fakes.script import prepare
from callerside.simulator.calibration import calibrate
from callerside.simulator.caller.audio import utterances
from callerside.simulator.capacity import load_ramp
from callerside.simulator.fuzz.calls import generate
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.scenario import authoring, loader
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Sound
from callerside.speech import shipped, synthesis
from callerside.speech.voices import engine_of

ROOT = Path(__file__).resolve().parent.parent
GENERATED_CALLS = 200
"""More than enough for a generated call to say everything that it can."""
MOST_OF_A_NAME = 48


def said() -> set[shipped.Phrase]:
    """All that the library and callerside itself say, without a sound being made."""
    with _listening() as heard:
        for scenario in _scenarios():
            utterances.prepare(scenario, shipped.RATE_HZ)
            prepare.prepare(scenario.realtime, scenario.folder)
        for text in (calibrate.PHRASE, calibrate.REPLY):
            synthesis.synthesise(text)
    return heard


def _scenarios() -> Iterator[Scenario]:
    """The library, what `callerside new`, `knee` and `fuzz` play, and every sound and noise."""
    yield from loader.load([ROOT / "scenarios", ROOT / "simulator" / "demo", load_ramp.SCENARIO])
    yield Scenario.model_validate(yaml.safe_load(authoring.EXAMPLE.replace("version: 2", "")))
    for seed in range(GENERATED_CALLS):
        yield Scenario.model_validate(generate(SeededChoices(seed)))
    for sound in get_args(Sound):
        steps = [{"sound": sound}, "hang_up"]
        babble = {"noise": {"kind": "babble", "snr_db": 20}}
        yield Scenario.model_validate({"about": sound, "steps": steps, "caller": babble})


@contextmanager
def _listening() -> Iterator[set[shipped.Phrase]]:
    """Collects what is asked of the shipped phrases, and answers with a tone."""
    heard: set[shipped.Phrase] = set()

    def find(phrase: shipped.Phrase) -> bytes:
        heard.add(phrase)
        return tone(440, 1000, shipped.RATE_HZ)

    original, shipped.find = shipped.find, find
    try:
        yield heard
    finally:
        shipped.find = original


def make(phrase: shipped.Phrase) -> shipped.Shipped:
    """Speak a phrase into its file."""
    engine, voice = engine_of(phrase.voice)
    pcm = synthesis.levelled(engine.spoken(phrase.text, voice, phrase.speed_wpm))
    sound = io.BytesIO()
    samples = to_samples(pcm)
    soundfile.write(sound, samples, shipped.RATE_HZ, format="FLAC", compression_level=1.0)
    words = re.sub(r"[^a-z0-9]+", "-", phrase.text.lower()).strip("-")[:MOST_OF_A_NAME]
    file = f"{words}-{hashlib.sha256(repr(phrase).encode()).hexdigest()[:6]}.flac"
    write_atomically(shipped.FOLDER / file, sound.getvalue())
    return shipped.Shipped(
        phrase=phrase,
        made_by=f"{engine.distribution} {engine.version}",
        file=file,
        sha256=hashlib.sha256(pcm).hexdigest(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or check; returns the exit code: 0, or 1 if something is missing or too much."""
    parser = argparse.ArgumentParser(prog="phrases.py", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--anew", action="store_true", help="make all of them again")
    given = parser.parse_args(arguments)
    wanted = said()
    index = {} if given.anew else dict(shipped.read_index())
    missing = sorted(wanted - index.keys(), key=lambda phrase: phrase.text)
    kept = {phrase: one for phrase, one in index.items() if phrase in wanted}
    files = {path.name for path in shipped.FOLDER.glob("*.flac")}
    if given.check:
        for phrase in missing:
            print(f"not shipped: {phrase}: run nox -s reference", file=sys.stderr)
        too_many = sorted(files ^ {one.file for one in kept.values()})
        for file in too_many:
            print(f"{file}: nobody says it, or it is gone: run nox -s reference", file=sys.stderr)
        return 1 if missing or too_many else 0
    kept |= {phrase: make(phrase) for phrase in missing}
    for file in files - {one.file for one in kept.values()}:
        (shipped.FOLDER / file).unlink()
    write_atomically(shipped.INDEX, shipped.index_text(kept).encode())
    print(f"{len(missing)} made, {len(kept)} in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
