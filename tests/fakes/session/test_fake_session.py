import base64
import json
from typing import Any

import pytest
from in_memory import Client
from recorded import FOLDER, needs_recordings

from callerside.fakes.session.context import Observation
from callerside.fakes.session.interface import KeepAudio, KeepSent
from callerside.mark_registry import MARKS
from callerside.speech.synthesis import synthesise

SILENCE = bytes(960)


def collapsed(types: list[str]) -> list[str]:
    """Event types without the repetitions of deltas."""
    return [kind for n, kind in enumerate(types) if "delta" not in kind or kind not in types[:n]]


def test_a_session_begins_with_its_defaults() -> None:
    client = Client()
    session = client.only("session.created")["session"]
    assert session["model"] == "gpt-realtime-2.1"
    assert session["expires_at"] == 1_000 + 3600
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }


def test_a_spoken_turn_has_the_recorded_order_of_events() -> None:
    client = Client({"replies": [{"say": "We open at nine."}]})
    client.hear(SILENCE * 25)
    client.say()
    client.wait(2000)
    assert collapsed(client.types) == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]


def test_one_item_id_runs_from_speech_to_the_user_item() -> None:
    client = Client()
    client.say()
    item = client.only("input_audio_buffer.speech_started")["item_id"]
    assert client.only("input_audio_buffer.speech_stopped")["item_id"] == item
    assert client.only("input_audio_buffer.committed")["item_id"] == item
    assert client.all("conversation.item.added")[0]["item"]["id"] == item


