"""The two dialects of the Realtime API: `ga`, today's, and `beta`, its predecessor's.

The beta interface was shut down in May 2026, but self-hosted servers still speak it. They differ in
the names of server events, in the names of assistant content parts, and in the shape of the session
(`agent.realtime.requests`). Everything else in the agent speaks GA.
"""

from collections.abc import Mapping
from types import MappingProxyType

from callerside.agent.config.settings import Dialect

BETA_TO_GA: Mapping[str, str] = MappingProxyType(
    {
        "conversation.item.created": "conversation.item.added",
        "response.audio.delta": "response.output_audio.delta",
        "response.audio.done": "response.output_audio.done",
        "response.audio_transcript.delta": "response.output_audio_transcript.delta",
        "response.audio_transcript.done": "response.output_audio_transcript.done",
        "response.text.delta": "response.output_text.delta",
        "response.text.done": "response.output_text.done",
    }
)

BETA_HEADER = ("OpenAI-Beta", "realtime=v1")
"""What a client of the beta interface says in its handshake; the GA server refuses it."""


def ga_name(event_type: str, dialect: Dialect) -> str:
    """The GA name of a server event of that dialect."""
    return BETA_TO_GA.get(event_type, event_type) if dialect == "beta" else event_type


def assistant_text(dialect: Dialect) -> str:
    """The content type of something that the assistant said, as text."""
    return "text" if dialect == "beta" else "output_text"
