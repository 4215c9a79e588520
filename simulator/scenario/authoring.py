"""For those who write scenarios: a commented example to begin with, and speech as a file."""

import json
import os
from pathlib import Path
from typing import Any

from callerside.audio import to_samples
from callerside.audio_files import write_wav
from callerside.simulator.scenario.model import Scenario, name_of, no_name
from callerside.simulator.scenario.suite import SUITE_FILE
from callerside.speech.synthesis import synthesise
from callerside.speech.voices import DEFAULT_SPEED_WPM, DEFAULT_VOICE
from callerside.yaml.versions import NEWEST

SCHEMA_URL = "https://json-schema.org/draft/2020-12/schema"

_HEAD = f"""\
# Protects: say here, in one sentence, what breaks for a caller when this fails.
version: {NEWEST}
about: A caller asks one question, interrupts the second answer, and hangs up.

"""
_OURS = """\
# What the fake Realtime server says, in order. Everything has a default.
realtime:
  greeting: {say: "Hello, how can I help?"}
  replies:
    - {say: "We open at nine in the morning.", think_ms: 400}
    - {say: "We have two branches, one at the harbour and one at the station, and both are open."}

# The agent's own settings for this call, over its defaults.
# agent: {turns: {policy: server}, greeting: {interruptible: false}}

"""
_CALLER = """\
# Who calls. For a bad line: noise: {kind: pink, snr_db: 20}, echo: {loss_db: 30, delay: 200ms}
caller: {codec: PCMU, voice: heart}

"""
_NETWORK = """\
# Packets, in both directions: loss, burst_loss, jitter, delay, reorder, duplicate.
# network: {loss: 1%, jitter: 20ms}

"""
_BEEP = """\
  - expect: beep                # our agent's; take this line out if yours plays none
"""
_STEPS = """\
  - expect: greeting            # waits for its end
    within: 5s                  # and fails if it does not begin in that time
  - say: "What time do you open?"
  - expect: reply
  - say: "And where are you?"
  - say: "Sorry, only the first one, please."
    when: reply + 1500ms        # over the answer: a barge-in
  - expect: reply
  - pause: 500ms
  - hang_up

# What must not happen: a word, or a mark (docs/marks.md).
never:
  - hang_up                     # by the agent

# Limits, over the default budget.
budget:
  turn_ms: 1500
"""
EXAMPLE = f"{_HEAD}{_OURS}{_CALLER}{_NETWORK}steps:\n{_BEEP}{_STEPS}"
EXAMPLE_FOR_ANY = f"{_HEAD}{_CALLER}steps:\n{_STEPS}"
"""For an agent that is not ours, which is shown nothing of a script, and plays no beep of ours."""


class AuthoringError(ValueError):
    """What was asked for cannot be written: says why."""


def new(name: str, folder: Path, *, ours: bool = True) -> Path:
    """Write a commented example as `folder/name.yaml`; `ours`: for a call to our own agent.

    Raises:
        AuthoringError: there is such a file already, it cannot be written, or the name is none.
    """
    stem = name.removesuffix(".yaml")
    if not stem or not all(letter.isalnum() or letter in "_-" for letter in stem):
        raise AuthoringError(f"{name!r} is no name: expected letters, digits, _ and -")
    if stem == SUITE_FILE.removesuffix(".yaml"):
        raise AuthoringError(
            f"{folder / SUITE_FILE} holds what all scenarios of its folder have in common, and is "
            "none itself; choose another name"
        )
    if why := no_name(name_of(stem)):
        raise AuthoringError(f"{name!r} is no name: {why}")
    path = folder / f"{stem}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLE if ours else EXAMPLE_FOR_ANY)
    except OSError as error:
        if os.path.lexists(path):
            raise AuthoringError(f"{path}: there is one already; choose another name") from None
        raise AuthoringError(
            f"{path}: cannot be written: {error.filename}: {error.strerror}"
        ) from None
    return path


def say(
    text: str,
    path: Path,
    *,
    voice: str = DEFAULT_VOICE,
    speed_wpm: int = DEFAULT_SPEED_WPM,
    rate_hz: int = 24_000,
) -> float:
    """Speak a text into a WAV file; returns its length in seconds.

    Raises:
        callerside.speech.voices.VoiceError: there is no such voice, or nothing to say.
        OSError: the file cannot be written.
    """
    samples = to_samples(synthesise(text, voice=voice, speed_wpm=speed_wpm, rate_hz=rate_hz))
    write_wav(path, samples, rate_hz)
    return len(samples) / rate_hz


def editor_schema() -> dict[str, Any]:
    """The language as a JSON Schema, for editors: completion and red lines while typing."""
    title = "A telephone scenario of callerside"
    return {"$schema": SCHEMA_URL, **Scenario.model_json_schema(), "title": title}


def editor_schema_text() -> str:
    """The same as text, as `docs/scenario.schema.json` holds it."""
    return json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"
