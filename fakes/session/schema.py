"""The shapes of what clients send: sessions, responses and items, as the API's reference has them.

This is the fakes' own reading of the protocol; it shares nothing with the agent's, so that one
mistake cannot hide in both.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from callerside.models import Strict

RELAXED = "relaxed"
"""In a validation's context: names of refusals (`fakes.session.refusals`) that are not made."""


_MODELS = re.compile(
    r"gpt-realtime(-[\d.]+)?(-mini)?|gpt-4o(-mini)?-realtime-preview|gpt-audio(-[\w.]+)?"
)
_TRANSCRIBE = re.compile(r"whisper-1|gpt-realtime-whisper|gpt-([\w.]+-)*transcribe(-diarize)?")
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def is_realtime_model(name: str) -> bool:
    """Whether a model speaks: by the names in the SDK's types, those of any day included."""
    return _MODELS.fullmatch(_DATED.sub("", name)) is not None


def is_transcription_model(name: str) -> bool:
    """Whether a model only writes down what it hears, by the names in the SDK's types."""
    return _TRANSCRIBE.fullmatch(_DATED.sub("", name)) is not None


def _kind(value: object) -> str:
    return "word" if isinstance(value, str) else "part"


_BY_KIND = Discriminator(_kind)
"""One of some words, or something else: what is wrong is said of that which was meant."""


def _refused_if(refusal: str, is_wrong: Callable[[Any], bool], **facts: object) -> AfterValidator:
    """What is wrong is refused by that entry of the table, unless that is relaxed.

    `facts` are what its words say; `length` is of the value.
    """

    def check(value: Any, info: ValidationInfo) -> Any:
        if refusal not in (info.context or {}).get(RELAXED, ()) and is_wrong(value):
            raise PydanticCustomError(refusal, "refused", {"length": len(value), **facts})
        return value

    return AfterValidator(check)


def at_most(limit: int) -> AfterValidator:
    """No text longer than that."""
    return _refused_if("string_too_long", lambda text: len(text) > limit, limit=limit)


_LETTERS = r"^[a-zA-Z0-9_-]+$"
_PLAIN = _refused_if(
    "string_has_no_pattern", lambda text: not re.search(_LETTERS, text), pattern=_LETTERS
)
NOT_EMPTY = _refused_if("string_too_short", lambda text: not text, limit=1)


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
    """The same of what is not looked at otherwise."""
    if isinstance(given, list):
        return [_without_nulls(part) for part in given]
    if not isinstance(given, dict):
        return given
    return {key: _without_nulls(value) for key, value in given.items() if value is not None}


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


VOICES = (  # the SDK's types
    *("alloy", "ash", "ballad", "coral", "echo"),
    *("sage", "shimmer", "verse", "marin", "cedar"),
)
VoiceName = Annotated[
    str, _refused_if("unsupported_voice", lambda name: name not in VOICES, supported=VOICES)
]
Voice = Annotated[Annotated[VoiceName, Tag("word")] | Annotated[VoiceId, Tag("part")], _BY_KIND]


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


Modalities = Annotated[
    list[Literal["text", "audio"]],
    _refused_if("modalities_together", lambda modalities: len(modalities) != 1),
]
MaxTokens = Annotated[
    Annotated[Literal["inf"], Tag("word")]
    | Annotated[Annotated[int, Field(ge=1, le=4096)], Tag("part")],
    _BY_KIND,
]


ToolName = Annotated[str, NOT_EMPTY, _PLAIN, at_most(64)]


class FunctionTool(Part):
    """A function that the model may call."""

    type: Literal["function"]
    name: ToolName
    description: Annotated[str, at_most(1024)] | None = None
    parameters: dict[str, Any] | None = None
    """JSON Schema; in it, null is a value."""

    @model_validator(mode="after")
    def _takes_an_object(self, info: ValidationInfo) -> Self:
        relaxed = (info.context or {}).get(RELAXED, ())
        kind = "object" if self.parameters is None else self.parameters.get("type")
        if kind != "object" and "no_object_schema" not in relaxed:
            facts = {"key": "parameters", "function": self.name, "kind": kind}
            raise PydanticCustomError("no_object_schema", "refused", facts)
        return self


class ToolFilter(Part):
    """Which tools of an MCP server."""

    read_only: bool | None = None
    tool_names: list[str] | None = None


