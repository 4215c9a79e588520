"""Bare recordings: what is measured in them, what is told of them, and what is not guessed."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from synthetic_call import RATE_HZ, SyntheticCall, TurnTruth

from callerside.reports.evidence import CallEvidence, RecordingInfo
from callerside.reports.hearing import retrospect
from callerside.reports.metrics.registry import METRICS
from callerside.reports.sound.report import TELLS
from callerside.simulator.cli.main import main

Sound = NDArray[Any]
TURNS = [TurnTruth(), TurnTruth(barge_in_after_ms=600), TurnTruth(think_ms=2000)]


def made(**options: Any) -> CallEvidence:
    return SyntheticCall(turns=TURNS, server=False, noise_dbfs=-60, **options).build()


def report(folder: Path, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """The exit code, and results.json."""
    out = folder / "report"
    code = main(["report", *map(str, arguments), "--out", str(out)])
    return code, json.loads((out / "results.json").read_text())


def write(path: Path, sound: Sound, rate_hz: int = RATE_HZ, **how: Any) -> Path:
    soundfile.write(path, sound, rate_hz, **how)
    return path


def told(folder: Path, slug: str) -> RecordingInfo:
    info = json.loads((folder / "report" / "calls" / slug / "call.json").read_text())
    return RecordingInfo.model_validate(info["recording"])


def values(data: dict[str, Any], name: str, call: int = 0) -> list[float]:
    return [m["value"] for m in data["scenarios"][call]["metrics"] if m["name"] == name]


def reasons(data: dict[str, Any], name: str) -> set[str]:
    return {m["reason"] for m in data["scenarios"][0]["not_measured"] if m["name"] == name}


@pytest.mark.parametrize(
    ("name", "rate_hz", "how", "within_ms"),
    [
        ("call.wav", 8000, {"subtype": "PCM_16"}, 25),
        ("call.wav", 8000, {"subtype": "ULAW"}, 25),
        ("call.wav", 44_100, {"subtype": "PCM_24"}, 25),
        ("call.flac", 48_000, {}, 25),
        (
            "call.ogg",
            16_000,
            {"format": "OGG", "subtype": "VORBIS"},
            50,
        ),  # it rings before and after
        (
            "call.mp3",
            16_000,
            {"format": "MP3", "subtype": "MPEG_LAYER_III"},
            90,
        ),  # error bound of `turn_ms`
    ],
)
def test_a_recording_is_measured_whatever_its_format(
    tmp_path: Path, name: str, rate_hz: int, how: dict[str, str], within_ms: float
) -> None:
    """The truth is by construction: 15 + 12 + 500 + 300 + 20 ms lie between voice and voice."""
    sound = made().recording
    if rate_hz != RATE_HZ:
        sound = soxr.resample(sound.astype(np.float32) / 32768, RATE_HZ, rate_hz)
    code, data = report(tmp_path, write(tmp_path / name, sound, rate_hz, **how))
    assert code == 0
    turns = values(data, "turn_ms")
    assert turns == [pytest.approx(ms, abs=within_ms) for ms in (847, 847, 2547)]
    assert values(data, "barge_in_stop_ms") == [pytest.approx(120, abs=within_ms)]
    assert values(data, "talk_over_ms") == [pytest.approx(120, abs=within_ms)]
    assert values(data, "beep_hz") == [pytest.approx(440, abs=1)]
    assert values(data, "dead_air_ms") == [pytest.approx(2547, abs=within_ms)]
    assert (tmp_path / "report" / "calls" / "call" / "call.html").is_file()
    assert (tmp_path / "report" / "junit.xml").is_file()


def test_the_callers_channel_is_guessed_told_or_said(tmp_path: Path) -> None:
    swapped = write(tmp_path / "a.wav", made().recording[:, ::-1])
    _, guessed = report(tmp_path, swapped)
    assert told(tmp_path, "a").caller == "right"
    assert "with a confidence of 0." in told(tmp_path, "a").told[0]
    _, wrong = report(tmp_path, swapped, "--caller", "left")
    assert told(tmp_path, "a").told[0] == "the caller is left, as was said"
    assert values(wrong, "turn_ms") != values(guessed, "turn_ms")


def test_each_channel_is_listened_to_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is most of what an hour takes, and was done up to four times."""
    listened: list[int] = []
    spoken = retrospect.spoken

    def counted(samples: NDArray[np.int16], rate_hz: int, **how: Any) -> Any:
        listened.append(samples.size)
        return spoken(samples, rate_hz, **how)

    monkeypatch.setattr(retrospect, "spoken", counted)
    report(tmp_path, write(tmp_path / "call.wav", made().recording))
    assert len(listened) == 2


