"""The shapes of answers: each as the API's types have it, and in the order of the API."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_memory import Client
from official import RECORDED_EXTRAS, check, models_by_type, strictly
from openai.types.realtime import RealtimeServerEvent
from pydantic import ValidationError

from callerside.audio_files import write_wav
from callerside.fakes.script.reply import Reply
from callerside.fakes.server.codec import encode
from callerside.fakes.session.response_scheduler import MOST_UNASKED

CALLS = [{"name": "opening_hours", "arguments": {"day": day}} for day in ("Saturday", "Sunday")]
TIMING = {"think_ms": 300}


def played(*replies: dict[str, Any], **session: Any) -> Client:
    """A session in which the caller has asked one question, and everything has come."""
    client = Client({"replies": list(replies), "timing": TIMING})
    if session:
        client.update(**session)
    client.say()
    client.wait(8000)
    for event in client.events:
        check(json.loads(encode(event)))
    return client


def told(client: Client) -> list[tuple[str, int | None]]:
    """Types of what a response sent, with `output_index`; deltas once where several follow."""
    begin = client.types.index("response.created")
    told: list[tuple[str, int | None]] = []
    for event in client.events[begin:]:
        one = (event["type"], event.get("output_index"))
        if "_transcript.delta" not in one[0] and one not in told[-1:]:
            told.append(one)
    return told


def spoken_ms(client: Client, item_id: str) -> float:
    return sum(
        len(event["delta"]) / 48
        for event in client.all("response.output_audio.delta")
        if event["item_id"] == item_id
    )


def test_a_sentence_and_two_calls_are_items_of_one_response() -> None:
    client = played({"say": "One moment.", "function_calls": CALLS})
    call = [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
    ]
    after_message = told(client)[told(client).index(("response.output_item.done", 0)) + 1 :]
    indexed = [
        (kind, None if kind.startswith("conversation") else n) for n in (1, 2) for kind in call
    ]
    assert after_message == [*indexed, ("response.done", None), ("rate_limits.updated", None)]
    output = client.only("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert [json.loads(item["arguments"])["day"] for item in output[1:]] == ["Saturday", "Sunday"]
    assert len({item["call_id"] for item in output[1:]}) == 2
    added = client.all("conversation.item.added")[-3:]
    assert added[1]["previous_item_id"] == added[0]["item"]["id"]
    assert added[2]["previous_item_id"] == added[1]["item"]["id"]


def test_two_messages_are_two_items_with_audio_of_their_own() -> None:
    client = played(
        {"items": [{"say": "At nine."}, {"say": "And closed on Sunday.", "after_ms": 700}]}
    )
    first, second = client.only("response.done")["response"]["output"]
    assert [one["content"][0]["transcript"] for one in (first, second)] == [
        "At nine.",
        "And closed on Sunday.",
    ]
    assert 300 < spoken_ms(client, first["id"]) < spoken_ms(client, second["id"])
    ended, begun = (
        next(
            at
            for at, event in zip(client.times_ms, client.events, strict=True)
            if event["type"] == kind and event["output_index"] == index
        )
        for kind, index in (("response.output_item.done", 0), ("response.output_item.added", 1))
    )
    assert begun - ended == pytest.approx(700)
    heard_ms = int(spoken_ms(client, second["id"]))
    client.send(
        "conversation.item.truncate",
        item_id=second["id"],
        content_index=0,
        audio_end_ms=heard_ms + 2,
    )
    assert "already shorter" in client.only("error")["error"]["message"]


def test_text_alone_makes_no_sound_in_a_session_of_audio() -> None:
    client = played({"text": "We open at nine."})
    assert "response.output_audio.delta" not in client.types
    response = client.only("response.done")["response"]
    assert response["status"] == "completed"
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "We open at nine."}]
    assert client.only("response.output_text.done")["text"] == "We open at nine."


def test_text_and_speech_may_stand_in_one_response() -> None:
    client = played({"items": [{"text": "(thinks)"}, {"say": "At nine."}]})
    parts = [event["part"]["type"] for event in client.all("response.content_part.done")]
    assert parts == ["text", "audio"]


@pytest.mark.parametrize(
    ("end", "status", "details"),
    [
        (
            {"incomplete": {"after_ms": 400}},
            "incomplete",
            {"type": "incomplete", "reason": "max_output_tokens"},
        ),
        (
            {"incomplete": {"after_ms": 400, "reason": "content_filter"}},
            "incomplete",
            {"type": "incomplete", "reason": "content_filter"},
        ),
        (
            {"cancelled": {"after_ms": 400}},
            "cancelled",
            {"type": "cancelled", "reason": "turn_detected"},
        ),
        ({"failed": {"after_ms": 400, "code": "insufficient_quota"}}, "failed", None),
        ({"failed": {"after_ms": 0}}, "failed", None),
        ({"incomplete": {}}, "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}),
    ],
)
def test_a_response_may_end_otherwise(
    end: dict[str, Any], status: str, details: dict[str, Any] | None
) -> None:
    client = played({"say": "We open at nine in the morning.", **end})
    response = client.only("response.done")["response"]
    assert response["status"] == status
    if details is not None:
        assert response["status_details"] == details
    else:
        code = end["failed"].get("code", "server_error")
        assert response["status_details"]["error"]["code"] == code
    after_ms = next(iter(end.values())).get("after_ms")
    (done,) = client.marked("response_done")
    assert done.fields["status"] == status
    if after_ms == 0:
        assert response["output"] == []
        return
    (item,) = response["output"]
    assert item["status"] == "incomplete"
    sent_ms = spoken_ms(client, item["id"])
    assert sent_ms == pytest.approx(after_ms, abs=0.1) if after_ms else sent_ms > 1000


def test_nothing_may_come_of_a_turn() -> None:
    client = played({"sends_only": "nothing"}, {"say": "At nine."})
    assert "response.created" not in client.types
    client.send("response.create")
    client.wait(3000)
    assert client.only("response.done")["response"]["output"][0]["content"][0]["transcript"] == (
        "At nine."
    )


def test_a_response_may_be_created_and_never_heard_of() -> None:
    client = played({"sends_only": "created"})
    assert told(client) == [("response.created", None)]
    client.send("response.create")
    assert client.only("error")["error"]["code"] == "conversation_already_has_active_response"


def test_a_second_response_may_follow_unasked() -> None:
    client = played({"say": "At nine.", "next_after_ms": 0}, {"say": "Anything else?"})
    done, again = client.all("response.done")
    assert again["response"]["output"][0]["content"][0]["transcript"] == "Anything else?"
    times = dict(zip(client.types, client.times_ms, strict=True))
    first_done_ms = client.time_ms("response.done")
    assert times["response.created"] == pytest.approx(first_done_ms)  # the last one's time
    assert done["response"]["id"] != again["response"]["id"]


def test_a_caller_who_speaks_gets_no_second_response() -> None:
    script = {
        "replies": [{"say": "At nine.", "next_after_ms": 2500}, {"say": "Second."}],
        "timing": {"think_ms": 100},
    }
    client = Client(script)
    client.say(then_silence_ms=600)
    client.wait(500)
    client.say("And on Sunday?", then_silence_ms=600)
    client.wait(6000)
    assert len(client.all("response.done")) == 2


def test_replies_that_follow_one_another_by_themselves_have_an_end() -> None:
    script = {"greeting": {"text": "Hi."}, "default_reply": {"text": "And.", "next_after_ms": 0}}
    client = Client({**script, "timing": {"think_ms": 1}})
    client.say(then_silence_ms=600)
    client.wait(60_000)
    assert len(client.all("response.done")) == 1 + MOST_UNASKED
    (bounded,) = client.marked("unasked_bounded")
    assert bounded.fields == {"most": MOST_UNASKED}
    client.say(then_silence_ms=600)
    client.wait(60_000)
    assert len(client.all("response.done")) == 2 * (1 + MOST_UNASKED)


def test_silence_may_come_first_and_inside() -> None:
    plain = played({"say": "At nine."})
    paused = {
        "say": "At nine.",
        "pauses": [{"at_ms": 0, "for_ms": 800}, {"at_ms": 200, "for_ms": 300}],
    }
    client = played(paused)
    audio = b"".join(event["delta"] for event in client.all("response.output_audio.delta"))
    without = b"".join(event["delta"] for event in plain.all("response.output_audio.delta"))
    assert audio[: 48 * 800] == bytes(48 * 800)
    assert audio[48 * 1000 : 48 * 1300] == bytes(48 * 300)
    assert audio[48 * 800 : 48 * 1000] + audio[48 * 1300 :] == without


@pytest.mark.parametrize("encoding", ["pcm", "pcmu"])
@pytest.mark.parametrize(
    ("amplitude", "after_ms", "inaudible"),
    [(0, 0, True), (60, 0, True), (6000, 0, False), (6000, 800, False)],
)
def test_audio_that_nobody_can_hear_is_told(
    tmp_path: Path, encoding: str, amplitude: int, after_ms: int, *, inaudible: bool
) -> None:
    tone = np.sin(np.arange(24_000) * 0.1) * amplitude
    sound = np.concatenate([np.zeros(24 * after_ms), tone]).astype("<i2")
    write_wav(tmp_path / "said.wav", sound, 24_000)
    reply = {"wav": str(tmp_path / "said.wav"), "transcript": "At nine."}
    audio = {"output": {"format": {"type": f"audio/{encoding}"}}}
    client = played(reply, audio=audio)
    (done,) = client.marked("response_done")
    assert done.fields.get("inaudible", False) is inaudible
    # What is cut off before it begins to sound was not heard either.
    (cut,) = played({**reply, "incomplete": {"after_ms": 500}}, audio=audio).marked("response_done")
    assert cut.fields.get("inaudible", False) is (inaudible or after_ms > 500)


def test_a_transcript_may_run_behind_its_sound() -> None:
    client = played({"say": "At nine in the morning, on all days.", "transcript_lag_ms": 500})
    last_audio_ms = max(
        at
        for at, kind in zip(client.times_ms, client.types, strict=True)
        if kind == "response.output_audio.delta"
    )
    words = [
        (at, event["delta"])
        for at, event in zip(client.times_ms, client.events, strict=True)
        if event["type"] == "response.output_audio_transcript.delta"
    ]
    assert "".join(word for _, word in words) == "At nine in the morning, on all days."
    assert words[-1][0] > last_audio_ms
    assert words[0][0] - client.time_ms("response.output_audio.delta") == pytest.approx(500)
    assert client.types[-2] == "response.done"


@pytest.mark.parametrize("arguments", ["{'day': Sunday", "", "[1]"])
def test_arguments_may_be_no_json(arguments: str) -> None:
    client = played({"function_call": {"name": "hours", "raw_arguments": arguments}})
    assert client.only("response.function_call_arguments.done")["arguments"] == arguments
    (mark,) = client.marked("function_called")
    assert mark.fields["arguments"] == ([1] if arguments == "[1]" else arguments)


def test_a_message_may_have_a_phase() -> None:
    client = Client({"replies": [{"say": "One moment.", "phase": "commentary"}]})
    client.say()
    client.wait(4000)
    (item,) = client.only("response.done")["response"]["output"]
    assert item["phase"] == "commentary"
    extras = RECORDED_EXTRAS | {("RealtimeConversationItemAssistantMessage", "phase")}
    for event in client.events:
        strictly(models_by_type(RealtimeServerEvent), json.loads(encode(event)), extras)


def test_all_is_text_in_a_session_of_text() -> None:
    client = played({"items": [{"say": "At nine."}, {"text": "OK."}]}, output_modalities=["text"])
    kinds = [
        one["content"][0]["type"] for one in client.only("response.done")["response"]["output"]
    ]
    assert kinds == ["output_text", "output_text"]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({}, "exactly one of"),
        ({"say": "a", "text": "b"}, "say and text"),
        ({"say": "a", "items": [{"say": "b"}]}, "say and items"),
        ({"function_call": {"name": "f"}, "function_calls": [{"name": "g"}]}, "in one of them"),
        ({"items": [{"say": "b"}], "function_call": {"name": "f"}}, "in one of them"),
        ({"say": "a", "failed": {}, "incomplete": {}}, "ends in one way"),
        ({"say": "a", "sends_only": "created"}, "no content"),
        ({"text": "a", "pauses": [{"at_ms": 0, "for_ms": 1}]}, "pauses are silence"),
        ({"items": [{"say": "a", "text": "b"}]}, "an item has exactly one"),
        (
            {"function_call": {"name": "f", "arguments": {"a": 1}, "raw_arguments": "{"}},
            "one of them",
        ),
    ],
)
def test_what_no_reply_can_say_is_refused(reply: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Reply.model_validate(reply)
