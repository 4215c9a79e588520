"""The shapes of what clients send: sessions, responses and items, as the API's reference has them.

This is the fakes' own reading of the protocol; it shares nothing with the agent's, so that one
mistake cannot hide in both.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Part(BaseModel):
    """A part of a request: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Settings(Part):
    """Settings, of which None here means "not given"; a client may say null only where it is known.

    The SDK's types and the official guide name those: what null switches off.
    """

    nullable: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _is_not_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.nullable:
            raise PydanticCustomError("null_type", "expected a value, but got null instead")
        return value


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

    type: Literal["near_field", "far_field"]
    strength: float | None = None


class ServerVad(Part):
    """Turns by voice activity."""

    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=10_000)
    silence_duration_ms: int = Field(default=500, ge=0, le=30_000)
    idle_timeout_ms: int | None = Field(default=None, ge=5000, le=30_000)
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Part):
    """Turns by meaning; here by pauses that a script judges."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = Annotated[ServerVad | SemanticVad, Field(discriminator="type")]


class VoiceId(Part):
    """A custom voice."""

    id: str


Voice = str | VoiceId


class AudioInput(Settings):
    """`session.audio.input`."""

    nullable = frozenset({"transcription", "noise_reduction", "turn_detection"})

    format: Format | None = None
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = None


class AudioOutput(Settings):
    """`session.audio.output`."""

    format: Format | None = None
    voice: Voice | None = None
    speed: float | None = Field(default=None, ge=0.25, le=1.5)


class SessionAudio(Settings):
    """`session.audio`."""

    input: AudioInput | None = None
    output: AudioOutput | None = None


Modalities = Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)]
MaxTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]


class Generation(Settings):
    """What a session and a single response have in common."""

    nullable = frozenset({"prompt"})

    instructions: str | None = None
    output_modalities: Modalities | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxTokens | None = None
    prompt: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None


class SessionFields(Generation):
    """`session` of `session.update`."""

    nullable = Generation.nullable | {"tracing"}

    type: Literal["realtime"]
    model: str | None = None
    audio: SessionAudio | None = None
    tracing: Literal["auto"] | dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | dict[str, Any] | None = None
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


class ResponseAudio(Settings):
    """`response.audio`."""

    output: AudioOutput | None = None


class ResponseFields(Generation):
    """`response` of `response.create`."""

    nullable = Generation.nullable | {"metadata"}

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] = "auto"
    metadata: dict[str, str] | None = None
    input: list[InputItem] | None = None
    """What the model is to read instead of the conversation."""