def test_boundaries_of_speech_lie_on_frames_of_32_ms() -> None:
    client = Client()
    client.hear(SILENCE * 31)
    client.say()
    start_ms = client.only("input_audio_buffer.speech_started")["audio_start_ms"]
    end_ms = client.only("input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert (start_ms + 300) % 32 == 0
    assert end_ms % 32 == 0
    assert start_ms + 300 == pytest.approx(620, abs=64)


@pytest.mark.parametrize("think_ms", [0, 1, 300, 2500])
def test_the_think_time_is_exact(think_ms: float) -> None:
    client = Client({"replies": [{"say": "Yes.", "think_ms": think_ms}]})
    client.say()
    client.wait(5000)
    (planned,) = client.marked("response_planned")
    first = client.marked("delta_sent")[0]
    (committed,) = client.marked("committed")
    assert planned.fields["think_ms"] == think_ms
    assert first.at_ns - committed.at_ns == think_ms * 1e6


def test_the_audio_that_is_sent_is_the_lines() -> None:
    client = Client({"replies": [{"say": "We open at nine."}]})
    client.say()
    client.wait(3000)
    sent = b"".join(event["delta"] for event in client.all("response.output_audio.delta"))
    assert sent == synthesise("We open at nine.")


def test_audio_is_paced_as_the_script_says() -> None:
    client = Client({"replies": [{"say": "We open at nine on Saturday.", "pace": 2}]})
    client.say()
    client.wait(5000)
    deltas = client.marked("delta_sent")
    took_ms = (deltas[-1].at_ns - deltas[0].at_ns) / 1e6
    sent_ms = (deltas[-1].fields["total_samples"] - deltas[-1].fields["samples"]) / 24
    assert took_ms == pytest.approx(sent_ms / 2, abs=0.01)


def test_the_same_seed_gives_the_same_session() -> None:
    script = {"timing": {"think_jitter_ms": 200, "jitter_ms": 30}}
    first, second = Client(script), Client(script)
    for client in (first, second):
        client.say()
        client.wait(3000)
    assert first.events == second.events
    assert first.times_ms == second.times_ms


def test_jitter_varies_what_it_may_and_keeps_the_order() -> None:
    reply = {"say": "We open at nine on every day of the week, but not in winter."}
    script = {"replies": [reply], "timing": {"jitter_ms": 60, "think_jitter_ms": 100}}
    client, steady = Client(script), Client({"replies": [reply]})
    for each in (client, steady):
        each.say()
        each.wait(5000)
    times = [mark.at_ns for mark in client.marked("delta_sent")]
    even = [mark.at_ns for mark in steady.marked("delta_sent")]
    assert times == sorted(times)
    assert times != even
    think_ms = client.marked("response_planned")[0].fields["think_ms"]
    assert 400 <= think_ms <= 600


def test_a_connect_delay_delays_the_handshake() -> None:
    client = Client({"timing": {"connect_delay_ms": 250}})
    assert not client.effects[1:]
    client.wait(250)
    assert client.time_ms("session.created") == 250


def test_replies_answer_turns_and_the_greeting_does_not_count() -> None:
    script = {
        "greeting": {"say": "Hello."},
        "replies": [{"say": "One."}, {"say": "Two."}],
        "default_reply": {"say": "Enough."},
        "timing": {"think_ms": 10, "pace": 100},
    }
    client = Client(script)
    client.send("response.create")
    client.wait(1000)
    for _ in range(3):
        client.say()
        client.wait(1000)
    said = [e["transcript"] for e in client.all("response.output_audio_transcript.done")]
    assert said == ["Hello.", "One.", "Two.", "Enough."]
    planned = [mark.fields["reply"] for mark in client.marked("response_planned")]
    assert planned == ["greeting", "reply 1", "reply 2", "reply 3"]


def test_behind_a_function_that_the_greeting_calls_comes_a_reply() -> None:
    call = {"say": "Hello.", "function_call": {"name": "hours"}}
    client = Client({"greeting": call, "replies": [{"say": "We open at nine."}]})
    client.send("response.create")
    client.wait(3000)
    called = client.all("response.done")[0]["response"]["output"][-1]
    output = {"type": "function_call_output", "call_id": called["call_id"], "output": "nine"}
    client.send("conversation.item.create", item=output)
    client.send("response.create")
    client.wait(3000)
    planned = [mark.fields["reply"] for mark in client.marked("response_planned")]
    assert planned == ["greeting", "reply 1"]


def test_an_assistants_item_does_not_make_the_greeting_late() -> None:
    client = Client({"greeting": {"say": "Hello."}})
    content = [{"type": "output_text", "text": "Hello."}]
    item = {"type": "message", "role": "assistant", "content": content}
    client.send("conversation.item.create", item=item)
    client.send("response.create")
    assert client.marked("response_planned")[0].fields["reply"] == "greeting"


def test_requests_wait_for_a_commit_that_is_worked_on() -> None:
    client = Client()
    client.turn_detection(None)
    client.hear(SILENCE * 10)
    client.send("input_audio_buffer.commit")
    client.send("response.create")
    client.send("input_audio_buffer.append", audio=SILENCE * 10)
    assert client.types[-1] == "session.updated"
    client.wait(149)
    assert client.types[-1] == "session.updated"
    client.wait(1000)
    after = client.types[client.types.index("input_audio_buffer.committed") :]
    assert after[:4] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    client.send("input_audio_buffer.commit")
    client.wait(150)
    committed = client.all("input_audio_buffer.committed")
    assert len(committed) == 2


def test_no_more_wait_than_may() -> None:
    client = Client()
    client.turn_detection(None)
    client.hear(SILENCE * 10)
    client.send("input_audio_buffer.commit")
    for _ in range(1001):
        client.send("input_audio_buffer.clear")
    assert client.only("error")["error"]["code"] == "rate_limit_exceeded"


def test_a_server_that_waits_for_the_clients_commit() -> None:
    client = Client({"commits": "client"})
    client.say()
    assert client.types[-1] == "input_audio_buffer.speech_stopped"
    item = client.only("input_audio_buffer.speech_started")["item_id"]
    client.send("input_audio_buffer.commit")
    client.wait(100)
    assert client.only("input_audio_buffer.committed")["item_id"] == item
    assert client.marked("committed")[0].fields["by"] == "client"
    assert client.marked("response_planned")[0].fields["reply"] == "reply 1"


def test_a_junk_item_has_no_words() -> None:
    client = Client({"replies": [{"say": "Nine."}, {"say": "Yes.", "heard": "Every day?"}]})
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    client.say()
    client.wait(2000)
    client.send("input_audio_buffer.commit")
    client.wait(2000)
    client.say()
    client.wait(2000)
    completed = client.all("conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in completed] == ["", "", "Every day?"]


def test_no_response_is_made_when_none_is_to_be() -> None:
    client = Client()
    client.turn_detection({"type": "server_vad", "create_response": False})
    client.say()
    client.wait(5000)
    assert "input_audio_buffer.committed" in client.types
    assert "response.created" not in client.types


def test_cleared_audio_is_gone() -> None:
    client = Client()
    client.turn_detection(None)
    client.hear(SILENCE * 10)
    client.send("input_audio_buffer.clear")
    client.send("input_audio_buffer.commit")
    assert client.only("error")["error"]["code"] == "input_audio_buffer_commit_empty"


def test_a_cancelled_response_ends_what_it_has_begun() -> None:
    client = Client({"replies": [{"say": "We open at nine, every day.", "pace": 1}]})
    client.say()
    client.wait(500)
    at = len(client.events)
    client.send("response.cancel")
    assert client.types[at:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    sent_ms = sum(len(e["delta"]) for e in client.all("response.output_audio.delta")) / 48
    item = client.only("response.done")["response"]["output"][0]["id"]
    truncate = {"item_id": item, "content_index": 0}
    client.send("conversation.item.truncate", **truncate, audio_end_ms=int(sent_ms))
    client.send("conversation.item.truncate", **truncate, audio_end_ms=int(sent_ms) + 1)
    assert "truncated" in client.types[-2]
    assert client.types[-1] == "error"


def test_a_response_can_be_cancelled_before_it_has_begun() -> None:
    client = Client()
    client.send("response.create")
    client.send("response.cancel")
    assert client.types[1:] == ["response.created", "response.done"]
    client.wait(5000)
    assert client.types[-1] == "rate_limits.updated"


def test_out_of_band_responses_run_beside_the_conversation() -> None:
    client = Client({"timing": {"think_ms": 100}})
    client.send("response.create")
    client.send("response.create", response={"conversation": "none"})
    client.wait(5000)
    assert len(client.all("response.done")) == 2
    assert not client.all("error")


def read_by_a_response(client: Client, **fields: Any) -> dict[str, Any]:
    """The input tokens of a response that the client asks for."""
    client.send("response.create", response=fields)
    client.wait(5000)
    usage = client.all("response.done")[-1]["response"]["usage"]
    details: dict[str, Any] = usage["input_token_details"]
    return details


def message(text: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content, **fields}


def test_a_response_reads_its_input_instead_of_the_conversation() -> None:
    client = Client()
    client.send("conversation.item.create", item=message("a" * 400, id="long"))
    assert read_by_a_response(client)["text_tokens"] == 107
    assert read_by_a_response(client, input=[])["text_tokens"] == 7  # the instructions
    given = [message("a" * 40), {"type": "item_reference", "id": "long"}]
    assert read_by_a_response(client, input=given, conversation="none")["text_tokens"] == 117
    spoken = {"type": "input_audio", "audio": base64.b64encode(bytes(48_000)).decode()}
    said = {"type": "message", "role": "user", "content": [spoken]}
    assert read_by_a_response(client, input=[said])["audio_tokens"] == 10
    added = [event["item"] for event in client.all("conversation.item.added")]
    assert [item["id"] for item in added if item["role"] == "user"] == ["long"]


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"type": "poem"}, "invalid_value", "response.input[0].type"),
        (
            {"type": "message", "role": "user"},
            "missing_required_parameter",
            "response.input[0].content",
        ),
        ({"type": "item_reference", "id": "none"}, "invalid_value", "response.input[0].id"),
        (
            message("Hi.") | {"content": [{"type": "input_audio", "audio": "%"}]},
            "invalid_value",
            "response.input[0].content[0].audio",
        ),
    ],
)
def test_input_that_cannot_be_read_is_refused(given: Any, code: str, param: str) -> None:
    client = Client()
    client.send("response.create", response={"input": [given]})
    client.wait(5000)
    (error,) = client.all("error")
    assert (error["error"]["code"], error["error"]["param"]) == (code, param)
    assert not client.all("response.created")


