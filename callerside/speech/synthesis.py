"""Speech from text, cached on disk: what has been said once is read from there ever after.

Some phrases are shipped as sound (`speech.shipped`): those sound the same on every machine, and
need no synthesiser.
"""

import contextlib
import hashlib
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr

from callerside.audio import resample, to_bytes, to_samples
from callerside.audio_files import AudioFileError, read_wav, write_wav
from callerside.speech import shipped
from callerside.speech.shipped import RATE_HZ, Phrase
from callerside.speech.voices import (
    DEFAULT_SPEED_WPM,
    DEFAULT_VOICE,
    VoiceError,
    Wave,
    engine_of,
)

MAX_TEXT_CHARS = 4000

# Changing anything below changes what is said: the cache's key takes all of it in.
_CACHE_VERSION = 2
_LEVEL_DBFS = -20.0
_PEAK = 0.9 * 32767
_STEP = 8
"""Samples are multiples of it, which is the finest step of G.711: as FLAC they are a third less."""


def synthesise(
    text: str,
    *,
    voice: str = DEFAULT_VOICE,
    speed_wpm: int = DEFAULT_SPEED_WPM,
    rate_hz: int = 24_000,
) -> bytes:
    """Speak a text: mono PCM16 at `rate_hz`, at -20 dBFS, beginning within 5 ms of its first sound.

    `voice` is `heart`, which is hibari's and speaks English, or one of espeak-ng's: a language,
    perhaps with a variant, such as `de`, `fr+m2`, `en-gb` or `en-us+f3`.

    Raises:
        VoiceError: there is no such voice, its engine is not installed, or the text has nothing
            that can be spoken.
    """
    return resample(spoken(text, voice, speed_wpm), RATE_HZ, rate_hz)


def cache_folder() -> Path:
    """Where speech is kept: under `XDG_CACHE_HOME`, else `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "callerside" / "speech"


@lru_cache(maxsize=256)
def spoken(text: str, voice: str, speed_wpm: int) -> bytes:
    """As `synthesise`, at `RATE_HZ`: what is shipped, or was said before, or is said now."""
    if len(text) > MAX_TEXT_CHARS:
        raise VoiceError(f"a text of {len(text)} characters, at most {MAX_TEXT_CHARS} are spoken")
    engine, own = engine_of(voice)
    phrase = Phrase(text=text, voice=f"{engine.name}/{own}", speed_wpm=speed_wpm)
    sound = shipped.find(phrase)
    if sound is not None:
        return sound
    made_of = (_CACHE_VERSION, engine.version, phrase.voice, speed_wpm, text)
    path = cache_folder() / f"{hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]}.wav"
    if engine.version and path.exists():
        try:
            return read_wav(path, RATE_HZ)
        except AudioFileError:
            pass  # damaged: it is made again
    pcm = levelled(engine.spoken(text, own, speed_wpm))
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        write_wav(path, to_samples(pcm), RATE_HZ)
    return pcm


def levelled(wave: Wave) -> bytes:
    """Bring speech to the common rate and level, and cut the silence at both ends."""
    samples = wave.cut().samples
    if not samples.size:
        raise VoiceError("the text has nothing that can be spoken")
    samples = soxr.resample(samples, wave.rate_hz, RATE_HZ)
    gain = 32768 * 10 ** (_LEVEL_DBFS / 20) / float(np.sqrt(np.mean(samples**2)))
    gain = min(gain, _PEAK / float(np.max(np.abs(samples))))
    return to_bytes(np.rint(samples * (gain / _STEP)) * _STEP)
