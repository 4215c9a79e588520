"""Makes a script ready to be said: texts are spoken, sounds and recordings are read."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from callerside import json_schema
from callerside.audio import BYTES_PER_SAMPLE
from callerside.audio_files import AudioFileError, read_wav
from callerside.fakes.recording.format import RecordingError
from callerside.fakes.recording.turn import read_turn
from callerside.fakes.script.model import Script
from callerside.fakes.script.prepared import RATE_HZ, PreparedItem, PreparedReply, PreparedScript
from callerside.fakes.script.reply import Pause, RecordedReply, Reply, ReplyItem
from callerside.speech.synthesis import synthesise
from callerside.speech.voices import DEFAULT_SPEED_WPM, DEFAULT_VOICE


def prepare(script: Script, folder: Path | None = None) -> PreparedScript:
    """Make a script ready; `wav` paths are relative to `folder`.

    Raises:
        VoiceError: a text cannot be spoken.
        AudioFileError: a sound file or a recording cannot be read, or has no such turn.
    """
    if folder is not None:
        script = script.resolved(folder)
    return PreparedScript(
        script=script,
        greeting=prepared_reply(script.greeting),
        replies=tuple(prepared_reply(reply) for reply in script.replies),
        default=prepared_reply(script.default_reply),
    )


def prepared_reply(reply: Reply) -> PreparedReply:
    """One reply made ready.

    Raises:
        VoiceError, AudioFileError: see `prepare`.
    """
    return PreparedReply(reply, tuple(map(prepared_item, reply.parts)))


def prepared_item(item: ReplyItem) -> PreparedItem:
    """One item made ready.

    Raises:
        VoiceError, AudioFileError: see `prepare`.
    """
    if item.function_call is not None:
        json_schema.reserve()  # its arguments are held against what the session declares
    if item.function_call is not None or item.mcp_call is not None:
        return PreparedItem(item, b"", item.transcript or "")
    if item.text is not None:
        return PreparedItem(item, b"", item.text)
    if item.wav is not None:
        pcm, words = read_wav(item.wav, RATE_HZ), ""
    elif item.recording is not None:
        pcm, words = _recorded(item, item.recording)
    else:
        words = item.say or ""
        pcm = _spoken(words, item.voice or DEFAULT_VOICE, item.speed_wpm or DEFAULT_SPEED_WPM)
    transcript = words if item.transcript is None else item.transcript
    return PreparedItem(item, _with_pauses(pcm, item.pauses), transcript)


def _recorded(item: ReplyItem, recording: RecordedReply) -> tuple[bytes, str]:
    try:
        turn = read_turn(recording.file, recording.turn)
    except RecordingError as error:
        raise AudioFileError(str(error)) from None
    words = turn.transcript if item.transcript is None else item.transcript
    if not turn.pcm and not words:
        raise AudioFileError(
            f"{recording.file}: response {recording.turn} has neither audio nor transcript"
        )
    return turn.pcm or _spoken(words, DEFAULT_VOICE, DEFAULT_SPEED_WPM), words


def _with_pauses(pcm: bytes, pauses: Sequence[Pause]) -> bytes:
    for pause in sorted(pauses, key=lambda pause: pause.at_ms, reverse=True):
        at = min(len(pcm), _bytes(pause.at_ms))
        pcm = pcm[:at] + bytes(_bytes(pause.for_ms)) + pcm[at:]
    return pcm


def _bytes(length_ms: float) -> int:
    """How many bytes of PCM16 at `RATE_HZ` last so long; whole samples."""
    return round(length_ms * RATE_HZ / 1000) * BYTES_PER_SAMPLE


@lru_cache(maxsize=256)
def _spoken(text: str, voice: str, speed_wpm: int) -> bytes:
    return synthesise(text, voice=voice, speed_wpm=speed_wpm, rate_hz=RATE_HZ)
