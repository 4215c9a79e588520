"""What the server refuses, and what it serves: each line of a table of cases, both ways."""

import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
from in_memory import Client

from callerside.fakes.server.codec import decode
from callerside.fakes.session.interface import ClientGarbage, ConnectionRequested
from callerside.fakes.session.refusals import REFUSALS, RequestError

TOOL = {"type": "function", "name": "hours"}
SHOP = {"type": "mcp", "server_label": "shop", "server_url": "https://shop.example/mcp"}
OUTPUT = {"type": "function_call_output", "call_id": "call_none", "output": "{}"}
CALLED = {"type": "function_call", "name": "hours", "arguments": "{}"}
MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
LIBRARY = re.compile(r"Input should|Field required|Extra inputs|a valid|(greater|less) than or|tag")
"""English of a validation library."""


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def item(described: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": described, **fields}


def audio(**sides: Any) -> dict[str, Any]:
    return session(audio=sides)


def detection(**fields: Any) -> dict[str, Any]:
    return audio(input={"turn_detection": {"type": "server_vad", **fields}})


REFUSED: list[tuple[Mapping[str, Any], str, str | None, str]] = [
    # event, code, param, words
    (item(OUTPUT), "invalid_tool_call_id", None, "Tool call ID 'call_none' not found"),
    (
        session(tools=[{**TOOL, "meta": 1}]),
        "unknown_parameter",
        "session.tools[0].meta",
        "Unknown parameter: 'session.tools[0].meta'.",
    ),
    (
        session(tools=[{**TOOL, "description": "x" * 1025}]),
        "string_above_max_length",
        "session.tools[0].description",
        "maximum length 1024, but got a string with length 1025",
    ),
    (
        session(tools=[TOOL, {"type": "function"}]),
        "missing_required_parameter",
        "session.tools[1].name",
        "Missing required parameter: 'session.tools[1].name'.",
    ),
    (
        session(tools=[{"type": "magic", "name": "x"}]),
        "invalid_value",
        "session.tools[0].type",
        "Invalid value: 'magic'. Supported values are: 'function' and 'mcp'.",
    ),
    (
        session(tools=[{"type": "function", "function": {"name": "x"}}]),
        "missing_required_parameter",
        "session.tools[0].name",
        "Missing required parameter: 'session.tools[0].name'.",
    ),
    (session(tools=[{**TOOL, "name": "a b"}]), "invalid_value", "session.tools[0].name", "pattern"),
    (session(tools=[TOOL] * 129), "array_above_max_length", "session.tools", "length 128"),
    (
        session(tool_choice="sometimes"),
        "invalid_value",
        "session.tool_choice",
        "Invalid value: 'sometimes'. Supported values are: 'auto', 'none', and 'required'.",
    ),
    (
        session(tool_choice={"type": "function", "name": "none"}),
        "invalid_value",
        "session.tool_choice",
        "Tool choice 'none' not found in 'tools' parameter.",
    ),
    (
        session(tool_choice={"type": "function", "function": {"name": "x"}}),
        "missing_required_parameter",
        "session.tool_choice.name",
        "Missing required parameter: 'session.tool_choice.name'.",
    ),
    *(
        (
            audio(**{direction: {"format": {"type": "audio/pcm", "rate": rate}}}),
            "invalid_value",
            f"session.audio.{direction}.format.rate",
            f"Invalid value: '{said}'. Supported values are: 24000.",
        )
        for direction in ("input", "output")
        for rate, said in ((16_000, "16000"), ("24000", "24000"), (True, "true"))
    ),
    (
        audio(output={"voice": "nobody"}),
        "invalid_value",
        "session.audio.output.voice",
        "Invalid value: 'nobody'. Supported values are: 'alloy', 'ash',",
    ),
    (
        audio(output={"voice": 5}),
        "invalid_type",
        "session.audio.output.voice",
        "expected one of a string or object, but got an integer instead",
    ),
    (
        session(max_output_tokens=5000),
        "integer_above_max_value",
        "session.max_output_tokens",
        "integer above maximum value. Expected a value <= 4096, but got 5000 instead.",
    ),
    (session(max_output_tokens=0), "integer_below_min_value", "session.max_output_tokens", ">= 1"),
    (session(max_output_tokens="many"), "invalid_value", "session.max_output_tokens", "'inf'"),
    (
        {"type": "session.update", "session": {"type": "transcription"}},
        "invalid_parameter",
        "session.type",
        "Passing a transcription session update event to a realtime session is not allowed.",
    ),
    (
        {"type": "session.update", "session": {}},
        "missing_required_parameter",
        "session.type",
        "Missing required parameter: 'session.type'.",
    ),
    (
        detection(create_response=None),
        "invalid_type",
        "session.audio.input.turn_detection.create_response",
        "expected a boolean, but got null instead.",
    ),
    (
        detection(idle_timeout_ms=10),
        "integer_below_min_value",
        "session.audio.input.turn_detection.idle_timeout_ms",
        "Expected a value >= 5000, but got 10 instead.",
    ),
    (
        audio(output={"speed": 9.5}),
        "decimal_above_max_value",
        "session.audio.output.speed",
        "decimal above maximum value. Expected a value <= 1.5, but got 9.5 instead.",
    ),
    (
        audio(output={"speed": 0.1}),
        "decimal_below_min_value",
        "session.audio.output.speed",
        "decimal below minimum value. Expected a value >= 0.25, but got 0.1 instead.",
    ),
    (
        session(truncation={"type": "retention_ratio", "retention_ratio": 2}),
        "decimal_above_max_value",
        "session.truncation.retention_ratio",
        "Invalid 'session.truncation.retention_ratio': decimal above",
    ),
    (
        session(tool_choice=3),
        "invalid_type",
        "session.tool_choice",
        "expected one of a string or object, but got an integer instead.",
    ),
    (
        session(tools=[{"type": 5}]),
        "invalid_type",
        "session.tools[0].type",
        "Invalid type for 'session.tools[0].type': expected a string, but got an integer instead.",
    ),
    (
        audio(input={"noise_reduction": {"type": 5}}),
        "invalid_type",
        "session.audio.input.noise_reduction.type",
        "expected a string, but got an integer instead.",
    ),
    (
        session(tool_choice="required"),
        "invalid_value",
        "session.tool_choice",
        "Tool choice 'required' must be specified with 'tools' parameter.",
    ),
    (
        session(tool_choice={"type": "mcp", "server_label": "shop"}),
        "invalid_value",
        "session.tool_choice",
        "Tool choice 'shop' not found in 'tools' parameter.",
    ),
    (
        session(tools=[{"type": "mcp", "server_label": "shop"}]),
        "missing_required_parameter",
        "session.tools[0].server_url",
        "One of 'server_url', 'connector_id', or 'tunnel_id' must be provided.",
    ),
    (
        session(tools=[{**SHOP, "connector_id": "connector_gmail"}]),
        "invalid_value",
        "session.tools[0].connector_id",
        "Only one of 'server_url', 'connector_id', or 'tunnel_id' can be provided.",
    ),
    (
        session(tools=[{"type": "mcp", "server_label": "shop", "connector_id": "connector_shop"}]),
        "invalid_value",
        "session.tools[0].connector_id",
        "Invalid value: 'connector_shop'. Supported values are: 'connector_dropbox', ",
    ),
    *(
        (
            session(tools=[{**TOOL, "parameters": schema}]),
            "invalid_function_parameters",
            "session.tools[0].parameters",
            "must be a JSON Schema of 'type: \"object\"', got 'type: \"%s\"'." % kind,  # noqa: UP031
        )
        for schema, kind in (({"type": "string"}, "string"), ({}, "None"), ({"type": 5}, "5"))
    ),
    (
        session(tools=[SHOP, SHOP]),
        "invalid_value",
        "session.tools",
        "each MCP tool must have a server_label of its own.",
    ),
    (
        {"type": "response.create", "response": {"conversation": "none", "input": [OUTPUT]}},
        "invalid_tool_call_id",
        None,
        "Tool call ID 'call_none' not found in conversation.",
    ),
    *(
        (
            item(given),
            "invalid_value",
            f"item.{key}",
            f"Invalid 'item.{key}': string does not match pattern. Expected a string that matches",
        )
        for given, key in (
            ({**MESSAGE, "id": "a/b"}, "id"),
            ({**CALLED, "call_id": "call_x/finished"}, "call_id"),
            ({**OUTPUT, "call_id": "call_x/finished"}, "call_id"),
        )
    ),
    *(
        (
            item({**MESSAGE, "role": "assistant", "content": [{"type": "output_audio", **said}]}),
            "missing_required_parameter",
            "item.content[0].text",
            "Missing required parameter: 'item.content[0].text'.",
        )
        for said in ({"transcript": "Thanks.", "audio": None}, {"audio": "AAAA"}, {})
    ),
    (
        {"type": "response.create", "response": {"metadata": {str(n): "" for n in range(17)}}},
        "object_above_max_properties",
        "response.metadata",
        "Expected an object with at most 16 properties, but got an object with 17 properties",
    ),
    (
        {"type": "response.create", "response": {"metadata": {"k": "x" * 513}}},
        "string_above_max_length",
        "response.metadata.k",
        "maximum length 512, but got a string with length 513",
    ),
    (
        {"type": "response.create", "response": {"metadata": {"k" * 65: ""}}},
        "property_name_above_max_length",
        "response.metadata",
        "Expected a string with maximum length 64, but got a string with length 65 instead.",
    ),
    *(
        (
            item({**MESSAGE, "role": role, "content": [{"type": kind}]}),
            "missing_required_parameter",
            f"item.content[0].{key}",
            f"Missing required parameter: 'item.content[0].{key}'.",
        )
        for role, kind, key in (
            ("user", "input_text", "text"),
            ("user", "input_audio", "audio"),
            ("user", "input_image", "image_url"),
            ("assistant", "output_text", "text"),
        )
    ),
    (
        item({**MESSAGE, "content": [{"type": "input_image", "image_url": "ftp://example.com/x"}]}),
        "invalid_value",
        "item.content[0].image_url",
        "Expected a base64-encoded data URI of an image.",
    ),
    (session(turn_detection=None), "unknown_parameter", "session.turn_detection", "Unknown"),
    (session(voice="marin"), "unknown_parameter", "session.voice", "Unknown parameter"),
    (session(temperature=0.8), "unknown_parameter", "session.temperature", "Unknown parameter"),
    (session(instructions=5), "invalid_type", "session.instructions", "a string, but got an int"),
    (
        session(output_modalities=["audio", "text"]),
        "invalid_value",
        "session.output_modalities",
        "Invalid modalities: ['audio', 'text']. Supported combinations are: ['text'] and ['audio']",
    ),
    (session(output_modalities=[]), "invalid_value", "session.output_modalities", "modalities: []"),
    (session(model="gpt-realtime-2"), "invalid_value", "session.model", "cannot be changed"),
    ({"type": "response.start"}, "invalid_value", "type", "Invalid value: 'response.start'. Supp"),
    (
        {"type": "input_audio_buffer.clear", "event_id": "x" * 513},
        "string_above_max_length",
        "event_id",
        "maximum length 512",
    ),
    ({"type": "response.create", "response": {"voice": "x"}}, "unknown_parameter", "response.", ""),
    ({"type": "response.create", "response": 3}, "invalid_type", "response", "an object"),
    (
        {"type": "response.create", "response": {"tool_choice": {"type": "function", "name": "n"}}},
        "invalid_value",
        "response.tool_choice",
        "Tool choice 'n' not found",
    ),
    (
        {
            "type": "response.create",
            "response": {"input": [{"type": "item_reference", "id": "none"}]},
        },
        "invalid_value",
        "response.input[0].id",
        "Item with item_id 'none' does not exist.",
    ),
    ({"type": "response.cancel"}, "response_cancel_not_active", "", "Cancellation failed: no ac"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", "", "Error committ"),
    ({"type": "input_audio_buffer.append", "audio": ""}, "invalid_value", "audio", "15 MiB"),
    (
        {"type": "input_audio_buffer.append", "audio": b"", "more": 1},
        "unknown_parameter",
        "more",
        "Unknown parameter: 'more'.",
    ),
    (item({**MESSAGE, "role": "boss"}), "invalid_value", "item.role", "'user', 'system', and"),
    (item({**MESSAGE, "id": ""}), "string_below_min_length", "item.id", "minimum length 1"),
    (item({**MESSAGE, "id": "x" * 65}), "string_above_max_length", "item.id", "length 64"),
    (item(MESSAGE, previous_item_id="no"), "item_create_invalid_previous_item_id", "prev", "'no'"),
    (
        item({**MESSAGE, "content": [{"type": "input_text", "text": "x", "audio": "AA=="}]}),
        "unknown_parameter",
        "item.content[0].audio",
        "Unknown parameter: 'item.content[0].audio'.",
    ),
    (
        item({**MESSAGE, "content": [{"type": "input_audio", "audio": "%"}]}),
        "invalid_value",
        "item.content[0].audio",
        "Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but got an invalid value.",
    ),
    *(
        (
            {"type": f"conversation.item.{what}", "item_id": "none"} | more,
            f"item_{what}_invalid_item_id",
            "item_id",
            "Item with item_id 'none' does not exist.",
        )
        for what, more in (
            ("retrieve", {}),
            ("delete", {}),
            ("truncate", {"content_index": 0, "audio_end_ms": 0}),
        )
    ),
]


@pytest.mark.parametrize(("event", "code", "param", "words"), REFUSED)
def test_what_the_api_refuses_is_refused_in_its_words(
    event: Mapping[str, Any], code: str, param: str | None, words: str
) -> None:
    client = Client()
    client.send(**_sent(event))
    error = client.only("error")["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    if param is None:  # as reported, the error does not say what has caused it
        assert (error["param"], error["event_id"]) == (None, None)
    else:
        assert (error["param"] or "").startswith(param)
        assert error["event_id"] == event.get("event_id", "event_mine")
    assert words in error["message"]
    assert not LIBRARY.search(error["message"])
    assert not client.all("session.updated")
    assert not client.all("response.created")


def _sent(event: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in event.items() if key != "type"}
    return {"event_type": event["type"], "event_id": "event_mine", **fields}


@pytest.mark.parametrize(
    ("kind", "code"),
    [(5, "invalid_type"), (["x"], "invalid_type"), (None, "missing_required_parameter")],
)
def test_a_type_that_is_no_text(kind: object, code: str) -> None:
    client = Client()
    client.send(kind)  # type: ignore[arg-type]
    error = client.only("error")["error"]
    assert (error["code"], error["param"]) == (code, "type")


@pytest.mark.parametrize(
    ("audio", "code"),
    [
        ("3", "invalid_type"),
        ("[1]", "invalid_type"),
        ("null", "missing_required_parameter"),
        ('"%"', "invalid_value"),
    ],
)
def test_audio_that_is_no_text_has_the_wrong_type(audio: str, code: str) -> None:
    given = decode(f'{{"type": "input_audio_buffer.append", "audio": {audio}}}')
    assert isinstance(given, ClientGarbage)
    assert (given.code, given.param) == (code, "audio")


def test_states_are_refused_too() -> None:
    client = Client({"greeting": {"say": "Hello there.", "think_ms": 0}})
    client.send("response.create")
    client.send("response.create")
    client.wait(2000)
    spoken = client.only("response.done")["response"]["output"][0]["id"]
    client.update(audio={"output": {"voice": "cedar"}})
    client.send("conversation.item.create", item={**MESSAGE, "id": "mine"})
    client.send("conversation.item.create", item={**MESSAGE, "id": "mine"})
    client.send("conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)
    client.send("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=90_000)
    client.send("conversation.item.truncate", item_id=spoken, content_index=7, audio_end_ms=10)
    told = [(event["error"]["code"], event["error"]["param"]) for event in client.all("error")]
    assert told == [
        ("conversation_already_has_active_response", None),
        ("cannot_update_voice", None),
        ("item_create_duplicate_item_id", "item.id"),
        ("unsupported_content_type", "item_id"),
        ("invalid_value", "audio_end_ms"),
        ("invalid_value", "content_index"),
    ]


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "magic"])
def test_a_model_that_is_none_ends_the_session(model: str) -> None:
    client = Client(request=ConnectionRequested(model=model))
    error = client.only("error")["error"]
    assert (error["code"], error["param"]) == ("invalid_model", "model")
    assert error["message"] == f'Model "{model}" is not supported in realtime mode.'
    assert client.types == ["error"]
    assert client.closed is not None
    assert (client.closed.code, client.closed.reason) == (
        4000,
        "invalid_request_error.invalid_model",
    )


SERVED = [
    session(
        tools=[
            {
                **TOOL,
                "description": "x" * 1024,
                "parameters": {"type": "object", "default": None, "title": None},
            }
        ]
    ),
    session(tools=[TOOL], tool_choice={"type": "function", "name": "hours"}),
    session(tools=[{"type": "mcp", "server_label": "s", "server_url": "https://mcp.example"}]),
    session(max_output_tokens=4096),
    session(max_output_tokens="inf"),
    session(tracing={"workflow_name": "w"}),
    session(truncation={"type": "retention_ratio", "retention_ratio": 0.8}),
    session(prompt={"id": "p", "variables": {"city": "Paris"}}),
    session(reasoning={"effort": "low"}),
    audio(output={"voice": {"id": "voice_1234"}}),
    *(
        audio(output={"voice": name})
        for name in [
            "alloy",
            "ash",
            "ballad",
            "coral",
            "echo",
            "sage",
            "shimmer",
            "verse",
            "marin",
            "cedar",
        ]
    ),
]


@pytest.mark.parametrize("event", SERVED)
def test_what_the_api_takes_is_served(event: Mapping[str, Any]) -> None:
    client = Client()
    client.send(**_sent(event))
    updated = client.only("session.updated")["session"]
    for key, value in event["session"].items():
        if key != "audio":
            assert updated[key] == value
    assert not client.all("error")


@pytest.mark.parametrize(
    "model",
    [
        "gpt-realtime",
        "gpt-realtime-1.5",
        "gpt-realtime-2.1-mini",
        "gpt-realtime-2025-08-28",
        "gpt-realtime-mini-2025-12-15",
        "gpt-4o-realtime-preview-2024-12-17",
        "gpt-4o-mini-realtime-preview",
        "gpt-audio-1.5",
    ],
)
def test_models_of_any_day_are_known(model: str) -> None:
    assert Client(request=ConnectionRequested(model=model)).types == ["session.created"]


CHOSEN = {"type": "function", "name": "hours"}


@pytest.mark.parametrize("response", [False, True])
@pytest.mark.parametrize(
    ("choice", "tools", "refused"),
    [
        ("required", [], True),
        ("required", [{**TOOL, "name": "other"}], False),
        ("auto", [], False),
        (CHOSEN, [], True),
        (CHOSEN, [{**TOOL, "name": "other"}], True),
        (CHOSEN, [TOOL, {**TOOL, "name": "other"}], False),
    ],
)
def test_what_is_chosen_is_not_taken_away(
    choice: Any, tools: list[Any], *, refused: bool, response: bool
) -> None:
    client = Client({"greeting": {"say": "Hello."}})
    client.update(tools=[TOOL], tool_choice=choice)
    if response:
        client.send("response.create", response={"tools": tools})
    else:
        client.update(tools=tools)
    errors = [event["error"]["param"] for event in client.all("error")]
    where = "response" if response else "session"
    assert errors == ([f"{where}.tool_choice"] if refused else [])


def test_an_output_may_be_of_a_call_of_the_same_input() -> None:
    client = Client({"default_reply": {"say": "Yes."}})
    call = {"type": "function_call", "name": "hours", "call_id": "call_none", "arguments": "{}"}
    client.send("response.create", response={"conversation": "none", "input": [call, OUTPUT]})
    assert not client.all("error")


@pytest.mark.parametrize("conversation", ["auto", "none"])
@pytest.mark.parametrize(("voice", "refused"), [("ash", True), (None, False)])
def test_a_response_has_the_voice_of_the_session(
    voice: str | None, conversation: str, *, refused: bool
) -> None:
    client = Client({"greeting": {"say": "Hello."}, "default_reply": {"say": "Yes."}})
    first = client.only("session.created")["session"]["audio"]["output"]["voice"]
    client.send("response.create")
    client.wait(2000)
    audio = {"output": {"voice": voice or first}}
    client.send("response.create", response={"conversation": conversation, "audio": audio})
    codes = [event["error"]["code"] for event in client.all("error")]
    assert codes == (["cannot_update_voice"] if refused else [])


def lenient() -> Client:
    return Client(lenient=True)


SPOKEN = {"say": "Hello there.", "think_ms": 0}
STATES: list[tuple[str, list[Mapping[str, Any]]]] = [
    # of the table of refusals, and what leads to it
    ("response_is_active", [{"type": "response.create"}] * 2),
    (
        "too_many_responses",
        [{"type": "response.create", "response": {"conversation": "none"}}] * 17,
    ),
    (
        "voice_is_fixed",
        [{"type": "response.create"}, {"wait": 2000}, audio(output={"voice": "ash"})],
    ),
    ("duplicate_item", [item({**MESSAGE, "id": "mine"})] * 2),
    (
        "nothing_to_truncate",
        [
            item({**MESSAGE, "id": "mine"}),
            {
                "type": "conversation.item.truncate",
                "item_id": "mine",
                "content_index": 0,
                "audio_end_ms": 0,
            },
        ],
    ),
    ("truncated_already", [{"type": "response.create"}, {"wait": 2000}, {"truncate": (0, 90_000)}]),
    ("no_such_content", [{"type": "response.create"}, {"wait": 2000}, {"truncate": (7, 10)}]),
]
ELSEWHERE = {
    # where no client event leads, or another kind of session; each has a test of its own
    *("no_json", "no_object", "nested_too_deep", "too_much_waits"),
    *("unsupported_model", "model_of_transcription", "transcription_model_speaks_not"),
    *("beta_is_over", "wrong_key", "call_unknown", "call_state", "session_is_over"),
    *("realtime_in_transcription", "no_turn_detection", "no_responses", "transcription_option"),
    *("prompt_unknown", "prompt_variables", "approval_unknown", "invalid_value"),
}


def play(client: Client, event: Mapping[str, Any]) -> None:
    if "wait" in event:
        client.wait(event["wait"])
    elif "truncate" in event:
        index, end_ms = event["truncate"]
        spoken = client.all("response.done")[-1]["response"]["output"][0]["id"]
        where = {"item_id": spoken, "content_index": index, "audio_end_ms": end_ms}
        client.send("conversation.item.truncate", **where)
    else:
        client.send(**_sent(event))


def refusals_of(events: list[Mapping[str, Any]]) -> list[RequestError]:
    """What a strict session refuses of them, as entries of the table."""
    raised: list[RequestError] = []

    class ToldError(RequestError):
        def __init__(self, *args: Any, **facts: Any) -> None:
            super().__init__(*args, **facts)
            raised.append(self)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("requests", "session", "config", "context", "conversation", "items"):
            patch.setattr(f"callerside.fakes.session.{module}.RequestError", ToldError)
        for module in ("response_scheduler", "user_turns", "mcp"):
            patch.setattr(f"callerside.fakes.session.{module}.RequestError", ToldError)
        client = Client({"greeting": SPOKEN})
        for event in events:
            play(client, event)
    return raised


CASES: list[list[Mapping[str, Any]]] = [[event] for event, *_ in REFUSED] + [
    events for _, events in STATES
]


@pytest.mark.parametrize("events", CASES)
def test_a_lenient_session_serves_what_the_table_says_and_tells(
    events: list[Mapping[str, Any]],
) -> None:
    (refused,) = refusals_of(events)
    client = Client({"greeting": SPOKEN}, lenient=True)
    for event in events:
        play(client, event)
    told = [mark.fields["code"] for mark in client.marked("served_leniently")]
    errors = [error["error"]["code"] for error in client.all("error")]
    cannot = refused.leniently == "refused" or refused.param in ("type", "audio")
    assert errors == ([refused.code] if cannot else [])
    assert told[:1] == ([] if cannot else [refused.code])
    if not cannot and events[-1].get("type") == "session.update":
        assert client.all("session.updated")


def test_each_entry_of_the_table_is_tried() -> None:
    tried = {one.name for events in CASES for one in refusals_of(events)}
    assert tried | ELSEWHERE == REFUSALS.keys()
    assert not tried & (ELSEWHERE - {"invalid_value"})


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"tools": [{**TOOL, "name": "a b"}]}, {"tools": [{**TOOL, "name": "a b"}]}),
        ({"tools": [{"type": "function"}, TOOL]}, {"tools": [TOOL]}),
        ({"tools": [TOOL] * 129}, {"tools": [TOOL] * 129}),
        ({"include": ["foo"]}, {"include": []}),
        ({"output_modalities": ["video"]}, {"output_modalities": ["audio"]}),
        ({"model": "gpt-realtime-2"}, {"model": "gpt-realtime-2.1"}),
        ({"type": "magic"}, {"type": "realtime"}),
        ({"type": "transcription"}, {"type": "realtime"}),
        ({"type": None}, {"type": "realtime"}),
    ],
)
def test_what_a_lenient_session_makes_of_it(fields: dict[str, Any], left: dict[str, Any]) -> None:
    client = Client(lenient=True)
    client.send(
        "session.update", session={"type": "realtime", "instructions": "Be brief.", **fields}
    )
    updated = client.only("session.updated")["session"]
    assert {key: updated[key] for key in left} == left
    assert updated["instructions"] == "Be brief."
    assert client.marked("served_leniently")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"role": "boss"}, {"role": "user"}),
        ({"type": None}, {"type": "message"}),
        ({"content": [{"type": "text", "text": "Hi."}]}, {"content": MESSAGE["content"]}),
        (
            {"role": "assistant", "content": [{"text": "Hi."}]},
            {"content": [{"type": "output_text", "text": "Hi."}]},
        ),
        (
            {"content": [*MESSAGE["content"], {"type": "input_text"}]},
            {"content": MESSAGE["content"]},
        ),
        ({"content": "Hi."}, {"content": MESSAGE["content"]}),
        ({"content": None}, {"content": []}),
        ({"content": 5}, {"content": []}),
        ({"content": [5]}, {"content": []}),
        ({"content": MESSAGE["content"][0]}, {"content": MESSAGE["content"]}),
    ],
)
def test_what_a_lenient_session_makes_of_an_item(
    given: dict[str, Any], left: dict[str, Any]
) -> None:
    client = Client(lenient=True)
    client.send("conversation.item.create", item={**MESSAGE, **given})
    added = client.only("conversation.item.added")["item"]
    assert {key: added[key] for key in left} == left
    assert client.marked("served_leniently")


