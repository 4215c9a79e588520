"""What a client may ask: `read` turns a client event into a typed request.

What is wrong with it is said in the words of the API's own errors.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from callerside.fakes.session.interface import Event
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.schema import (
    ANY_LENGTH,
    AnySessionFields,
    Item,
    Part,
    ResponseFields,
)


class Request(Part):
    """A client event."""

    event_id: str | None = Field(default=None, max_length=512)


class SessionUpdate(Request):
    """Change the session."""

    type: Literal["session.update"]
    session: AnySessionFields


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


AnyPart = TypeVar("AnyPart", bound=Part)

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
MAX_APPEND_BYTES = 15 * 2**20

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


_NAMES = {
    "bool": "a boolean",
    "string": "a string",
    "int": "an integer",
    "float": "a number",
    "list": "an array",
    "dict": "an object",
    "model": "an object",
    "model_attributes": "an object",
    "mapping": "an object",
}
"""What a validator's kind of error expects, as the API says it."""


def read(event: Event, *, any_length: bool = False) -> AnyRequest:
    """Read a client event other than an append.

    Args:
        event: as the client sent it.
        any_length: texts may be as long as they are.

    Raises:
        RequestError: with the path of the wrong field as `param`.
    """
    if event.get("type") is None:
        raise RequestError("missing_parameter", "type")
    if event["type"] not in CLIENT_EVENTS:
        raise _unsupported("type", event.get("type"), CLIENT_EVENTS)
    try:
        return _ADAPTER.validate_python(dict(event), context={ANY_LENGTH: any_length})
    except ValidationError as error:
        raise _refusal(error, event) from None


def read_part(shape: type[AnyPart], given: Mapping[str, Any]) -> AnyPart:
    """Read what is no event of a WebSocket: the body of a request over HTTP.

    Raises:
        RequestError: with the path of the wrong field as `param`.
    """
    try:
        return shape.model_validate(dict(given), context={ANY_LENGTH: False})
    except ValidationError as error:
        raise _refusal(error, given) from None


def without(event: Event, param: str) -> Event | None:
    """The event without what is at that path; None if there is nothing."""
    *path, last = re.findall(r"[^.\[\]]+", param)
    left = copy.deepcopy(dict(event))
    here: Any = left
    for part in path:
        here = here[int(part)] if isinstance(here, list) else here.get(part)
    if not isinstance(here, dict) or last not in here:
        return None
    del here[last]
    return left


def _refusal(error: ValidationError, event: Event) -> RequestError:
    first = error.errors()[0]
    kind, given, facts = first["type"], first["input"], first.get("ctx", {})
    if kind == "union_tag_invalid" and given.get(_tag(first)) is None:
        kind = "union_tag_not_found"  # null counts as left out
    param = _path(first["loc"], event, missing=kind == "missing")
    if kind.startswith("union_tag"):
        param = f"{param}.{_tag(first)}" if param else _tag(first)
    match kind:
        case "missing" | "union_tag_not_found":
            return RequestError("missing_parameter", param)
        case "extra_forbidden":
            return RequestError("unknown_parameter", param)
        case "union_tag_invalid":
            return _unsupported(param, facts["tag"], _listed(facts["expected_tags"]))
        case "literal_error":
            return _unsupported(param, given, _listed(facts["expected"]))
        case "modalities_together":
            return RequestError(kind, param, value=given)
        case _ if (expected := _NAMES.get(kind.removesuffix("_type"))) is not None:
            return RequestError("invalid_type", param, expected=expected, got=_kind_of(given))
        case _ if (limited := _LIMITS.get(kind)) is not None:
            return _limited(*limited, param, given, facts)
        case _:
            return RequestError("invalid_value", param)


_LIMITS = {
    "greater_than_equal": ("below_minimum", "ge"),
    "less_than_equal": ("above_maximum", "le"),
    "string_too_short": ("string_too_short", "min_length"),
    "string_too_long": ("string_too_long", "max_length"),
    "string_pattern_mismatch": ("string_has_no_pattern", "pattern"),
    "too_long": ("array_too_long", "max_length"),
}
"""A validator's kind of error: which refusal it is, and what its limit is called there."""


def _limited(
    name: str, key: str, param: str, given: object, facts: Mapping[str, Any]
) -> RequestError:
    """A limit was not kept: `key` is what its validator calls it; a check of ours, `limit`."""
    limit = facts.get(key, facts.get("limit"))
    if isinstance(given, str | Sequence):
        facts_said = {"limit": limit, "length": len(given), "pattern": limit}
        return RequestError(name, param, **facts_said)
    kind = "integer" if isinstance(limit, int) and isinstance(given, int) else "decimal"
    return RequestError(f"{kind}_{name}", param, limit=f"{limit:g}", value=given)


def _unsupported(param: str, given: object, supported: Sequence[str]) -> RequestError:
    *others, last = (value if value.isdigit() else f"'{value}'" for value in supported)
    values = ", ".join(others) + (", and " if len(others) > 1 else " and " if others else "") + last
    shown = given if isinstance(given, str) else json.dumps(given, default=str)
    return RequestError("unsupported_value", param, value=shown, supported=values)


def _listed(expected: str) -> list[str]:
    """The values that a validator lists: texts in quotes, numbers as they are."""
    return [text or number for text, number in re.findall(r"'([^']*)'|\b(\d+)\b", expected)]


def _kind_of(value: object) -> str:
    """What a value is, as the API says it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str() | bytes():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case list():
            return "an array"
        case _:
            return "an object"


def _tag(error: ErrorDetails) -> str:
    """The key by which the part of a union is chosen."""
    return str(error["ctx"]["discriminator"]).strip("'")


def _tags(value: Any) -> list[object]:
    """By what the validator knows which part of a union a value is."""
    return [value.get("type"), value.get("role")] if isinstance(value, Mapping) else []


def _path(loc: tuple[int | str, ...], event: Event, *, missing: bool) -> str:
    """The path of a field in the event, without the tags that the validator puts in between.

    `missing`: its last part is not in the event.
    """
    path = ""
    here: Any = event
    tags = _tags(here)
    for position, part in enumerate(loc):
        ends = missing and position == len(loc) - 1
        if part in tags and not ends:
            tags.remove(part)  # a tool has a type `function`, and may have such a key
        elif isinstance(here, Mapping) and (part in here or ends):
            path += f".{part}" if path else str(part)
            here = here.get(part)
            tags = _tags(here)
        elif isinstance(here, list) and isinstance(part, int):
            path += f"[{part}]"
            here = here[part]
            tags = _tags(here)
    return path
