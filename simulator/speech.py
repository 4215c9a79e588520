"""All speech of a run, made before its first call: no call then waits for the synthesiser."""

from collections.abc import Sequence

from agent.audio import AudioFileError
from fakes import repertoire
from fakes.voice import VoiceError
from simulator import phrases
from simulator.plausible import unspeakable
from simulator.stage import Stage


class SpeechError(ValueError):
    """Something cannot be said: one line each, with file, line and column."""


def prepare_all(stages: Sequence[Stage], rate_hz: int) -> None:
    """Fill the caches with what callers and servers say.

    Raises:
        SpeechError: a text cannot be spoken, or a sound file cannot be read.
    """
    scenarios = {id(stage.scenario): stage.scenario for stage in stages}.values()
    try:
        for scenario in scenarios:
            phrases.prepare(scenario, rate_hz)
            repertoire.prepare(scenario.realtime, scenario.folder)
    except (AudioFileError, VoiceError) as error:
        told = dict.fromkeys(line for one in scenarios for line in unspeakable(one))
        raise SpeechError("\n".join(told) or str(error)) from None
