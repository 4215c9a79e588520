"""What one response of the fake's says: a list of items, and how it ends.

Most replies say one thing, and are written in the short form: `{say: "We open at nine."}`. What
models answer in other shapes has keys of its own, or is written item by item under `items`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from callerside.models import Strict

_CONTENT = ("say", "wav", "recording", "text")
_CALLS = ("function_call", "function_calls", "mcp_call")
_ENDS = ("incomplete", "failed", "cancelled")

ItemPhase = Literal["commentary", "final_answer"]


class FunctionCall(Strict):
    """A function that the model calls."""

    name: str = Field(min_length=1)
    """Name of the function; the client's `tools` need not declare it."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""
    raw_arguments: str | None = Field(default=None, max_length=20_000)
    """Its arguments as text, sent as it is: for what is no JSON."""

    @model_validator(mode="after")
    def _says_its_arguments_once(self) -> Self:
        if self.arguments and self.raw_arguments is not None:
            raise ValueError("arguments and raw_arguments: a call has one of them")
        return self


class McpFailure(Strict):
    """How the call of an MCP tool fails."""

    type: Literal["protocol_error", "http_error", "tool_execution_error"] = "tool_execution_error"
    """Whose fault it is."""
    code: int | None = None
    """Of a `protocol_error` or an `http_error`."""
    message: str = "The tool has failed."
    """What it says."""

    @model_validator(mode="after")
    def _has_the_code_of_its_type(self) -> Self:
        if (self.code is not None) != (self.type != "tool_execution_error"):
            raise ValueError(
                "code: a protocol_error and an http_error have one, a tool_execution_error has none"
            )
        return self


class McpCall(Strict):
    """A tool of an MCP server that the API calls by itself."""

    server: str = Field(min_length=1)
    """`server_label` of the server."""
    name: str = Field(min_length=1)
    """Name of the tool."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""
    returns: str | dict[str, Any] | list[Any] = ""
    """Its output: a text, or what is written as JSON."""
    fails: McpFailure | None = None
    """It fails instead."""
    takes_ms: float = Field(default=200, ge=0, le=600_000)
    """How long it takes."""

    @property
    def arguments_text(self) -> str:
        """Its arguments as JSON."""
        return json.dumps(self.arguments)

    @property
    def output(self) -> str:
        """Its output as text."""
        return self.returns if isinstance(self.returns, str) else json.dumps(self.returns)


class RecordedReply(Strict):
    """A response that was recorded (`fake-realtime record`), to be said again."""

    file: Annotated[Path, Field(strict=False)]
    """The recording, relative to the file that this stands in."""
    turn: int = Field(default=1, ge=1)
    """Which of its spoken responses, counted from 1."""


class Pause(Strict):
    """Silence inside of what is spoken."""

    at_ms: float = Field(ge=0, le=600_000)
    """Where in the speech, without pauses that were put in before; 0: in front of it."""
    for_ms: float = Field(gt=0, le=60_000)
    """How long."""


class Spoken(Strict):
    """What an item of a response says, if it calls no function."""

    say: str | None = Field(default=None, min_length=1, max_length=4000)
    """Text that is spoken by a synthetic voice."""
    wav: Annotated[Path, Field(strict=False)] | None = None
    """A sound file of any rate, relative to the file that this stands in."""
    recording: RecordedReply | None = None
    """A turn of a recording."""
    text: str | None = Field(default=None, min_length=1, max_length=4000)
    """Text that is only written, also in a session that asked for audio: nobody hears it."""
    voice: str | None = None
    """Voice of `say`: `heart` (English), or one of espeak-ng's, such as `de` or `en-us+f3`."""
    speed_wpm: int | None = Field(default=None, ge=80, le=450)
    """Speed of `say`, in words a minute."""
    transcript: str | None = None
    """What the transcript says; by default the text of `say` or of the recording, else nothing."""
    transcript_lag_ms: float | None = Field(default=None, ge=0, le=60_000)
    """How long each word of the transcript comes after its sound; by default they run ahead."""
    pauses: tuple[Pause, ...] = Field(default=(), max_length=100, strict=False)
    """Silence in the sound; `{at_ms: 0, for_ms: 800}` is silence first."""
    phase: ItemPhase | None = None
    """`phase` of the message item; sent only where the script says so."""

    @property
    def said(self) -> list[str]:
        """Which of the keys for content it has."""
        return [name for name in _CONTENT if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _shapes_what_it_has(self) -> Self:
        if self.say is None and (self.voice is not None or self.speed_wpm is not None):
            raise ValueError("voice and speed_wpm shape synthetic speech: they need say")
        if self.pauses and (self.text is not None or not self.said):
            raise ValueError("pauses are silence in sound: they need say, wav or recording")
        return self


class ReplyItem(Spoken):
    """One item of a response: a message, or the call of a function."""

    function_call: FunctionCall | None = None
    """A function call."""
    mcp_call: McpCall | None = None
    """The call of an MCP server's tool."""
    after_ms: float = Field(default=0, ge=0, le=600_000)
    """How long after the end of the item before it the server begins it."""

    @model_validator(mode="after")
    def _has_one_content(self) -> Self:
        calls = [name for name in ("function_call", "mcp_call") if getattr(self, name) is not None]
        given = self.said + calls
        if len(given) != 1:
            raise ValueError(
                f"an item has exactly one of {', '.join(_CONTENT)}, function_call, mcp_call; "
                f"here is {' and '.join(given) or 'none'}"
            )
        return self


class Unheard(Strict):
    """A turn of which input transcription fails."""

    code: str = Field(default="audio_unintelligible", min_length=1, max_length=100)
    """`error.code`."""
    message: str = Field(default="The audio could not be transcribed.", max_length=1000)
    """`error.message`."""


def _failing(value: object) -> object:
    return {True: {}, False: None}.get(value, value) if isinstance(value, bool) else value


Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z]+)?$")]