@pytest.mark.parametrize("name", ["a.b", "a.b.c", "[0]", ""])
def test_a_name_that_is_no_path_ends_no_lenient_session(name: str) -> None:
    client = Client(lenient=True)
    client.send("response.create", response={"metadata": {name: 1}})
    assert client.types


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(
    "given", [{"type": "audio/opus"}, {"type": "audio/pcm", "rate": 16_000}, {}, "pcm16"]
)
def test_a_format_that_there_is_not_leaves_the_one_that_there_was(side: str, given: object) -> None:
    client = Client(lenient=True)
    client.update(audio={side: {"format": given}})
    kept = client.only("session.updated")["session"]["audio"][side]["format"]
    assert kept == {"type": "audio/pcm", "rate": 24_000}
    assert client.marked("served_leniently")


def test_a_lenient_session_keeps_no_limits() -> None:
    client = lenient()
    client.update(tools=[{**TOOL, "description": "x" * 5000}], max_output_tokens=5000)
    client.send("conversation.item.create", item=OUTPUT)
    client.update(audio={"output": {"voice": "nobody"}})
    updated, voiced = (event["session"] for event in client.all("session.updated"))
    assert len(updated["tools"][0]["description"]) == 5000
    assert updated["max_output_tokens"] == "inf"
    assert voiced["audio"]["output"]["voice"] == "nobody"
    assert client.only("conversation.item.added")["item"]["call_id"] == "call_none"
    codes = [mark.fields["code"] for mark in client.marked("served_leniently")]
    assert codes == [
        "string_above_max_length",
        "integer_above_max_value",
        "invalid_tool_call_id",
        "invalid_value",
    ]


