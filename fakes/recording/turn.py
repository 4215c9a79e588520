"""One spoken response out of a recording, to be said again as a reply of a script."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from callerside.audio import AudioFormat, duration_ms, resample
from callerside.fakes.recording.audio_files import encoding_of
from callerside.fakes.recording.format import (
    Entry,
    Recording,
    RecordingError,
    read_recording,
)

RATE_HZ = 24_000
_SHORTEST_MS = 100.0  # less is what is left of audio that was cut out of a recording

AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")
_TRANSCRIPTS = ("response.output_audio_transcript.done", "response.audio_transcript.done")


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """What was said: PCM16 at 24 kHz, empty if the recording has lost it, and in words."""

    pcm: bytes
    transcript: str


@dataclass(frozen=True, slots=True)
class SpokenResponse:
    """The same as it went over the wire."""

    audio_format: AudioFormat
    wire: bytes
    transcript: str

    @property
    def turn(self) -> RecordedTurn:
        """As it is said again."""
        pcm = self.audio_format.decode(self.wire)
        pcm = resample(pcm, self.audio_format.rate_hz, RATE_HZ)
        whole = duration_ms(pcm, RATE_HZ) >= _SHORTEST_MS
        return RecordedTurn(pcm if whole else b"", self.transcript)


def spoken_responses(recording: Recording) -> tuple[SpokenResponse, ...]:
    """All responses of a recording that have sound, in order."""
    audio_format = AudioFormat()
    spoken: dict[str, tuple[AudioFormat, list[bytes]]] = {}
    words: dict[str, str] = {}
    for entry in recording.entries:
        if entry.sender != "server":
            continue
        if entry.type in ("session.created", "session.updated"):
            audio_format = AudioFormat(encoding_of(entry.event, "server"))
        elif entry.type in AUDIO_DELTAS:
            spoken.setdefault(_response(entry), (audio_format, []))[1].append(entry.event["delta"])
        elif entry.type in _TRANSCRIPTS:
            words[_response(entry)] = str(entry.event.get("transcript", ""))
    return tuple(
        SpokenResponse(of_it, b"".join(deltas), words.get(name, ""))
        for name, (of_it, deltas) in spoken.items()
    )


def read_turn(path: Path, number: int) -> RecordedTurn:
    """The recording's spoken response with this number, counted from 1.

    Raises:
        RecordingError: the recording cannot be read, or has fewer spoken responses.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    spoken = _read_spoken(path, found.st_mtime_ns, found.st_size)
    if number > len(spoken):
        raise RecordingError(f"{path}: has {len(spoken)} spoken responses, and no number {number}")
    return spoken[number - 1].turn


@lru_cache(maxsize=1)  # a script says one response of a recording after the other
def _read_spoken(path: Path, _written_ns: int, _size: int) -> tuple[SpokenResponse, ...]:
    return spoken_responses(read_recording(path))


def _response(entry: Entry) -> str:
    return str(entry.event.get("response_id", ""))