class CutOff(Strict):
    """A response that ends before all of it has been said."""

    after_ms: float | None = Field(default=None, ge=0, le=600_000)
    """After so much audio; without it, when all was said."""


class Incomplete(CutOff):
    """`response.done` with the status `incomplete`."""

    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"
    """`status_details.reason`."""


class Failed(CutOff):
    """`response.done` with the status `failed`."""

    code: str = Field(default="server_error", min_length=1, max_length=100)
    """`status_details.error.code`: `inference_rate_limit_exceeded`, `insufficient_quota`, ..."""


class Cancelled(CutOff):
    """`response.done` with the status `cancelled`, though nobody interrupted."""

    reason: Literal["turn_detected", "client_cancelled"] = "turn_detected"
    """`status_details.reason`."""


class Reply(Spoken):
    """One response of the model: what it says, what it calls, and how it ends.

    A recording that has lost its audio is spoken anew from its transcript.
    """

    function_call: FunctionCall | None = None
    """A function call, instead of speech or after it in the same response."""
    function_calls: tuple[FunctionCall, ...] = Field(default=(), max_length=50, strict=False)
    """Several of them in one response."""
    mcp_call: McpCall | None = None
    """The call of an MCP server's tool, likewise."""
    items: tuple[ReplyItem, ...] = Field(default=(), max_length=50, strict=False)
    """The items of the response one by one, where the keys above do not say enough."""
    incomplete: Incomplete | None = None
    """It ends incomplete; `{}` when all was said."""
    failed: Failed | None = None
    """It fails."""
    cancelled: Cancelled | None = None
    """It is cancelled, without anybody's doing."""
    sends_only: Literal["nothing", "created"] | None = None
    """`nothing`: the server makes no response at all; `created`: `response.created`, and no
    more."""
    next_after_ms: float | None = Field(default=None, ge=0, le=600_000)
    """So long after its end the server makes another response unasked, which says the next
    reply."""
    heard: str | None = None
    """What input transcription makes of the caller's turn that this reply answers."""
    heard_in: tuple[Language, ...] = Field(default=(), max_length=10, strict=False)
    """The languages that it hears there, which `gpt-transcribe` names: `[en]`."""
    unheard: Annotated[
        Unheard | None, BeforeValidator(_failing, json_schema_input_type=bool | Unheard)
    ] = None
    """Input transcription of that turn fails: `true`, or `{code, message}`."""
    think_ms: float | None = Field(default=None, ge=0, le=600_000)
    """From commit (or `response.create`) to the first audio delta; overrides `timing.think_ms`."""
    delta_ms: float | None = Field(default=None, ge=10, le=10_000)
    """Audio in one delta; overrides `timing.delta_ms`."""
    pace: float | None = Field(default=None, ge=0.1, le=1000)
    """How much faster than real time the audio is sent; overrides `timing.pace`."""
    unfinished: bool = False
    """`semantic_vad` judges the turn that this answers unfinished and waits as long as it may."""

    @property
    def calls(self) -> tuple[FunctionCall, ...]:
        """All functions that it calls, in order."""
        inside = tuple(item.function_call for item in self.items if item.function_call)
        alone = () if self.function_call is None else (self.function_call,)
        return (*inside, *alone, *self.function_calls)

    @property
    def parts(self) -> tuple[ReplyItem, ...]:
        """Its items, also those of the short form."""
        if self.items:
            return self.items
        calls = [ReplyItem(function_call=call) for call in self.calls]
        calls += [] if self.mcp_call is None else [ReplyItem(mcp_call=self.mcp_call)]
        if not self.said:
            return tuple(calls)
        spoken = {name: getattr(self, name) for name in Spoken.model_fields}
        return (ReplyItem.model_construct(**spoken), *calls)

    @property
    def is_silent(self) -> bool:
        """Whether nobody will hear anything of it."""
        spoken = ("say", "wav", "recording")
        return not any(getattr(part, name) for part in self.parts for name in spoken)

    @property
    def asks_for_more(self) -> bool:
        """Whether another response may follow it without the caller's doing."""
        ends_early = self.ending is not None or self.sends_only is not None
        return self.is_silent or ends_early or self.next_after_ms is not None

    @property
    def ending(self) -> Incomplete | Failed | Cancelled | None:
        """How it ends, if not completed."""
        return self.incomplete or self.failed or self.cancelled

    @model_validator(mode="after")
    def _has_one_content(self) -> Self:
        given = self.said + ["items"] * bool(self.items)
        calls = [name for name in _CALLS if getattr(self, name)]
        ends = [name for name in _ENDS if getattr(self, name) is not None]
        ends += ["sends_only"] * (self.sends_only is not None)
        if len(given) > 1 or not (given or calls or ends):
            raise ValueError(
                f"a reply has exactly one of {', '.join(_CONTENT)}, items, or only calls "
                f"functions; here is {' and '.join(given) or 'none'}"
            )
        if len(calls) > 1 or (calls and self.items):
            wrong = " and ".join(calls if len(calls) > 1 else [*calls, "items"])
            raise ValueError(f"{wrong}: a reply says its function calls in one of them")
        if len(ends) > 1:
            raise ValueError(f"a reply ends in one way; here is {' and '.join(ends)}")
        if self.sends_only and (given or calls):
            raise ValueError("sends_only: such a response has no content")
        return self
