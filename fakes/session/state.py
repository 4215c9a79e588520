"""What the parts of a session share."""

import random
from dataclasses import dataclass

from callerside.clock import ms_to_ns
from callerside.fakes.script.model import Script, Timing
from callerside.fakes.script.prepared import Repertoire
from callerside.fakes.session.config import SessionConfig
from callerside.fakes.session.context import Outbox
from callerside.fakes.session.conversation import Conversation, Item


@dataclass(frozen=True, slots=True)
class Observation:
    """What a session tells about audio, besides the marks of its deltas."""

    trace_audio: bool = False
    """A mark for every append."""
    keep_audio: bool = False
    """`KeepAudio` for every append, and `KeepSent` for every delta."""


@dataclass(slots=True)
class SessionState:
    """One session's configuration, conversation and way out."""

    out: Outbox
    config: SessionConfig
    conversation: Conversation
    repertoire: Repertoire
    rng: random.Random
    observation: Observation
    sent_samples: int = 0
    """Audio sent since the session began, at the rate of its output."""

    @property
    def script(self) -> Script:
        """What the session performs."""
        return self.repertoire.script

    @property
    def timing(self) -> Timing:
        """How fast it does."""
        return self.repertoire.script.timing

    def in_ms(self, delay_ms: float) -> int:
        """The time that much later, for a timer."""
        return self.out.now_ns + ms_to_ns(delay_ms)

    def add_item(self, item: Item, after: str | None = None) -> None:
        """Put a whole item into the conversation, and say so.

        Raises:
            RequestError: see `Conversation.add`.
        """
        previous = self.conversation.add(item, after)
        for name in ("conversation.item.added", "conversation.item.done"):
            self.out.send(name, previous_item_id=previous, item=item.snapshot())
