"""The agent's reading of the protocol, held against the official SDK's types and real sessions."""

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from callerside.agent.config.settings import CallSettings
from callerside.agent.realtime import events, requests
from callerside.agent.realtime.dialects import BETA_TO_GA, ga_name
from callerside.audio import AudioFormat

CLIENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
SERVER: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
PCM = AudioFormat("pcm")

EVERYTHING = {
    "realtime": {
        "transcription_model": "gpt-4o-mini-transcribe",
        "noise_reduction": "near_field",
        "speed": 1.1,
        "max_output_tokens": 500,
    },
    "turns": {"vad": {"idle_timeout_ms": 6000}},
    "tools": {"transfer": ["sip:desk@example.org"], "send_dtmf": True},
}
TOOL = {
    "type": "function",
    "name": "opening_hours",
    "description": "When we are open.",
    "parameters": {"type": "object", "properties": {}, "required": []},
}


def on_the_wire(event: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON would carry it."""
    return {
        k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in event.items()
    }


def unknown_fields(model: Any, path: str = "") -> Iterator[str]:
    """Fields that the SDK's types do not know: it keeps them without a word."""
    if isinstance(model, BaseModel):
        for name in model.model_extra or {}:
            yield f"{path}.{name}"
        for name in type(model).model_fields:
            yield from unknown_fields(getattr(model, name), f"{path}.{name}")
    elif isinstance(model, list):
        for index, item in enumerate(model):
            yield from unknown_fields(item, f"{path}.{index}")


@pytest.mark.parametrize(
    "event",
    [
        requests.append(b"\1\2"),
        requests.commit(),
        requests.truncate("item", 120),
        requests.cancel("resp"),
        requests.response_create("turn", dialect="ga"),
        requests.response_create("greeting", instructions="Hi", voice="marin", dialect="ga"),
        requests.assistant_message("Hello.", "ga"),
        requests.user_message("I pressed 1."),
        requests.system_message("Go on."),
        requests.function_call("c1", "f", "{}"),
        requests.function_output("c1", "closed"),
        requests.session_update(CallSettings(), PCM, []),
        requests.session_update(CallSettings.model_validate(EVERYTHING), PCM, [TOOL]),
        requests.session_update(CallSettings(), AudioFormat("pcmu"), []),
        requests.session_update(
            CallSettings.model_validate({"turns": {"vad": {"type": "semantic_vad"}}}), PCM, []
        ),
        requests.session_update(
            CallSettings.model_validate({"turns": {"policy": "local"}}), PCM, []
        ),
    ],
    ids=lambda event: event["type"],
)
def test_everything_that_we_send_is_what_the_official_types_expect(event: dict[str, Any]) -> None:
    model = CLIENT.validate_python(on_the_wire({**event, "event_id": "e1"}))
    assert type(model).__name__ != "dict"
    assert list(unknown_fields(model)) == []


def test_the_session_says_what_the_settings_say() -> None:
    settings = CallSettings.model_validate(EVERYTHING)
    sent = requests.session_update(settings, PCM, [TOOL])["session"]
    assert sent["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": 6000,
    }
    assert sent["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "voice": "marin",
        "speed": 1.1,
    }
    assert sent["output_modalities"] == ["audio"]
    assert sent["tools"] == [TOOL]


def test_the_beta_session_is_flat() -> None:
    settings = CallSettings.model_validate({**EVERYTHING, "realtime": {"dialect": "beta"}})
    sent = requests.session_update(settings, AudioFormat("pcmu"), [])["session"]
    assert sent["input_audio_format"] == sent["output_audio_format"] == "g711_ulaw"
    assert sent["modalities"] == ["audio", "text"]
    assert sent["voice"] == "marin"
    assert "type" not in sent
    assert "audio" not in sent


def test_barge_in_switched_off_is_told_to_the_server() -> None:
    settings = CallSettings.model_validate({"turns": {"barge_in": False}})
    sent = requests.session_update(settings, PCM, [])["session"]
    assert sent["audio"]["input"]["turn_detection"]["interrupt_response"] is False


RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "realtime.response",
    "status": "completed",
    "status_details": None,
    "output": [],
    "metadata": {"purpose": "greeting"},
    "usage": {"total_tokens": 30, "input_tokens": 10, "output_tokens": 20},
}
CALL_ITEM = {
    "id": "item_2",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "opening_hours",
    "arguments": '{"day":"Sunday"}',
}
IDS = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
USAGE = {"type": "tokens", "total_tokens": 3, "input_tokens": 2, "output_tokens": 1}

