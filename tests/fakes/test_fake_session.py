import pytest
from in_memory import Client

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
    from fakes.voice import synthesise

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
