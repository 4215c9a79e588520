"""What callers say, as WAV files for the callers' processes: made once, in the runner."""

import hashlib
from pathlib import Path

from callerside.audio import to_samples
from callerside.audio_files import write_wav
from callerside.simulator.caller.audio.utterances import prepare
from callerside.simulator.scenario.model import Scenario


class SpeechFiles:
    """A folder of WAV files, each called by what is in it: equal phrases are one file."""

    def __init__(self, folder: Path, rate_hz: int) -> None:
        self._folder = folder
        self._rate_hz = rate_hz
        self._of: dict[tuple[str, Path], dict[str, str]] = {}

    def of(self, scenario: Scenario) -> dict[str, str]:
        """An order's `audio`; what has been made for a call is there for the next. Blocks.

        Raises:
            callerside.speech.voices.VoiceError: a text cannot be spoken.
            callerside.audio_files.AudioFileError: a sound file cannot be read.
            OSError: the folder cannot be written.
        """
        key = (scenario.model_dump_json(), scenario.folder)
        if key not in self._of:
            audio = prepare(scenario, self._rate_hz)
            self._of[key] = {str(position): self._written(pcm) for position, pcm in audio.items()}
        return self._of[key]

    def _written(self, pcm: bytes) -> str:
        if not pcm:
            return ""
        path = self._folder / f"{hashlib.sha256(pcm).hexdigest()[:32]}.wav"
        if not path.exists():
            write_wav(path, to_samples(pcm), self._rate_hz)
        return str(path)
