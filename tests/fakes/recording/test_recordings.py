import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from recorded import cassettes, needs_recordings

from callerside.audio import AudioFormat, to_samples
from callerside.fakes.recording.cassette import read_cassette
from callerside.fakes.recording.format import (
    Entry,
    Header,
    Recording,
    RecordingError,
    RecordingWriter,
    read_recording,
    write_recording,
)
from callerside.fakes.recording.transcript import narrate
from callerside.speech.synthesis import synthesise

HEADER = '{"format":"realtime-recording","version":1}\n'
PCM = synthesise("Hello.")
TELEPHONE = {
    "type": "session.updated",
    "session": {
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}},
            "output": {"format": {"type": "audio/pcm"}},
        }
    },
}


def call(client_audio: bytes = PCM) -> Recording:
    return Recording(
        Header(model="gpt-realtime-2.1", recorded_at="2026-08-01T12:00:00+00:00"),
        (
            Entry(0.0, "server", {"type": "session.created", "session": {}}),
            Entry(0.5, "client", {"type": "input_audio_buffer.append", "audio": client_audio}),
            Entry(1.25, "server", {"type": "response.output_audio.delta", "delta": PCM}),
            Entry(1.25, "server", {"type": "response.done", "response": {"status": "completed"}}),
        ),
    )


@pytest.mark.parametrize("audio_files", [False, True])
def test_what_was_written_is_read_again(tmp_path: Path, audio_files: bool) -> None:
    path = tmp_path / "call.realtime"
    write_recording(path, call(), audio_files=audio_files)
    assert read_recording(path) == call()
    names = {file.name for file in tmp_path.iterdir()}
    sounds = {"call.client.pcm.wav", "call.server.pcm.wav"} if audio_files else set()
    assert names == {"call.realtime"} | sounds


