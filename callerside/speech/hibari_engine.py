"""hibari: a small neural network that speaks English as people do, with its one voice.

Everything it needs is inside its package. Its other voices would be downloaded when they are first
asked for: it is only ever handed the model that lies beside it. What it says is the same to the
last byte on one machine, as its noise has a seed; another processor adds up in another order, so
that it may differ there by a hair.
"""

import threading
import unicodedata
from functools import cache
from pathlib import Path

import hibari
import numpy as np
from numpy.typing import NDArray

from callerside.speech.voices import DEFAULT_SPEED_WPM, HEART, VoiceError, Wave

SEED = 0
"""Of the noise in its voice."""

_PAUSE_MS = 350
"""Between two sentences; its own, 650 ms, would be the end of a turn."""

_MODEL = Path(hibari.__file__).parent / "assets" / "hibari.onnx"

_lock = threading.Lock()


def spoken(text: str, voice: str, speed_wpm: int) -> Wave:
    """A text in English. At its own speed, 1, it says `DEFAULT_SPEED_WPM` words a minute.

    Raises:
        VoiceError: the text is in letters that it does not know, and would leave out.
    """
    if any(letter.isalpha() and "LATIN" not in unicodedata.name(letter, "") for letter in text):
        raise VoiceError(
            f"the voice {voice} speaks English, and this is not written in its letters; "
            "a voice of espeak-ng's is called as its language is, such as el, ru or hi"
        )
    speed = speed_wpm / DEFAULT_SPEED_WPM
    pause = np.zeros(round(_PAUSE_MS / speed * hibari.SAMPLE_RATE / 1000))
    parts: list[NDArray[np.float64]] = []
    if any(letter.isalnum() for letter in text):
        with _lock:
            for sentence in _hibari().stream(text, speed=speed, seed=SEED):
                parts += [
                    Wave(sentence.astype(np.float64), hibari.SAMPLE_RATE).cut().samples,
                    pause,
                ]
    return Wave(np.concatenate(parts or [pause]), hibari.SAMPLE_RATE)


@cache
def _hibari() -> hibari.Hibari:
    return hibari.Hibari(voice=HEART, model=str(_MODEL))