@pytest.mark.parametrize("length_ms", ["x", None, math.inf, -math.inf, math.nan, True, [1]])
def test_a_truncation_to_no_length_is_none(length_ms: object) -> None:
    client = Client({"greeting": SPOKEN}, lenient=True)
    client.send("response.create")
    client.wait(3000)
    said = client.only("conversation.item.added")["item"]["id"]
    cut = {"item_id": said, "content_index": 0, "audio_end_ms": length_ms}
    client.send("conversation.item.truncate", **cut)
    assert client.only("error")["error"]["param"] == "audio_end_ms"


@pytest.mark.parametrize("content", [["x"], "x", None, 5])
def test_a_key_that_stands_in_no_such_item_is_left_out_at_once(content: object) -> None:
    client = Client(lenient=True)
    client.send("conversation.item.create", item={**OUTPUT, "content": content})
    assert "content" not in client.only("conversation.item.added")["item"]
    assert len(client.marked("served_leniently")) <= 3


@pytest.mark.parametrize(
    ("given", "taken"),
    [({"output": {"open": True}}, '{"open": true}'), ({"output": None}, "null"), ({}, "")],
)
def test_an_output_that_is_no_text_is_taken_as_json(given: dict[str, Any], taken: str) -> None:
    client = Client(lenient=True)
    described = {key: OUTPUT[key] for key in ("type", "call_id")} | given
    client.send("conversation.item.create", item=described)
    assert client.only("conversation.item.added")["item"]["output"] == taken


