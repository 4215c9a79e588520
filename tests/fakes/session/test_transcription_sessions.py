"""Sessions that only write down what they hear, and what transcription tells in all of them."""

import json
from typing import Any

import pytest
from in_memory import Client
from official import check

from callerside.fakes.script.prepare import prepared_reply
from callerside.fakes.script.reply import Reply
from callerside.fakes.server.codec import encode
from callerside.fakes.session.faults import parse_fault
from callerside.fakes.session.interface import Changed, ConnectionRequested
from callerside.fakes.session.session import RealtimeSession

HEARD = "When do you open?"
INTENT = ConnectionRequested(intent="transcription")


def session(**audio_in: Any) -> dict[str, Any]:
    return {"type": "transcription", "audio": {"input": audio_in}}


def transcribing(*replies: dict[str, Any], model: str = "gpt-4o-transcribe", **more: Any) -> Client:
    client = Client({"replies": replies}, request=INTENT)
    described = session(transcription={"model": model, **more.pop("options", {})}) | more
    client.send("session.update", session=described)
    return client


def kinds(client: Client) -> list[str]:
    return list(dict.fromkeys(client.types))


def test_a_transcription_session_hears_turns_and_answers_nobody() -> None:
    client = transcribing({"heard": HEARD, "say": "At nine."}, {"heard": "Thanks.", "say": "Bye."})
    for _ in range(2):
        client.say()
        client.wait(3000)
    assert kinds(client) == [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    completed = client.all("conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in completed] == [HEARD, "Thanks."]
    for event in client.events:
        check(json.loads(encode(event)))


def test_its_session_says_nothing_of_an_answer() -> None:
    created = Client(request=INTENT).only("session.created")["session"]
    assert created["type"] == "transcription"
    assert created["object"] == "realtime.transcription_session"
    assert set(created["audio"]) == {"input"}
    assert "model" not in created
    assert "create_response" not in created["audio"]["input"]["turn_detection"]


def test_turns_of_the_clients_own_are_transcribed() -> None:
    client = transcribing({"heard": HEARD, "say": "x"})
    client.send("session.update", session=session(turn_detection=None))
    client.hear(bytes(48 * 200))
    client.send("input_audio_buffer.commit")
    client.wait(2000)
    done = client.only("conversation.item.input_audio_transcription.completed")
    assert done["transcript"] == HEARD


def refused(client: Client) -> tuple[str, str | None, str]:
    error = client.all("error")[-1]["error"]
    return error["code"], error["param"], error["message"]


def test_the_url_of_one_names_no_model() -> None:
    client = Client(request=ConnectionRequested(intent="transcription", model="gpt-realtime"))
    message = "You must not provide a model parameter for transcription sessions."
    assert refused(client) == ("invalid_parameter", "model", message)
    assert client.closed is not None
    assert client.closed.code == 4000


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "whisper-1", "gpt-realtime-whisper"])
def test_a_model_that_only_transcribes_is_none_of_a_session(model: str) -> None:
    client = Client(request=ConnectionRequested(model=model))
    assert refused(client)[2].startswith(f"Model {model} is a transcription model")


@pytest.mark.parametrize(
    ("described", "param", "words"),
    [
        ({"type": "realtime"}, "session.type", "Passing a realtime session update event"),
        (
            session(
                transcription={"model": "gpt-realtime-whisper"},
                turn_detection={"type": "server_vad"},
            ),
            "session.audio.input.turn_detection",
            "Turn detection is not supported for this transcription model.",
        ),
        (
            session(transcription={"model": "whisper-1", "languages": ["en"]}),
            "session.audio.input.transcription.languages",
            "'languages' parameter is not supported for transcription model 'whisper-1'",
        ),
        (
            session(transcription={"model": "gpt-realtime-whisper", "prompt": "Hotels."}),
            "session.audio.input.transcription.prompt",
            "'prompt' parameter",
        ),
        ({**session(), "instructions": "x"}, "session.instructions", "Unknown parameter"),
    ],
)
def test_what_one_refuses(described: dict[str, Any], param: str, words: str) -> None:
    client = Client(request=INTENT)
    client.send("session.update", session=described)
    assert refused(client)[1] == param
    assert words in refused(client)[2]
    assert "session.updated" not in client.types


def test_responses_are_refused_in_one() -> None:
    client = Client(request=INTENT)
    client.send("response.create")
    assert refused(client)[2] == "Responses cannot be created in a transcription session."


def test_whisper_has_no_turns_unless_the_client_makes_them() -> None:
    client = transcribing({"heard": HEARD, "say": "x"}, model="gpt-realtime-whisper")
    assert client.only("session.updated")["session"]["audio"]["input"]["turn_detection"] is None
    client.say()
    assert "input_audio_buffer.speech_started" not in client.types


