"""A turn of a recording as a reply of a script."""

from pathlib import Path

import pytest

from callerside import audio
from callerside.audio_files import AudioFileError
from callerside.fakes.recording import turn
from callerside.fakes.recording.format import (
    Entry,
    Header,
    Recording,
    RecordingError,
    read_recording,
    write_recording,
)
from callerside.fakes.recording.turn import read_turn
from callerside.fakes.script import prepare
from callerside.fakes.script.model import Script

TONE = audio.tone(300, 500, 24_000)


def spoken(response: str, pcm: bytes, words: str, *, beta: bool = False) -> list[Entry]:
    prefix = "response.audio" if beta else "response.output_audio"
    half = len(pcm) // 4 * 2
    return [
        Entry(1.0, "server", {"type": f"{prefix}.delta", "response_id": response, "delta": part})
        for part in (pcm[:half], pcm[half:])
    ] + [
        Entry(
            1.0,
            "server",
            {"type": f"{prefix}_transcript.done", "response_id": response, "transcript": words},
        )
    ]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "call.jsonl"
    entries = [*spoken("a", TONE, "One."), *spoken("b", TONE[:32], "Two.", beta=True)]
    write_recording(path, Recording(Header(), tuple(entries)))
    return path


def script(path: Path, number: int) -> Script:
    replies = [{"recording": {"file": path.name, "turn": number}}]
    return Script.model_validate({"replies": replies})


def test_a_response_is_said_again_as_it_was_recorded(recorded: Path) -> None:
    (line,) = prepare.prepare(script(recorded, 1), recorded.parent).reply(1).items
    assert line.pcm == TONE
    assert line.transcript == "One."


def test_audio_that_was_cut_out_is_spoken_anew_from_the_transcript(recorded: Path) -> None:
    assert read_turn(recorded, 2).pcm == b""
    (line,) = prepare.prepare(script(recorded, 2), recorded.parent).reply(1).items
    assert audio.duration_ms(line.pcm, 24_000) > 150
    assert line.transcript == "Two."


def test_g711_becomes_pcm(tmp_path: Path) -> None:
    wire = audio.AudioFormat("pcmu").encode(audio.tone(300, 500, 8000))
    session = {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}
    opened = Entry(0.0, "server", {"type": "session.updated", "session": session})
    path = tmp_path / "call.jsonl"
    write_recording(path, Recording(Header(), (opened, *spoken("a", wire, "One."))))
    assert audio.duration_ms(read_turn(path, 1).pcm, 24_000) == pytest.approx(500, abs=2)


def test_a_recording_is_read_once_for_all_its_turns(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Recording:
        read.append(path)
        return read_recording(path)

    monkeypatch.setattr(turn, "read_recording", counted)
    assert [read_turn(recorded, number).transcript for number in (1, 2, 1)] == [
        "One.",
        "Two.",
        "One.",
    ]
    assert read == [recorded]
    write_recording(recorded, Recording(Header(), tuple(spoken("c", TONE, "Three."))))
    assert read_turn(recorded, 1).transcript == "Three."


def test_a_turn_that_is_not_there_is_told(recorded: Path) -> None:
    with pytest.raises(RecordingError, match="has 2 spoken responses, and no number 3"):
        read_turn(recorded, 3)
    with pytest.raises(AudioFileError, match="no number 3"):
        prepare.prepare(script(recorded, 3), recorded.parent)
    with pytest.raises(AudioFileError, match=r"none\.jsonl"):
        prepare.prepare(script(recorded.with_name("none.jsonl"), 1), recorded.parent)
