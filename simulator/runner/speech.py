"""All speech of a run, made before its first call: no call then waits for the synthesiser."""

from collections.abc import Sequence

from callerside.audio_files import AudioFileError
from callerside.fakes.script import prepare
from callerside.simulator.caller.audio import utterances
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.runner.lint import unspeakable
from callerside.speech.voices import VoiceError


class SpeechError(ValueError):
    """Something cannot be said: one line each, with file, line and column."""


def prepare_all(planned_calls: Sequence[PlannedCall], rate_hz: int) -> None:
    """Fill the caches with what callers and servers say.

    Raises:
        SpeechError: a text cannot be spoken, or a sound file cannot be read.
    """
    scenarios = {id(planned.scenario): planned.scenario for planned in planned_calls}.values()
    try:
        for scenario in scenarios:
            utterances.prepare(scenario, rate_hz)
            prepare.prepare(scenario.realtime, scenario.folder)
    except (AudioFileError, VoiceError) as error:
        lines = dict.fromkeys(line for one in scenarios for line in unspeakable(one))
        raise SpeechError("\n".join(lines) or str(error)) from None
