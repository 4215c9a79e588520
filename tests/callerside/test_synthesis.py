from pathlib import Path

import numpy as np
import pytest

from callerside.audio import duration_ms, level_dbfs, to_samples
from callerside.speech import synthesis
from callerside.speech.synthesis import VoiceError, cache_folder, synthesise


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    synthesis._native_speech.cache_clear()


def test_a_text_becomes_speech_of_a_plausible_length_and_level() -> None:
    pcm = synthesise("What time do you open on Saturday?")
    assert 1000 < duration_ms(pcm, 24_000) < 4000
    assert level_dbfs(to_samples(pcm)) == pytest.approx(-20, abs=0.5)


def test_speech_begins_at_once() -> None:
    samples = np.abs(to_samples(synthesise("Hello.")).astype(np.int32))
    assert int(np.flatnonzero(samples > 327)[0]) <= 24 * 10


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000])
def test_the_rate_is_the_callers_choice(rate_hz: int) -> None:
    assert duration_ms(synthesise("Hello.", rate_hz=rate_hz), rate_hz) == pytest.approx(
        duration_ms(synthesise("Hello."), 24_000), abs=1
    )


def test_a_faster_speaker_needs_less_time() -> None:
    text = "I would like to book a table for four."
    assert len(synthesise(text, speed_wpm=260)) < 0.8 * len(synthesise(text, speed_wpm=120))


def test_voices_differ() -> None:
    assert synthesise("Hello.", voice="en-us+f3") != synthesise("Hello.", voice="de")


def test_a_text_sounds_the_same_whatever_was_said_before() -> None:
    first = synthesise("Good morning.")
    synthesise("Something else entirely.", voice="fr")
    synthesis._native_speech.cache_clear()
    for path in cache_folder().iterdir():
        path.unlink()
    assert synthesise("Good morning.") == first


def test_speech_is_cached_and_a_damaged_cache_is_made_again() -> None:
    first = synthesise("Hello.")
    (path,) = cache_folder().iterdir()
    whole = path.read_bytes()
    path.write_bytes(b"RIFF, and then nothing")
    synthesis._native_speech.cache_clear()
    assert synthesise("Hello.") == first
    assert path.read_bytes() == whole


def test_the_cache_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    first = synthesise("Hello.")
    synthesis._native_speech.cache_clear()
    monkeypatch.setattr(synthesis, "_speak", lambda *_: pytest.fail("spoken again"))
    assert synthesise("Hello.") == first


@pytest.mark.parametrize("name", ["martian", "en-gb+nobody", ""])
def test_an_unknown_voice_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(VoiceError, match=r"no voice .*expected one such as en-gb"):
        synthesise("Hello.", voice=name)


@pytest.mark.parametrize("text", ["", "...", " "])
def test_a_text_without_words_is_an_error(text: str) -> None:
    with pytest.raises(VoiceError, match="nothing that can be spoken"):
        synthesise(text)


def test_a_text_without_end_is_an_error() -> None:
    with pytest.raises(VoiceError, match="at most 4000"):
        synthesise("word " * 1000)
