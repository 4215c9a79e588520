"""Server events of the Realtime API, as the agent reads them: only what it acts on, checked.

`read` turns the mapping that crossed the door into a frozen event, or into `Ignored` when the agent
has no use for it. What lacks a field that we need, or has one of the wrong type, is an
`EventError`: the machine drops it with a mark and the call goes on. Field names are the API's.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from callerside.agent.config.settings import Dialect
from callerside.agent.realtime.dialects import BETA_TO_GA, ga_name

Event = Mapping[str, Any]
_T = TypeVar("_T")


class EventError(ValueError):
    """A server event that cannot be read; says which field, and what was expected there."""


class SessionCreated(Struct, frozen=True, kw_only=True):
    """`session.created`."""

    session_id: str | None


class SessionUpdated(Struct, frozen=True, kw_only=True):
    """`session.updated`: the formats that are in force now, as far as the server reports them."""

    input_format: str | None
    output_format: str | None


class ApiError(Struct, frozen=True, kw_only=True):
    """`error`. `event_id` names the event of ours that it is about."""

    code: str
    message: str
    event_id: str | None


class SpeechStarted(Struct, frozen=True, kw_only=True):
    """`input_audio_buffer.speech_started`."""

    item_id: str
    audio_start_ms: int


class SpeechStopped(Struct, frozen=True, kw_only=True):
    """`input_audio_buffer.speech_stopped`."""

    item_id: str
    audio_end_ms: int


class Committed(Struct, frozen=True, kw_only=True):
    """`input_audio_buffer.committed`."""

    item_id: str


class Transcribed(Struct, frozen=True, kw_only=True):
    """`conversation.item.input_audio_transcription.completed`: what the caller said."""

    item_id: str
    transcript: str


class Truncated(Struct, frozen=True, kw_only=True):
    """`conversation.item.truncated`."""

    item_id: str
    audio_end_ms: int


class ResponseCreated(Struct, frozen=True, kw_only=True):
    """`response.created`. `purpose` is what we wrote into its metadata, if we asked for it."""

    response_id: str
    purpose: str | None


class AudioDelta(Struct, frozen=True, kw_only=True):
    """`response.output_audio.delta`. `audio` is in the session's output format."""

    response_id: str
    item_id: str
    audio: bytes


class AudioDone(Struct, frozen=True, kw_only=True):
    """`response.output_audio.done`: no more audio of this item."""

    response_id: str
    item_id: str


class TranscriptDone(Struct, frozen=True, kw_only=True):
    """`response.output_audio_transcript.done`: what the agent said."""

    response_id: str
    item_id: str
    transcript: str


class ResponseProgressed(Struct, frozen=True, kw_only=True):
    """A sign of life of a response that is of no other use to us."""

    response_id: str


class FunctionCall(Struct, frozen=True, kw_only=True):
    """A finished `function_call` item of a response; `arguments` is JSON as the model wrote it."""

    item_id: str
    call_id: str
    name: str
    arguments: str
    complete: bool = True
    """False: the response was cut short in the middle of it."""


class FunctionCalled(Struct, frozen=True, kw_only=True):
    """`response.output_item.done` of a function call that is whole: its response may go on."""

    response_id: str
    call: FunctionCall


class ResponseDone(Struct, frozen=True, kw_only=True):
    """`response.done`. `reason` is the status detail's: a reason or an error code."""

    response_id: str
    purpose: str | None
    """As in `ResponseCreated`."""
    status: str
    reason: str | None
    calls: tuple[FunctionCall, ...]
    input_tokens: int | None
    output_tokens: int | None

    @property
    def runnable(self) -> tuple[FunctionCall, ...]:
        """Calls that the model has made: whole, in a response that was not taken back."""
        if self.status not in ("completed", "incomplete"):
            return ()
        return tuple(call for call in self.calls if call.complete)


class Ignored(Struct, frozen=True, kw_only=True):
    """An event that the agent has no use for."""

    type: str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | ApiError
    | SpeechStarted
    | SpeechStopped
    | Committed
    | Transcribed
    | Truncated
    | ResponseCreated
    | AudioDelta
    | AudioDone
    | TranscriptDone
    | ResponseProgressed
    | FunctionCalled
    | ResponseDone
    | Ignored
)


def read(event: Event, dialect: Dialect) -> ServerEvent:
    """A server event as one of ours.

    Raises:
        EventError: it lacks what we need, or says it in the wrong type.
    """
    event_type = event.get("type")
    if not isinstance(event_type, str):
        raise EventError(f"type is {event_type!r}, expected a string")
    reader = _READERS[dialect].get(event_type)
    return reader(event) if reader else Ignored(type=ga_name(event_type, dialect))


MOST_ID_CHARS = 256
"""Of what names something: the API's are of 30."""
_MOST_TOLD_CHARS = 1_000
"""Of a message of an error, and the like: the rest is cut off."""
_MOST_WORDS_CHARS = 100_000
"""An hour of speech, or what a function is called with."""
_WORDS = frozenset({"transcript", "arguments"})


def _field(event: Event, name: str, kind: type[_T]) -> _T:
    value = event.get(name)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        most = _MOST_WORDS_CHARS if name in _WORDS else MOST_ID_CHARS
        if isinstance(value, str) and len(value) > most:
            raise EventError(f"{name} has {len(value)} characters, expected {most} at most")
        return value
    found = f"{name} is {type(value).__name__}" if name in event else f"no {name}"
    raise EventError(f"{found}, expected {kind.__name__}")


def _optional(event: Event, name: str, kind: type[_T]) -> _T | None:
    """A field that we can do without: absent, null or of another type is None."""
    value = event.get(name)
    if isinstance(value, kind):
        return value[:_MOST_TOLD_CHARS] if isinstance(value, str) else value  # type: ignore[return-value]
    return None


