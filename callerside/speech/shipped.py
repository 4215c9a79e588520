"""Phrases that are shipped as sound, so that they are the same on every machine.

A synthesiser on another processor, or of another version, makes other samples of the same text. So
what the library of scenarios says, and what callerside says by itself, lies in `phrases/` as FLAC,
with an index that holds the hash of each; `tools/phrases.py` makes what is missing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from callerside.audio_files import AudioFileError, read_wav
from callerside.speech.voices import VoiceError

FOLDER = Path(__file__).parent / "phrases"
INDEX = FOLDER / "index.json"
RATE_HZ = 16_000
"""Of all speech that is kept: no telephone call carries more than G.722 does, which is 7 kHz."""


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """What is said, and how."""

    text: str
    voice: str
    """`ENGINE/VOICE`."""
    speed_wpm: int


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A phrase that is here as sound."""

    phrase: Phrase
    made_by: str
    """The engine's distribution and version."""
    file: str
    sha256: str
    """Of its PCM at `RATE_HZ`."""


def find(phrase: Phrase) -> bytes | None:
    """PCM at `RATE_HZ`; None for what is not shipped.

    Raises:
        VoiceError: its file is not as it was shipped.
    """
    shipped = read_index().get(phrase)
    if shipped is None:
        return None
    path = FOLDER / shipped.file
    try:
        pcm = read_wav(path, RATE_HZ)
    except AudioFileError as error:
        raise VoiceError(f"{error}; install callerside anew") from None
    if hashlib.sha256(pcm).hexdigest() != shipped.sha256:
        raise VoiceError(f"{path}: is not as it was shipped; install callerside anew")
    return pcm


@cache
def read_index() -> Mapping[Phrase, Shipped]:
    """All that is shipped."""
    entries = json.loads(INDEX.read_bytes())
    every = (Shipped(**entry | {"phrase": Phrase(**entry["phrase"])}) for entry in entries)
    return {shipped.phrase: shipped for shipped in every}


def index_text(every: Mapping[Phrase, Shipped]) -> str:
    """The index as its file holds it."""
    entries = [asdict(one) for one in sorted(every.values(), key=lambda one: one.file)]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