def test_the_error_of_an_empty_commit_may_come_late() -> None:
    client = Client({"timing": {"commit_error_ms": 900}})
    client.send("input_audio_buffer.commit", event_id="first")
    client.wait(100)
    client.send("input_audio_buffer.commit", event_id="second")
    client.send("response.cancel")
    assert [event["error"]["code"] for event in client.all("error")] == [
        "response_cancel_not_active"
    ]
    client.wait(799)
    assert len(client.all("error")) == 1
    client.wait(1)
    assert client.all("error")[1]["error"]["event_id"] == "first"
    client.wait(100)
    assert client.all("error")[2]["error"]["event_id"] == "second"
    assert client.all("error")[2]["error"]["code"] == "input_audio_buffer_commit_empty"


def test_limits_are_told_after_each_response() -> None:
    client = Client({"timing": {"think_ms": 100}})
    for number in range(2):
        client.send("response.create", response={"conversation": "none"})
        client.wait(10 * (1 - number))
    client.wait(5000)
    assert len(client.all("rate_limits.updated")) == 2


def test_what_was_decided_is_on_the_timeline() -> None:
    timing = {"connect_delay_ms": 250, "think_jitter_ms": 100}
    client = Client({"replies": [{"say": "Nine.", "pace": 3}], "timing": timing})
    client.wait(250)
    client.say()
    client.wait(1000)
    assert client.marked("session_opened")[0].fields["delay_ms"] == 250
    planned = client.marked("response_planned")[0]
    assert (planned.fields["pace"], planned.fields["delta_ms"]) == (3, 255)
    deltas = client.marked("delta_sent")
    think_ms = (deltas[0].at_ns - client.marked("committed")[0].at_ns) / 1e6
    assert planned.fields["think_ms"] == pytest.approx(think_ms)
    assert {mark.fields["late_ms"] for mark in deltas} == {0}


