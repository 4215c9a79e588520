"""The client's side of real recordings, played to the fake: it answers in the recorded order."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from in_memory import Client
from recorded import cassettes, needs_recordings

from callerside.fakes.recording.cassette import read_cassette
from callerside.fakes.recording.format import Entry, Recording
from callerside.fakes.session.interface import ClientEvent, ConnectionRequested
from callerside.speech.synthesis import synthesise

# The recorded frames of audio were cut short by those who published them: the same number of
# frames is filled anew, with speech where it was.
FRAME_MS = 100
SPEECH_AT_MS = 1760
FRAME_BYTES = FRAME_MS * 48

WAITED_FOR = ("response.done", "response.function_call_arguments.done")
MIXED = ("response.output_audio.delta", "response.output_audio_transcript.delta")
ID_FIELDS = ("item_id", "response_id", "previous_item_id", "call_id")


def script_of(recording: Recording) -> dict[str, Any]:
    """A script that says what was said in the recording."""
    replies: list[dict[str, Any]] = []
    for entry in recording.entries:
        if entry.type == "response.done":
            (item,) = entry.event["response"]["output"]
            if item["type"] == "function_call":
                arguments = json.loads(item["arguments"])
                call = {"name": item["name"], "arguments": arguments}
                replies.append({"function_call": call})
            else:
                content = item["content"][0]
                replies.append({"say": content.get("transcript") or content["text"]})
        elif entry.type == "conversation.item.input_audio_transcription.completed":
            replies[-1:] = [{**reply, "heard": entry.event["transcript"]} for reply in replies[-1:]]
    return {"replies": replies, "timing": {"think_ms": 500}}


def resynthesised(recording: Recording) -> Iterator[Entry]:
    appends = sum(entry.type == "input_audio_buffer.append" for entry in recording.entries)
    sound = bytes(SPEECH_AT_MS * 48) + synthesise("Hello, my name is Marcelo.")
    sound += bytes(max(0, appends * FRAME_BYTES - len(sound)))
    frames = iter(range(0, len(sound), FRAME_BYTES))
    for entry in recording.entries:
        if entry.type == "input_audio_buffer.append":
            start = next(frames)
            event = {**entry.event, "audio": sound[start : start + FRAME_BYTES]}
            yield Entry(entry.at_s, entry.sender, event)
        else:
            yield entry


def played(recording: Recording) -> list[dict[str, Any]]:
    """The fake's answers to the recording's client."""
    model = recording.header.model
    client = Client(script_of(recording), request=ConnectionRequested(model=model))
    seen: Counter[str] = Counter()
    for entry in resynthesised(recording):
        if entry.sender == "server":
            seen[entry.type] += entry.type in WAITED_FOR
            continue
        while not seen <= Counter(client.types):
            client.wait(20)  # until the fake has said what the client had heard by then
            assert client.now_ms < 60_000
        calls = [e["call_id"] for e in client.all("response.function_call_arguments.done")]
        event = json.loads(json.dumps(entry.event)) if "audio" not in entry.event else entry.event
        if event.get("item", {}).get("type") == "function_call_output":
            event["item"]["call_id"] = calls[-1]
        client.feed(ClientEvent(event))
        if event["type"] == "input_audio_buffer.append":
            client.wait(FRAME_MS)
    client.wait(10_000)
    return client.events


def ids_of(event: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: event[name] for name in ID_FIELDS if name in event}
    if "item" in event:
        found["item"] = event["item"]["id"]
    if "response" in event:
        found["response"] = event["response"]["id"]
        found["output"] = [item["id"] for item in event["response"]["output"]]
    return found


def shape(events: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Types in order, with ids by their first appearance; what is mixed freely is one entry."""
    names: dict[str, str] = {}

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(part) for part in value]
        return None if value is None else names.setdefault(value, f"id {len(names) + 1}")

    result: list[tuple[str, dict[str, Any]]] = []
    for event in events:
        kind = event["type"]
        if "input_audio_transcription" in kind or kind == "rate_limits.updated":
            continue  # the first come anywhere, the second were not recorded
        kind = "audio and transcript" if kind in MIXED else kind
        if result and result[-1][0] == kind and (kind.endswith("delta") or " " in kind):
            continue
        result.append((kind, {key: named(value) for key, value in ids_of(event).items()}))
    return result


@needs_recordings
@pytest.mark.parametrize("path", cassettes(), ids=lambda path: path.stem)
def test_the_fake_answers_in_the_recorded_order(path: Path) -> None:
    recording = read_cassette(path)
    recorded = [dict(entry.event) for entry in recording.entries if entry.sender == "server"]
    assert shape(played(recording)) == shape(recorded)


@needs_recordings
def test_the_transcript_runs_ahead_of_the_audio() -> None:
    for path in cassettes():
        recording = read_cassette(path)
        recorded = [dict(entry.event) for entry in recording.entries if entry.sender == "server"]
        for events in (recorded, played(recording)):
            mixed = [event["type"] for event in events if event["type"] in MIXED]
            assert not mixed or mixed[:3] == [MIXED[1]] * 3


@needs_recordings
def test_fields_are_those_that_were_recorded() -> None:
    for path in cassettes():
        recording = read_cassette(path)
        recorded = {e.type: set(e.event) for e in recording.entries if e.sender == "server"}
        for event in played(recording):
            if event["type"] in recorded:
                assert set(event) == recorded[event["type"]], event["type"]