class ApprovalFilter(Part):
    """Which calls of an MCP server's tools are asked about."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


_Approval = Annotated[
    Annotated[Literal["always", "never"], Tag("word")] | Annotated[ApprovalFilter, Tag("part")],
    _BY_KIND,
]


Connector = Literal[
    "connector_dropbox",
    "connector_gmail",
    "connector_googlecalendar",
    "connector_googledrive",
    "connector_microsoftteams",
    "connector_outlookcalendar",
    "connector_outlookemail",
    "connector_sharepoint",
]


class McpTool(Part):
    """A server of tools that the API itself would call."""

    type: Literal["mcp"]
    server_label: Annotated[str, NOT_EMPTY]
    server_url: str | None = None
    connector_id: Connector | None = None
    tunnel_id: str | None = None
    authorization: str | None = None
    headers: dict[str, str] | None = None
    server_description: str | None = None
    defer_loading: bool | None = None
    allowed_tools: list[str] | ToolFilter | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None
    require_approval: _Approval | None = None

    @model_validator(mode="after")
    def _says_where(self, info: ValidationInfo) -> Self:
        places = ("server_url", "connector_id", "tunnel_id")
        named = [name for name in places if getattr(self, name)]
        relaxed = (info.context or {}).get(RELAXED, ())
        if not named and "mcp_without_server" not in relaxed:
            raise PydanticCustomError("mcp_without_server", "refused", {"key": "server_url"})
        if len(named) > 1 and "mcp_in_two_places" not in relaxed:
            raise PydanticCustomError("mcp_in_two_places", "refused", {"key": named[1]})
        return self


def _has_a_label_twice(tools: list[FunctionTool | McpTool]) -> bool:
    labels = [tool.server_label for tool in tools if isinstance(tool, McpTool)]
    return len(set(labels)) < len(labels)


MOST_TOOLS = 128
Tools = Annotated[
    list[Annotated[FunctionTool | McpTool, Field(discriminator="type")]],
    _refused_if("array_too_long", lambda tools: len(tools) > MOST_TOOLS, limit=MOST_TOOLS),
    _refused_if("two_servers_of_one_label", _has_a_label_twice),
]


class ChosenFunction(Part):
    """`tool_choice`: this function."""

    type: Literal["function"]
    name: str


class ChosenMcp(Part):
    """`tool_choice`: a tool of this server."""

    type: Literal["mcp"]
    server_label: str
    name: str | None = None


Chosen = Annotated[ChosenFunction | ChosenMcp, Field(discriminator="type")]


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag("word")] | Annotated[Chosen, Tag("part")],
    _BY_KIND,
]


class Prompt(Part):
    """A prompt that is kept at the API's."""

    id: str
    version: str | None = None
    variables: Unread | None = None