def test_a_delta_that_is_sent_late_says_so() -> None:
    client = Client()
    client.say(then_silence_ms=600)
    client.now_ns += 70_000_000  # the machine has other things to do when the first one is due
    client.hear(SILENCE)
    client.now_ns += 700_000_000
    due_ns = client.marked("committed")[0].at_ns + 500_000_000
    client.wait(10)
    first = client.marked("delta_sent")[0]
    assert first.fields["late_ms"] == pytest.approx((first.at_ns - due_ns) / 1e6)
    assert first.fields["late_ms"] > 0


def test_the_number_of_responses_is_bounded() -> None:
    client = Client()
    for _ in range(17):
        client.send("response.create", response={"conversation": "none"})
    assert client.only("error")["error"]["code"] == "rate_limit_exceeded"


def test_a_session_that_is_over_does_nothing_any_more() -> None:
    client = Client({"timing": {"expires_after_s": 1}})
    client.wait(1000)
    assert client.closed is not None
    before = len(client.effects)
    client.send("response.create")
    client.wait(5000)
    assert len(client.effects) == before
    assert client.marks[-1].name == "session_closed"


def test_audio_is_kept_and_traced_when_asked_for() -> None:
    client = Client(
        {"timing": {"think_ms": 10}}, observation=Observation(trace_audio=True, keep_audio=True)
    )
    client.say("Hello.", then_silence_ms=700)
    client.wait(5000)
    received = client.marked("audio_received")
    heard = b"".join(e.pcm for e in client.effects if isinstance(e, KeepAudio))
    sent = b"".join(e.pcm for e in client.effects if isinstance(e, KeepSent))
    assert received[-1].fields["total_samples"] == len(heard) // 2
    assert sum(mark.fields["samples"] for mark in received) == len(heard) // 2
    assert client.marked("delta_sent")[-1].fields["total_samples"] == len(sent) // 2
    assert sent == b"".join(e["delta"] for e in client.all("response.output_audio.delta"))


@needs_recordings
def test_the_think_time_is_divided_as_recorded() -> None:
    """Shares of the time from a response's request, or commit, to its first audio."""
    timing = json.loads((FOLDER / "timing.json").read_text())
    for recorded, by_client in zip(timing["responses"], (True, False), strict=True):
        at = {event["type"]: event["at"] for event in reversed(recorded["events"])}
        begun = at["client response.create" if by_client else "input_audio_buffer.committed"]
        think_ms = 1000 * (at["response.output_audio.delta"] - begun)
        client = Client({"timing": {"think_ms": think_ms}})
        if by_client:
            client.wait(100)
            client.send("response.create")
        else:
            client.say()
        client.wait(5000)
        events = zip(client.types, client.times_ms, strict=True)
        ours = dict(reversed(list(events)))
        ours_begun = 100.0 if by_client else ours["input_audio_buffer.committed"]
        for kind in (
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
        ):
            assert ours[kind] - ours_begun == pytest.approx(1000 * (at[kind] - begun), abs=8), kind


