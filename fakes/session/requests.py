"""What a client may ask: `read` turns a client event into a typed request.

What is wrong with it is said in the words of the API's own errors.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from callerside.fakes.session.interface import Event
from callerside.fakes.session.schema import Item, Part, ResponseFields, SessionFields


class RequestError(Exception):
    """A client event is refused: becomes an `error` event; the session goes on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


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
CREATE_ITEM = "conversation.item.create"
COMMIT_EMPTY = "input_audio_buffer_commit_empty"
MAX_APPEND_BYTES = 15 * 2**20
TOO_LARGE = "Invalid value for 'audio': expected base64 of at most 15 MiB of audio."

_ADAPTER: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="type")])
CLIENT_EVENTS = (
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
    if event.get("type") not in CLIENT_EVENTS:
        given = event.get("type")
        expected = ", ".join(f"'{name}'" for name in CLIENT_EVENTS)
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
    if kind == "union_tag_invalid" and first["input"].get(_tag(first)) is None:
        kind = "union_tag_not_found"  # null counts as left out
    param = _path(first["loc"], event, missing=kind == "missing")
    if kind == "union_tag_not_found":
        param = f"{param}.{_tag(first)}"
    if kind in ("missing", "union_tag_not_found"):
        return RequestError(
            "missing_required_parameter", f"Missing required parameter: '{param}'.", param
        )
    if kind == "extra_forbidden":
        return RequestError("unknown_parameter", f"Unknown parameter: '{param}'.", param)
    if kind.endswith("_type"):
        return RequestError("invalid_type", f"Invalid type for '{param}': {first['msg']}.", param)
    return RequestError("invalid_value", f"Invalid value for '{param}': {first['msg']}.", param)


def _tag(error: ErrorDetails) -> str:
    """The key by which the part of a union is chosen."""
    return str(error["ctx"]["discriminator"]).strip("'")


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