@pytest.mark.parametrize(
    ("given", "taken"),
    [({"arguments": {"day": 1}}, '{"day": 1}'), ({"arguments": None}, "null"), ({}, "{}")],
)
def test_so_are_arguments_of_a_call(given: dict[str, Any], taken: str) -> None:
    client = Client(lenient=True)
    described = {"type": "function_call", "name": "hours", "call_id": "c", **given}
    client.send("conversation.item.create", item=described)
    assert client.only("conversation.item.added")["item"]["arguments"] == taken


@pytest.mark.parametrize(
    "given", [{}, *({"content_index": wrong} for wrong in (None, -1, "x", [1], True, math.inf))]
)
def test_a_truncation_that_does_not_say_which_content_is_of_the_only_one(
    given: dict[str, Any],
) -> None:
    client = Client({"greeting": SPOKEN}, lenient=True)
    client.send("response.create")
    client.wait(3000)
    (said,) = client.all("conversation.item.added")
    client.send("conversation.item.truncate", item_id=said["item"]["id"], audio_end_ms=100, **given)
    assert client.only("conversation.item.truncated")["content_index"] == 0


def test_a_truncation_that_is_too_long_is_cut_to_what_there_is() -> None:
    client = Client({"greeting": SPOKEN}, lenient=True)
    for event in dict(STATES)["truncated_already"]:
        play(client, event)
    cut = client.only("conversation.item.truncated")
    assert 0 < cut["audio_end_ms"] < 3000