def test_logprobs_come_if_the_session_includes_them() -> None:
    include = ["item.input_audio_transcription.logprobs"]
    sure = transcribing({"heard": HEARD, "say": "x"}, include=include)
    silent = transcribing({"heard": HEARD, "say": "x"})
    for client in (sure, silent):
        client.say()
        client.wait(2000)
    done = sure.only("conversation.item.input_audio_transcription.completed")
    assert "".join(token["token"] for token in done["logprobs"]) == f" {HEARD}"
    assert all(-0.5 <= token["logprob"] <= 0 for token in done["logprobs"])
    assert bytes(done["logprobs"][0]["bytes"]).decode() == done["logprobs"][0]["token"]
    deltas = sure.all("conversation.item.input_audio_transcription.delta")
    assert [len(delta["logprobs"]) for delta in deltas] == [1, 1, 1, 1]
    assert not any("logprobs" in event for event in silent.events)


def test_languages_are_named_by_the_model_that_names_them() -> None:
    reply = {"heard": HEARD, "heard_in": ["en", "de"], "say": "x"}
    options = {"languages": ["en", "de"]}
    naming = transcribing(reply, model="gpt-transcribe", options=options)
    other = transcribing(reply)
    for client in (naming, other):
        client.say()
        client.wait(2000)
        check(json.loads(encode(client.events[-1])))
    assert naming.events[-1]["languages"] == [{"code": "en"}, {"code": "de"}]
    assert "languages" not in other.events[-1]


def test_a_failure_has_the_scripts_code_and_words() -> None:
    failure = {"code": "transcription_timeout", "message": "It took too long."}
    client = transcribing({"unheard": failure, "say": "x"})
    client.say()
    client.wait(2000)
    error = client.only("conversation.item.input_audio_transcription.failed")["error"]
    assert (error["code"], error["message"]) == tuple(failure.values())


def test_usage_is_seconds_of_whisper_and_tokens_of_the_others() -> None:
    told = []
    for model in ("whisper-1", "gpt-4o-transcribe"):
        client = transcribing({"heard": "12345678", "say": "x"}, model=model)
        client.send("session.update", session=session(turn_detection=None))
        client.hear(bytes(48 * 1500))
        client.send("input_audio_buffer.commit")
        client.wait(2000)
        told.append(client.events[-1]["usage"])
    assert told == [
        {"type": "duration", "seconds": 2},
        {
            "type": "tokens",
            "total_tokens": 17,
            "input_tokens": 15,
            "output_tokens": 2,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 15},
        },
    ]


def test_a_speaker_is_told_by_the_model_that_tells_speakers() -> None:
    client = transcribing({"heard": HEARD, "say": "x"}, model="gpt-4o-transcribe-diarize")
    client.say()
    client.wait(2000)
    segment = client.only("conversation.item.input_audio_transcription.segment")
    assert (segment["speaker"], segment["text"], segment["start"]) == ("A", HEARD, 0.0)
    check(json.loads(encode(segment)))


def test_what_is_given_for_the_next_turns_is_heard_in_one_each() -> None:
    client = transcribing({"heard": "One.", "say": "x"}, {"heard": "Two.", "say": "x"})
    given = Reply(say="Never.", heard="Given.")
    client.feed(Changed(replies=(prepared_reply(given),)))
    for _ in range(2):
        client.say()
        client.wait(3000)
    completed = client.all("conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in completed] == ["Given.", "Two."]


def test_a_fault_of_an_answer_is_none_of_a_session_that_transcribes() -> None:
    client = transcribing({"heard": HEARD, "say": "At nine."})
    session = client.session
    assert isinstance(session, RealtimeSession)
    late = Changed(faults=(parse_fault("fail at=reply 1"),))
    assert session.why_no_change(late) == "faults.0: the session answers nobody: it transcribes"
    assert session.why_no_change(Changed(faults=(parse_fault("drop at=turn 1"),))) is None


@pytest.mark.parametrize(("model", "early"), [("gpt-realtime-whisper", True), ("whisper-1", False)])
def test_one_model_tells_its_words_before_the_speech_stops(model: str, early: bool) -> None:
    client = Client({"replies": [{"say": "At nine.", "heard": "When do you open?"}]})
    client.update(audio={"input": {"transcription": {"model": model}}})
    client.say()
    client.wait(1000)
    words = "conversation.item.input_audio_transcription.delta"
    told = [event["delta"] for event in client.all(words)]
    assert told == [" When", " do", " you", " open?"]  # once each
    stopped = client.types.index("input_audio_buffer.speech_stopped")
    assert all(
        (position < stopped) == early for position, kind in enumerate(client.types) if kind == words
    )
    done = client.only("conversation.item.input_audio_transcription.completed")
    assert done["transcript"] == "When do you open?"
    assert client.types.index(done["type"]) > stopped
