"""The agent's own words: which there are, and the key under which each is cached."""

import hashlib
import json
from enum import StrEnum

from callerside.agent.config.settings import CallSettings


class PromptName(StrEnum):
    """What we say ourselves, besides the greeting."""

    HOLD = "hold"
    """The API does not work: hold on."""
    FAREWELL = "farewell"
    APOLOGY = "apology"
    """The answer did not come through: say it again."""
    WAIT = "wait"
    """A function takes long."""


def own_words(settings: CallSettings) -> dict[PromptName, str]:
    """What the model is asked to say for each of them."""
    return {
        PromptName.HOLD: settings.failure.hold_instructions,
        PromptName.FAREWELL: settings.failure.farewell_instructions,
        PromptName.APOLOGY: settings.answers.apology_instructions,
        PromptName.WAIT: settings.tools.wait_instructions,
    }


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