def test_every_mark_of_the_registry_is_written_but_that_of_a_replay() -> None:
    call = {"name": "book", "arguments": {"people": 4}}
    faults = [{"fault": "error", "at": "turn 1"}, {"fault": "close", "at": "turn 4"}]
    replies = [{"say": "Nine."}, {"function_call": call}, {"sends_only": "nothing"}]
    observation = Observation(trace_audio=True)
    client = Client({"replies": replies, "faults": faults}, observation=observation)
    client.update()
    for _ in range(4):
        client.say()
        client.wait(2000)
        item = client.all("response.done")[0]["response"]["output"][0]["id"]
        client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0)
    assert {mark.name for mark in client.marks} == MARKS["realtime"].keys() - {
        "departed",
        "served_leniently",  # tests/fakes/session/test_refusals.py
        "call_missing",
        "chaos_begun",  # tests/fakes/session/test_chaos.py
        "mcp_listed",  # tests/fakes/session/test_mcp_tools.py
        "mcp_called",
        "context_truncated",  # tests/fakes/session/test_context_window.py
        "unasked_bounded",  # tests/fakes/session/test_shapes.py
    }


def second(value: int) -> bytes:
    """A second of audio that can be told from others."""
    return value.to_bytes(2, "little") * 24_000


def manual() -> Client:
    client = Client()
    client.turn_detection(None)
    return client


def retrieved(client: Client) -> list[bytes]:
    """The audio of all of the user's items."""
    for event in client.all("input_audio_buffer.committed"):
        client.send("conversation.item.retrieve", item_id=event["item_id"])
    return [
        event["item"]["content"][0]["audio"] for event in client.all("conversation.item.retrieved")
    ]


def append(client: Client, audio: bytes) -> None:
    client.send("input_audio_buffer.append", audio=audio)


def test_appends_do_not_overtake_what_waits_for_a_commit() -> None:
    client = manual()
    for value in (1, 2, 3):
        append(client, second(value))
        client.send("input_audio_buffer.commit")
    client.wait(2000)
    assert retrieved(client) == [second(1), second(2), second(3)]
    assert not client.all("error")


def test_a_clear_that_waits_for_a_commit_clears_nothing_that_came_after_it() -> None:
    client = manual()
    append(client, second(1))
    client.send("input_audio_buffer.commit")
    client.send("input_audio_buffer.clear")
    append(client, second(2))
    client.send("input_audio_buffer.commit")
    client.wait(2000)
    assert retrieved(client) == [second(1), second(2)]


def test_a_format_that_waits_for_a_commit_is_that_of_what_comes_after_it() -> None:
    client = manual()
    append(client, second(1))
    client.send("input_audio_buffer.commit")
    client.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
    append(client, bytes([254]) * 8000)
    client.send("input_audio_buffer.commit")
    client.wait(2000)
    assert retrieved(client) == [second(1), bytes([254]) * 8000]


def test_what_waits_for_a_commit_is_bounded() -> None:
    client = manual()
    append(client, second(1))
    client.send("input_audio_buffer.commit")
    client.send("input_audio_buffer.commit")
    for _ in range(5):
        append(client, bytes(2**23))
    client.wait(1000)
    codes = [event["error"]["code"] for event in client.all("error")]
    assert codes == ["rate_limit_exceeded"] * 2 + ["input_audio_buffer_commit_empty"]


def test_the_lowest_threshold_ends_a_turn_all_the_same() -> None:
    client = Client()
    client.turn_detection({"type": "server_vad", "threshold": 0.1})
    client.say(then_silence_ms=2000)
    assert client.all("input_audio_buffer.speech_stopped")


def idle(client: Client) -> None:
    client.turn_detection({"type": "server_vad", "idle_timeout_ms": 5000})


