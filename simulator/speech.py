"""All speech of a run, made before its first call: no call then waits for the synthesiser."""

from collections.abc import Sequence

from fakes import repertoire
from simulator import phrases
from simulator.stage import Stage


def prepare_all(stages: Sequence[Stage], rate_hz: int) -> None:
    """Fill the caches with what callers and servers say.

    Raises:
        fakes.voice.VoiceError: a text cannot be spoken.
        agent.audio.AudioFileError: a sound file cannot be read.
    """
    for scenario in {id(stage.scenario): stage.scenario for stage in stages}.values():
        phrases.prepare(scenario, rate_hz)
        repertoire.prepare(scenario.realtime, scenario.folder)
