"""What becomes of a recorded session as a script; what is not written down of one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callerside.fakes.recording.as_script import script_of
from callerside.fakes.recording.format import (
    Entry,
    Header,
    Recording,
    RecordingWriter,
    read_recording,
    write_recording,
)
from callerside.fakes.script.model import Script

SOUND = bytes(24_000)  # half a second


def said(response: str, at_s: float) -> list[Entry]:
    """A spoken response that begins then."""
    delta = {"type": "response.output_audio.delta", "response_id": response, "delta": SOUND}
    words = {
        "type": "response.output_audio_transcript.done",
        "response_id": response,
        "transcript": response,
    }
    return [Entry(at_s, "server", delta), Entry(at_s, "server", words)]


def server(at_s: float, kind: str, **fields: Any) -> Entry:
    return Entry(at_s, "server", {"type": kind, **fields})


def script(tmp_path: Path, *entries: Entry) -> dict[str, Any]:
    path = tmp_path / "call.realtime"
    write_recording(path, Recording(Header(), entries))
    made = script_of(read_recording(path), path)
    Script.model_validate(made)
    return made


def created(at_s: float, name: str) -> Entry:
    return server(at_s, "response.created", response={"id": name})


def done(at_s: float, name: str, **more: Any) -> Entry:
    return server(at_s, "response.done", response={"id": name, **more})


def test_each_response_is_said_again_in_its_turn(tmp_path: Path) -> None:
    call = {"type": "function_call", "name": "hours", "arguments": '{"day": "Sunday"}'}
    broken = {"type": "function_call", "name": "hours", "arguments": "{'day'"}
    made = script(
        tmp_path,
        Entry(1.0, "client", {"type": "response.create"}),
        created(1.1, "hello"),
        *said("hello", 1.4),
        done(2.0, "hello"),
        server(5.0, "input_audio_buffer.committed", item_id="turn"),
        created(5.1, "calls"),
        server(5.2, "response.output_item.done", response_id="calls", item=call),
        server(5.3, "response.output_item.done", response_id="calls", item=broken),
        done(5.4, "calls"),
        server(
            5.5,
            "conversation.item.input_audio_transcription.completed",
            item_id="turn",
            transcript="On Sunday?\n",
        ),
        Entry(5.6, "client", {"type": "response.create"}),
        created(5.7, "answer"),
        *said("answer", 6.1),
        done(7.0, "answer", status="incomplete", status_details={"reason": "content_filter"}),
        server(8.0, "input_audio_buffer.committed", item_id="another"),
        created(8.1, "interrupted"),
        done(8.2, "interrupted", status="cancelled"),
        server(9.0, "input_audio_buffer.committed", item_id="third"),
        created(9.1, "failed"),
        done(9.2, "failed", status="failed", status_details={"error": {"code": "no_quota"}}),
    )
    assert made == {
        "greeting": {"recording": {"file": "call.realtime", "turn": 1}, "think_ms": 400},
        "replies": [
            {
                "function_calls": [
                    {"name": "hours", "arguments": {"day": "Sunday"}},
                    {"name": "hours", "raw_arguments": "{'day'"},
                ],
                "think_ms": 200,
                "heard": "On Sunday?",
            },
            {
                "recording": {"file": "call.realtime", "turn": 2},
                "incomplete": {"reason": "content_filter"},
                "think_ms": 500,
            },
            {"cancelled": {"after_ms": 0}},
            {"failed": {"code": "no_quota"}},
        ],
    }


def written(path: Path, event: Mapping[str, Any], **how: Any) -> str:
    with RecordingWriter(path, Header(), **how) as writer:
        writer.write(0.0, "client", event)
    return path.read_text().splitlines()[1]


def test_organisations_and_what_a_client_has_shown_are_removed(tmp_path: Path) -> None:
    words = "of org-4kTq0Yw81bGdXm2p in proj_9aK2mQ with my-own-key: org-wide, none"
    event = {"type": "error", "error": {"message": words}, "x": {"OpenAI-Organization": "Miller"}}
    text = written(tmp_path / "a.realtime", event, secrets=["my-own-key", "none"])
    assert "of [removed] in [removed] with [removed]: org-wide, none" in text
    assert "Miller" not in text


def test_the_caller_is_left_out_wherever_sound_of_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.realtime"
    append = {"type": "input_audio_buffer.append", "audio": b"caller"}
    item = {"type": "x", "item": {"content": [{"type": "input_audio", "audio": "Y2FsbGVy"}]}}
    for event in (append, item):
        assert "Y2FsbGVy" in written(path, event)
        assert "Y2FsbGVy" not in written(path, event, caller_audio=False)
    model = {"type": "response.output_audio.delta", "delta": b"caller"}
    assert "Y2FsbGVy" in written(path, model, caller_audio=False)


def test_what_is_said_out_of_band_answers_nobody(tmp_path: Path) -> None:
    beside = {"type": "response.create", "response": {"conversation": "none"}}
    made = script(
        tmp_path,
        server(1.0, "input_audio_buffer.committed", item_id="turn"),
        Entry(1.1, "client", beside),
        server(1.2, "response.created", response={"id": "note", "conversation_id": None}),
        server(1.3, "response.created", response={"id": "answer", "conversation_id": "conv_1"}),
        *said("note", 1.4),
        *said("answer", 1.5),
        done(2.0, "note"),
        done(2.1, "answer"),
    )
    assert made == {
        "replies": [{"recording": {"file": "call.realtime", "turn": 2}, "think_ms": 500}]
    }
