"""Speech from text: espeak-ng through ctypes, without a sound device, cached on disk.

`espeakng-loader` carries the library and its data in a wheel. The library keeps its state in
globals: one lock guards it, and it is loaded afresh for every text, because what it said before
changes how it says the next, and the same text must sound the same everywhere. What has been said
once is read from the cache ever after.
"""

import contextlib
import ctypes
import hashlib
import os
import threading
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from callerside.audio import resample, to_bytes, to_samples
from callerside.audio_files import AudioFileError, read_wav, write_wav

DEFAULT_VOICE = "en-gb"
DEFAULT_SPEED_WPM = 160
MAX_TEXT_CHARS = 4000

# Changing anything below changes what is said: the cache's key takes all of it in.
_CACHE_VERSION = 1
_LEVEL_DBFS = -20.0
_PEAK = 0.9 * 32767
_AUDIBLE = 0.01 * 32767
_LEAD_MS = 5
_TAIL_MS = 40

_NATIVE_HZ = 22_050  # of every formant voice of espeak-ng
_ALIASES = {"en-gb": "en"}  # a language that the library lists, but not under its own name

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1
_EE_OK = 0

_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)

_SYNTH_ARGUMENTS: Any = [
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_uint,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_void_p,
]

_lock = threading.Lock()


class VoiceError(ValueError):
    """A text cannot be spoken: no such voice, nothing to say, or no synthesiser."""


class UnknownVoiceError(VoiceError):
    """There is no such voice."""


def synthesise(
    text: str,
    *,
    voice: str = DEFAULT_VOICE,
    speed_wpm: int = DEFAULT_SPEED_WPM,
    rate_hz: int = 24_000,
) -> bytes:
    """Speak a text: mono PCM16 at `rate_hz`, at -20 dBFS, beginning within 5 ms of its first sound.

    `voice` is a name of espeak-ng's: a language, perhaps with a variant, such as `en-gb`,
    `en-us+f3`, `de`, `fr+m2`.

    Raises:
        VoiceError: there is no such voice, or the text has nothing that can be spoken.
    """
    return resample(_native_speech(text, voice, speed_wpm), _NATIVE_HZ, rate_hz)


def cache_folder() -> Path:
    """Where speech is kept: under `XDG_CACHE_HOME`, else `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "callerside" / "speech"


@lru_cache(maxsize=256)
def _native_speech(text: str, voice: str, speed_wpm: int) -> bytes:
    if len(text) > MAX_TEXT_CHARS:
        raise VoiceError(f"a text of {len(text)} characters, at most {MAX_TEXT_CHARS} are spoken")
    key = hashlib.sha256(
        "\0".join([str(_CACHE_VERSION), voice, str(speed_wpm), text]).encode()
    ).hexdigest()
    path = cache_folder() / f"{key[:32]}.wav"
    if path.exists():
        try:
            return read_wav(path, _NATIVE_HZ)
        except AudioFileError:
            pass  # damaged: it is made again
    pcm = _levelled(_speak(text, voice, speed_wpm))
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        write_wav(path, to_samples(pcm), _NATIVE_HZ)
    return pcm


def _levelled(pcm: bytes) -> bytes:
    """Cut the silence at both ends, and bring the rest to the common level."""
    wave = to_samples(pcm).astype(np.float64)
    audible = np.flatnonzero(np.abs(wave) > _AUDIBLE)
    if audible.size == 0:
        raise VoiceError("the text has nothing that can be spoken")
    start = max(0, int(audible[0]) - _LEAD_MS * _NATIVE_HZ // 1000)
    wave = wave[start : int(audible[-1]) + _TAIL_MS * _NATIVE_HZ // 1000]
    gain = 32768 * 10 ** (_LEVEL_DBFS / 20) / float(np.sqrt(np.mean(wave**2)))
    return to_bytes(wave * min(gain, _PEAK / float(np.max(np.abs(wave)))))


def _speak(text: str, voice: str, speed_wpm: int) -> bytes:
    chunks: list[bytes] = []

    def collect(wave: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if wave and count > 0:
            chunks.append(ctypes.string_at(wave, count * 2))
        return 0

    callback = _SynthCallback(collect)
    utf8 = text.encode()
    with _lock, _fresh_library() as library:
        _choose(library, voice)
        library.espeak_SetSynthCallback(callback)
        library.espeak_SetParameter(_PARAMETER_RATE, speed_wpm, 0)
        status = library.espeak_Synth(
            utf8, len(utf8) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
    if status != _EE_OK:
        raise VoiceError(f"espeak-ng could not speak the text (status {status})")
    return b"".join(chunks)


def _choose(library: ctypes.CDLL, voice: str) -> None:
    language, plus, variant = voice.partition("+")
    name = _ALIASES.get(language.lower(), language) + plus + variant
    # The library takes an unknown variant for none, in silence.
    known = not plus or variant in _variants()
    if not known or library.espeak_SetVoiceByName(name.encode()) != _EE_OK:
        raise UnknownVoiceError(
            f"no voice {voice!r}; expected one such as en-gb, en-us+f3, de or fr+m2"
        )


@cache
def _variants() -> frozenset[str]:
    folder = Path(_loader().get_data_path()) / "voices" / "!v"
    return frozenset(path.name for path in folder.iterdir())


@contextlib.contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """The library in its initial state; unloaded afterwards."""
    library = ctypes.CDLL(_loader().get_library_path())
    library.espeak_Synth.argtypes = _SYNTH_ARGUMENTS
    data = _loader().get_data_path().encode()
    try:
        rate_hz = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, data, _INITIALIZE_DONT_EXIT
        )
        if rate_hz != _NATIVE_HZ:
            raise VoiceError(f"espeak-ng did not start ({rate_hz}, expected {_NATIVE_HZ} Hz)")
        yield library
        library.espeak_Terminate()
    finally:
        unload = ctypes.CDLL(None).dlclose
        unload.argtypes = [ctypes.c_void_p]
        unload(library._handle)  # noqa: SLF001 - ctypes can load, but has no word for unloading


@cache
def _loader() -> Any:
    try:
        import espeakng_loader  # only who speaks needs it: it is in the extra `sim`
    except ImportError:
        raise VoiceError("speech needs espeakng-loader: pip install 'callerside[sim]'") from None
    return espeakng_loader
