"""Everything that a scenario's caller makes heard, as audio, made before the call.

A call never waits for the synthesiser, and the same scenario always sounds the same.
"""

from pathlib import Path
from typing import assert_never

from callerside.agent.telephony.interface import FRAME_MS
from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.reports.hearing import active_level
from callerside.simulator.caller.audio.noise import make_noise
from callerside.simulator.caller.audio.sounds import make_sound
from callerside.simulator.caller.audio.voice import at_level, speak
from callerside.simulator.caller.line_model import NOISE
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Phrase, Step, Tones
from callerside.speech.dtmf_tones import dtmf


def prepare(scenario: Scenario, rate_hz: int) -> dict[int, bytes]:
    """PCM at `rate_hz` for each step of `scenario.all_steps` that makes itself heard, by position.

    Raises:
        callerside.speech.voices.VoiceError: a text cannot be spoken.
        callerside.audio_files.AudioFileError: a sound file cannot be read.
    """
    audio = {}
    noise = background(scenario, rate_hz)
    if noise:
        audio[NOISE] = noise
    for position, step in enumerate(scenario.all_steps):
        pcm = phrase(scenario, step, rate_hz)
        if pcm is not None:
            audio[position] = pcm
    return audio


def background(scenario: Scenario, rate_hz: int) -> bytes:
    """The loop of noise behind the caller, empty for none; raises as `prepare` does."""
    caller = scenario.caller
    if caller.noise is None:
        return b""
    return make_noise(caller.noise, caller.level_dbfs, scenario.folder, rate_hz)


def phrase(scenario: Scenario, step: Step, rate_hz: int) -> bytes | None:
    """What a step of the scenario makes heard, if it does; raises as `prepare` does."""
    key = (step.model_dump_json(), scenario.caller.model_dump_json(), scenario.folder, rate_hz)
    if key not in _made:
        if len(_made) >= _MOST_MADE:
            _made.clear()
        _made[key] = _make(scenario, step, rate_hz)
    return _made[key]


_MOST_MADE = 500
_made: dict[tuple[str, str, Path, int], bytes | None] = {}
"""What has been made in this process: most phrases are said in many calls."""


def _make(scenario: Scenario, step: Step, rate_hz: int) -> bytes | None:
    caller = scenario.caller
    match step.audible:
        case Phrase() as said:
            return end_mid_frame(speak(said, caller, scenario.folder, rate_hz), rate_hz)
        case str(sound):
            return at_level(
                make_sound(sound, rate_hz, voice=caller.voice), rate_hz, caller.level_dbfs
            )
        case Tones(keys):
            return dtmf(keys, rate_hz)
        case None:
            return None
        case never:
            assert_never(never)


def end_mid_frame(pcm: bytes, rate_hz: int) -> bytes:
    """A phrase behind as much silence as lets its last voiced sample fall mid-frame.

    A packet carries 20 ms. Where in its last packet a phrase ends is an accident of its length that
    moves every latency by up to 10 ms either way; so all phrases end where they would on average.
    """
    edges = active_level.edges(to_samples(pcm), rate_hz)
    if edges is None:
        return pcm
    frame = rate_hz * FRAME_MS // 1000
    lead = (frame // 2 - edges[1]) % frame
    return bytes(BYTES_PER_SAMPLE * lead) + pcm
