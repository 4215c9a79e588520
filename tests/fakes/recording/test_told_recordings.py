"""Recordings told as conversations, and compared by what they mean."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_memory import Client
from official import models_by_type
from openai.types.realtime import RealtimeServerEvent

from callerside.fakes.cli import main
from callerside.fakes.recording.comparison import differences
from callerside.fakes.recording.conversation import describe, tell
from callerside.fakes.recording.format import Entry, Recording, write_recording
from callerside.fakes.recording.known_events import SERVER_EVENTS
from callerside.fakes.session.interface import ConnectionRequested

CALL = {"name": "hours", "arguments": {"day": "Sunday"}}
REPLIES: list[dict[str, Any]] = [
    {"say": "We open at nine.", "heard": "When do you open?"},
    {"function_call": CALL},
    {"say": "We are closed.", "incomplete": {"reason": "content_filter"}},
]
OTHERWISE = [{**REPLIES[0], "say": "We open at ten."}, *REPLIES[1:]]
SETTINGS = "turns by server_vad, voice marin, tools none, instructions "


def call(*replies: dict[str, Any], think_ms: float = 300) -> Recording:
    client = Client({"replies": replies or REPLIES, "timing": {"think_ms": think_ms}})
    heard = {"transcription": {"model": "whisper-1"}}
    client.update(audio={"input": heard}, instructions="Be kind.")
    client.say()
    client.wait(3000)
    client.send("response.create")
    client.wait(2000)
    call_id = client.all("response.function_call_arguments.done")[0]["call_id"]
    output = {"type": "function_call_output", "call_id": call_id, "output": "closed"}
    client.send("conversation.item.create", item=output)
    client.send("response.create")
    client.wait(3000)
    client.send("response.cancel")
    return client.recording()


def test_a_call_is_told_as_a_conversation_with_times() -> None:
    lines = tell(call())
    assert [(told.who, told.what) for told in lines] == [
        ("session", f'{SETTINGS}"You are a helpful assistant."'),
        ("session", f'{SETTINGS}"Be kind."'),
        ("caller", 'says "When do you open?"'),
        ("model", 'says "We open at nine."'),
        ("client", "asks for an answer"),
        ("model", 'calls hours({"day": "Sunday"})'),
        ("client", 'hours returns "closed"'),
        ("client", "asks for an answer"),
        ("model", 'says "We are closed." (incomplete: content_filter)'),
        ("client", "cancels the answer (refused)"),
        (
            "server",
            'error response_cancel_not_active: "Cancellation failed: no active response found"',
        ),
    ]
    assert lines[3].how_long.startswith("after 0.")
    assert lines[3].how_long.endswith(" s of audio")
    assert any("[after 0." in line for line in describe(call()))


@pytest.mark.parametrize("event_id", [None, "event_mine"])
@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "response.cancel"}, "cancels the answer"),
        ({"type": "response.create"}, "asks for an answer"),
        (
            {"type": "response.create", "response": {"conversation": "none"}},
            "asks for an answer beside the conversation",
        ),
    ],
)
def test_what_is_refused_is_not_told_as_done(
    event: dict[str, Any], told: str, event_id: str | None
) -> None:
    asked = event | ({} if event_id is None else {"event_id": event_id})
    codes = {
        "response.cancel": "response_cancel_not_active",
        "response.create": "conversation_already_has_active_response",
    }
    error = {"code": codes[event["type"]], "message": "No.", "event_id": event_id}
    refused = Entry(2.0, "server", {"type": "error", "error": error})
    recording = replace(call(), entries=(Entry(1.0, "client", asked),))
    assert [one.what for one in tell(recording)] == [told]
    both = replace(recording, entries=(*recording.entries, refused))
    assert tell(both)[0].what == f"{told} (refused)"


def test_an_event_of_no_response_or_of_one_that_is_done_tells_of_no_answer() -> None:
    recording = call()
    done = next(entry for entry in recording.entries if entry.type == "response.done")
    strange = {"type": "response.output_text.delta", "delta": "x"}
    last_s = recording.entries[-1].at_s
    more = (Entry(last_s, "server", strange), Entry(last_s, "server", done.event))
    assert tell(replace(recording, entries=recording.entries + more)) == tell(recording)


def test_two_calls_that_say_the_same_do_not_differ() -> None:
    assert list(differences(call(), call(think_ms=900))) == []


def test_what_one_says_and_the_other_does_not_is_told() -> None:
    found = [line[12:] for line in differences(call(), call(*OTHERWISE))]
    assert found == ['model   says "We open at nine."', 'model   says "We open at ten."']


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_the_command_compares_by_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, same, other = (tmp_path / f"{name}.realtime" for name in ("one", "same", "other"))
    for path, recording in ((one, call()), (same, call()), (other, call(*OTHERWISE))):
        write_recording(path, recording)
    assert [exit_code("diff", str(one), str(path)) for path in (same, other)] == [0, 1]
    assert capsys.readouterr().out.splitlines()[0].startswith("-")


CASSETTE = """
interactions:
- {direction: received, data: {type: session.created, session: {modalities: [audio], voice: ara}}}
- {direction: received, data: {type: conversation.created, conversation: {id: x}}}
- {direction: received, data: {type: ping, timestamp: 1}}
- {direction: received, data: {type: response.audio.done, response_id: r}}
"""


@pytest.mark.parametrize(("event", "is_known"), [("ping", False), ("rate_limits.updated", True)])
def test_what_cannot_be_replayed_whole_says_so_at_convert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], event: str, is_known: bool
) -> None:
    cassette, recording = tmp_path / "xai.yaml", tmp_path / "xai.realtime"
    cassette.write_text(CASSETTE.replace("ping", event))
    assert exit_code("convert", str(cassette), "--to", str(recording)) == 0
    told = capsys.readouterr().err
    assert ("cannot be replayed whole: event 3, ping of the server" in told) is not is_known
    assert '"dialect":"beta"' in recording.read_text().splitlines()[0]


def test_all_events_of_the_sdk_are_known() -> None:
    assert models_by_type(RealtimeServerEvent).keys() <= SERVER_EVENTS


def test_words_are_told_of_an_answer_that_never_ends() -> None:
    client = Client({"greeting": {"say": "We open at nine on Sundays."}})
    client.send("response.create")
    client.wait(600)
    assert not client.all("response.output_audio_transcript.done")
    (told,) = (one for one in tell(client.recording()) if one.who == "model")
    begun = client.all("response.output_audio_transcript.delta")
    words = "".join(delta["delta"] for delta in begun)
    assert told.what == f'says "{words}" (never done)'
    assert words.startswith("We open")


def test_words_that_came_as_a_whole_are_told_once() -> None:
    answers = [told.what for told in tell(call()) if told.who == "model"]
    assert answers[0] == 'says "We open at nine."'


def test_what_xai_writes_down_of_a_turn_is_told_as_the_caller_has_said_it() -> None:
    entries = [
        Entry(float(at_s), "server", {"type": kind, "item_id": "i", **fields})
        for at_s, (kind, fields) in enumerate(
            [
                ("input_audio_buffer.committed", {}),
                ("conversation.item.input_audio_transcription.updated", {"transcript": "When"}),
                ("conversation.item.input_audio_transcription.updated", {"transcript": "When do"}),
            ]
        )
    ]
    recording = replace(call(), entries=tuple(entries))
    assert [told.what for told in tell(recording)] == ['says "When do"']
    flat = {"type": "session.updated", "session": {"turn_detection": {"type": "server_vad"}}}
    recording = replace(recording, entries=(Entry(0.0, "server", flat),))
    assert tell(recording)[0].what.startswith("turns by server_vad")


SHOP = {"type": "mcp", "server_label": "shop", "server_url": "https://shop.example"}


def shopping(*, approve: bool = True, **fate: Any) -> list[str]:
    """What is told of a call of an MCP tool that is asked about, and of a server that is not."""
    find = {"server": "shop", "name": "find", "arguments": {"number": 7}, **fate}
    script = {"mcp": {"shop": {"tools": [{"name": "find"}]}}, "replies": [{"mcp_call": find}]}
    client = Client({**script, "default_reply": {"text": "Well."}})
    client.update(tools=[SHOP, {**SHOP, "server_label": "gone"}])
    client.wait(1000)
    client.say()
    client.wait(2000)
    done = client.all("conversation.item.done")
    (asked,) = (e["item"]["id"] for e in done if e["item"]["type"] == "mcp_approval_request")
    answer = {"type": "mcp_approval_response", "approval_request_id": asked, "approve": approve}
    client.send("conversation.item.create", item=answer)
    client.send("response.create")
    client.wait(3000)
    client.send("conversation.item.delete", item_id=asked)
    told = tell(client.recording())
    return [f"{one.who}: {one.what}" for one in told if one.who not in ("session", "caller")]


BEFORE = [
    "server: lists the tools of shop: find",
    "server: cannot list the tools of gone",
    'model: asks to call shop.find({"number": 7})',
]
ASKED = "client: asks for an answer"
DELETED = "client: deletes an item (mcp_approval_request)"
CALLED = 'model: calls shop.find({"number": 7})'


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (
            {"returns": "sent"},
            [
                "client: allows shop.find",
                ASKED,
                CALLED,
                'server: shop.find returns "sent"',
                DELETED,
            ],
        ),
        (
            {"fails": {"message": "Broken."}},
            [
                "client: allows shop.find",
                ASKED,
                CALLED,
                'server: shop.find fails: "Broken."',
                DELETED,
            ],
        ),
        (
            {"approve": False},
            ["client: denies shop.find", ASKED, 'model: says "Well."', DELETED],
        ),
    ],
)
def test_tools_of_mcp_servers_are_told_with_what_came_of_them(
    how: dict[str, Any], told: list[str]
) -> None:
    assert shopping(**how) == BEFORE + told


def test_a_turn_that_could_not_be_written_down_is_told_as_that() -> None:
    heard = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    replies = [{"say": "x", "heard": "Hello."}, {"say": "x", "unheard": True}]
    client = Client({"replies": replies}, request=ConnectionRequested(intent="transcription"))
    client.send("session.update", session={"type": "transcription", **heard})
    for _ in replies:
        client.say()
        client.wait(2000)
    assert [told.what for told in tell(client.recording())] == [
        "turns by server_vad, writes down and answers nobody",
        'says "Hello."',
        "says something (not written down: audio_unintelligible)",
    ]