READ: list[tuple[dict[str, Any], events.ServerEvent]] = [
    (
        {"type": "error", "error": {"type": "x", "code": "c", "message": "m", "event_id": "e9"}},
        events.ApiError(code="c", message="m", event_id="e9"),
    ),
    (
        {"type": "error", "error": {"type": "server_error", "code": None, "message": "m"}},
        events.ApiError(code="server_error", message="m", event_id=None),
    ),
    (
        {"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": 3},
        events.SpeechStarted(item_id="i", audio_start_ms=3),
    ),
    (
        {"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": 4},
        events.SpeechStopped(item_id="i", audio_end_ms=4),
    ),
    (
        {"type": "input_audio_buffer.committed", "item_id": "i", "previous_item_id": None},
        events.Committed(item_id="i"),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "i",
            "content_index": 0,
            "transcript": "Hello?",
            "usage": USAGE,
        },
        events.Transcribed(item_id="i", transcript="Hello?"),
    ),
    (
        {
            "type": "conversation.item.truncated",
            "item_id": "i",
            "content_index": 0,
            "audio_end_ms": 700,
        },
        events.Truncated(item_id="i", audio_end_ms=700),
    ),
    (
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
        events.ResponseCreated(response_id="resp_1", purpose="greeting"),
    ),
    (
        {"type": "response.output_audio.delta", **IDS, "delta": b"\1\2"},
        events.AudioDelta(response_id="resp_1", item_id="item_1", audio=b"\1\2"),
    ),
    (
        {"type": "response.output_audio.done", **IDS},
        events.AudioDone(response_id="resp_1", item_id="item_1"),
    ),
    (
        {"type": "response.output_audio_transcript.done", **IDS, "transcript": "Hi."},
        events.TranscriptDone(response_id="resp_1", item_id="item_1", transcript="Hi."),
    ),
    (
        {"type": "response.output_audio_transcript.delta", **IDS, "delta": "H"},
        events.ResponseProgressed(response_id="resp_1"),
    ),
    (
        {"type": "response.done", "response": {**RESPONSE, "output": [CALL_ITEM]}},
        events.ResponseDone(
            response_id="resp_1",
            purpose="greeting",
            status="completed",
            reason=None,
            calls=(
                events.FunctionCall(
                    item_id="item_2",
                    call_id="call_1",
                    name="opening_hours",
                    arguments='{"day":"Sunday"}',
                ),
            ),
            input_tokens=10,
            output_tokens=20,
        ),
    ),
    (
        {
            "type": "response.done",
            "response": {
                **RESPONSE,
                "status": "failed",
                "usage": None,
                "status_details": {
                    "type": "failed",
                    "error": {"type": "rate", "code": "inference_rate_limit_exceeded"},
                },
            },
        },
        events.ResponseDone(
            response_id="resp_1",
            purpose="greeting",
            status="failed",
            reason="inference_rate_limit_exceeded",
            calls=(),
            input_tokens=None,
            output_tokens=None,
        ),
    ),
    (
        {"type": "rate_limits.updated", "rate_limits": []},
        events.Ignored(type="rate_limits.updated"),
    ),
]


@pytest.mark.parametrize(("event", "expected"), READ, ids=lambda value: getattr(value, "type", ""))
def test_server_events_are_read(event: dict[str, Any], expected: events.ServerEvent) -> None:
    official = {"event_id": "event_1", **on_the_wire(event)}
    SERVER.validate_python(official)
    assert events.read({"event_id": "event_1", **event}, "ga") == expected


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ({"type": None}, "type is None, expected a string"),
        ({"type": "input_audio_buffer.committed"}, "no item_id, expected str"),
        ({"type": "input_audio_buffer.committed", "item_id": 3}, "item_id is int, expected str"),
        (
            {"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": True},
            "audio_start_ms is bool, expected int",
        ),
        ({"type": "response.done", "response": {"id": "r"}}, "no status, expected str"),
        (
            {
                "type": "response.done",
                "response": {"id": "r", "status": "x", "output": [{"type": "function_call"}]},
            },
            "no call_id, expected str",
        ),
    ],
)
def test_a_broken_event_is_told_by_field(event: dict[str, Any], problem: str) -> None:
    with pytest.raises(events.EventError) as error:
        events.read(event, "ga")
    assert str(error.value) == problem


RECORDINGS = Path(
    os.environ.get("CALLERSIDE_RECORDINGS") or Path(__file__).parents[4] / "shared" / "recordings"
)


@pytest.mark.skipif(
    not RECORDINGS.is_dir(),
    reason="no recorded sessions: CALLERSIDE_RECORDINGS names a folder of them",
)
def test_every_event_of_real_sessions_is_read() -> None:
    files = sorted(RECORDINGS.glob("*.yaml"))
    assert files
    for file in files:
        for interaction in yaml.safe_load(file.read_text())["interactions"]:
            event = interaction["data"]
            if interaction["direction"] == "received" and isinstance(event, dict):
                if event["type"] == "response.output_audio.delta":
                    event["delta"] = base64.b64decode(event["delta"])
                read = events.read(event, "ga")
                if event["type"].startswith(("response.", "input_audio_buffer.", "error")):
                    assert not isinstance(read, events.Ignored), event["type"]


def test_the_formats_in_force_are_read_in_both_dialects() -> None:
    ga = requests.session_update(CallSettings(), PCM, [])["session"]
    told = events.read({"type": "session.updated", "session": ga}, "ga")
    assert told == events.SessionUpdated(input_format="audio/pcm", output_format="audio/pcm")
    assert requests.format_name(PCM, "ga") == "audio/pcm"
    beta_settings = CallSettings.model_validate({"realtime": {"dialect": "beta"}})
    beta = requests.session_update(beta_settings, PCM, [])["session"]
    told = events.read({"type": "session.updated", "session": beta}, "beta")
    assert told == events.SessionUpdated(input_format="pcm16", output_format="pcm16")


def test_beta_names_are_read_under_the_beta_dialect_only() -> None:
    delta = {"type": "response.audio.delta", **IDS, "delta": b"\1\2"}
    assert isinstance(events.read(delta, "beta"), events.AudioDelta)
    assert isinstance(events.read(delta, "ga"), events.Ignored)
    for beta, ga in BETA_TO_GA.items():
        assert ga_name(beta, "beta") == ga
        assert ga_name(beta, "ga") == beta
