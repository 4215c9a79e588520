"""espeak-ng through ctypes, without a sound device: many languages, and plainly a machine.

`espeakng-loader` carries the library and its data in a wheel. The library keeps its state in
globals: one lock guards it, and it is loaded afresh for every text, because what it said before
changes how it says the next, and the same text must sound the same everywhere.
"""

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np

from callerside.speech.voices import VoiceError, Wave, unknown

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


def spoken(text: str, voice: str, speed_wpm: int) -> Wave:
    """A text in a voice of espeak-ng's: a language, perhaps with a variant, as `en-us+f3` or `de`.

    Raises:
        VoiceError: there is no such voice, or the library does not work.
    """
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
    return Wave(np.frombuffer(b"".join(chunks), "<i2") / 32768, _NATIVE_HZ)


def _choose(library: ctypes.CDLL, voice: str) -> None:
    language, plus, variant = voice.partition("+")
    name = _ALIASES.get(language.lower(), language) + plus + variant
    # The library takes an unknown variant for none, in silence.
    known = not plus or variant in _variants()
    if not known or library.espeak_SetVoiceByName(name.encode()) != _EE_OK:
        raise unknown(voice)


@cache
def _variants() -> frozenset[str]:
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return frozenset(path.name for path in folder.iterdir())


@contextlib.contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """The library in its initial state; unloaded afterwards."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Synth.argtypes = _SYNTH_ARGUMENTS
    data = espeakng_loader.get_data_path().encode()
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