def test_a_lenient_session_takes_any_model() -> None:
    client = Client(request=ConnectionRequested(model="mine"), lenient=True)
    assert client.only("session.created")["session"]["model"] == "mine"
    assert client.marked("served_leniently")[0].fields["code"] == "invalid_model"


def test_a_lenient_session_takes_the_betas_header_and_any_key() -> None:
    wrong = RequestError("wrong_key", key="ek_none")
    request = ConnectionRequested(beta_header=True, wrong=wrong)
    client = Client(request=request, lenient=True)
    assert client.types == ["session.created"]
    told = [mark.fields["code"] for mark in client.marked("served_leniently")]
    assert told == ["invalid_api_key", "beta_api_shape_disabled"]


@pytest.mark.parametrize(
    ("described", "code"),
    [
        ({"type": "realtime"}, "invalid_parameter"),
        ({"type": "magic"}, "invalid_value"),
        (
            {
                "type": "transcription",
                "audio": {
                    "input": {
                        "transcription": {"model": "gpt-realtime-whisper"},
                        "turn_detection": {"type": "server_vad"},
                    }
                },
            },
            "invalid_value",
        ),
        (
            {
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "whisper-1", "delay": "low"}}},
            },
            "invalid_value",
        ),
    ],
)
def test_a_lenient_transcription_session(described: dict[str, Any], code: str) -> None:
    client = Client(request=ConnectionRequested(intent="transcription"), lenient=True)
    client.send("session.update", session=described)
    updated = client.only("session.updated")["session"]
    assert updated["type"] == "transcription"
    heard = updated["audio"]["input"]
    whisper = (heard["transcription"] or {}).get("model") == "gpt-realtime-whisper"
    assert (heard["turn_detection"] is None) is whisper
    assert client.marked("served_leniently")[0].fields["code"] == code


