"""The cache of spoken prompts: the greeting above all, and what is said when the API fails.

A prompt is one WAV file named by a hash of everything that shapes its sound. Its comment holds the
words and a checksum of the samples, so that a file that was cut or altered is found out: it is
reported as damaged and made again, never played.
"""

import hashlib
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import soundfile

from callerside.atomic_files import PRIVATE, write_atomically
from callerside.audio import resample, to_samples

MAX_TRANSCRIPT_BYTES = 1_800
"""A comment of libsndfile holds 2 KB; a minute of speech has about 900 letters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """Something to say: PCM at the rate that was asked for, and its words as far as known."""

    pcm: bytes
    transcript: str


class DamagedPromptError(ValueError):
    """A cached file that must not be played; says why."""


class PromptStore(Protocol):
    """Where prompts are kept between calls."""

    def load(self, key: str, rate_hz: int) -> Prompt | None:
        """The prompt at that rate, whatever it was stored at, or None if it is not kept.

        Raises:
            DamagedPromptError: it is kept, but is not what was stored.
        """

    def store(self, key: str, prompt: Prompt, rate_hz: int) -> None:
        """Keep a prompt, in place of one of another rate.

        Raises:
            OSError: it cannot be written.
        """


def default_cache_dir() -> Path:
    """`callerside` in the user's cache directory (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "callerside" / "prompts"


class PromptCache:
    """A `PromptStore` of WAV files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, key: str) -> Path:
        """The file of a prompt."""
        return self.directory / f"{key}.wav"

    def load(self, key: str, rate_hz: int) -> Prompt | None:
        """See `PromptStore.load`."""
        try:
            with self.path(key).open("rb") as raw, soundfile.SoundFile(raw) as file:
                if file.channels != 1:
                    raise DamagedPromptError(f"{file.channels} channels, expected 1")
                stored: bytes = file.read(dtype="int16").tobytes()
                transcript = _check(file.comment, stored, file.samplerate)
                pcm = resample(stored, file.samplerate, rate_hz)
        except FileNotFoundError:
            return None
        except (OSError, soundfile.LibsndfileError) as error:
            raise DamagedPromptError(f"cannot be read as sound: {error}") from None
        return Prompt(pcm=pcm, transcript=transcript)

    def store(self, key: str, prompt: Prompt, rate_hz: int) -> None:
        """See `PromptStore.store`; atomic: the file is whole or absent."""
        raw = io.BytesIO()
        with soundfile.SoundFile(
            raw, "w", samplerate=rate_hz, channels=1, format="WAV", subtype="PCM_16"
        ) as file:
            file.comment = f"{_checksum(prompt.pcm, rate_hz)}\n{_cut(prompt.transcript)}"
            file.write(to_samples(prompt.pcm))
        write_atomically(self.path(key), raw.getvalue(), PRIVATE)


class MemoryPrompts:
    """A `PromptStore` that lasts as long as the process."""

    def __init__(self) -> None:
        self._prompts: dict[str, tuple[Prompt, int]] = {}

    def load(self, key: str, rate_hz: int) -> Prompt | None:
        """See `PromptStore.load`."""
        prompt, stored_hz = self._prompts.get(key, (None, rate_hz))
        if prompt is None:
            return None
        return replace(prompt, pcm=resample(prompt.pcm, stored_hz, rate_hz))

    def store(self, key: str, prompt: Prompt, rate_hz: int) -> None:
        """See `PromptStore.store`."""
        self._prompts[key] = prompt, rate_hz


def _cut(transcript: str) -> str:
    """As much of it as fits."""
    words = transcript.replace("\0", "")
    return words.encode(errors="replace")[:MAX_TRANSCRIPT_BYTES].decode(errors="ignore")


def _checksum(pcm: bytes, rate_hz: int) -> str:
    return f"sha256:{hashlib.sha256(pcm + str(rate_hz).encode()).hexdigest()}"


def _check(comment: str, pcm: bytes, rate_hz: int) -> str:
    """The transcript, if the checksum is that of `pcm` at this rate."""
    checksum, separator, transcript = comment.partition("\n")
    if not separator:
        raise DamagedPromptError("not a file of ours: no checksum in its comment")
    if checksum != _checksum(pcm, rate_hz):
        raise DamagedPromptError("the samples do not match their checksum")
    return transcript
