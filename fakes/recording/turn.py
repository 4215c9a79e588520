"""One spoken response out of a recording, to be said again as a reply of a script."""

from dataclasses import dataclass
from pathlib import Path

from callerside.audio import AudioFormat, duration_ms, resample
from callerside.fakes.recording.audio_files import encoding_of
from callerside.fakes.recording.format import Entry, RecordingError, read_recording

RATE_HZ = 24_000
_SHORTEST_MS = 100.0  # less is what is left of audio that was cut out of a recording

_DELTAS = ("response.output_audio.delta", "response.audio.delta")
_TRANSCRIPTS = ("response.output_audio_transcript.done", "response.audio_transcript.done")


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """What was said: PCM16 at 24 kHz, empty if the recording has lost it, and in words."""

    pcm: bytes
    transcript: str


def read_turn(path: Path, number: int) -> RecordedTurn:
    """The recording's spoken response with this number, counted from 1.

    Raises:
        RecordingError: the recording cannot be read, or has fewer spoken responses.
    """
    audio_format = AudioFormat()
    spoken: dict[str, tuple[AudioFormat, list[bytes]]] = {}
    words: dict[str, str] = {}
    for entry in read_recording(path).entries:
        if entry.sender != "server":
            continue
        if entry.type in ("session.created", "session.updated"):
            audio_format = AudioFormat(encoding_of(entry.event, "server"))
        elif entry.type in _DELTAS:
            spoken.setdefault(_response(entry), (audio_format, []))[1].append(entry.event["delta"])
        elif entry.type in _TRANSCRIPTS:
            words[_response(entry)] = str(entry.event.get("transcript", ""))
    if number > len(spoken):
        raise RecordingError(f"{path}: has {len(spoken)} spoken responses, and no number {number}")
    response = list(spoken)[number - 1]
    spoken_format, deltas = spoken[response]
    pcm = resample(spoken_format.decode(b"".join(deltas)), spoken_format.rate_hz, RATE_HZ)
    whole = duration_ms(pcm, RATE_HZ) >= _SHORTEST_MS
    return RecordedTurn(pcm if whole else b"", words.get(response, ""))


def _response(entry: Entry) -> str:
    return str(entry.event.get("response_id", ""))