@pytest.mark.parametrize(
    ("prompt", "code"),
    [({"id": "p2"}, "prompt_not_found"), ({"id": "p1"}, "invalid_value")],
)
def test_a_lenient_session_takes_a_prompt_as_far_as_it_is_there(
    prompt: dict[str, Any], code: str
) -> None:
    client = Client({"prompts": {"p1": "Be {{mood}}."}}, lenient=True)
    client.update(prompt=prompt)
    assert client.only("session.updated")
    assert client.marked("served_leniently")[0].fields["code"] == code


def test_a_lenient_session_takes_an_approval_of_nothing() -> None:
    client = Client(lenient=True)
    answer = {"type": "mcp_approval_response", "approval_request_id": "x", "approve": True}
    client.send("conversation.item.create", item=answer)
    assert client.only("conversation.item.added")
    assert client.marked("served_leniently")


@pytest.mark.parametrize("message", ["{", "[]", '{"type": "x", "a": ' + "[" * 60 + "]" * 60 + "}"])
def test_what_is_no_event_is_told_in_the_words_of_the_table(message: str) -> None:
    given = decode(message)
    assert isinstance(given, ClientGarbage)
    words = {re.escape(one.words).replace(r"\{most\}", r"\d+") for one in REFUSALS.values()}
    assert any(re.fullmatch(one, given.message) for one in words)


