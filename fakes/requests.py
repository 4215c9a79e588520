"""What a client may ask: the shapes of client events, as the API's reference has them.

This is the fakes' own reading of the protocol; it shares nothing with the agent's, so that one
mistake cannot hide in both. `read` turns an event into a typed request or says what is wrong with
it in the words of the API's own errors.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fakes.door import Event


class RequestError(Exception):
    """A client event is refused: becomes an `error` event; the session goes on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Part(BaseModel):
    """A part of a request: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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


class AudioInput(Part):
    """`session.audio.input`."""

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

    type: Literal["realtime"]
    model: str | None = None
    audio: SessionAudio | None = None
    tracing: Literal["auto"] | dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | dict[str, Any] | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None


class ResponseAudio(Part):
    """`response.audio`."""

    output: AudioOutput | None = None


class ResponseFields(Generation):
    """`response` of `response.create`."""

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] = "auto"
    metadata: dict[str, str] | None = None
    input: list[dict[str, Any]] | None = None


class UserContent(Part):
    """Content of a user message."""

    type: Literal["input_text", "input_audio", "input_image"]
    text: str | None = None
    audio: str | None = None
    transcript: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class SystemContent(Part):
    """Content of a system message."""

    type: Literal["input_text"]
    text: str


class AssistantContent(Part):
    """Content of an assistant message; `text` is the beta's name for `output_text`."""

    type: Literal["output_text", "output_audio"]
    text: str | None = None
    audio: str | None = None
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


class Request(Part):
    """A client event."""

    event_id: str | None = Field(default=None, max_length=512)


class SessionUpdate(Request):
    """Change the session."""

    type: Literal["session.update"]
    session: SessionFields


class Commit(Request):
    """Make a user item of the buffered audio."""

    type: Literal["input_audio_buffer.commit"]


class ClearBuffer(Request):
    """Forget the buffered audio."""

    type: Literal["input_audio_buffer.clear"]


class CreateItem(Request):
    """Put an item into the conversation."""

    type: Literal["conversation.item.create"]
    item: Item
    previous_item_id: str | None = None


class RetrieveItem(Request):
    """Ask for an item."""

    type: Literal["conversation.item.retrieve"]
    item_id: str


class DeleteItem(Request):
    """Remove an item."""

    type: Literal["conversation.item.delete"]
    item_id: str


class Truncate(Request):
    """Shorten an assistant's audio to what was played."""

    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int = Field(ge=0)
    audio_end_ms: int = Field(ge=0)


class CreateResponse(Request):
    """Ask for a response."""

    type: Literal["response.create"]
    response: ResponseFields | None = None


class CancelResponse(Request):
    """Stop a response."""

    type: Literal["response.cancel"]
    response_id: str | None = None


AnyRequest = (
    SessionUpdate
    | Commit
    | ClearBuffer
    | CreateItem
    | RetrieveItem
    | DeleteItem
    | Truncate
    | CreateResponse
    | CancelResponse
)

APPEND = "input_audio_buffer.append"
"""The one client event that is not read here: there are fifty of them a second."""

_ADAPTER: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="type")])
_TYPES = (
    "session.update",
    APPEND,
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.delete",
    "conversation.item.truncate",
    "response.create",
    "response.cancel",
)


def read(event: Event) -> AnyRequest:
    """Read a client event other than an append.

    Raises:
        RequestError: with the API's `code` (`unknown_parameter`, `missing_required_parameter`,
            `invalid_type`, `invalid_value`) and the path of the wrong field as `param`.
    """
    if event.get("type") not in _TYPES:
        given = event.get("type")
        expected = ", ".join(f"'{name}'" for name in _TYPES)
        raise RequestError(
            "invalid_value", f"Invalid value: {given!r}. Supported values are: {expected}.", "type"
        )
    try:
        return _ADAPTER.validate_python(dict(event))
    except ValidationError as error:
        raise _refusal(error, event) from None


def _refusal(error: ValidationError, event: Event) -> RequestError:
    first = error.errors()[0]
    kind = first["type"]
    param = _path(first["loc"], event, missing=kind == "missing")
    if kind == "union_tag_not_found":
        param = f"{param}.{first['ctx']['discriminator'].strip(chr(39))}"
    if kind in ("missing", "union_tag_not_found"):
        return RequestError(
            "missing_required_parameter", f"Missing required parameter: '{param}'.", param
        )
    if kind == "extra_forbidden":
        return RequestError("unknown_parameter", f"Unknown parameter: '{param}'.", param)
    if kind.endswith("_type"):
        return RequestError("invalid_type", f"Invalid type for '{param}': {first['msg']}.", param)
    return RequestError("invalid_value", f"Invalid value for '{param}': {first['msg']}.", param)


def _path(loc: tuple[int | str, ...], event: Event, *, missing: bool) -> str:
    """The path of a field in the event, without the tags that the validator puts in between.

    `missing`: its last part is not in the event.
    """
    path = ""
    here: Any = event
    for position, part in enumerate(loc):
        ends = missing and position == len(loc) - 1
        if isinstance(here, Mapping) and (part in here or ends):
            path += f".{part}" if path else str(part)
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int):
            path += f"[{part}]"
            here = here[part]
    return path
