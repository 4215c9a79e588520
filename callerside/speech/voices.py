"""Who can speak: the engines, each an optional package, and the voices that each of them has.

An engine is a module beside this one with `spoken(text, voice, speed_wpm)`, which imports its
package when it first speaks. A voice has one engine: `heart` is hibari's, all others are
espeak-ng's. None of them asks the network for anything, ever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata

import numpy as np
from numpy.typing import NDArray

HEART = "heart"
DEFAULT_VOICE = HEART
DEFAULT_SPEED_WPM = 160
IN_WORDS = "`heart` (English), or one of espeak-ng's, such as `de`, `fr+m2` or `en-us+f3`."
"""What may be written for a voice, in the references of those who take one."""

_AUDIBLE_DB = -30.0
"""Of the level: where speech begins and ends (docs/metrics.md)."""
_LEAD_MS = 5
_TAIL_MS = 40

_DOWNLOADED = frozenset({"emma", "fable", "fenrir", "kore"})
"""Voices that hibari would fetch from a server: callerside has them from nobody."""


class VoiceError(ValueError):
    """A text cannot be spoken: no such voice, nothing to say, or no synthesiser."""


class UnknownVoiceError(VoiceError):
    """There is no such voice."""


@dataclass(frozen=True)
class Wave:
    """Speech as an engine makes it."""

    samples: NDArray[np.float64]
    """Full scale is 1."""
    rate_hz: int

    def cut(self) -> "Wave":
        """Without the silence before it and behind it; empty if there is nothing else."""
        level = float(np.sqrt(np.mean(self.samples**2))) if self.samples.size else 0.0
        audible = np.flatnonzero(np.abs(self.samples) > level * 10 ** (_AUDIBLE_DB / 20))
        if not audible.size:
            return Wave(self.samples[:0], self.rate_hz)
        start = max(0, int(audible[0]) - _LEAD_MS * self.rate_hz // 1000)
        end = int(audible[-1]) + _TAIL_MS * self.rate_hz // 1000
        return Wave(self.samples[start:end], self.rate_hz)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A synthesiser."""

    name: str
    distribution: str
    """On PyPI."""
    extra: str
    """Of callerside's, that brings it."""

    @property
    def version(self) -> str:
        """What is installed; empty if nothing is."""
        return _version(self.distribution)

    def spoken(self, text: str, voice: str, speed_wpm: int) -> Wave:
        """A text in one of its voices.

        Raises:
            VoiceError: it is not installed, has no such voice, or cannot say the text.
        """
        if not self.version:
            raise VoiceError(
                f"the voice {voice} needs {self.distribution}, which is not installed: "
                f"pip install 'callerside[{self.extra}]'"
            )
        module = import_module(f"callerside.speech.{self.name.replace('-', '_')}_engine")
        speak: Callable[[str, str, int], Wave] = module.spoken
        return speak(text, voice, speed_wpm)


HIBARI = Engine(name="hibari", distribution="hibari-tts", extra="sim")
ESPEAK_NG = Engine(name="espeak-ng", distribution="espeakng-loader", extra="languages")
ENGINES = {engine.name: engine for engine in (HIBARI, ESPEAK_NG)}


def engine_of(voice: str) -> tuple[Engine, str]:
    """The engine that has a voice, and what it calls it; `ENGINE/VOICE` names both.

    Raises:
        UnknownVoiceError: no engine can have it.
    """
    name, slash, own = voice.partition("/")
    if not slash or name not in ENGINES:
        name, own = "", voice
    is_hibaris = own == HEART or own in _DOWNLOADED
    engine = ENGINES.get(name, HIBARI if is_hibaris else ESPEAK_NG)
    if own in _DOWNLOADED or (engine is HIBARI) != is_hibaris:
        raise unknown(voice)
    return engine, own


def unknown(voice: str) -> UnknownVoiceError:
    """The complaint about a voice that there is not."""
    why = ": hibari would download it, and callerside downloads nothing"
    return UnknownVoiceError(
        f"no voice {voice!r}{why if voice.rpartition('/')[2] in _DOWNLOADED else ''}; expected "
        f"{HEART} (English), or one of espeak-ng's, such as de, fr+m2, en-gb or en-us+f3"
    )


@cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
