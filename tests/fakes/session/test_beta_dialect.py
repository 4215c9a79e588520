"""The beta dialect, checked against the SDK's types of that time."""

import base64
from typing import Any

import pytest
from in_memory import Client
from official import models_by_type, strictly
from openai.types.beta.realtime import RealtimeServerEvent

from callerside.fakes.session.interface import ConnectionRequested
from callerside.speech.synthesis import synthesise

_BETA = models_by_type(RealtimeServerEvent)
EXTRAS = {
    ("Session", "object"),
    ("Session", "expires_at"),
    ("TurnDetection", "idle_timeout_ms"),
    ("ResponseAudioTranscriptDeltaEvent", "obfuscation"),
    ("ResponseTextDeltaEvent", "obfuscation"),
    ("ConversationItemInputAudioTranscriptionDeltaEvent", "obfuscation"),
    ("ResponseFunctionCallArgumentsDeltaEvent", "obfuscation"),
    ("ResponseFunctionCallArgumentsDoneEvent", "name"),
    ("InputTokenDetails", "image_tokens"),
    ("InputTokenDetails", "cached_tokens_details"),
}


def beta(**script: Any) -> Client:
    request = ConnectionRequested(model="gpt-4o-realtime-preview", beta_header=True)
    client = Client({**script, "dialect": "beta"}, request=request)
    client.send(
        "session.update",
        session={
            "modalities": ["text", "audio"],
            "instructions": "Be brief.",
            "voice": "alloy",
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 1000},
            "temperature": 0.8,
        },
    )
    return client


def check_all(client: Client) -> None:
    for event in client.events:
        delta = event.get("delta")
        if isinstance(delta, bytes):
            event = {**event, "delta": base64.b64encode(delta).decode()}
        strictly(_BETA, event, EXTRAS)


def test_a_spoken_turn_in_the_names_of_that_time() -> None:
    client = beta(replies=[{"say": "We open at nine.", "heard": "When?"}])
    client.say(then_silence_ms=1500)
    client.wait(3000)
    check_all(client)
    assert client.types[:2] == ["session.created", "session.updated"]
    assert (
        client.only("session.updated")["session"]["turn_detection"]["silence_duration_ms"] == 1000
    )
    for name in (
        "conversation.item.created",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.delta",
        "response.audio_transcript.done",
    ):
        assert name in client.types
    assert not [kind for kind in client.types if "output_audio" in kind or "item.done" in kind[:17]]
    sent = b"".join(event["delta"] for event in client.all("response.audio.delta"))
    assert sent == synthesise("We open at nine.")


def test_functions_texts_and_items() -> None:
    client = beta(replies=[{"function_call": {"name": "hours"}}, {"say": "At nine."}])
    content = [{"type": "input_text", "text": "When?"}]
    item = {"type": "message", "role": "user", "content": content}
    client.send("conversation.item.create", item=item)
    client.send("response.create")
    client.wait(2000)
    client.send(
        "response.create", response={"modalities": ["text"], "temperature": 0.6, "voice": "echo"}
    )
    client.wait(2000)
    answer = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi."}]}
    client.send("conversation.item.create", item=answer)
    check_all(client)
    assert client.only("response.function_call_arguments.done")["arguments"] == "{}"
    assert client.only("response.text.done")["text"] == "At nine."
    assert not client.all("error")


@pytest.mark.parametrize("name", ["g711_ulaw", "g711_alaw"])
def test_telephone_formats_have_other_names(name: str) -> None:
    client = beta()
    client.send("session.update", session={"input_audio_format": name, "output_audio_format": name})
    session = client.all("session.updated")[-1]["session"]
    assert (session["input_audio_format"], session["output_audio_format"]) == (name, name)


def test_what_that_time_did_not_know_is_refused_by_name() -> None:
    client = beta()
    client.send("session.update", session={"colour": "red"})
    assert client.only("error")["error"]["param"] == "session.colour"
    client.send("session.update", session={"input_audio_format": "mp3"})
    assert client.all("error")[1]["error"]["code"] == "invalid_value"


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"input_audio_format": "mp3"}, "session.input_audio_format"),
        ({"output_audio_format": "mp3"}, "session.output_audio_format"),
        ({"voice": 5}, "session.voice"),
        ({"modalities": ["smell"]}, "session.modalities[0]"),
        ({"max_response_output_tokens": 0}, "session.max_response_output_tokens"),
        (
            {"turn_detection": {"type": "server_vad", "threshold": 2}},
            "session.turn_detection.threshold",
        ),
        (
            {"input_audio_transcription": {"model": 1}},
            "session.input_audio_transcription.model",
        ),
    ],
)
def test_a_bad_value_is_refused_by_the_path_of_that_time(
    session: dict[str, Any], param: str
) -> None:
    client = beta()
    client.send("session.update", session=session)
    error = client.only("error")["error"]
    assert error["param"].startswith(param)
    assert param in error["message"] or "Supported values are:" in error["message"]
    assert "audio.input" not in error["message"]


def test_a_format_is_refused_with_the_names_of_that_time() -> None:
    client = beta()
    client.send("session.update", session={"input_audio_format": "g711-ulaw"})
    error = client.only("error")["error"]
    assert error["param"] == "session.input_audio_format"
    assert error["message"] == (
        "Invalid value: 'g711-ulaw'. Supported values are: 'pcm16', 'g711_ulaw', and 'g711_alaw'."
    )


def test_a_responses_tokens_are_limited_in_the_words_of_that_time() -> None:
    client = beta(replies=[{"say": "We open at nine on every day of the week."}])
    client.send("response.create", response={"max_response_output_tokens": 5})
    client.wait(3000)
    assert client.only("response.done")["response"]["status"] == "incomplete"
    client.send("response.create", response={"max_response_output_tokens": 0})
    assert client.only("error")["error"]["param"].startswith("response.max_response_output_tokens")


def test_the_beta_header_is_welcome_here() -> None:
    client = Client({"dialect": "beta"}, request=ConnectionRequested(beta_header=True))
    assert client.types == ["session.created"]
