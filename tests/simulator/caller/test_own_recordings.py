"""Recordings that people have, as a caller's lines: cut to what is said, refused, warned about."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from callerside.audio import duration_ms, to_samples
from callerside.audio_files import AudioFileError
from callerside.simulator.caller.audio import recordings
from callerside.simulator.runner.lint import problems, warnings
from callerside.simulator.scenario.loader import load_file
from callerside.speech.synthesis import synthesise

Wave = NDArray[np.float64]
RATE_HZ = 16_000
SPOKEN = to_samples(synthesise("What time do you open?", rate_hz=RATE_HZ)) / 32768


def written(folder: Path, wave: Wave, subtype: str = "PCM_16") -> Path:
    path = folder / "own.wav"
    soundfile.write(path, wave, RATE_HZ, subtype=subtype)
    return path


def silence(length_ms: int) -> Wave:
    return np.zeros(length_ms * RATE_HZ // 1000)


@pytest.mark.parametrize("gain", [1.0, 0.02])
def test_silence_at_both_ends_is_cut_and_nothing_of_the_voice(tmp_path: Path, gain: float) -> None:
    path = written(tmp_path, gain * np.concatenate((silence(2000), SPOKEN, silence(900))))
    pcm = recordings.read_recording(path, RATE_HZ)
    spoken_ms = len(SPOKEN) * 1000 / RATE_HZ
    assert spoken_ms < duration_ms(pcm, RATE_HZ) < spoken_ms + 2 * recordings.KEPT_MS + 40
    assert any("begins after 2.0 s of silence" in line for line in recordings.warnings(path))


def test_what_is_as_it_should_be_is_left_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, SPOKEN)
    assert duration_ms(recordings.read_recording(path, RATE_HZ), RATE_HZ) == pytest.approx(
        len(SPOKEN) * 1000 / RATE_HZ, abs=60
    )
    assert not list(recordings.warnings(path))


@pytest.mark.parametrize("wave", [silence(3000), 0.3 * np.ones(RATE_HZ // 500), 1e-4 * SPOKEN])
def test_what_nobody_would_hear_is_refused(tmp_path: Path, wave: Wave) -> None:
    with pytest.raises(AudioFileError, match=r"own.wav: nobody will hear it"):
        recordings.read_recording(written(tmp_path, wave), RATE_HZ)


@pytest.mark.parametrize(
    ("wave", "why"),
    [
        (silence(3000), "it is silent"),
        (0.3 * np.ones(RATE_HZ // 500), "shorter than 40 ms"),
        (np.stack((SPOKEN, -SPOKEN), axis=1), "its channels cancel each other"),
        (0.1 * np.random.default_rng(1).standard_normal(2 * RATE_HZ), "only steady noise"),
    ],
    ids=["silence", "click", "out of phase", "noise"],
)
def test_the_reason_is_the_true_one(tmp_path: Path, wave: Wave, why: str) -> None:
    with pytest.raises(AudioFileError, match="nobody will hear it") as caught:
        recordings.read_recording(written(tmp_path, wave), RATE_HZ)
    assert why in str(caught.value)


def test_what_is_very_quiet_and_silence_behind_the_voice_are_warned_about(tmp_path: Path) -> None:
    path = written(tmp_path, np.concatenate((0.003 * SPOKEN, silence(5000))))
    behind, quiet = recordings.warnings(path)
    assert "5.0 s of silence follow the voice" in behind
    assert "% of full scale. It is made as loud" in quiet


def test_what_is_clipped_is_warned_about(tmp_path: Path) -> None:
    path = written(tmp_path, np.clip(8 * SPOKEN, -1, 1))
    (line,) = recordings.warnings(path)
    assert "% of its samples are at full scale" in line
    path = written(tmp_path, 12 * SPOKEN, "FLOAT")
    (line,) = recordings.warnings(path)
    assert "times full scale, which are clipped" in line


def test_check_says_where_the_line_stands(tmp_path: Path) -> None:
    (tmp_path / "call.yaml").write_text("about: x\nsteps:\n  - say: {wav: own.wav}\n  - hang_up\n")
    written(tmp_path, np.concatenate((silence(2000), SPOKEN)))
    (scenario,) = load_file(tmp_path / "call.yaml")
    assert not problems(scenario)
    (line,) = warnings(scenario)
    assert line.startswith(f"{tmp_path}/call.yaml:3:16: {tmp_path}/own.wav: the voice begins")


def test_check_refuses_what_nobody_would_hear_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "call.yaml").write_text("about: x\nsteps:\n  - say: {wav: own.wav}\n  - hang_up\n")
    written(tmp_path, silence(1000))
    (scenario,) = load_file(tmp_path / "call.yaml")
    (line,) = problems(scenario)
    assert f"{tmp_path}/call.yaml:3:16: the caller cannot say this: " in line
    assert "nobody will hear it" in line


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_one_that_is_cut_short_is_warned_about_and_nothing_else_is_seen(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A decoder's own warnings are nobody's."""
    whole, cut = tmp_path / f"whole.{kind.lower()}", tmp_path / f"cut.{kind.lower()}"
    soundfile.write(whole, np.concatenate((SPOKEN, SPOKEN, SPOKEN)), RATE_HZ, format=kind)
    assert not list(recordings.warnings(whole))
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    if kind == "FLAC":  # of which libsndfile gives nothing
        with pytest.raises(AudioFileError, match=r"cut\.flac: .*lost sync$"):
            list(recordings.warnings(cut))
    else:
        (told,) = recordings.warnings(cut)
        assert told.startswith(f"{cut}: is cut short: ")
    assert capfd.readouterr().err == ""


def test_a_file_that_cannot_be_read_is_told_without_a_guess_at_its_own_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "nowhere.wav").symlink_to("gone.wav")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "talk.m4a").write_bytes(bytes(range(1, 200)))
    told = {}
    for name in ("loop.wav", "nowhere.wav", "empty.wav", "talk.m4a"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"version: 2\nabout: A call.\nsteps: [{{say: {{wav: {name}}}}}, hang_up]\n")
        (told[name],) = problems(load_file(path)[0])
    assert "Too many levels of symbolic links" in told["loop.wav"]
    assert "did you mean" not in told["loop.wav"] + told["nowhere.wav"]
    assert told["empty.wav"].endswith("empty.wav: is empty: it has no bytes")
    made = f"as ffmpeg -i {tmp_path}/talk.m4a {tmp_path}/talk.m4a.wav makes it)"
    assert told["talk.m4a"].endswith(f"(expected WAV, FLAC, OGG or MP3, {made}")
