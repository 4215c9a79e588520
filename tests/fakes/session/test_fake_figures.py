"""Figures and small print of what the fake says: what clients count, keep or wait by."""

import math

from in_memory import Client

from callerside.fakes.session.interface import (
    ClientGarbage,
    ConnectionLost,
    ConnectionRequested,
)

LONG = "We open at nine in the morning and close at five in the afternoon, every day."


def asked(client: Client, **response: object) -> dict[str, object]:
    """What a request of a response has come to."""
    client.send("response.create", response=response)
    client.wait(30_000)
    done: dict[str, object] = client.all("response.done")[-1]["response"]
    return done


def test_an_answer_costs_a_token_for_each_50_ms_of_its_sound() -> None:
    client = Client({"default_reply": {"say": LONG}})
    usage = asked(client)["usage"]
    sent = sum(len(event["delta"]) for event in client.all("response.output_audio.delta"))
    assert isinstance(usage, dict)
    assert usage["output_token_details"]["audio_tokens"] == math.ceil(sent / 48 / 50)


def test_thinking_takes_as_long_as_the_script_says_give_or_take_its_jitter() -> None:
    client = Client({"timing": {"think_ms": 1000, "think_jitter_ms": 400}})
    waits = []
    for _ in range(8):
        begun_ms = client.now_ms
        asked(client)
        created = [
            n for n, kind in enumerate(client.types) if kind == "response.output_audio.delta"
        ]
        waits.append(next(client.times_ms[n] for n in created if client.times_ms[n] > begun_ms))
        waits[-1] -= begun_ms
    assert max(waits) - min(waits) > 100
    assert min(waits) >= 600
    assert max(waits) <= 1400 + 200  # and the first audio behind it


def test_what_an_update_of_the_detection_leaves_out_stays() -> None:
    client = Client()
    client.turn_detection({"type": "server_vad", "threshold": 0.7, "silence_duration_ms": 900})
    client.turn_detection({"type": "server_vad", "silence_duration_ms": 300})
    detection = client.all("session.updated")[-1]["session"]["audio"]["input"]["turn_detection"]
    assert (detection["threshold"], detection["silence_duration_ms"]) == (0.7, 300)


def test_what_a_response_reads_of_its_own_input_counts_its_instructions() -> None:
    def read(instructions: str) -> int:
        usage = asked(
            Client(),
            conversation="none",
            instructions=instructions,
            input=[
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "Hello."}],
                }
            ],
        )["usage"]
        assert isinstance(usage, dict)
        return int(usage["input_token_details"]["text_tokens"])

    assert read("Say something. " * 50) - read("Say something.") > 50


def test_an_error_that_nobody_caused_is_the_servers() -> None:
    client = Client({"faults": [{"fault": "error", "at": "greeting"}]})
    client.send("response.create")
    client.wait(5000)
    assert client.only("error")["error"]["type"] == "server_error"


def test_what_is_no_event_is_refused_by_name() -> None:
    client = Client()
    client.feed(ClientGarbage("It has no type.", "type", "mine", "invalid_value"))
    error = client.only("error")["error"]
    assert (error["param"], error["event_id"]) == ("type", "mine")


def test_who_has_lost_the_connection_is_sent_nothing_more() -> None:
    client = Client({"greeting": {"say": LONG}, "timing": {"pace": 1}})
    client.send("response.create")
    client.wait(1500)
    assert client.all("response.output_audio.delta")
    assert not client.all("response.done")
    before = len(client.events)
    client.feed(ConnectionLost(1006, "gone"))
    client.wait(30_000)
    assert len(client.events) == before


def test_what_follows_an_answer_does_not_follow_one_that_was_cancelled() -> None:
    reply = {"say": LONG, "next_after_ms": 100}
    whole, cancelled = (Client({"greeting": reply, "timing": {"pace": 1}}) for _ in range(2))
    for client in (whole, cancelled):
        client.send("response.create")
        client.wait(1500)
    cancelled.send("response.cancel")
    for client in (whole, cancelled):
        client.wait(30_000)
    assert len(whole.all("response.created")) > 1
    assert len(cancelled.all("response.created")) == 1


def test_the_beta_has_sound_and_text_where_the_api_has_sound() -> None:
    request = ConnectionRequested(model="gpt-4o-realtime-preview", beta_header=True)
    client = Client({"dialect": "beta"}, request=request)
    assert client.only("session.created")["session"]["modalities"] == ["audio", "text"]
    reduction = {"type": "near_field"}
    client.send("session.update", session={"input_audio_noise_reduction": reduction})
    assert client.only("session.updated")["session"]["input_audio_noise_reduction"] == reduction
