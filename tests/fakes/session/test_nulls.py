"""What a client has no value for it sends as null: the server takes the key as left out.

The keys are found in the SDK's types, at any depth, so that a new one is held to the rule too.
"""

import copy
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from in_memory import Client
from openai.types.realtime import RealtimeSessionCreateRequest, ResponseCreateEvent
from pydantic import BaseModel

from callerside.fakes.session.interface import ClientEvent

TURN_DETECTION = ("audio", "input", "turn_detection")
SWITCHES_OFF = {
    ("audio", "input", "transcription"),
    ("audio", "input", "noise_reduction"),
    TURN_DETECTION,
    (*TURN_DETECTION, "idle_timeout_ms"),
    ("prompt",),
    ("tracing",),
}
REFUSED = {(*TURN_DETECTION, "create_response"), (*TURN_DETECTION, "interrupt_response")}
# Everything that a null could put back to its default.
CONFIGURED: dict[str, Any] = {
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "hours"}],
    "tool_choice": "required",
    "max_output_tokens": 500,
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low"},
    "truncation": "disabled",
    "tracing": "auto",
    "prompt": {"id": "pmpt_1"},
    "include": ["item.input_audio_transcription.logprobs"],
    "output_modalities": ["text"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
            "noise_reduction": {"type": "near_field"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.7,
                "prefix_padding_ms": 200,
                "silence_duration_ms": 900,
                "idle_timeout_ms": 6000,
                "create_response": False,
                "interrupt_response": False,
            },
        },
        "output": {"format": {"type": "audio/pcma"}, "voice": "cedar", "speed": 1.2},
    },
}


KEYS: dict[Any, list[Any]] = {list: [0], dict: ["key"]}


def put_into(keys: list[Any], value: Any) -> Any:
    """A value within collections, so that it is found by these keys."""
    for key in reversed(keys):
        value = [value] if key == 0 else {key: value}
    return value


