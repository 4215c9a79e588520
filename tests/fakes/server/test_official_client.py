"""The official client holds every kind of conversation; all it receives is validated strictly."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from official import OfficialClient, check, connected
from openai import AsyncOpenAI
from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed

from callerside.audio import AudioFormat, resample
from callerside.fakes.script.model import Script
from callerside.fakes.server.server import FakeRealtime
from callerside.speech.synthesis import synthesise

QUICK = {"think_ms": 20, "pace": 1000, "commit_ms": 5, "transcription_ms": 5}
LONG = "We open at nine on every day of the week, and on holidays as well, but not at Easter."
HUNDRED_MS = bytes(4800)


@asynccontextmanager
async def serving(**script: Any) -> AsyncIterator[OfficialClient]:
    """A client of a server with this script, which is as quick as a test needs it."""
    timing = QUICK | script.pop("timing", {})
    model = Script.model_validate({**script, "timing": timing})
    async with FakeRealtime(model) as server, connected(server.base_url) as client:
        yield client


@pytest.fixture
async def client() -> AsyncIterator[OfficialClient]:
    async with serving(replies=[{"say": "We open at nine."}, {"say": "Yes, every day."}]) as client:
        yield client


def test_the_check_is_strict() -> None:
    good = {"type": "input_audio_buffer.cleared", "event_id": "event_1"}
    check(good)
    with pytest.raises(AssertionError, match="unknown fields"):
        check({**good, "surplus": 1})
    with pytest.raises(ValidationError):
        check({"type": "input_audio_buffer.cleared"})
    with pytest.raises(ValidationError):
        check({**good, "event_id": 1})


async def test_a_session_is_updated(client: OfficialClient) -> None:
    session = await client.configure(
        instructions="Be brief.",
        audio={
            "input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}},
            "output": {"voice": "cedar"},
        },
    )
    assert session["instructions"] == "Be brief."
    assert session["audio"]["output"]["voice"] == "cedar"
    assert session["audio"]["input"]["turn_detection"]["threshold"] == 0.7
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
            "decimal_above_max_value",
            "session.audio.input.turn_detection.threshold",
        ),
        ({"colour": "red"}, "unknown_parameter", "session.colour"),
        (
            {"audio": {"input": {"format": {"type": "audio/mp3"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"instructions": 5}, "invalid_type", "session.instructions"),
    ],
)
async def test_a_bad_value_is_refused_by_its_path(
    client: OfficialClient, session: dict[str, Any], code: str, param: str
) -> None:
    await client.connection.send(
        {"type": "session.update", "event_id": "mine", "session": {"type": "realtime", **session}}  # type: ignore[arg-type]
    )
    error = await client.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")


async def test_null_switches_off_what_can_be_switched_off(client: OfficialClient) -> None:
    off: Any = {"transcription": None, "noise_reduction": None, "turn_detection": None}
    session = await client.configure(audio={"input": off}, prompt=None, tracing=None)
    assert off.items() <= session["audio"]["input"].items()


async def test_several_spoken_turns(client: OfficialClient) -> None:
    for number, reply in enumerate(["We open at nine.", "Yes, every day."], start=1):
        await client.say()
        done = await client.until("response.done")
        (item,) = done["response"]["output"]
        assert item["content"][0]["transcript"] == reply
        assert client.types.count("input_audio_buffer.committed") == number
    await client.until("rate_limits.updated")


async def test_usage_is_counted_from_audio(client: OfficialClient) -> None:
    await client.say()
    usage = (await client.until("response.done"))["response"]["usage"]
    started = next(e for e in client.events if "audio_start_ms" in e)["audio_start_ms"]
    stopped = next(e for e in client.events if "audio_end_ms" in e)["audio_end_ms"]
    reply_ms = len(synthesise("We open at nine.")) / 48
    heard_tokens = usage["input_token_details"]["audio_tokens"]
    said_tokens = usage["output_token_details"]["audio_tokens"]
    assert heard_tokens == pytest.approx((stopped - started) / 100, abs=1)
    assert said_tokens == pytest.approx(reply_ms / 50, abs=1)


async def test_a_commit_by_hand_waits_for_a_request(client: OfficialClient) -> None:
    await client.turn_detection(None)
    await client.say()
    await client.connection.input_audio_buffer.commit()
    await client.connection.response.create()
    await client.until("response.done")
    assert "input_audio_buffer.speech_started" not in client.types
    types = [kind for kind in client.types if "delta" not in kind]
    at = types.index("input_audio_buffer.committed")
    assert types[at : at + 4] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]


async def test_a_response_out_of_band_leaves_no_trace(client: OfficialClient) -> None:
    await client.connection.response.create(
        response={
            "conversation": "none",
            "metadata": {"purpose": "classify"},
            "output_modalities": ["text"],
        }
    )
    response = (await client.until("response.done"))["response"]
    assert response["conversation_id"] is None
    assert response["metadata"] == {"purpose": "classify"}
    assert response["output"][0]["content"][0]["type"] == "output_text"
    assert "conversation.item.added" not in client.types


async def test_a_function_is_called_and_its_result_answered() -> None:
    call = {"name": "opening_hours", "arguments": {"day": "Saturday"}}
    replies = [{"function_call": call}, {"say": "At nine."}]
    async with serving(replies=replies) as client:
        await client.say()
        done = await client.until("response.function_call_arguments.done")
        assert (done["name"], done["arguments"]) == ("opening_hours", '{"day": "Saturday"}')
        await client.until("response.done")
        await client.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": done["call_id"], "output": "9-17"}
        )
        added = await client.until("conversation.item.added")
        assert added["previous_item_id"] == done["item_id"]
        await client.connection.response.create()
        response = (await client.until("response.done"))["response"]
        assert response["output"][0]["content"][0]["transcript"] == "At nine."


async def test_what_the_caller_said_is_transcribed() -> None:
    replies = [{"say": "Nine.", "heard": "What time do you open?", "think_ms": 100}]
    async with serving(replies=replies) as client:
        await client.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await client.say()
        completed = await client.until("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "What time do you open?"
        deltas = [
            event["delta"]
            for event in client.events
            if event["type"] == "conversation.item.input_audio_transcription.delta"
        ]
        assert "".join(deltas).strip() == "What time do you open?"


async def test_a_silent_caller_is_addressed(client: OfficialClient) -> None:
    await client.turn_detection({"type": "server_vad", "idle_timeout_ms": 5000})
    await client.say()
    await client.until("response.done")
    await client.hear(bytes(48 * 8000))
    timeout = await client.until("input_audio_buffer.timeout_triggered")
    assert timeout["audio_end_ms"] - timeout["audio_start_ms"] == pytest.approx(5016, abs=16)
    system = (await client.until("conversation.item.added"))["item"]
    assert system["role"] == "system"
    committed = await client.until("input_audio_buffer.committed")
    assert committed["item_id"] == timeout["item_id"]
    assert (await client.until("conversation.item.added"))["item"]["role"] == "user"
    await client.until("response.created")


async def test_speech_interrupts() -> None:
    replies = [{"say": "We open at nine on every day of the week.", "pace": 1}]
    async with serving(replies=replies) as client:
        await client.say()
        await client.until("response.output_audio.delta")
        await client.say("Wait.")
        done = await client.until("response.done")
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"] == {
            "type": "cancelled",
            "reason": "turn_detected",
        }
        assert done["response"]["output"][0]["status"] == "incomplete"
        assert "response.output_audio.done" in client.types


async def test_an_interruption_before_the_first_audio_leaves_nothing_to_truncate() -> None:
    async with serving(replies=[{"say": "We open at nine.", "think_ms": 3000}]) as client:
        await client.say()
        added = await client.until("response.content_part.added")
        await client.say("Wait.", then_silence_ms=0)
        response = (await client.until("response.done"))["response"]
        assert response["status_details"]["reason"] == "turn_detected"
        truncate = client.connection.conversation.item.truncate
        for end_ms in (0, 1):  # as reported: the announced part is no audio yet
            await truncate(item_id=added["item_id"], content_index=0, audio_end_ms=end_ms)
            error = await client.error()
            assert (error["code"], error["message"]) == (
                "unsupported_content_type",
                "Only model output audio messages can be truncated",
            )


async def test_speech_does_not_interrupt_when_it_may_not() -> None:
    replies = [{"say": "We open at nine.", "pace": 8}, {"say": "Good bye."}]
    async with serving(replies=replies) as client:
        await client.turn_detection({"type": "server_vad", "interrupt_response": False})
        await client.say()
        await client.until("response.output_audio.delta")
        await client.say("Wait.")
        first = (await client.until("response.done"))["response"]
        second = (await client.until("response.done"))["response"]
        assert (first["status"], second["status"]) == ("completed", "completed")
        assert second["output"][0]["content"][0]["transcript"] == "Good bye."


async def test_a_response_is_cancelled() -> None:
    async with serving(replies=[{"say": "We open at nine.", "pace": 1}]) as client:
        await client.say()
        await client.until("response.output_audio.delta")
        await client.connection.response.cancel()
        response = (await client.until("response.done"))["response"]
        assert response["status_details"]["reason"] == "client_cancelled"
        await client.connection.response.cancel()
        assert (await client.error())["code"] == "response_cancel_not_active"


async def test_truncation_shortens_what_was_said(client: OfficialClient) -> None:
    await client.say()
    item = (await client.until("response.done"))["response"]["output"][0]["id"]
    length_ms = round(len(synthesise("We open at nine.")) / 48)
    truncate = client.connection.conversation.item.truncate
    await truncate(item_id=item, content_index=0, audio_end_ms=length_ms + 60)
    assert (await client.error())["message"] == (
        f"Audio content of {length_ms}ms is already shorter than {length_ms + 60}ms"
    )
    await truncate(item_id=item, content_index=0, audio_end_ms=400)
    assert (await client.until("conversation.item.truncated"))["audio_end_ms"] == 400
    await truncate(item_id=item, content_index=0, audio_end_ms=401)
    assert "400ms is already shorter than 401ms" in (await client.error())["message"]
    await client.connection.conversation.item.retrieve(item_id=item)
    retrieved = (await client.until("conversation.item.retrieved"))["item"]
    assert retrieved["content"] == [{"type": "output_audio"}]
    await truncate(item_id=item, content_index=0, audio_end_ms=0)
    assert (await client.until("conversation.item.truncated"))["audio_end_ms"] == 0


async def test_items_are_created_retrieved_and_deleted(client: OfficialClient) -> None:
    items = client.connection.conversation.item
    content: Any = [{"type": "input_text", "text": "Hello."}]
    for name in ("second", "third"):
        await items.create(item={"type": "message", "role": "user", "id": name, "content": content})
        await client.until("conversation.item.done")
    await items.create(
        item={"type": "message", "role": "system", "id": "first", "content": content},
        previous_item_id="root",
    )
    assert (await client.until("conversation.item.added"))["previous_item_id"] is None
    await items.create(
        item={
            "type": "message",
            "role": "assistant",
            "id": "between",
            "content": [{"type": "output_text", "text": "Hi."}],
        },
        previous_item_id="second",
    )
    assert (await client.until("conversation.item.added"))["previous_item_id"] == "second"
    await items.retrieve(item_id="second")
    assert (await client.until("conversation.item.retrieved"))["item"]["content"][0] == {
        "type": "input_text",
        "text": "Hello.",
    }
    await items.delete(item_id="second")
    assert (await client.until("conversation.item.deleted"))["item_id"] == "second"
    await items.retrieve(item_id="second")
    assert (await client.error())["code"] == "item_retrieve_invalid_item_id"


async def test_what_was_heard_can_be_retrieved(client: OfficialClient) -> None:
    await client.turn_detection(None)
    spoken = synthesise("Hello.")
    await client.hear(spoken)
    await client.connection.input_audio_buffer.commit()
    item = (await client.until("input_audio_buffer.committed"))["item_id"]
    await client.connection.conversation.item.retrieve(item_id=item)
    content = (await client.until("conversation.item.retrieved"))["item"]["content"][0]
    assert base64.b64decode(content["audio"]) == spoken


async def test_a_commit_of_nearly_nothing_is_refused(client: OfficialClient) -> None:
    await client.hear(HUNDRED_MS[: 50 * 48])
    await client.connection.send({"type": "input_audio_buffer.commit", "event_id": "mine"})
    error = await client.error()
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert error["event_id"] == "mine"
    assert error["message"] == (
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
        "but buffer only has 50.00ms of audio."
    )


async def test_a_commit_under_server_vad_makes_a_junk_item(client: OfficialClient) -> None:
    await client.hear(HUNDRED_MS)
    await client.connection.input_audio_buffer.commit()
    await client.until("input_audio_buffer.committed")
    assert (await client.until("conversation.item.done"))["item"]["role"] == "user"
    await client.connection.input_audio_buffer.clear()
    await client.until("input_audio_buffer.cleared")
    assert "response.created" not in client.types


async def test_one_response_at_a_time(client: OfficialClient) -> None:
    await client.connection.response.create()
    await client.connection.response.create()
    assert (await client.error())["code"] == "conversation_already_has_active_response"


async def test_a_users_item_cannot_be_truncated(client: OfficialClient) -> None:
    await client.say()
    item = (await client.until("input_audio_buffer.committed"))["item_id"]
    await client.connection.conversation.item.truncate(
        item_id=item, content_index=0, audio_end_ms=100
    )
    error = await client.error()
    assert error["code"] == "unsupported_content_type"
    assert error["message"] == "Only model output audio messages can be truncated"


async def test_an_item_id_is_used_once(client: OfficialClient) -> None:
    content: Any = [{"type": "input_text", "text": "Hello."}]
    for _ in range(2):
        await client.connection.conversation.item.create(
            item={"type": "message", "role": "user", "id": "same", "content": content}
        )
    assert (await client.error())["code"] == "item_create_duplicate_item_id"


async def test_the_voice_stays_once_it_has_been_heard(client: OfficialClient) -> None:
    await client.say()
    await client.until("response.done")
    await client.connection.session.update(
        session={"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    )
    assert (await client.error())["code"] == "cannot_update_voice"


async def test_a_session_expires() -> None:
    async with serving(timing={"expires_after_s": 0.05}) as client:
        assert (await client.error())["code"] == "session_expired"
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_the_beta_header_is_refused() -> None:
    async with (
        FakeRealtime() as server,
        AsyncOpenAI(api_key="none", websocket_base_url=server.base_url) as openai,
        openai.realtime.connect(
            model="gpt-realtime-2.1", extra_headers={"OpenAI-Beta": "realtime=v1"}
        ) as connection,
    ):
        client = OfficialClient(connection)
        assert (await client.next())["error"]["code"] == "beta_api_shape_disabled"
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4000


@pytest.mark.parametrize("code", ["insufficient_quota", "inference_rate_limit_exceeded"])
async def test_a_failed_response_is_told_in_the_types_of_the_api(code: str) -> None:
    async with serving(faults=[{"fault": "fail", "at": "reply 1", "code": code}]) as client:
        await client.say()
        response = (await client.until("response.done"))["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == code


@pytest.mark.parametrize("modalities", [["audio"], ["text"]])
async def test_a_response_ends_when_its_tokens_are_used_up(modalities: list[str]) -> None:
    async with serving(replies=[{"say": LONG}]) as client:
        await client.turn_detection(None)
        await client.say()
        await client.connection.input_audio_buffer.commit()
        limits: Any = {"max_output_tokens": 12, "output_modalities": modalities}
        await client.connection.response.create(response=limits)
        response = (await client.until("response.done"))["response"]
        assert response["status"] == "incomplete"
        assert response["status_details"]["reason"] == "max_output_tokens"
        assert response["output"][0]["status"] == "incomplete"
        tokens = response["usage"]["output_token_details"]
        assert tokens["audio_tokens" if modalities == ["audio"] else "text_tokens"] <= 12


async def test_input_transcription_can_fail() -> None:
    async with serving(replies=[{"say": "Sorry?", "unheard": True, "think_ms": 100}]) as client:
        await client.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await client.say()
        failed = await client.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["message"] == "The audio could not be transcribed."


async def test_audio_can_be_put_into_the_conversation(client: OfficialClient) -> None:
    spoken = synthesise("Hello.")
    content: Any = [{"type": "input_audio", "audio": base64.b64encode(spoken).decode()}]
    items = client.connection.conversation.item
    await items.create(item={"type": "message", "role": "user", "id": "a", "content": content})
    added = (await client.until("conversation.item.added"))["item"]
    assert added["content"] == [{"type": "input_audio"}]
    await items.retrieve(item_id="a")
    retrieved = (await client.until("conversation.item.retrieved"))["item"]
    assert base64.b64decode(retrieved["content"][0]["audio"]) == spoken
    await client.connection.response.create()
    usage = (await client.until("response.done"))["response"]["usage"]
    tokens = usage["input_token_details"]["audio_tokens"]
    assert tokens == pytest.approx(len(spoken) / 48 / 100, abs=1)
    content[0]["audio"] = "%"
    await items.create(item={"type": "message", "role": "user", "content": content})
    assert (await client.error())["param"] == "item.content[0].audio"


async def test_audio_is_found_among_the_parts_of_an_item(client: OfficialClient) -> None:
    audio = base64.b64encode(HUNDRED_MS).decode()
    parts: Any = [{"type": "input_text", "text": "Hear:"}, {"type": "input_audio", "audio": audio}]
    items = client.connection.conversation.item
    await items.create(item={"type": "message", "role": "user", "id": "a", "content": parts})
    await items.retrieve(item_id="a")
    assert (await client.until("conversation.item.retrieved"))["item"]["content"] == parts
    parts[0]["audio"] = audio
    await items.create(item={"type": "message", "role": "user", "id": "b", "content": parts})
    assert (await client.error())["param"] == "item.content[0].audio"


async def test_an_assistants_audio_is_in_the_format_of_the_output(client: OfficialClient) -> None:
    telephone: Any = {"format": {"type": "audio/pcmu"}}
    await client.configure(audio={"output": telephone})
    audio = base64.b64encode(bytes(8000)).decode()  # a second of it
    content: Any = [{"type": "output_audio", "audio": audio, "text": "Hm."}]
    items = client.connection.conversation.item
    await items.create(item={"type": "message", "role": "assistant", "id": "a", "content": content})
    await items.truncate(item_id="a", content_index=0, audio_end_ms=1001)
    assert "Audio content of 1000ms is already shorter" in (await client.error())["message"]
    await items.truncate(item_id="a", content_index=0, audio_end_ms=1000)
    await client.until("conversation.item.truncated")


async def test_what_is_not_there_is_refused_by_the_field_that_names_it(
    client: OfficialClient,
) -> None:
    items = client.connection.conversation.item
    content: Any = [{"type": "input_text", "text": "Hello."}]
    message: Any = {"type": "message", "role": "user", "content": content}
    await items.create(item=message, previous_item_id="none")
    assert (await client.error())["param"] == "previous_item_id"
    await items.delete(item_id="none")
    assert (await client.error())["param"] == "item_id"
    await items.truncate(item_id="none", content_index=0, audio_end_ms=0)
    assert (await client.error())["param"] == "item_id"


async def test_an_unknown_event_is_refused(client: OfficialClient) -> None:
    await client.connection.send({"type": "session.destroy"})  # type: ignore[arg-type]
    error = await client.error()
    assert (error["code"], error["param"]) == ("invalid_value", "type")


async def test_a_greeting_comes_before_any_turn(client: OfficialClient) -> None:
    await client.connection.response.create()
    response = (await client.until("response.done"))["response"]
    assert response["output"][0]["content"][0]["transcript"] == "Hello, how can I help you?"


@pytest.mark.parametrize("encoding", ["audio/pcmu", "audio/pcma"])
async def test_telephone_audio_goes_through_as_it_is(client: OfficialClient, encoding: Any) -> None:
    audio_format = AudioFormat("pcmu" if encoding == "audio/pcmu" else "pcma")
    telephone: Any = {"format": {"type": encoding}}
    await client.configure(audio={"input": telephone, "output": telephone})
    spoken = bytes(3200) + resample(synthesise("What time?"), 24_000, 8000) + bytes(16 * 700)
    await client.hear(audio_format.encode(spoken))
    await client.until("response.done")
    sent = b"".join(
        base64.b64decode(event["delta"])
        for event in client.events
        if event["type"] == "response.output_audio.delta"
    )
    assert len(sent) == pytest.approx(len(synthesise("We open at nine.")) / 6, abs=2)