def test_where_nothing_tells_who_calls_nothing_that_hangs_on_it_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two who speak alike, at the same time."""
    evidence = made()
    one = evidence.recording[:, 0]
    both = np.stack([one, np.roll(one, 100)], axis=1)
    noise = np.random.default_rng(2).normal(0, 30, both.shape)
    both = (both + noise).astype(np.int16)
    both[:, 1] = np.where(np.abs(both[:, 1]) > 300, -both[::-1, 1], both[:, 1])
    code, data = report(tmp_path, write(tmp_path / "a.wav", both))
    assert code == 0
    assert values(data, "turn_ms") == []
    assert "say which with --caller left" in told(tmp_path, "a").told[0]
    assert "say which with --caller left" in capsys.readouterr().err


@pytest.mark.parametrize("channels", [1, 2])
def test_a_mix_is_told_and_not_taken_apart(tmp_path: Path, channels: int) -> None:
    mix = made().recording.astype(np.int32).sum(axis=1).clip(-32768, 32767).astype(np.int16)
    sound = mix if channels == 1 else np.stack([mix, mix], axis=1)
    _, data = report(tmp_path, write(tmp_path / "a.wav", sound))
    assert any("a mix of both parties" in one for one in told(tmp_path, "a").told)
    for name in ("turn_ms", "barge_in_stop_ms", "talk_over_ms", "gap_ms"):
        assert values(data, name) == []
        assert reasons(data, name) == {"it is a mix: nobody can say by the sound who speaks"}
    assert values(data, "dead_air_ms") == [pytest.approx(2547, abs=30)]


def test_a_channel_that_hears_both_is_told(tmp_path: Path) -> None:
    sound = made().recording.copy()
    sound[:, 0] = (sound[:, 0].astype(np.int32) + sound[:, 1]).clip(-32768, 32767)
    _, data = report(tmp_path, write(tmp_path / "a.wav", sound), "--caller", "left")
    assert any(one.startswith("left hears both parties") for one in told(tmp_path, "a").told)
    assert reasons(data, "turn_ms") == {"left hears both parties"}


def test_an_echo_is_told_with_its_level_and_delay_and_is_nobodys_turn(tmp_path: Path) -> None:
    evidence = made()
    sound = evidence.recording.copy()
    delay = RATE_HZ * 150 // 1000
    echo = (evidence.recording[:-delay, 1] * 0.1).astype(np.int16)
    sound[delay:, 0] += echo
    _, data = report(tmp_path, write(tmp_path / "a.wav", sound))
    (sentence,) = (one for one in told(tmp_path, "a").told if "echo" in one)
    assert "left has an echo of right, 20 dB down and 150 ms later" in sentence
    assert len(values(data, "turn_ms")) == 3


@pytest.mark.parametrize("late_ms", [0, 40])
@pytest.mark.parametrize("down_db", [30, 40, 50, 60])
def test_crosstalk_both_ways_takes_nobodys_turn(tmp_path: Path, down_db: int, late_ms: int) -> None:
    """What each says is found in the other's channel: it is not taken for that one's echo."""
    sound = made().recording.astype(np.float64)
    _, whole = report(tmp_path / "alone", write(tmp_path / "a.wav", sound / 32768), "--caller=left")
    late = late_ms * RATE_HZ // 1000
    leak = 10 ** (-down_db / 20) * np.pad(sound, ((late, 0), (0, 0)))[: len(sound), ::-1]
    _, data = report(tmp_path, write(tmp_path / "b.wav", (sound + leak) / 32768), "--caller=left")
    for name in ("turn_ms", "barge_in_stop_ms"):
        assert values(data, name) == pytest.approx(values(whole, name), abs=25), name
    sentences = told(tmp_path, "b").told
    if down_db < 50:  # else it is below the line's noise
        assert any(f"left has an echo of right, {down_db} dB down" in one for one in sentences)
    assert not any("hears both" in one for one in sentences)


def test_channels_that_drift_apart_are_told_where_one_hears_the_other(tmp_path: Path) -> None:
    """500 ppm over 90 s are 45 ms; the caller's channel has an echo of the agent's to tell by."""
    evidence = made()
    one, other = (np.tile(evidence.recording[:, channel], 6) for channel in (0, 1))
    mouth = one.astype(np.float32)
    mouth[1200:] += 0.1 * other[:-1200]
    stretched = soxr.resample(mouth, 100_000, 100_050).astype(np.int16)[: other.size]
    both = np.stack([np.pad(stretched, (0, other.size - stretched.size)), other], axis=1)
    _, data = report(tmp_path, write(tmp_path / "a.wav", both), "--caller", "left")
    (sentence,) = (one for one in told(tmp_path, "a").told if "drift" in one)
    assert float(sentence.split()[5]) == pytest.approx(500, rel=0.1)
    assert reasons(data, "turn_ms") == {sentence}


def test_a_recording_that_starts_in_the_middle_is_told(tmp_path: Path) -> None:
    evidence = made()
    amid = RATE_HZ * 1000 // 1000
    _, _ = report(tmp_path, write(tmp_path / "a.wav", evidence.recording[amid:]))
    assert any("starts in the middle" in one for one in told(tmp_path, "a").told)
    _, _ = report(tmp_path, write(tmp_path / "a.wav", evidence.recording))
    assert not any("starts in the middle" in one for one in told(tmp_path, "a").told)


def test_two_mono_files_are_one_call_and_names_say_whose(tmp_path: Path) -> None:
    sound = made().recording
    folder = tmp_path / "calls"
    folder.mkdir()
    write(folder / "7-out.wav", sound[:, 1])
    write(folder / "7-in.wav", sound[:-800, 0])
    _, data = report(tmp_path, folder)
    assert len(data["scenarios"]) == 1
    assert told(tmp_path, "7").told[0] == "the caller is 7-in.wav, by the files' names"
    assert any("7-in.wav is 100 ms shorter" in one for one in told(tmp_path, "7").told)
    assert len(values(data, "turn_ms")) == 3


def test_two_stereo_files_are_two_calls_whatever_they_are_called(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    for name in ("silence_agent.wav", "silence_caller.wav"):
        write(folder / name, made().recording)
    code, _ = report(tmp_path, folder)
    assert code == 0
    assert {path.name for path in (tmp_path / "report" / "calls").iterdir()} == {
        "silence_agent",
        "silence_caller",
    }


def test_what_is_beside_zero_all_along_is_no_sound(tmp_path: Path) -> None:
    plain = made().recording
    offsets = np.array([1638, -900])
    beside = np.clip(plain.astype(np.int32) + offsets, -32768, 32767).astype(np.int16)
    _, right = report(tmp_path, write(tmp_path / "plain.wav", plain))
    _, data = report(tmp_path, write(tmp_path / "beside.wav", beside))
    for name in ("turn_ms", "barge_in_stop_ms", "talk_over_ms", "dead_air_ms"):
        assert values(data, name) == pytest.approx(values(right, name), abs=5), name
    notes = told(tmp_path, "beside").told
    assert any("channel 1: all of it is +0.05" in one for one in notes), notes
    assert any("channel 2: all of it is -0.02" in one for one in notes), notes


def test_a_folder_has_the_worst_moments_first(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    write(folder / "good.wav", SyntheticCall(server=False).build().recording)
    write(folder / "slow.wav", made().recording)
    report(tmp_path, folder)
    page = (tmp_path / "report" / "index.html").read_text()
    first = page.index('href="calls/slow/call.html#at=')
    assert "a late answer" in page[first - 200 : first]
    assert 'href="calls/good/call.html#at=' not in page
    assert "2 calls, held to no limit" in page


@pytest.mark.parametrize("name", ["a#1", "what?", "50%20", 'say "yes"', "ü + ö"])
def test_a_page_is_reached_whatever_its_recording_is_called(tmp_path: Path, name: str) -> None:
    report(tmp_path, write(tmp_path / f"{name}.wav", made().recording))
    page = (tmp_path / "report" / "index.html").read_text()
    links = {unescape(one) for one in re.findall(r'href="(calls/[^"]*)"', page)}
    assert links
    for link in links:
        assert (tmp_path / "report" / unquote(urlsplit(link).path)).is_file(), link


def test_a_file_that_cannot_be_read_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    write(folder / "good.wav", made().recording)
    whole = write(folder / "half.flac", made().recording).read_bytes()
    (folder / "half.flac").write_bytes(whole[: len(whole) // 2])
    (folder / "text.wav").write_text("no sound")
    write(folder / "three.wav", np.zeros((800, 3), np.int16))
    write(folder / "empty.wav", np.zeros((0, 2), np.int16))
    code, data = report(tmp_path, folder)
    assert code == 2
    verdicts = {s["artifacts"]["page"].split("/")[1]: s["detail"] for s in data["scenarios"]}
    assert verdicts["good"] == ""
    assert "half.flac: cut short or damaged" in verdicts["half"]
    assert "text.wav: cannot be read as sound" in verdicts["text"]
    assert "three.wav: 3 channels, expected one or two" in verdicts["three"]
    assert "empty.wav: holds no sound" in verdicts["empty"]
    assert main(["report", str(tmp_path / "nothing.wav")]) == 2
    assert "nothing.wav" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg"])
def test_a_file_that_is_cut_short_is_told(tmp_path: Path, suffix: str) -> None:
    sound = made().recording
    whole = tmp_path / f"call.{suffix}"
    soundfile.write(whole, sound, RATE_HZ)
    report(tmp_path, whole)
    assert not any("cut short" in one for one in told(tmp_path, "call").told)
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    report(tmp_path, whole)
    assert any(f"call.{suffix} is cut short: it" in one for one in told(tmp_path, "call").told)


@pytest.mark.parametrize("length", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_header_that_was_written_before_the_sound(tmp_path: Path, length: int) -> None:
    """As of a recorder that cannot go back in what it writes, or was stopped."""
    wav = write(tmp_path / "call.wav", made().recording)
    header = bytearray(wav.read_bytes())
    header[4:8] = header[40:44] = length.to_bytes(4, "little")
    wav.write_bytes(bytes(header))
    code, data = report(tmp_path, wav)
    if length:
        assert code == 0
        assert not any("cut short" in one for one in told(tmp_path, "call").told)
    else:
        assert code == 2
        assert "which whatever wrote it did not finish" in data["scenarios"][0]["detail"]


@pytest.mark.parametrize(
    ("budget", "code"),
    [
        ("turn_ms: 4000\n", 0),
        ("budget: {turn_ms: 1500}\n", 1),
        ("turn_ms: {p95: 4000, max: 5000}\n", 0),
        ("turn_ms: {p95: 1500}\n", 1),
        ("talk_over_ms: 50\n", 2),  # both ends of it are by energy: it is within the bound
    ],
)
def test_recordings_are_held_to_a_budget(
    tmp_path: Path, budget: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    write(folder / "a.wav", made().recording)
    write(folder / "b.wav", made(seed=2).recording)
    (tmp_path / "budget.yaml").write_text(budget)
    found, data = report(tmp_path, folder, "--budget", tmp_path / "budget.yaml")
    assert found == code
    junit = (tmp_path / "report" / "junit.xml").read_text()
    assert ("<failure" in junit) == (code == 1)
    assert data["run"]["verdict"] == ("passed", "failed", "not measured")[code]
    told = capsys.readouterr().err
    for row in data["scenarios"]:
        assert bool(row["detail"] and row["detail"] in told) == (row["verdict"] != "passed")
    assert bool(told) == (code != 0), "and nothing else"


def test_what_a_recording_cannot_tell_is_no_pass(tmp_path: Path) -> None:
    mix = made().recording.astype(np.int32).sum(axis=1).clip(-32768, 32767).astype(np.int16)
    write(tmp_path / "mix.wav", mix)
    (tmp_path / "budget.yaml").write_text("turn_ms: 4000\n")
    code, data = report(tmp_path, tmp_path / "mix.wav", "--budget", tmp_path / "budget.yaml")
    assert code == 2
    assert "turn_ms: it is a mix" in data["scenarios"][0]["detail"]


def test_a_call_that_is_cut_short_before_the_answer_keeps_no_limit_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What else has a limit is within it, and says nothing of the answer."""
    sound = SyntheticCall(turns=[TurnTruth()], server=False, noise_dbfs=-60).build().recording
    said = int(np.flatnonzero(np.abs(sound[:, 0].astype(np.int32)) > 1000)[-1])
    whole = write(tmp_path / "call.wav", sound)
    header = whole.stat().st_size - sound.nbytes
    whole.write_bytes(whole.read_bytes()[: header + 4 * (said + RATE_HZ // 10)])
    (tmp_path / "budget.yaml").write_text("turn_ms: 1500\ntalk_over_ms: 2000\n")
    code, data = report(tmp_path, whole, "--budget", tmp_path / "budget.yaml")
    assert (code, data["run"]["verdict"]) == (2, "not measured")
    detail = data["scenarios"][0]["detail"]
    assert "turn_ms: the agent did not begin to speak" in detail
    assert "call.wav is cut short" in detail
    assert detail in capsys.readouterr().err
    for page in ("index.html", "summary.md", "junit.xml"):
        assert "call.wav is cut short" in (tmp_path / "report" / page).read_text(), page


def test_a_call_that_is_cut_short_is_told_where_no_limit_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write(tmp_path / "call.wav", made().recording)
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    code, _ = report(tmp_path, whole)
    told = capsys.readouterr()
    assert code == 0
    assert "1 call, held to no limit" in told.out
    assert "call.wav is cut short" in told.err
    assert "call.wav is cut short" in (tmp_path / "report" / "index.html").read_text()


def test_what_sound_alone_can_give_is_what_is_measured_in_it(tmp_path: Path) -> None:
    """Every other limit is refused, and none of these."""
    sound = made().recording.copy()
    delay = RATE_HZ * 150 // 1000
    sound[delay:, 1] += (sound[:-delay, 0] * 0.1).astype(np.int16)
    _, data = report(tmp_path, write(tmp_path / "a.wav", sound), "--caller", "left")
    assert {one["name"] for one in data["scenarios"][0]["metrics"]} == TELLS


@pytest.mark.parametrize("name", sorted(METRICS.keys() - TELLS))
def test_a_limit_that_no_recording_can_tell_is_refused_beside_any_other(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.wav", np.zeros((800, 2), np.int16))
    low, high = METRICS[name].limits
    (tmp_path / "budget.yaml").write_text(f"turn_ms: 3000\n{name}: {(low + 3 * high) / 4}\n")
    code = main(["report", str(tmp_path / "a.wav"), "--budget", str(tmp_path / "budget.yaml")])
    assert code == 2
    assert f"{name}: a bare recording does not tell it" in capsys.readouterr().err


def test_a_limit_that_is_off_is_none_whatever_it_is_of(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", made().recording)
    (tmp_path / "budget.yaml").write_text("turn_ms: 4000\nbeep_ms: off\n")
    assert report(tmp_path, tmp_path / "a.wav", "--budget", tmp_path / "budget.yaml")[0] == 0


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [
        ("turn_ms: 1500\nturn_sm: 3\n", "budget.yaml:2:1: no metric is called 'turn_sm'"),
        ("turn_ms: {above_own: 40}\n", "the server's own delay, which a bare recording"),
        ("[1, 2]\n", "expected limits"),
        ("turn_ms: {max: [\n", "budget.yaml:"),
    ],
)
def test_a_budget_that_cannot_be_held_is_refused(
    tmp_path: Path, budget: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.wav", made().recording)
    (tmp_path / "budget.yaml").write_text(budget)
    code = main(["report", str(tmp_path / "a.wav"), "--budget", str(tmp_path / "budget.yaml")])
    assert code == 2
    assert complaint in capsys.readouterr().err
