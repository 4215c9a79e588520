import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from callerside.audio import duration_ms, level_dbfs, to_samples
from callerside.audio_files import write_wav
from callerside.speech import shipped, synthesis, voices
from callerside.speech.synthesis import cache_folder, synthesise
from callerside.speech.voices import HIBARI, Engine, UnknownVoiceError, VoiceError

ENGLISH = "espeak-ng/en-gb"
UNSHIPPED = "We have no such phrase among those that are shipped."
ALONE = """
import socket, sys
class NoSocket(socket.socket):
    def __init__(self, *_, **__):
        sys.exit("a socket was opened")
socket.socket = NoSocket
from callerside.speech.synthesis import synthesise
from callerside.speech.voices import UnknownVoiceError
assert len(synthesise("This was never said before.")) > 48_000
for voice in ("emma", "fable", "fenrir", "kore", "hibari/emma"):
    try:
        synthesise("This neither.", voice=voice)
    except UnknownVoiceError:
        continue
    sys.exit(f"{voice} spoke")
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    synthesis.spoken.cache_clear()


def test_a_text_becomes_speech_of_a_plausible_length_and_level() -> None:
    pcm = synthesise("What time do you open on Saturday?")
    assert 1000 < duration_ms(pcm, 24_000) < 4000
    assert level_dbfs(to_samples(pcm)) == pytest.approx(-20, abs=0.5)


def test_speech_begins_at_once() -> None:
    samples = np.abs(to_samples(synthesise("Hello.")).astype(np.int32))
    thirty_db_below = 32768 * 10 ** (-50 / 20)
    assert int(np.flatnonzero(samples > thirty_db_below)[0]) <= 24 * 6


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000])
def test_the_rate_is_the_callers_choice(rate_hz: int) -> None:
    assert duration_ms(synthesise("Hello.", rate_hz=rate_hz), rate_hz) == pytest.approx(
        duration_ms(synthesise("Hello."), 24_000), abs=1
    )


@pytest.mark.parametrize("voice", ["heart", "en-gb"])
def test_a_faster_speaker_needs_less_time(voice: str) -> None:
    text = "I would like to book a table for four."
    fast, slow = (synthesise(text, voice=voice, speed_wpm=wpm) for wpm in (260, 120))
    assert len(fast) < 0.8 * len(slow)


def test_voices_differ() -> None:
    spoken = {synthesise("Hello.", voice=name) for name in ("heart", "en-us+f3", "de", ENGLISH)}
    assert len(spoken) == 4


@pytest.mark.parametrize(("voice", "other"), [("heart", "heart"), ("en-gb", "fr")])
def test_a_text_sounds_the_same_whatever_was_said_before(voice: str, other: str) -> None:
    first = synthesise(UNSHIPPED, voice=voice)
    synthesise("Something else entirely.", voice=other)
    synthesis.spoken.cache_clear()
    for path in cache_folder().iterdir():
        path.unlink()
    assert synthesise(UNSHIPPED, voice=voice) == first


def test_two_sentences_are_one_turn() -> None:
    """A server ends a turn after 500 ms of silence."""
    samples = to_samples(synthesise("Good morning. That is all I want to say.", rate_hz=16_000))
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 200)
    assert 250 < np.diff(loud).max() / 16 < 450


def test_speech_is_cached_and_a_damaged_cache_is_made_again() -> None:
    first = synthesise(UNSHIPPED)
    (path,) = cache_folder().iterdir()
    whole = path.read_bytes()
    path.write_bytes(b"RIFF, and then nothing")
    synthesis.spoken.cache_clear()
    assert synthesise(UNSHIPPED) == first
    assert path.read_bytes() == whole


def test_the_cache_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    first = synthesise(UNSHIPPED)
    synthesis.spoken.cache_clear()
    monkeypatch.setattr(Engine, "spoken", lambda *_: pytest.fail("spoken again"))
    assert synthesise(UNSHIPPED) == first


def test_what_another_version_said_is_said_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    synthesise(UNSHIPPED)
    synthesis.spoken.cache_clear()
    monkeypatch.setattr(voices, "_version", lambda _: "9")
    synthesise(UNSHIPPED)
    assert len(list(cache_folder().iterdir())) == 2


@pytest.mark.parametrize(("voice", "extra"), [("heart", "sim"), ("de", "languages")])
def test_an_engine_that_is_absent_is_named_with_what_to_install(
    voice: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "_version", lambda _: "")
    with pytest.raises(VoiceError, match=rf"voice {voice} needs .*callerside\[{extra}\]"):
        synthesise(UNSHIPPED, voice=voice)
    assert synthesise("What time do you open?")  # which is shipped


def test_no_voice_asks_the_network(tmp_path: Path) -> None:
    environment = {**os.environ, "HIBARI_HOME": str(tmp_path / "hibari")}
    subprocess.run([sys.executable, "-c", ALONE], env=environment, check=True)
    assert not (tmp_path / "hibari").exists()


@pytest.mark.parametrize("voice", ["emma", "hibari/kore"])
def test_a_voice_that_would_be_downloaded_is_refused_and_why(voice: str) -> None:
    with pytest.raises(UnknownVoiceError, match="callerside downloads nothing"):
        synthesise("Hello.", voice=voice)


@pytest.mark.parametrize("name", ["martian", "en-gb+nobody", "", "hibari/de", "espeak-ng/heart"])
def test_an_unknown_voice_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(UnknownVoiceError, match=r"no voice .*expected heart \(English\), or one"):
        synthesise("Hello.", voice=name)


@pytest.mark.parametrize("text", ["Добрый день", "你好", "Καλημέρα"])
def test_the_english_voice_refuses_what_it_would_leave_out(text: str) -> None:
    with pytest.raises(VoiceError, match="not written in its letters"):
        synthesise(text)
    assert synthesise("Café Müller, 42.")


def test_every_shipped_phrase_is_as_it_was_shipped() -> None:
    index = shipped.read_index()
    assert {HIBARI.name} < {one.phrase.voice.split("/")[0] for one in index.values()}
    for one in index.values():
        pcm = shipped.find(one.phrase)
        assert pcm is not None
        assert hashlib.sha256(pcm).hexdigest() == one.sha256
        assert (shipped.FOLDER / one.file).stat().st_size < 2**20


@pytest.mark.parametrize("damage", ["other", "gone"])
def test_a_shipped_phrase_that_is_damaged_is_not_played(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "phrases"
    shutil.copytree(shipped.FOLDER, folder)
    monkeypatch.setattr(shipped, "FOLDER", folder)
    (one, *_) = shipped.read_index().values()
    path = folder / one.file
    path.unlink()
    if damage == "other":
        write_wav(path, np.ones(16_000, np.int16), 16_000)
    with pytest.raises(VoiceError, match=rf"{one.file}: .*install callerside anew"):
        shipped.find(one.phrase)


@pytest.mark.parametrize("text", ["", "...", " "])
@pytest.mark.parametrize("voice", ["heart", "en-gb"])
def test_a_text_without_words_is_an_error(text: str, voice: str) -> None:
    with pytest.raises(VoiceError, match="nothing that can be spoken"):
        synthesise(text, voice=voice)


def test_a_text_without_end_is_an_error() -> None:
    with pytest.raises(VoiceError, match="at most 4000"):
        synthesise("word " * 1000)
