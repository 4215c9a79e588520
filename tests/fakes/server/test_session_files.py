"""The sound of a session is written while it runs, and is whole or absent."""

from pathlib import Path

import pytest

from callerside.audio import to_samples, tone
from callerside.audio_files import read_wav
from callerside.fakes.server import files as session_files
from callerside.fakes.server.files import SessionFiles

TONE = tone(300, 3000, 24_000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_sound_is_whole_once_it_is_closed(tmp_path: Path) -> None:
    sound = SessionFiles(tmp_path, "call").sound("heard", 24_000)
    assert sound is not None
    for start in range(0, len(TONE), 960):
        sound.add(TONE[start : start + 960])
    assert names(tmp_path) == []
    sound.close()
    assert names(tmp_path) == ["call.heard.wav"]
    assert to_samples(read_wav(tmp_path / "call.heard.wav", 24_000)).tobytes() == TONE


def test_a_second_session_does_not_overwrite_the_first(tmp_path: Path) -> None:
    for _ in range(3):
        sound = SessionFiles(tmp_path, "call").sound("heard", 8000)
        assert sound is not None
        sound.add(TONE)
        sound.close()
    assert names(tmp_path) == ["call.heard-2.wav", "call.heard-3.wav", "call.heard.wav"]


def test_what_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    sound = SessionFiles(tmp_path, "call").sound("sent", 24_000)
    assert sound is not None
    sound.add(TONE)
    sound.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_flood_is_not_kept_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_files, "_LONGEST_BYTES", 100_000)
    sound = SessionFiles(tmp_path, "call").sound("heard", 24_000)
    assert sound is not None
    for _ in range(3):
        sound.add(bytes(2**16))
    sound.close()
    assert list(tmp_path.iterdir()) == []
    assert "call.heard.wav is not kept: it is too long" in caplog.text


def test_a_disk_that_fails_ends_the_sound_and_not_the_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = SessionFiles(tmp_path / "gone", "call").sound("heard", 24_000)
    assert sound is not None
    sound.add(TONE)
    sound.close()
    assert "is not kept" in caplog.text


def test_without_a_folder_nothing_is_written() -> None:
    files = SessionFiles(None, "call")
    assert files.sound("heard", 24_000) is None
    assert files.timeline() is None