class Reasoning(Part):
    """How much a model thinks."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class Generation(Part):
    """What a session and a single response have in common."""

    null_is_a_value = frozenset({"prompt"})

    instructions: str | None = None
    output_modalities: Modalities | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxTokens | None = None
    prompt: Prompt | None = None
    reasoning: Reasoning | None = None


class Tracing(Part):
    """What traces are called."""

    workflow_name: str | None = None
    group_id: str | None = None
    metadata: dict[str, Any] | None = None


class TokenLimits(Part):
    """Limits of `Retention`."""

    post_instructions: Annotated[int, Field(ge=0)] | None = None


class Retention(Part):
    """How much of a conversation that is too long stays."""

    type: Literal["retention_ratio"]
    retention_ratio: Annotated[float, Field(ge=0, le=1)]
    token_limits: TokenLimits | None = None


_TracingChoice = Annotated[
    Annotated[Literal["auto"], Tag("word")] | Annotated[Tracing, Tag("part")],
    _BY_KIND,
]
_Truncation = Annotated[
    Annotated[Literal["auto", "disabled"], Tag("word")] | Annotated[Retention, Tag("part")],
    _BY_KIND,
]


Include = list[Literal["item.input_audio_transcription.logprobs"]]


class SessionFields(Generation):
    """`session` of `session.update`."""

    null_is_a_value = Generation.null_is_a_value | {"tracing"}

    type: Literal["realtime"]
    model: str | None = None
    audio: SessionAudio | None = None
    tracing: _TracingChoice | None = None
    truncation: _Truncation | None = None
    include: Include | None = None


class TranscriptionAudio(Part):
    """`session.audio` of a transcription session, which says nothing."""

    input: AudioInput | None = None


class TranscriptionFields(Part):
    """`session` of `session.update` in a transcription session."""

    type: Literal["transcription"]
    audio: TranscriptionAudio | None = None
    include: Include | None = None


AnySessionFields = Annotated[SessionFields | TranscriptionFields, Field(discriminator="type")]


Audio = str | bytes
"""Base64, or what it says if that is known already."""


def _has(part: Part, *keys: str) -> None:
    """It has one of these, or is refused by what is missing: the first."""
    if all(getattr(part, key) is None for key in keys):
        raise PydanticCustomError("missing_parameter", "refused", {"key": keys[0]})


class UserContent(Part):
    """Content of a user message."""

    type: Literal["input_text", "input_audio", "input_image"]
    text: str | None = None
    audio: Audio | None = None
    transcript: str | None = None
    image_url: (
        Annotated[str, _refused_if("no_image", lambda url: not url.startswith(_IMAGES))] | None
    ) = None
    detail: Literal["auto", "low", "high"] | None = None

    @model_validator(mode="after")
    def _has_what_it_is(self) -> Self:
        _has(self, *_CONTENT_OF_USERS[self.type])
        return self


_IMAGES = ("data:image/", "https://")
_CONTENT_OF_USERS = {
    "input_text": ("text",),
    "input_audio": ("audio", "transcript"),
    "input_image": ("image_url",),
}


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

    @model_validator(mode="after")
    def _has_what_it_is(self) -> Self:
        _has(self, "text")  # of `output_audio`, too: what the model said aloud cannot be put there
        return self


ItemId = Annotated[str, NOT_EMPTY, _PLAIN, at_most(64)]
CallId = Annotated[str, _PLAIN]


class ItemFields(Part):
    """What all messages and calls have in common."""

    id: ItemId | None = None
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
    call_id: CallId | None = None


class FunctionCallOutput(ItemFields):
    """The result of a function call."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: str


class McpApprovalResponse(Part):
    """Whether a tool of an MCP server may be called: the answer to an approval request."""

    type: Literal["mcp_approval_response"]
    id: ItemId | None = None
    approval_request_id: str
    approve: bool
    reason: str | None = None


Message = Annotated[UserMessage | SystemMessage | AssistantMessage, Field(discriminator="role")]
Item = Annotated[
    Message | FunctionCallItem | FunctionCallOutput | McpApprovalResponse,
    Field(discriminator="type"),
]


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


MOST_PROPERTIES = 16
_LONGEST_NAME = 64


def _short_names(metadata: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    longest = max(metadata, key=len, default="")
    relaxed = (info.context or {}).get(RELAXED, ())
    if len(longest) > _LONGEST_NAME and "property_name_too_long" not in relaxed:
        facts = {
            "property": longest[:_LONGEST_NAME],
            "limit": _LONGEST_NAME,
            "length": len(longest),
        }
        raise PydanticCustomError("property_name_too_long", "refused", facts)
    return metadata


Metadata = Annotated[
    dict[str, Annotated[str, at_most(512)]],
    _refused_if(
        "too_many_properties",
        lambda metadata: len(metadata) > MOST_PROPERTIES,
        limit=MOST_PROPERTIES,
    ),
    AfterValidator(_short_names),
]


class ResponseFields(Generation):
    """`response` of `response.create`."""

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] = "auto"
    metadata: Metadata | None = None
    input: list[InputItem] | None = None
    """What the model is to read instead of the conversation."""


class ExpiresAfter(Part):
    """How long a client secret lives."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(default=600, ge=10, le=7200)


class SecretFields(Part):
    """Body of `POST /v1/realtime/client_secrets`."""

    expires_after: ExpiresAfter | None = None
    session: AnySessionFields | None = None


class Reject(Part):
    """Body of `POST /v1/realtime/calls/CALL/reject`."""

    status_code: int = Field(default=603, ge=300, le=699)


class Refer(Part):
    """Body of `POST /v1/realtime/calls/CALL/refer`."""

    target_uri: Annotated[str, NOT_EMPTY]


class Ring(Part):
    """A call that is to come in: what the fake is asked, and not the API."""

    caller: Annotated[str, at_most(1000)] = "sip:+15550100@sip.example.com"
    called: Annotated[str, at_most(1000)] = "sip:proj_fake@sip.api.openai.com;transport=tls"
    webhook_secret: str | None = None
    """To sign the webhook with, as `whsec_...`."""
