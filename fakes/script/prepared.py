"""A script made ready to be performed: every reply with its sound.

This is where speech is synthesised and files are read, before a session begins, so that the session
itself needs neither.
"""

from dataclasses import dataclass, field
from functools import cached_property

from callerside.audio import AudioFormat, Encoding, heard_from_ms, resample
from callerside.fakes.script.model import Script
from callerside.fakes.script.reply import Reply, ReplyItem

RATE_HZ = 24_000


@dataclass(frozen=True, eq=False)
class PreparedItem:
    """An item of a reply and its sound: PCM16 at 24 kHz, empty for what has none."""

    item: ReplyItem
    pcm: bytes
    transcript: str
    """Its words: of the sound, or of the text."""
    _wire: dict[Encoding, bytes] = field(default_factory=dict, repr=False)

    @cached_property
    def heard_from_ms(self) -> float:
        """When in its sound the first 10 ms begin that can be heard; infinite where none can."""
        return heard_from_ms(self.pcm, RATE_HZ)

    def wire(self, audio_format: AudioFormat) -> bytes:
        """The sound as it goes over the wire in this format; computed once."""
        if audio_format.encoding not in self._wire:
            pcm = resample(self.pcm, RATE_HZ, audio_format.rate_hz)
            self._wire[audio_format.encoding] = audio_format.encode(pcm)
        return self._wire[audio_format.encoding]


@dataclass(frozen=True, eq=False)
class PreparedReply:
    """A reply, and its items with their sound."""

    reply: Reply
    items: tuple[PreparedItem, ...]

    @property
    def transcript(self) -> str:
        """All its words."""
        return " ".join(item.transcript for item in self.items if item.transcript)


@dataclass(frozen=True)
class PreparedScript:
    """All lines of a script."""

    script: Script
    greeting: PreparedReply
    replies: tuple[PreparedReply, ...]
    default: PreparedReply

    def reply(self, number: int) -> PreparedReply:
        """The answer to the turn with this number (from 1 on)."""
        return self.replies[number - 1] if number <= len(self.replies) else self.default
