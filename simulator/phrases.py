"""Everything that a scenario's caller makes heard, as audio, made before the call.

A call never waits for the synthesiser, and the same scenario always sounds the same.
"""

from simulator.line import NOISE
from simulator.noise import make_noise
from simulator.scenario import Scenario
from simulator.sounds import make_sound
from simulator.steps import MakeSound, Press, Say
from simulator.voice import at_level, dtmf, speak


def prepare(scenario: Scenario, rate_hz: int) -> dict[int, bytes]:
    """PCM at `rate_hz` for each step of `scenario.all_steps` that makes itself heard, by position.

    Raises:
        fakes.voice.VoiceError: a text cannot be spoken.
        agent.audio.AudioFileError: a sound file cannot be read.
    """
    audio = {}
    caller = scenario.caller
    if caller.noise is not None:
        audio[NOISE] = make_noise(caller.noise, caller.level_dbfs, scenario.folder, rate_hz)
    for position, step in enumerate(scenario.all_steps):
        match step:
            case Say():
                audio[position] = speak(step.say, caller, scenario.folder, rate_hz)
            case MakeSound():
                pcm = make_sound(step.sound, rate_hz, voice=caller.voice)
                audio[position] = at_level(pcm, rate_hz, caller.level_dbfs)
            case Press(method="inband"):
                audio[position] = dtmf(step.press, rate_hz)
            case _:
                pass
    return audio
