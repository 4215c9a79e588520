"""The shapes of what clients send: sessions, responses and items, as the API's reference has them.

This is the fakes' own reading of the protocol; it shares nothing with the agent's, so that one
mistake cannot hide in both.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from callerside.models import Strict


class Part(Strict):
    """A part of a request: no unknown keys, no conversions; what is null counts as left out.

    Clients send null for what they have no value for (LiveKit: `"instructions": null`), and the
    real server takes it.
    """

    null_is_a_value: ClassVar[frozenset[str]] = frozenset()
    """Keys whose null is read as such: it switches something off, or is refused by its type."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        # An unknown key stays, to be refused.
        left_out = cls.model_fields.keys() - cls.null_is_a_value
        return {k: value for k, value in given.items() if value is not None or k not in left_out}


def _without_nulls(given: Any) -> Any:
    """The same of what is not looked at otherwise. In a JSON Schema, null is a value."""
    if isinstance(given, list):
        return [_without_nulls(part) for part in given]
    if not isinstance(given, dict):
        return given
    return {
        key: value if key == "parameters" else _without_nulls(value)
        for key, value in given.items()
        if value is not None
    }


Unread = Annotated[dict[str, Any], BeforeValidator(_without_nulls)]
"""A part that is echoed as it was given, without its nulls."""


class Pcm(Part):
    """16-bit little-endian PCM, 24 kHz, mono."""

    type: Literal["audio/pcm"]
    rate: Literal[24000] = 24000


class Pcmu(Part):
    """G.711 µ-law, 8 kHz."""

    type: Literal["audio/pcmu"]


class Pcma(Part):
    """G.711 A-law, 8 kHz."""

    type: Literal["audio/pcma"]


Format = Annotated[Pcm | Pcmu | Pcma, Field(discriminator="type")]


class Transcription(Part):
    """Input transcription."""

    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    languages: list[str] | None = None
    keywords: list[str] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class NoiseReduction(Part):
    """Accepted, and without effect here."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = None


_REFUSED_NULLS = frozenset({"create_response", "interrupt_response"})
"""The two keys whose null the real server refuses (livekit/agents#3444)."""


class ServerVad(Part):
    """Turns by voice activity."""

    null_is_a_value = _REFUSED_NULLS | {"idle_timeout_ms"}

    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=10_000)
    silence_duration_ms: int = Field(default=500, ge=0, le=30_000)
    idle_timeout_ms: int | None = Field(default=None, ge=5000, le=30_000)
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Part):
    """Turns by meaning; here by pauses that a script judges."""

    null_is_a_value = _REFUSED_NULLS

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = Annotated[ServerVad | SemanticVad, Field(discriminator="type")]


class VoiceId(Part):
    """A custom voice."""

    id: str


Voice = str | VoiceId


class AudioInput(Part):
    """`session.audio.input`."""

    null_is_a_value = frozenset({"transcription", "noise_reduction", "turn_detection"})

    format: Format | None = None
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = None


class AudioOutput(Part):
    """`session.audio.output`."""

    format: Format | None = None
    voice: Voice | None = None
    speed: float | None = Field(default=None, ge=0.25, le=1.5)


class SessionAudio(Part):
    """`session.audio`."""

    input: AudioInput | None = None
    output: AudioOutput | None = None


Modalities = Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)]
MaxTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]


class Generation(Part):
    """What a session and a single response have in common."""

    null_is_a_value = frozenset({"prompt"})

    instructions: str | None = None
    output_modalities: Modalities | None = None
    tools: list[Unread] | None = None
    tool_choice: str | Unread | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxTokens | None = None
    prompt: Unread | None = None
    reasoning: Unread | None = None


class SessionFields(Generation):
    """`session` of `session.update`."""

    null_is_a_value = Generation.null_is_a_value | {"tracing"}

    type: Literal["realtime"]
    model: str | None = None
    audio: SessionAudio | None = None
    tracing: Literal["auto"] | Unread | None = None
    truncation: Literal["auto", "disabled"] | Unread | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None


Audio = str | bytes
"""Base64, or what it says if that is known already."""


class UserContent(Part):
    """Content of a user message."""

    type: Literal["input_text", "input_audio", "input_image"]
    text: str | None = None
    audio: Audio | None = None
    transcript: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class SystemContent(Part):
    """Content of a system message."""

    type: Literal["input_text"]
    text: str


class AssistantContent(Part):
    """Content of an assistant message."""

    type: Literal["output_text", "output_audio"]
    text: str | None = None
    audio: Audio | None = None
    transcript: str | None = None


class ItemFields(Part):
    """What all items have in common."""

    id: str | None = Field(default=None, min_length=1, max_length=64)
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class UserMessage(ItemFields):
    """A user's message."""

    type: Literal["message"]
    role: Literal["user"]
    content: list[UserContent]


class SystemMessage(ItemFields):
    """A system message."""

    type: Literal["message"]
    role: Literal["system"]
    content: list[SystemContent]


class AssistantMessage(ItemFields):
    """An assistant's message."""

    type: Literal["message"]
    role: Literal["assistant"]
    content: list[AssistantContent]


class FunctionCallItem(ItemFields):
    """A function call, as history."""

    type: Literal["function_call"]
    name: str
    arguments: str
    call_id: str | None = None


class FunctionCallOutput(ItemFields):
    """The result of a function call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str


Message = Annotated[UserMessage | SystemMessage | AssistantMessage, Field(discriminator="role")]
Item = Annotated[Message | FunctionCallItem | FunctionCallOutput, Field(discriminator="type")]


class ItemReference(Part):
    """An item of the conversation, by its id."""

    type: Literal["item_reference"]
    id: str


InputItem = Annotated[
    Message | FunctionCallItem | FunctionCallOutput | ItemReference, Field(discriminator="type")
]


class ResponseAudio(Part):
    """`response.audio`."""

    output: AudioOutput | None = None


class ResponseFields(Generation):
    """`response` of `response.create`."""

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] = "auto"
    metadata: dict[str, str] | None = None
    input: list[InputItem] | None = None
    """What the model is to read instead of the conversation."""
