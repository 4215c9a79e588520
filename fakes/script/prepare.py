"""Makes a script ready to be said: texts are spoken, sounds and recordings are read."""

from functools import lru_cache
from pathlib import Path

from callerside.audio_files import AudioFileError, read_wav
from callerside.fakes.recording.format import RecordingError
from callerside.fakes.recording.turn import read_turn
from callerside.fakes.script.model import RecordedReply, Reply, Script
from callerside.fakes.script.prepared import RATE_HZ, PreparedReply, PreparedScript
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
    if reply.function_call is not None:
        return PreparedReply(reply, b"", reply.transcript or "")
    if reply.wav is not None:
        return PreparedReply(reply, read_wav(reply.wav, RATE_HZ), reply.transcript or "")
    if reply.recording is not None:
        return _recorded(reply, reply.recording)
    text = reply.say or ""
    pcm = _spoken(text, reply.voice or DEFAULT_VOICE, reply.speed_wpm or DEFAULT_SPEED_WPM)
    return PreparedReply(reply, pcm, text if reply.transcript is None else reply.transcript)


def _recorded(reply: Reply, recording: RecordedReply) -> PreparedReply:
    try:
        turn = read_turn(recording.file, recording.turn)
    except RecordingError as error:
        raise AudioFileError(str(error)) from None
    words = turn.transcript if reply.transcript is None else reply.transcript
    if not turn.pcm and not words:
        raise AudioFileError(
            f"{recording.file}: response {recording.turn} has neither audio nor transcript"
        )
    return PreparedReply(reply, turn.pcm or _spoken(words, DEFAULT_VOICE, DEFAULT_SPEED_WPM), words)


@lru_cache(maxsize=256)
def _spoken(text: str, voice: str, speed_wpm: int) -> bytes:
    return synthesise(text, voice=voice, speed_wpm=speed_wpm, rate_hz=RATE_HZ)
