"""Audio helpers, against the definitions of the formats and against known sounds."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from callerside import audio, audio_files

# ITU-T G.711: first code words of the positive and negative ranges, and their values.
MU_LAW = {0x00: -32124, 0x80: 32124, 0x7F: 0, 0xFF: 0, 0xF0: 120, 0x8F: 16764}
A_LAW = {0xD5: 8, 0x55: -8, 0xAA: 32256, 0x2A: -32256, 0xC5: 264}


@pytest.mark.parametrize(("encoding", "words"), [("pcmu", MU_LAW), ("pcma", A_LAW)])
def test_g711_decodes_the_standards_code_words(
    encoding: audio.Encoding, words: dict[int, int]
) -> None:
    decoded = audio.to_samples(audio.AudioFormat(encoding).decode(bytes(words)))
    assert decoded.tolist() == list(words.values())


@pytest.mark.parametrize("encoding", ["pcmu", "pcma"])
def test_g711_passes_through_unharmed(encoding: audio.Encoding) -> None:
    form = audio.AudioFormat(encoding)
    every_value = form.decode(bytes(range(256)))
    assert form.decode(form.encode(every_value)) == every_value


@given(st.integers(-32768, 32767))
def test_g711_error_is_within_half_a_step(value: int) -> None:
    for encoding in ("pcmu", "pcma"):
        form = audio.AudioFormat(encoding)
        back = int(
            audio.to_samples(form.decode(form.encode(np.array([value], "<i2").tobytes())))[0]
        )
        # The widest segment has steps of 1024; beyond the last value it clips.
        assert abs(back - value) <= max(16, abs(value) // 16 + 16, 32768 - 32124)


@pytest.mark.parametrize("encoding", ["pcm", "pcmu", "pcma"])
def test_quantising_is_encoding_and_decoding(encoding: audio.Encoding) -> None:
    every_sample = np.arange(-32768, 32768).astype("<i2").tobytes()
    audio_format = audio.AudioFormat(encoding)
    there_and_back = audio_format.decode(audio_format.encode(every_sample))
    assert audio_format.quantise(every_sample) == there_and_back


def test_pcm_drops_half_a_sample() -> None:
    assert audio.AudioFormat("pcm").decode(b"abc") == b"ab"


def test_tone_has_its_frequency_length_and_level() -> None:
    samples = audio.to_samples(audio.tone(440, 400, 24_000, level_dbfs=-12))
    assert samples.size == 9600
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    assert np.argmax(spectrum) * 24_000 / samples.size == pytest.approx(440, abs=3)
    assert audio.level_dbfs(samples[2400:-2400]) == pytest.approx(-15, abs=0.1)  # RMS of a sine
    assert samples[0] == 0
    assert abs(int(samples[-1])) < 40


def test_level_of_silence_and_of_nothing() -> None:
    assert audio.level_dbfs(np.zeros(10, np.int16)) == -120
    assert audio.level_dbfs(np.zeros(0, np.int16)) == -120


def test_to_bytes_clips_instead_of_wrapping() -> None:
    assert audio.to_samples(audio.to_bytes(np.array([1e6, -1e6]))).tolist() == [32767, -32768]


def test_resampling_keeps_length_and_pitch() -> None:
    pcm = audio.resample(audio.tone(440, 500, 24_000), 24_000, 8_000)
    assert audio.duration_ms(pcm, 8_000) == pytest.approx(500, abs=1)
    spectrum = np.abs(np.fft.rfft(audio.to_samples(pcm).astype(float)))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=2)


def test_wav_round_trip_and_no_temporary_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "tone.wav"
    pcm = audio.tone(440, 100, 8_000)
    audio_files.write_wav(path, audio.to_samples(pcm), 8_000)
    assert audio_files.read_wav(path, 8_000) == pcm
    assert list(path.parent.iterdir()) == [path]


def test_wav_of_two_channels_is_mixed_down(tmp_path: Path) -> None:
    stereo = np.array([[1000, 3000]] * 80, np.int16)
    audio_files.write_wav(tmp_path / "s.wav", stereo, 8_000)
    assert set(audio.to_samples(audio_files.read_wav(tmp_path / "s.wav", 8_000)).tolist()) == {2000}


@pytest.mark.parametrize("content", [None, b"", b"not a sound", b"RIFF\x00\x00\x00\x00WAVE"])
def test_a_bad_sound_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(audio_files.AudioFileError, match=r"bad\.wav"):
        audio_files.read_wav(path, 8_000)


def test_an_empty_sound_file_is_refused(tmp_path: Path) -> None:
    audio_files.write_wav(tmp_path / "empty.wav", np.zeros(0, np.int16), 8_000)
    with pytest.raises(audio_files.AudioFileError, match="no sound"):
        audio_files.read_wav(tmp_path / "empty.wav", 8_000)


@pytest.mark.parametrize("name", ["x.raw", "x.vox", "x.GSM", "x.ulaw"])
def test_sound_without_a_header_is_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(audio.tone(440, 500, 8_000))
    with pytest.raises(audio_files.AudioFileError, match="Format not recognised") as refused:
        audio_files.read_wav(path, 8_000)
    assert f"{path}: " in str(refused.value)
    assert f"ffmpeg -f s16le -ar 8000 -ac 1 -i {path} {path}.wav" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["x.raw", "x.au", "x", "x.mp3"])
def test_what_a_sound_file_is_its_header_says_and_not_its_name(tmp_path: Path, name: str) -> None:
    pcm = audio.tone(440, 100, 8_000)
    audio_files.write_wav(tmp_path / name, audio.to_samples(pcm), 8_000)
    assert audio_files.read_wav(tmp_path / name, 8_000) == pcm


FORMATS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "GSM610"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
]


@pytest.mark.parametrize(("form", "coding"), FORMATS)
def test_what_people_have_is_read(tmp_path: Path, form: str, coding: str) -> None:
    path = tmp_path / "x.sound"
    wave = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000) / 4
    soundfile.write(path, wave, 8000, format=form, subtype=coding)
    read = audio.to_samples(audio_files.read_wav(path, 8_000))
    assert audio.level_dbfs(read[2000:6000]) == pytest.approx(-15, abs=0.6)


@pytest.mark.parametrize("coding", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, coding: str, value: float) -> None:
    """In one channel, too."""
    wave = np.zeros((8000, 2))
    wave[2000, 1] = wave[5000, 0] = value
    soundfile.write(tmp_path / "x.wav", wave, 8000, subtype=coding)
    with pytest.raises(audio_files.AudioFileError) as refused:
        audio_files.read_wav(tmp_path / "x.wav", 8_000)
    assert str(refused.value) == (
        f"{tmp_path}/x.wav: 2 of 8000 samples are no finite numbers, the first at 0.250 s"
    )


def test_a_pipe_is_no_sound_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wav")
    with pytest.raises(audio_files.AudioFileError, match="it is no file, but a named pipe"):
        audio_files.read_wav(tmp_path / "x.wav", 8_000)
    with pytest.raises(audio_files.AudioFileError, match="Is a directory"):
        audio_files.read_wav(tmp_path, 8_000)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_sample_of_any_size_is_clipped(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "loud.wav"
    wave = np.zeros((100, channels), np.float32)
    wave[50], wave[51] = 3e38, -3e38
    soundfile.write(path, wave, 8_000, subtype="FLOAT")
    samples = audio.to_samples(audio_files.read_wav(path, 8_000))  # a warning would be an error
    assert samples[49:53].tolist() == [0, 32767, -32768, 0]


def test_a_sound_longer_than_any_call_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slow.wav"
    soundfile.write(path, np.zeros(3601, np.int16), 1)
    with pytest.raises(audio_files.AudioFileError, match=r"slow\.wav: 3601 samples .* 60 minutes"):
        audio_files.read_wav(path, 24_000)


def test_a_packed_sound_may_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_files, "MOST_SAMPLES", 100_000)
    path = tmp_path / "packed.flac"
    soundfile.write(path, np.zeros((50_001, 2), np.int16), 48_000)
    with pytest.raises(audio_files.AudioFileError, match="more than 100000 samples"):
        audio_files.read_wav(path, 24_000)


def test_a_file_larger_than_any_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(audio_files.MOST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(audio_files.AudioFileError, match=r"cannot be read: larger than 268435456"):
        audio_files.read_wav(path, 24_000)
