"""The prompt cache: what comes out is what went in, or nothing."""

import contextlib
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile

from callerside.agent.call.prompts import prompt_key
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts import cache as greeting
from callerside.agent.prompts.cache import DamagedPromptError, MemoryPrompts, Prompt, PromptCache
from callerside.audio import duration_ms, to_samples, tone
from callerside.audio_files import read_wav

PROMPT = Prompt(pcm=bytes(range(256)) * 100, transcript="Grüß Gott — how can I help?")


@pytest.fixture
def cache(tmp_path: Path) -> PromptCache:
    return PromptCache(tmp_path / "prompts")


def test_what_is_stored_is_loaded(cache: PromptCache) -> None:
    assert cache.load("k", 24_000) is None
    cache.store("k", PROMPT, 24_000)
    assert cache.load("k", 24_000) == PROMPT
    assert [path.name for path in cache.directory.iterdir()] == ["k.wav"]


def test_it_is_a_sound_file_that_anybody_can_play(cache: PromptCache) -> None:
    cache.store("k", PROMPT, 24_000)
    assert read_wav(cache.path("k"), 24_000)


@pytest.mark.parametrize("letter", ["a", "ä", "\u4f60", '"', "\\", "\n"])
def test_a_transcript_that_does_not_fit_is_cut_not_lost(cache: PromptCache, letter: str) -> None:
    words = letter * 10_000
    cache.store("k", Prompt(pcm=b"\1\0" * 100, transcript=words), 8_000)
    prompt = cache.load("k", 8_000)
    assert prompt is not None
    assert words.startswith(prompt.transcript)
    assert len(prompt.transcript) > 400


@pytest.mark.parametrize("position", [0, 20, 24, 44, 3000, 20_000, -3])
def test_a_changed_byte_is_found_out(cache: PromptCache, position: int) -> None:
    cache.store("k", PROMPT, 24_000)
    content = bytearray(cache.path("k").read_bytes())
    content[position] ^= 0xFF
    cache.path("k").write_bytes(content)
    with contextlib.suppress(DamagedPromptError):
        assert cache.load("k", 24_000) == PROMPT, "a byte that does not matter, or an error"


@pytest.mark.parametrize("keep", [0, 10, 44, 1000, 20_000])
def test_a_file_that_was_cut_short_is_found_out(cache: PromptCache, keep: int) -> None:
    cache.store("k", PROMPT, 24_000)
    content = cache.path("k").read_bytes()
    cache.path("k").write_bytes(content[:keep])
    with pytest.raises(DamagedPromptError):
        cache.load("k", 24_000)


@pytest.mark.parametrize("store", ["files", "memory"])
def test_calls_of_every_codec_hear_the_same_prompt(cache: PromptCache, store: str) -> None:
    prompts = cache if store == "files" else MemoryPrompts()
    prompts.store("k", Prompt(pcm=tone(440, 200, 24_000), transcript="Hello."), 24_000)
    narrow = prompts.load("k", 8_000)
    assert narrow is not None
    assert narrow.transcript == "Hello."
    assert duration_ms(narrow.pcm, 8_000) == 200
    spectrum = np.abs(np.fft.rfft(to_samples(narrow.pcm).astype(float)))
    assert float(spectrum.argmax()) * 8_000 / (len(narrow.pcm) // 2) == pytest.approx(440, abs=5)


def test_a_file_of_another_maker_is_not_played(cache: PromptCache) -> None:
    cache.directory.mkdir()
    soundfile.write(cache.path("k"), [0.0] * 100, 24_000, format="WAV", subtype="PCM_16")
    with pytest.raises(DamagedPromptError, match="no checksum"):
        cache.load("k", 24_000)


def test_a_damaged_file_is_replaced(cache: PromptCache) -> None:
    cache.directory.mkdir()
    cache.path("k").write_bytes(b"nonsense")
    cache.store("k", PROMPT, 24_000)
    assert cache.load("k", 24_000) == PROMPT


def test_nothing_half_written_is_left_behind(
    cache: PromptCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store("k", PROMPT, 24_000)

    def fail(*args: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(greeting, "to_samples", fail)
    with pytest.raises(OSError, match="no space left"):
        cache.store("k", Prompt(pcm=b"\1\0", transcript=""), 24_000)
    assert [path.name for path in cache.directory.iterdir()] == ["k.wav"]
    assert cache.load("k", 24_000) == PROMPT


def test_only_its_owner_can_read_it(cache: PromptCache) -> None:
    cache.store("k", PROMPT, 24_000)
    assert stat.S_IMODE(cache.path("k").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "change",
    [
        {"instructions": "other"},
        {"voice": "ash"},
        {"realtime": {"model": "gpt-realtime"}},
        {"realtime": {"speed": 1.2}},
    ],
)
def test_the_key_changes_with_everything_that_shapes_the_sound(change: dict[str, object]) -> None:
    base = prompt_key(CallSettings(), "Say hello.")
    assert prompt_key(CallSettings.model_validate(change), "Say hello.") != base
    assert prompt_key(CallSettings(), "Say hi.") != base
    other_call = CallSettings.model_validate({"limits": {"call_ms": 1}})
    assert prompt_key(other_call, "Say hello.") == base


def test_the_cache_is_under_the_users_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert greeting.default_cache_dir() == Path("/somewhere/callerside/prompts")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/u")
    assert greeting.default_cache_dir() == Path("/home/u/.cache/callerside/prompts")


def test_memory_prompts() -> None:
    store = MemoryPrompts()
    store.store("k", PROMPT, 24_000)
    assert store.load("k", 24_000) == PROMPT
    assert store.load("other", 24_000) is None