def test_each_entry_says_how_it_is_known() -> None:
    for name, refusal in REFUSALS.items():
        assert refusal.source or refusal.evidence in ("INF", "REC", "REP"), name
        guessed = refusal.evidence == "INF"
        assert not (guessed and refusal.sure in ("code", "code and words")), name


CALL = {"replies": [{"function_call": {"name": "hours"}}, {"function_call": {"name": "hours"}}]}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "no tool of the session has this name"),
        ({"tools": [{**TOOL, "name": "other"}]}, "no tool of the session has this name"),
        ({"tools": [TOOL], "tool_choice": "none"}, "tool_choice is none"),
        ({"tools": [TOOL]}, None),
        ({"tools": [TOOL], "tool_choice": "required"}, None),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "hours"}}, None),
        (
            {
                "tools": [TOOL, {**TOOL, "name": "other"}],
                "tool_choice": {"type": "function", "name": "other"},
            },
            "tool_choice is the function other",
        ),
        (
            {"tools": [TOOL, SHOP], "tool_choice": {"type": "mcp", "server_label": "shop"}},
            "tool_choice is the MCP server shop",
        ),
    ],
)
@pytest.mark.parametrize("of_response", [False, True])
def test_a_call_that_no_model_would_make_is_told(
    fields: dict[str, Any], why: str | None, of_response: bool
) -> None:
    client = Client(CALL)
    client.send("conversation.item.create", item=MESSAGE)
    if not of_response:
        client.update(**fields)
    client.send("response.create", response=fields if of_response else {})
    client.wait(3000)
    told = [mark.fields["why"] for mark in client.marked("call_undeclared")]
    assert told == ([] if why is None else [why])
    assert client.marked("function_called")
    assert not client.marked("call_missing")