def _session_created(event: Event) -> ServerEvent:
    session = _field(event, "session", dict)
    return SessionCreated(session_id=_optional(session, "id", str))


def _session_updated(event: Event) -> ServerEvent:
    session = _field(event, "session", dict)
    audio = _optional(session, "audio", dict)
    if audio is None:
        return SessionUpdated(
            input_format=_optional(session, "input_audio_format", str),
            output_format=_optional(session, "output_audio_format", str),
        )
    return SessionUpdated(
        input_format=_format_name(_optional(audio, "input", dict)),
        output_format=_format_name(_optional(audio, "output", dict)),
    )


def _format_name(direction: dict[str, Any] | None) -> str | None:
    audio_format = _optional(direction or {}, "format", dict)
    return _optional(audio_format or {}, "type", str)


def _error(event: Event) -> ServerEvent:
    error = _field(event, "error", dict)
    return ApiError(
        code=_optional(error, "code", str) or _optional(error, "type", str) or "unknown",
        message=_optional(error, "message", str) or "",
        event_id=_optional(error, "event_id", str),
    )


def _response_created(event: Event) -> ServerEvent:
    response = _field(event, "response", dict)
    return ResponseCreated(response_id=_field(response, "id", str), purpose=_purpose(response))


def _purpose(response: dict[str, Any]) -> str | None:
    return _optional(_optional(response, "metadata", dict) or {}, "purpose", str)


def _response_done(event: Event) -> ServerEvent:
    response = _field(event, "response", dict)
    usage = _optional(response, "usage", dict) or {}
    return ResponseDone(
        response_id=_field(response, "id", str),
        purpose=_purpose(response),
        status=_field(response, "status", str),
        reason=_status_reason(_optional(response, "status_details", dict) or {}),
        calls=tuple(_function_calls(_optional(response, "output", list) or [])),
        input_tokens=_optional(usage, "input_tokens", int),
        output_tokens=_optional(usage, "output_tokens", int),
    )


def _status_reason(details: dict[str, Any]) -> str | None:
    error = _optional(details, "error", dict) or {}
    return _optional(error, "code", str) or _optional(details, "reason", str)


def _function_calls(output: list[Any]) -> list[FunctionCall]:
    items = [item for item in output if isinstance(item, dict)]
    return [
        FunctionCall(
            item_id=_optional(item, "id", str) or "",
            call_id=_field(item, "call_id", str),
            name=_field(item, "name", str),
            arguments=_field(item, "arguments", str),
            complete=_optional(item, "status", str) in (None, "completed"),
        )
        for item in items
        if item.get("type") == "function_call"
    ]


def _item_done(event: Event) -> ServerEvent:
    response_id = _field(event, "response_id", str)
    for call in _function_calls([event.get("item")]):
        if call.complete:
            return FunctionCalled(response_id=response_id, call=call)
    return ResponseProgressed(response_id=response_id)


def _audio_delta(event: Event) -> ServerEvent:
    match event:
        case {"response_id": str(response_id), "item_id": str(item_id), "delta": bytes(audio)}:
            return AudioDelta(response_id=response_id, item_id=item_id, audio=audio)
        case _:
            return AudioDelta(  # one of these says what is wrong
                response_id=_field(event, "response_id", str),
                item_id=_field(event, "item_id", str),
                audio=_field(event, "delta", bytes),
            )


def _progressed(event: Event) -> ServerEvent:
    return ResponseProgressed(response_id=_field(event, "response_id", str))


_Readers = dict[str, Callable[[Event], ServerEvent]]

_GA_READERS: _Readers = {
    "session.created": _session_created,
    "session.updated": _session_updated,
    "error": _error,
    "input_audio_buffer.speech_started": lambda event: SpeechStarted(
        item_id=_field(event, "item_id", str),
        audio_start_ms=_field(event, "audio_start_ms", int),
    ),
    "input_audio_buffer.speech_stopped": lambda event: SpeechStopped(
        item_id=_field(event, "item_id", str),
        audio_end_ms=_field(event, "audio_end_ms", int),
    ),
    "input_audio_buffer.committed": lambda event: Committed(item_id=_field(event, "item_id", str)),
    "conversation.item.input_audio_transcription.completed": lambda event: Transcribed(
        item_id=_field(event, "item_id", str), transcript=_field(event, "transcript", str)
    ),
    "conversation.item.truncated": lambda event: Truncated(
        item_id=_field(event, "item_id", str),
        audio_end_ms=_field(event, "audio_end_ms", int),
    ),
    "response.created": _response_created,
    "response.output_item.added": _progressed,
    "response.output_item.done": _item_done,
    "response.content_part.added": _progressed,
    "response.content_part.done": _progressed,
    "response.output_audio.delta": _audio_delta,
    "response.output_audio.done": lambda event: AudioDone(
        response_id=_field(event, "response_id", str), item_id=_field(event, "item_id", str)
    ),
    "response.output_audio_transcript.delta": _progressed,
    "response.output_audio_transcript.done": lambda event: TranscriptDone(
        response_id=_field(event, "response_id", str),
        item_id=_field(event, "item_id", str),
        transcript=_field(event, "transcript", str),
    ),
    "response.output_text.delta": _progressed,
    "response.output_text.done": _progressed,
    "response.function_call_arguments.delta": _progressed,
    "response.function_call_arguments.done": _progressed,
    "response.done": _response_done,
}
_READERS: Mapping[Dialect, _Readers] = {
    "ga": _GA_READERS,
    "beta": _GA_READERS
    | {name: _GA_READERS[ga] for name, ga in BETA_TO_GA.items() if ga in _GA_READERS},
}
