"""What a client may ask: `read` turns a client event into a typed request.

What is wrong with it is said in the words of the API's own errors.
"""

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from callerside.fakes.session.interface import Event
from callerside.fakes.session.refusals import REFUSALS, RequestError
from callerside.fakes.session.schema import (
    RELAXED,
    AnySessionFields,
    Item,
    Part,
    ResponseFields,
    at_most,
)


class Request(Part):
    """A client event."""

    event_id: Annotated[str, at_most(512)] | None = None


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


_PART = "part"
"""The tag of what is no word, where either may be."""
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


_MOST_LEFT_OUT = 100


def read(event: Event, *, relaxed: Set[str] = frozenset()) -> AnyRequest:
    """Read a client event other than an append.

    Args:
        event: as the client sent it.
        relaxed: names of refusals that are not made.

    Raises:
        RequestError: with the path of the wrong field as `param`.
    """
    kind = event.get("type")
    if kind is None:
        raise RequestError("missing_parameter", "type")
    if not isinstance(kind, str):
        raise RequestError("invalid_type", "type", expected="a string", got=kind_of(kind))
    if kind not in CLIENT_EVENTS:
        raise _unsupported("type", kind, CLIENT_EVENTS)
    try:
        return _ADAPTER.validate_python(dict(event), context={RELAXED: relaxed})
    except ValidationError as error:
        raise _refusal(error, event) from None


def read_leniently(event: Event, kind: str) -> tuple[AnyRequest, list[RequestError]]:
    """The same without what is refused in it, or as it is, as the table of refusals says.

    Args:
        event: as the client sent it.
        kind: type of the session, which every `session.update` is taken to have.

    Returns:
        The request, and what would have been refused.

    Raises:
        RequestError: what is wrong is all that there is.
    """
    told: list[RequestError] = []
    relaxed: set[str] = set()
    corrected: set[str | None] = set()
    while len(told) <= _MOST_LEFT_OUT:
        try:
            return read(event, relaxed=relaxed), told
        except RequestError as error:
            told.append(error)
            if error.leniently == "refused":
                break
            if error.leniently == "as it is" and error.name not in relaxed:
                relaxed.add(error.name)
                continue
            meant = None if error.param in corrected else _meant(event, error.param or "", kind)
            corrected.add(error.param)
            left = _without_cause(event, error) if meant is None else meant
            if left is None:
                break
            event = left
    raise told[0]


def of_kind(event: Event, kind: str) -> Event:
    """A `session.update` of this type of session."""
    return _changed(event, "session.type", kind) or event


def _without_cause(event: Event, error: RequestError) -> Event | None:
    """The event without what is wrong, or all of what lacks something; None: nothing is left."""
    param = error.param or ""
    if error.name == "missing_parameter":
        param = param.rpartition(".")[0]
    return without(event, param) if param else None


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number, and a finite one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < math.inf


_TEXTS = {"item.output": "", "item.arguments": "{}"}
"""Texts in which clients send JSON, or nothing at all: what that means."""


def _meant(event: Event, param: str, kind: str) -> Event | None:
    """The event with the value that it most likely means there; None if nobody can tell."""
    here, last = _place(event, param)
    if not isinstance(here, Mapping):
        return None
    item, given = event.get("item"), here.get(last)
    by_model = isinstance(item, Mapping) and item.get("role") == "assistant"
    text = "output_text" if by_model else "input_text"
    meant: Any = None
    place = re.sub(r"\[\d+\]", "", param)
    words = {
        "session.type": kind,
        "item.type": "message",
        "item.role": "user",
        "item.content.type": text,
    }
    if place in words:
        meant = words[place]
    elif place == "item.content" and not isinstance(given, list):
        part = {"type": text, "text": given} if isinstance(given, str) else given
        meant = [part] if isinstance(part, Mapping) else []
    elif place in _TEXTS and not isinstance(given, str):
        meant = json.dumps(given, default=str) if last in here else _TEXTS[place]
    elif param in ("audio_end_ms", "content_index") and _is_number(given):
        meant = max(0, int(given))
    elif param == "content_index":
        meant = 0
    return None if meant is None or given == meant else _changed(event, param, meant)


def read_part(shape: type[AnyPart], given: Mapping[str, Any]) -> AnyPart:
    """Read what is no event of a WebSocket: the body of a request over HTTP.

    Raises:
        RequestError: with the path of the wrong field as `param`.
    """
    try:
        return shape.model_validate(dict(given))
    except ValidationError as error:
        raise _refusal(error, given) from None