def test_telephone_audio_comes_back_as_it_was(tmp_path: Path) -> None:
    pcmu = AudioFormat("pcmu")
    wire = pcmu.encode(PCM[: len(PCM) // 4 * 2])
    recording = call(wire)
    created, *others = recording.entries
    entries = (created, Entry(0.0, "server", TELEPHONE), *others)
    path = tmp_path / "call.realtime"
    write_recording(path, Recording(recording.header, entries), audio_files=True)
    read = read_recording(path).entries[2].event["audio"]
    assert pcmu.decode(read) == pcmu.decode(wire)  # µ-law has two zeros: they are not told apart
    assert (tmp_path / "call.client.pcmu.wav").exists()


def test_secrets_are_removed(tmp_path: Path) -> None:
    tool = {"type": "mcp", "authorization": "sk-1", "headers": {"X-Key": "sk-2"}, "name": "x"}
    event = {"type": "session.update", "session": {"tools": [tool], "api_key": "sk-3"}}
    path = tmp_path / "call.realtime"
    write_recording(path, Recording(Header(), (Entry(0.0, "client", event),)))
    assert "sk-" not in path.read_text()
    (entry,) = read_recording(path).entries
    assert entry.event["session"]["tools"][0]["authorization"] == "[removed]"


def test_a_server_is_named_without_who_asks_it(tmp_path: Path) -> None:
    url = "https://u:PASSWORD@host.example:8/mcp?token=SECRET"
    tool = {"type": "mcp", "server_label": "shop", "server_url": url}
    said = {"type": "error", "error": {"message": "no answer of wss://me:PASSWORD@h/x, u@h"}}
    path = tmp_path / "call.realtime"
    events = ({"type": "session.updated", "session": {"tools": [tool]}}, said)
    write_recording(path, Recording(Header(), tuple(Entry(0.0, "server", e) for e in events)))
    assert not any(word in path.read_text() for word in ("PASSWORD", "SECRET", "u:"))
    first, second = read_recording(path).entries
    named = first.event["session"]["tools"][0]["server_url"]
    assert named == "https://[removed]@host.example:8/mcp?[removed]"
    assert second.event["error"]["message"] == "no answer of wss://[removed]@h/x, u@h"


def test_keys_are_removed_from_texts(tmp_path: Path) -> None:
    error = {"message": "Incorrect API key provided: sk-proj-1234567890. Ask again."}
    texts = ["Bearer abc.def", "an ek_1234567890abcdef in words", "a risk-free task_force"]
    events = ({"type": "error", "error": error}, {"type": "note", "texts": texts})
    path = tmp_path / "call.realtime"
    entries = tuple(Entry(0.0, "server", event) for event in events)
    write_recording(path, Recording(Header(), entries))
    first, second = read_recording(path).entries
    assert first.event["error"]["message"] == "Incorrect API key provided: [removed]. Ask again."
    assert second.event["texts"] == ["[removed]", "an [removed] in words", "a risk-free task_force"]


def test_text_that_is_no_unicode_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    events = [{"type": "a", "text": "\ud800 and é"}, {"type": "b", "text": "é"}]
    entries = tuple(Entry(0.0, "client", event) for event in events)
    write_recording(path, Recording(Header(), entries))
    assert read_recording(path).entries == entries


def test_a_recording_survives_the_death_of_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    writer = RecordingWriter(path, Header())
    writer.write(0.0, "client", {"type": "response.create"})
    assert len(read_recording(path).entries) == 1
    writer.close()
    with path.open("a") as file:
        file.write('{"at": 1.0, "from": "cli')
    assert len(read_recording(path).entries) == 1


def line(**changes: Any) -> str:
    entry = {"at": 1.0, "from": "client", "event": {"type": "response.create"}} | changes
    return json.dumps({key: value for key, value in entry.items() if value is not None}) + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: empty; expected a header"),
        ("{}\n", "1: no recording"),
        ("[]\n", "1: expected a JSON object"),
        ("{\n", "1: no recording: expected JSON on each line"),
        ('{"format":"realtime-recording","version":2}\n', "1: version 2 of the format, expected 1"),
        (
            '{"format":"realtime-recording","version":1,"colour":"red"}\n',
            "1: the header has unknown keys: colour",
        ),
        (
            '{"format":"realtime-recording","version":1,"dialect":"old"}\n',
            "1: dialect 'old', expected ga or beta",
        ),
        (
            '{"format":"realtime-recording","version":1,"timed":"yes"}\n',
            "1: timed 'yes', expected true or false",
        ),
        ('{"format":"realtime-recording","version":1,"model":5}\n', "1: model 5, expected a text"),
        ("[" * 100_000 + "\n", "1: "),
        (HEADER + "[" * 100_000 + "\n", "2: "),
        (HEADER + line(at=float("nan")), "2: at nan, expected seconds"),
        (HEADER + line(at=float("inf")), "2: at inf, expected seconds"),
        (HEADER + line(at=None), "2: expected the keys at, from and event"),
        (HEADER + line(at=-1), "2: at -1, expected seconds"),
        (HEADER + line(at="now"), "2: at 'now', expected seconds"),
        (HEADER + line() + line(at=0.5), "3: at 0.5 is before the line above"),
        (HEADER + line(**{"from": "agent"}), "2: from 'agent', expected client or server"),
        (HEADER + line(event={}), "2: event: expected an object with a type"),
        (
            HEADER + line(event={"type": "input_audio_buffer.append", "audio": "%"}),
            "2: ",
        ),
        (
            HEADER + line(event={"type": "input_audio_buffer.append"}),
            "2: audio: expected base64, or encoding, samples, start, wav",
        ),
        (
            HEADER
            + line(
                event={
                    "type": "input_audio_buffer.append",
                    "audio": {"wav": "../x.wav", "start": 0, "samples": 1, "encoding": "pcm"},
                }
            ),
            "2: wav '../x.wav': expected a file beside the recording",
        ),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.realtime"
    path.write_text(text)
    with pytest.raises(RecordingError) as error:
        read_recording(path)
    assert str(error.value).startswith(f"{path}:{expected}")


def test_a_reference_beyond_its_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    write_recording(path, call(), audio_files=True)
    path.write_text(path.read_text().replace('"start":0', '"start":999999'))
    with pytest.raises(RecordingError, match="has no samples 999999 to"):
        read_recording(path)


def test_a_cassette_becomes_a_recording(tmp_path: Path) -> None:
    interactions = [
        {"direction": "received", "data": {"type": "session.created", "session": {"model": "m"}}},
        {"direction": "sent", "data": {"type": "input_audio_buffer.append", "audio": "AAAAAAA"}},
    ]
    path = tmp_path / "call.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "interactions": interactions}))
    recording = read_cassette(path)
    assert recording.header == Header(model="m", timed=False, source="call.yaml")
    assert [entry.sender for entry in recording.entries] == ["server", "client"]
    assert recording.entries[1].event["audio"] == bytes(2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [\n", "no YAML"),
        ("a: 1\n", "expected a mapping with a list of interactions"),
        ("interactions: [1]\n", "interaction 1: expected a mapping"),
        (
            "interactions: [{direction: up}]\n",
            "interaction 1: direction: expected sent or received",
        ),
        (
            "interactions: [{direction: sent, data: {type: a, when: 2026-01-01}}]\n",
            "interaction 1: data: Object of type date is not JSON serializable",
        ),
        ("interactions: [{direction: sent, data: 1}]\n", "interaction 1: data: expected an event"),
    ],
)
def test_what_is_no_cassette(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecordingError, match=expected):
        read_cassette(path)


def test_a_recording_reads_like_a_conversation() -> None:
    lines = list(narrate(call()))
    seconds = len(to_samples(PCM)) / 24_000
    assert lines == [
        "gpt-realtime-2.1, ga dialect, recorded 2026-08-01T12:00:00+00:00",
        "    0.000  <--  session.created",
        f"    0.500  -->  input_audio_buffer.append: {seconds:.2f} s of audio",
        f"    1.250  <--  response.output_audio.delta: {seconds:.2f} s of audio",
        "    1.250  <--  response.done: completed",
    ]


@needs_recordings
@pytest.mark.parametrize("path", cassettes(), ids=lambda path: path.stem)
def test_real_recordings_are_converted_and_read(tmp_path: Path, path: Path) -> None:
    recording = read_cassette(path)
    assert recording.header.model == "gpt-realtime"
    write_recording(tmp_path / "call.realtime", recording)
    assert read_recording(tmp_path / "call.realtime") == recording
    assert len(list(narrate(recording))) < len(recording.entries)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_text_may_hold_what_unicode_takes_for_the_end_of_a_line(tmp_path: Path, end: str) -> None:
    text = "one\u2028two\u2029three\u0085four\x0bfive\x0csix\x1cseven"
    path = tmp_path / "call.realtime"
    with RecordingWriter(path, Header()) as writer:
        writer.write(0.5, "server", {"type": "response.output_text.done", "text": text})
    path.write_bytes(path.read_bytes().replace(b"\n", end.encode()))
    (entry,) = read_recording(path).entries
    assert entry.event["text"] == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{type: session.created, session: {on: 1}}", "the key True is no text: put it in quotes"),
        ("{type: session.created, session: {x: .inf}}", "not JSON compliant"),
        ("{type: session.created, session: {x: 2026-01-01}}", "not JSON serializable"),
    ],
)
def test_what_a_cassette_has_and_json_has_not_is_told(tmp_path: Path, data: str, said: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(f"interactions: [{{direction: received, data: {data}}}]")
    with pytest.raises(RecordingError, match=said):
        read_cassette(path)


@pytest.mark.parametrize("session", ["null", "[]", "{model: null}", "{model: 3}"])
def test_a_cassette_without_a_model_is_one(tmp_path: Path, session: str) -> None:
    path = tmp_path / "odd.yaml"
    data = f"{{type: session.created, session: {session}}}"
    path.write_text(f"interactions: [{{direction: received, data: {data}}}]")
    assert read_cassette(path).header.model == ""


def test_what_is_said_is_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    said = "The Bearer of this voucher may have sk-ipped the line."
    with RecordingWriter(path, Header()) as writer:
        writer.write(0.0, "server", {"type": "said", "text": said})
        writer.write(0.0, "client", {"type": "key", "text": f"Bearer {'aB3.-_~+/=' * 4}=="})
    told, key = read_recording(path).entries
    assert told.event["text"] == said
    assert key.event["text"] == "[removed]"