DAY = {
    "type": "object",
    "properties": {"day": {"type": "string"}, "next": {"$ref": "#"}},
    "required": ["day"],
}
WRONG_REFERENCE = {"type": "object", "properties": {"day": {"$ref": "#/none"}}}
ENDLESS = {"type": "object", "$ref": "#"}


@pytest.mark.parametrize(
    ("call", "schema", "why"),
    [
        ({"arguments": {"day": "Sunday"}}, DAY, None),
        ({"arguments": {"day": 7}}, DAY, "its arguments do not fit: day: 7 is not of type 'str"),
        ({}, DAY, "its arguments do not fit: 'day' is a required property"),
        (
            {"arguments": {"day": "x", "next": {}}},
            DAY,
            "its arguments do not fit: next: 'day' is a required property",
        ),
        ({"raw_arguments": '{"day": "Sunday"}'}, DAY, None),
        ({"raw_arguments": ""}, {"type": "object"}, None),
        ({"raw_arguments": "{'day"}, DAY, "its arguments are no JSON"),
        ({"raw_arguments": "[" * 9000}, DAY, "its arguments are no JSON"),
        ({"raw_arguments": "[7]"}, DAY, "its arguments are no JSON object"),
        # A schema that is none, or that no document is needed for, says nothing, and ends nothing.
        ({"arguments": {"day": 7}}, {"type": "object", "properties": 5}, None),
        ({"arguments": {"day": 7}}, {"type": "object", "patternProperties": {"(": {}}}, None),
        ({"arguments": {"day": 7}}, WRONG_REFERENCE, "its arguments do not fit: the schema refers"),
        ({"arguments": {"day": 7}}, ENDLESS, "its arguments do not fit: the schema refers to its"),
        ({"arguments": {"day": 7}}, None, None),
        ({"arguments": {"day": 7}}, {**DAY, "title": "x" * 20_000}, None),
        ({"arguments": {"day": 7}}, {**WRONG_REFERENCE, "title": "x" * 9_000}, "its arguments do"),
    ],
)
def test_arguments_that_do_not_fit_what_the_session_declares_are_told(
    call: dict[str, Any], schema: Any, why: str | None
) -> None:
    client = Client({"greeting": {"function_call": {"name": "hours", **call}}})
    client.update(tools=[{**TOOL, "parameters": schema}])
    client.send("response.create")
    client.wait(60_000)
    told = [mark.fields["why"] for mark in client.marked("call_undeclared")]
    assert [text.startswith(why or "?") for text in told] == ([] if why is None else [True])
    assert all(len(text) < 400 for text in told)
    assert client.marked("function_called"), "it is done all the same"


HOURS = {"type": "function", "name": "hours"}


@pytest.mark.parametrize(
    ("reply", "choice", "why"),
    [
        ({"say": "At nine."}, "required", "tool_choice is required"),
        ({"text": "At nine."}, HOURS, "tool_choice is the function hours"),
        ({"say": "At nine."}, "auto", None),
        ({"say": "At nine.", "function_call": {"name": "hours"}}, "required", None),
        ({"failed": {"code": "server_error"}}, "required", None),
    ],
)
@pytest.mark.parametrize("of_response", [False, True])
def test_an_answer_without_the_call_that_was_asked_for_is_told(
    reply: dict[str, Any], choice: Any, why: str | None, of_response: bool
) -> None:
    client = Client({"greeting": reply})
    fields = {"tools": [TOOL], "tool_choice": choice}
    if not of_response:
        client.update(**fields)
    client.send("response.create", response=fields if of_response else {})
    client.wait(3000)
    told = [mark.fields["why"] for mark in client.marked("call_missing")]
    assert told == ([] if why is None else [why])
    assert client.only("response.done")


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("whisper-1", "duration"),
        ("gpt-realtime-whisper", "duration"),
        ("gpt-4o-transcribe", "tokens"),
    ],
)
def test_a_transcription_is_counted_as_its_model_counts(model: str, kind: str) -> None:
    client = Client({"replies": [{"say": "At nine.", "heard": "When do you open?"}]})
    client.update(audio={"input": {"transcription": {"model": model}}})
    client.say()
    client.wait(3000)
    done = client.only("conversation.item.input_audio_transcription.completed")
    assert done["usage"]["type"] == kind
    deltas = client.all("conversation.item.input_audio_transcription.delta")
    assert {len(delta["delta"]) + len(delta["obfuscation"]) for delta in deltas} == {16}