def without(event: Event, param: str) -> Event | None:
    """The event without what is at that path; None if there is nothing."""
    left = copy.deepcopy(dict(event))
    here, last = _place(left, param)
    if isinstance(here, list):
        del here[int(last)]
    elif isinstance(here, dict) and last in here:
        del here[last]
    else:
        return None
    return left


def _changed(event: Event, param: str, value: Any) -> Event | None:
    """The event with another value at that path; None if there is no such place."""
    changed = copy.deepcopy(dict(event))
    here, last = _place(changed, param)
    if not isinstance(here, dict):
        return None
    here[last] = value
    return changed


def _place(event: Event, param: str) -> tuple[Any, str]:
    """What holds the value at that path, if anything does, and the value's name in it."""
    *path, last = re.findall(r"[^.\[\]]+", param) or [""]
    here: Any = event
    for part in path:
        if isinstance(here, list):
            here = here[int(part)]
        else:
            here = here.get(part) if isinstance(here, Mapping) else None
    return here, last


def _refusal(error: ValidationError, event: Event) -> RequestError:
    first = error.errors()[0]
    kind, given, facts = first["type"], first["input"], first.get("ctx", {})
    if kind == "union_tag_invalid" and given.get(_tag(first)) is None:
        kind = "union_tag_not_found"  # null counts as left out
    param = _path(first["loc"], event, missing=kind == "missing")
    if kind.startswith("union_tag"):
        param = f"{param}.{_tag(first)}" if param else _tag(first)
    if kind in REFUSALS:
        return _of_ours(kind, param, given, facts)
    if kind in _LIMITS:
        return _limited(kind, param, given, facts)
    match kind:
        case "missing" | "union_tag_not_found":
            return RequestError("missing_parameter", param)
        case "extra_forbidden":
            return RequestError("unknown_parameter", param)
        case "union_tag_invalid":
            return _unlisted(param, given[_tag(first)], _listed(facts["expected_tags"]))
        case "literal_error":
            return _unlisted(param, given, _listed(facts["expected"]))
        case _:
            return _of_wrong_type(kind, param, given, is_part=first["loc"][-1] == _PART)


def _of_wrong_type(kind: str, param: str, given: object, *, is_part: bool) -> RequestError:
    """`is_part`: a word would have done, too."""
    expected = _NAMES.get(kind.removesuffix("_type"))
    if expected is None:
        return RequestError("invalid_value", param)
    if is_part and expected == "an object":
        expected = "one of a string or object"
    return RequestError("invalid_type", param, expected=expected, got=kind_of(given))


_LIMITS = {
    "greater_than_equal": ("below_minimum", "ge"),
    "less_than_equal": ("above_maximum", "le"),
}
"""A validator's kind of error: which refusal it is, and what its limit is called there."""


def _of_ours(name: str, param: str, given: object, facts: Mapping[str, Any]) -> RequestError:
    """A check of ours has refused it, by its name in the table."""
    if name == "unsupported_voice":
        return _unsupported(param, given, facts["supported"], name)
    if "key" in facts:  # what is missing in it
        return RequestError(name, f"{param}.{facts['key']}" if param else facts["key"], **facts)
    return RequestError(name, param, value=given, **facts)


def _limited(kind: str, param: str, given: object, facts: Mapping[str, Any]) -> RequestError:
    """A number is beyond a limit."""
    name, key = _LIMITS[kind]
    limit = facts[key]
    number = "integer" if isinstance(limit, int) and isinstance(given, int) else "decimal"
    return RequestError(f"{number}_{name}", param, limit=f"{limit:g}", value=given)


def _unlisted(param: str, given: object, supported: Sequence[str]) -> RequestError:
    """A value is none of these; one that is no text, where all of these are, has the wrong type."""
    if isinstance(given, str) or any(one.isdigit() for one in supported):
        return _unsupported(param, given, supported)
    return RequestError("invalid_type", param, expected="a string", got=kind_of(given))


def _unsupported(
    param: str, given: object, supported: Sequence[str], name: str = "unsupported_value"
) -> RequestError:
    *others, last = (value if value.isdigit() else f"'{value}'" for value in supported)
    values = ", ".join(others) + (", and " if len(others) > 1 else " and " if others else "") + last
    shown = given if isinstance(given, str) else json.dumps(given, default=str)
    return RequestError(name, param, value=shown, supported=values)


def _listed(expected: str) -> list[str]:
    """The values that a validator lists: texts in quotes, numbers as they are."""
    return [text or number for text, number in re.findall(r"'([^']*)'|\b(\d+)\b", expected)]


def kind_of(value: object) -> str:
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
        is_last = position == len(loc) - 1
        ends = missing and is_last
        is_key = is_last and isinstance(here, Mapping) and part in here
        if part in tags and not (ends or is_key):
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