def models(annotation: Any) -> Iterator[tuple[type[BaseModel], list[Any]]]:
    """The models that a value may be, each with the keys of the collections around it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, []
    elif get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            for model, around in models(argument):
                yield model, [*KEYS.get(get_origin(annotation), ()), *around]


def smallest(model: type[BaseModel]) -> dict[str, Any]:
    """A value of this model: what it needs, and what tells it from others."""
    given: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        choice = next((a for a in _flat(field.annotation) if get_origin(a) is Literal), None)
        inner = next(models(field.annotation), None)
        if choice is not None and (field.is_required() or name == "type"):
            given[name] = get_args(choice)[0]
        elif field.is_required() and inner is not None:
            given[name] = put_into(inner[1], smallest(inner[0]))
        elif field.is_required():
            given[name] = "hours"
    return given


def _flat(annotation: Any) -> list[Any]:
    arguments = [] if get_origin(annotation) is Literal else get_args(annotation)
    return [annotation, *(found for argument in arguments for found in _flat(argument))]


Case = tuple[str, dict[str, Any], tuple[Any, ...]]
"""A name, what is sent, and where in it the null is."""


def optional_keys(model: type[BaseModel]) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
    """Every key that may be left out: with a value around it, and its path in that."""
    for name, field in model.model_fields.items():
        if not field.is_required():
            yield smallest(model) | {name: None}, (name,)
        for inner, keys in models(field.annotation):
            for value, path in optional_keys(inner):
                yield smallest(model) | {name: put_into(keys, value)}, (name, *keys, *path)


def cases(model: type[BaseModel]) -> list[Case]:
    return [
        (f"{number}-{'.'.join(map(str, path))}", value, path)
        for number, (value, path) in enumerate(optional_keys(model))
    ]


def without(value: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    value = copy.deepcopy(value)
    here: Any = value
    for part in path[:-1]:
        here = here[part]
    del here[path[-1]]
    return value


def update(session: dict[str, Any]) -> dict[str, Any]:
    return {"type": "session.update", "session": session}


def told(event: dict[str, Any]) -> list[dict[str, Any]]:
    """All that a session with settings of its own says to this event."""
    client = Client()
    client.update(**CONFIGURED)
    assert client.types[-1] == "session.updated"
    before = len(client.events)
    client.feed(ClientEvent(event))
    client.wait(5000)
    return client.events[before:]


SESSION = cases(RealtimeSessionCreateRequest)
RESPONSE = cases(ResponseCreateEvent)


def by_name(found: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "value", "path"), found, ids=[c[0] for c in found])


def test_the_keys_of_the_sdk_are_found() -> None:
    session = {path for _, _, path in SESSION}
    assert session > SWITCHES_OFF | REFUSED
    assert {("instructions",), ("audio", "output", "format", "rate")} < session
    assert ("tools", 0, "require_approval", "always", "tool_names") in session
    response = {path for _, _, path in RESPONSE}
    assert {("response", "instructions"), ("response", "input", 0, "content", 0, "text")} < response


@by_name([case for case in SESSION if case[2] not in SWITCHES_OFF | REFUSED])
def test_null_in_a_session_is_as_if_left_out(
    name: str, value: dict[str, Any], path: tuple[Any, ...]
) -> None:
    assert told(update(value)) == told(update(without(value, path)))


@by_name(RESPONSE)
def test_null_in_a_response_is_as_if_left_out(
    name: str, value: dict[str, Any], path: tuple[Any, ...]
) -> None:
    assert told(value) == told(without(value, path))


@by_name([case for case in SESSION if case[2] in SWITCHES_OFF])
def test_null_switches_off(name: str, value: dict[str, Any], path: tuple[Any, ...]) -> None:
    (updated,) = (e for e in told(update(value)) if "session" in e)
    here = updated["session"]
    for part in path:
        here = here[part]
    assert here is None


@by_name([case for case in SESSION if case[2] in REFUSED])
def test_two_nulls_are_refused(name: str, value: dict[str, Any], path: tuple[Any, ...]) -> None:
    (error,) = (e["error"] for e in told(update(value)))
    assert (error["code"], error["param"]) == ("invalid_type", ".".join(("session", *path)))


def test_a_tool_call_as_livekit_makes_it() -> None:
    """The client's events are those that livekit-agents 1.8.9 sends."""
    call = {"name": "opening_hours", "arguments": {"day": "Saturday"}}
    client = Client({"replies": [{"function_call": call}, {"say": "From nine to five."}]})
    client.update(
        audio={
            "input": {
                "format": {"rate": 24000, "type": "audio/pcm"},
                "noise_reduction": None,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "semantic_vad", "eagerness": "medium"},
            },
            "output": {"format": {"rate": 24000, "type": "audio/pcm"}, "voice": "marin"},
        },
        max_output_tokens="inf",
        model="gpt-realtime-2.1",
        tool_choice="auto",
        tracing=None,
    )
    schema = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
    tool = {"type": "function", "name": "opening_hours", "description": "", "parameters": schema}
    client.update(model="gpt-realtime-2.1", tools=[tool])
    asked = [{"type": "input_text", "text": "When are you open on Saturday?"}]
    message = {"type": "message", "role": "user", "id": "item_1", "content": asked}
    client.send("conversation.item.create", item=message, previous_item_id="root")
    client.send("response.create", response={"instructions": None, "metadata": {"id": "1"}})
    client.wait(3000)
    called = client.only("response.function_call_arguments.done")
    client.send(
        "conversation.item.create",
        item={
            "type": "function_call_output",
            "id": "item_2",
            "call_id": called["call_id"],
            "output": "nine to five",
        },
        previous_item_id=called["item_id"],
    )
    client.send(
        "response.create",
        response={"instructions": None, "metadata": {"id": "2"}, "tool_choice": "auto"},
    )
    client.wait(10_000)
    assert client.all("error") == []
    assert (
        client.only("response.output_audio_transcript.done")["transcript"] == "From nine to five."
    )
