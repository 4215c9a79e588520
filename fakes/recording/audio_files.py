"""The sound of recordings: WAV files beside them, to which their events refer.

A reference is `{"wav": NAME, "start": SAMPLE, "samples": COUNT, "encoding": "pcm|pcmu|pcma"}`. The
files hold PCM16; G.711 is decoded on its way in and encoded again on its way out, which brings back
the same bytes, but for µ-law's two zeros, which sound alike.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import soundfile

from callerside.audio import BYTES_PER_SAMPLE, AudioFormat, Encoding, to_samples
from callerside.audio_files import read_wav

Sender = Literal["client", "server"]

_ENCODINGS: dict[str, Encoding] = {
    "audio/pcm": "pcm",
    "audio/pcmu": "pcmu",
    "audio/pcma": "pcma",
    "pcm16": "pcm",
    "g711_ulaw": "pcmu",
    "g711_alaw": "pcma",
}
_REFERENCE_KEYS = {"wav", "start", "samples", "encoding"}


def encoding_of(event: Mapping[str, Any], sender: Sender) -> Encoding:
    """How this side's audio is encoded after a `session.created` or `.updated`, of any dialect."""
    side = "input" if sender == "client" else "output"
    session = _object(event.get("session"))
    name = session.get(f"{side}_audio_format")
    if name is None:
        name = _object(_object(_object(session.get("audio")).get(side)).get("format")).get("type")
    return _ENCODINGS.get(str(name), "pcm")


def _object(value: object) -> Mapping[str, Any]:
    """An object of a recorded event; a recording holds whatever was said."""
    return value if isinstance(value, Mapping) else {}


class SoundWriter:
    """Keeps audio in WAV files beside the recording, one for each side and encoding."""

    def __init__(self, recording: Path) -> None:
        self._recording = recording
        self._files: dict[tuple[Sender, Encoding], soundfile.SoundFile] = {}
        self._encodings: dict[Sender, Encoding] = {"client": "pcm", "server": "pcm"}

    def follow(self, event: Mapping[str, Any]) -> None:
        """Notice in which formats audio goes from now on."""
        if event["type"] not in ("session.created", "session.updated"):
            return
        for sender in get_args(Sender):
            self._encodings[sender] = encoding_of(event, sender)

    def add(self, sender: Sender, audio: bytes) -> dict[str, Any]:
        """Append audio to its file; returns the reference to it.

        Raises:
            OSError: it cannot be written.
        """
        encoding = self._encodings[sender]
        audio_format = AudioFormat(encoding)
        key = sender, encoding
        path = self._recording.with_suffix(f".{sender}.{encoding}.wav")
        samples = to_samples(audio_format.decode(audio))
        try:
            if key not in self._files:
                path.unlink(missing_ok=True)
                path.touch(mode=0o600)
                self._files[key] = soundfile.SoundFile(
                    path, "w", samplerate=audio_format.rate_hz, channels=1, subtype="PCM_16"
                )
            start = self._files[key].frames
            self._files[key].write(samples)
        except soundfile.LibsndfileError as error:
            raise OSError(f"{path}: {error}") from None
        return {"wav": path.name, "start": start, "samples": len(samples), "encoding": encoding}

    def close(self) -> None:
        """Finish the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


class SoundReader:
    """Finds the audio of events: in them, or in the WAV files that they refer to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, bytes] = {}

    def load(self, stored: object) -> bytes:
        """The audio as it went over the wire."""
        if isinstance(stored, str):
            return base64.b64decode(stored, validate=True)
        if not isinstance(stored, dict) or stored.keys() != _REFERENCE_KEYS:
            raise ValueError(f"audio: expected base64, or {', '.join(sorted(_REFERENCE_KEYS))}")
        if stored["encoding"] not in get_args(Encoding):
            raise ValueError(f"encoding {stored['encoding']!r}, expected pcm, pcmu or pcma")
        audio_format = AudioFormat(stored["encoding"])
        pcm = self._read(stored["wav"], audio_format.rate_hz)
        start, end = stored["start"], stored["start"] + stored["samples"]
        if not 0 <= start <= end <= len(pcm) // BYTES_PER_SAMPLE:
            raise ValueError(f"{stored['wav']} has no samples {start} to {end}")
        return audio_format.encode(pcm[start * BYTES_PER_SAMPLE : end * BYTES_PER_SAMPLE])

    def _read(self, name: str, rate_hz: int) -> bytes:
        if Path(name).name != name:
            raise ValueError(f"wav {name!r}: expected a file beside the recording")
        if name not in self._files:
            self._files[name] = read_wav(self._folder / name, rate_hz)
        return self._files[name]
