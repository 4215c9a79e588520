"""Every event of the API is known: those that are not are named here, with the reason."""

import json

from in_memory import Client
from official import check, models_by_type
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent

from callerside.fakes.server.codec import encode
from callerside.fakes.session.requests import CLIENT_EVENTS

NOT_OVER_A_WEBSOCKET = {
    "output_audio_buffer.clear",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "output_audio_buffer.cleared",
    "input_audio_buffer.dtmf_event_received",
}
OF_THE_BETA = {"conversation.created", "conversation.item.created"}
LEFT_OUT = NOT_OVER_A_WEBSOCKET | OF_THE_BETA


def test_every_client_event_is_understood() -> None:
    assert set(CLIENT_EVENTS) == models_by_type(RealtimeClientEvent).keys() - LEFT_OUT


def long_session() -> Client:
    """A session in which everything happens."""
    call = {"name": "hours", "arguments": {"day": "Saturday"}}
    tools = [{"name": "find_order"}]
    mcp = {"shop": {"tools": tools, "list_ms": 0}, "closed": {"fails": True, "list_ms": 0}}
    order = {"server": "shop", "name": "find_order", "arguments": {"number": 7}}
    replies = [
        {"say": "At nine.", "heard": "When do you open?"},
        {"say": "Pardon?", "unheard": True},
        {"function_call": call},
        {"say": "Are you there?"},
        {"text": "At nine."},
        {"mcp_call": {**order, "returns": {"state": "sent"}}},
        {"mcp_call": {**order, "fails": {"message": "No such order."}}},
    ]
    timing = {"think_ms": 50, "transcription_ms": 20}
    client = Client({"replies": replies, "mcp": mcp, "timing": timing})
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    transcription = {"model": "gpt-4o-transcribe-diarize"}
    audio_in = {"transcription": transcription, "turn_detection": detection}
    servers = [
        {
            "type": "mcp",
            "server_label": label,
            "server_url": "https://x",
            "require_approval": "never",
        }
        for label in mcp
    ]
    client.update(audio={"input": audio_in}, tools=servers)
    for _ in range(3):
        client.say()
        client.wait(1000)
    client.hear(bytes(48 * 8000))
    client.wait(3000)
    client.send("response.create", response={"output_modalities": ["text"]})
    client.wait(3000)
    for _ in range(2):
        client.send("response.create")
        client.wait(3000)
    spoken = client.all("response.output_audio.done")[0]["item_id"]
    client.send("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=10)
    for kind in ("retrieve", "delete", "delete"):
        client.send(f"conversation.item.{kind}", item_id=spoken)
    client.send("input_audio_buffer.clear")
    return client


def test_every_server_event_is_sent_as_the_sdk_has_it() -> None:
    client = long_session()
    for event in client.events:
        check(json.loads(encode(event)))
    assert set(client.types) == models_by_type(RealtimeServerEvent).keys() - LEFT_OUT
