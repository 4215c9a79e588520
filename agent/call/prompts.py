"""Which prompt is which: the key under which it is cached."""

import hashlib
import json

from callerside.agent.config.settings import CallSettings

_KEY_VERSION = 2
"""Raise it when the same settings come to mean another sound."""


def prompt_key(settings: CallSettings, instructions: str) -> str:
    """The name of what `instructions` sound like with these settings: 32 hexadecimal digits.

    One for all rates, as calls of every codec hear the same words.
    """
    shape = {
        "version": _KEY_VERSION,
        "instructions": settings.instructions,
        "prompt": instructions,
        "voice": settings.voice,
        "speed": settings.realtime.speed,
        "model": settings.realtime.model,
    }
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:32]