def test_nobody_is_idle_while_a_response_runs() -> None:
    client = Client({"replies": [{"say": "word " * 60, "pace": 1}]})
    idle(client)
    client.send("response.create")
    client.wait(2000)
    assert client.all("response.done")
    content = [{"type": "input_text", "text": "Go on."}]
    item = {"type": "message", "role": "user", "content": content}
    client.send("conversation.item.create", item=item)
    client.send("response.create")
    client.hear(SILENCE * 50 * 12)
    assert len(client.all("response.done")) == 1
    assert not client.all("input_audio_buffer.timeout_triggered")


def test_an_idle_timeout_counts_from_when_it_is_asked_for() -> None:
    client = Client()
    idle(client)
    client.send("response.create")
    client.wait(2000)
    client.turn_detection(None)
    client.hear(SILENCE * 50 * 20)
    idle(client)
    client.hear(SILENCE * 50)
    assert not client.all("input_audio_buffer.timeout_triggered")
    client.hear(SILENCE * 50 * 5)
    triggered = client.only("input_audio_buffer.timeout_triggered")
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (20_000, 25_024)


def test_an_item_is_retrieved_in_the_format_that_it_had() -> None:
    client = manual()
    client.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
    wire = bytes([*range(127), *range(128, 255)]) * 10  # zero has two signs, and keeps one
    append(client, wire)
    client.send("input_audio_buffer.commit")
    client.wait(1000)
    client.update(audio={"input": {"format": {"type": "audio/pcma"}}})
    content = [{"type": "input_audio", "audio": base64.b64encode(wire).decode()}]
    item = {"type": "message", "role": "user", "content": content, "id": "mine"}
    client.send("conversation.item.create", item=item)
    client.send("conversation.item.retrieve", item_id="mine")
    assert retrieved(client) == [wire, wire]


def test_a_turn_begins_after_what_has_been_cleared_or_committed() -> None:
    client = Client()
    speech = synthesise("What time do you open?")
    client.hear(SILENCE * 20)
    client.send("input_audio_buffer.clear")
    client.hear(speech + SILENCE * 50)
    assert client.only("input_audio_buffer.speech_started")["audio_start_ms"] == 400
    client.send("input_audio_buffer.commit")
    committed_ms = 400 + len(speech) // 48 + 1000
    client.hear(speech)
    started = client.all("input_audio_buffer.speech_started")[1]
    assert started["audio_start_ms"] == pytest.approx(committed_ms, abs=20)


@pytest.mark.parametrize("first", [1, 4799, 2401])
def test_exactly_the_least_that_can_be_committed_is_taken(first: int) -> None:
    for before_bytes in (4800, 4802, 5198, 22_222):  # a difference of floats is a little less
        client = manual()
        append(client, bytes(before_bytes))
        client.send("input_audio_buffer.commit")
        client.wait(1000)
        append(client, bytes(first))
        append(client, bytes(4800 - first))
        client.send("input_audio_buffer.commit")
        client.wait(1000)
        assert not client.all("error")


def test_what_is_too_short_is_never_called_long_enough() -> None:
    client = manual()
    append(client, bytes(4798))
    client.send("input_audio_buffer.commit")
    assert "only has 99.95ms" in client.only("error")["error"]["message"]


def test_a_format_comes_back_whole() -> None:
    client = Client()
    whole = {"type": "audio/pcm", "rate": 24_000}
    client.update(audio={"input": {"format": {"type": "audio/pcm"}}})
    client.update(audio={"output": {"format": {"type": "audio/pcm"}}})
    audio = client.all("session.updated")[-1]["session"]["audio"]
    assert (audio["input"]["format"], audio["output"]["format"]) == (whole, whole)


@pytest.mark.parametrize("most", [1, 3, 20])
def test_usage_does_not_pass_the_limit_that_stopped_a_response(most: int) -> None:
    client = Client({"greeting": {"say": "One two three four five six seven."}})
    client.update(max_output_tokens=most)
    client.send("response.create")
    client.wait(4000)
    usage = client.only("response.done")["response"]["usage"]
    assert usage["output_tokens"] <= most
    assert usage["output_tokens"] == sum(usage["output_token_details"].values())
