"""A script made ready to be performed: every reply with its sound.

This is where speech is synthesised and files are read, before a session begins, so that the session
itself needs neither.
"""

from dataclasses import dataclass, field

from callerside.audio import AudioFormat, Encoding, resample
from callerside.fakes.script.model import Reply, Script

RATE_HZ = 24_000


@dataclass(frozen=True, eq=False)
class PreparedReply:
    """A reply and its sound: PCM16 at 24 kHz, empty for a function call."""

    reply: Reply
    pcm: bytes
    transcript: str
    _wire: dict[Encoding, bytes] = field(default_factory=dict, repr=False)

    def wire(self, audio_format: AudioFormat) -> bytes:
        """The sound as it goes over the wire in this format; computed once."""
        if audio_format.encoding not in self._wire:
            pcm = resample(self.pcm, RATE_HZ, audio_format.rate_hz)
            self._wire[audio_format.encoding] = audio_format.encode(pcm)
        return self._wire[audio_format.encoding]


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
