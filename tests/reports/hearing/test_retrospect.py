"""Speech found afterwards: by the definition where it can be, out of noise; and what is none."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from callerside import audio
from callerside.reports.hearing import active_level
from callerside.reports.hearing.echo import without_echo
from callerside.reports.hearing.retrospect import Behind, spoken
from callerside.reports.metrics.error_bounds import MASKED_END
from callerside.simulator.calibration.speech import conditions
from callerside.simulator.calibration.speech.conditions import CONDITIONS
from callerside.speech.synthesis import synthesise

RATE_HZ = 16_000
LONG = "I would like to know whether you are open on Saturday morning until six."
VOICED = "Could you say that again, a little more slowly?"
"""Ends in a vowel: the last s of LONG is 20 dB fainter, and lost in noise at 10 dB."""


def said(text: str) -> NDArray[np.int16]:
    return audio.to_samples(synthesise(text, rate_hz=RATE_HZ))


def silence(ms: int) -> NDArray[np.int16]:
    return np.zeros(ms * RATE_HZ // 1000, np.int16)


def noise(count: int, dbfs: float) -> NDArray[np.float64]:
    return 32768 * 10 ** (dbfs / 20) * np.random.default_rng(1).standard_normal(count)


def call(*sounds: NDArray[np.int16]) -> tuple[NDArray[np.int16], list[tuple[int, int]]]:
    """Sounds a second and a half apart, the first after 200 ms; and where each is."""
    parts, places, at = [silence(200)], [], 200 * RATE_HZ // 1000
    for sound in sounds:
        edges = active_level.edges(sound, RATE_HZ)
        assert edges
        places.append((at + edges[0], at + edges[1]))
        parts += [sound, silence(1500)]
        at += sound.size + 1500 * RATE_HZ // 1000
    return np.concatenate(parts), places


def ends(recording: NDArray[np.int16]) -> list[tuple[int, int]]:
    return [(one.start, one.end) for one in spoken(recording, RATE_HZ, pause_ms=400)]


@pytest.mark.parametrize("apart_ms", [500, 800])
def test_two_sentences_of_one_source_have_one_active_level(apart_ms: int) -> None:
    quieter = np.asarray(said(VOICED) / 4, np.int16)
    breath = np.asarray(noise(RATE_HZ // 10, -20 - 12 - 30), np.int16)
    source = np.concatenate([said(LONG), silence(apart_ms), quieter, breath])
    recording, ((first, past),) = call(source)
    found = ends(recording)
    assert abs(found[0][0] - first) < 5 * 16
    assert abs(found[-1][1] - past) < 5 * 16


def test_an_echo_in_digital_silence_hides_no_talk() -> None:
    """Background that is mostly nothing, and at times 50 dB more, would be louder than all talk."""
    talk = np.concatenate([said(LONG), said(VOICED)])
    echo = np.asarray(said("Yes, please.")[: 700 * 16] * 10 ** (-30 / 20), np.int16)
    gap = [silence(400), echo, silence(1400)]
    recording = np.concatenate([silence(200), talk, *gap, talk, silence(300)])
    first, past = active_level.edges(talk, RATE_HZ) or (0, 0)
    later = 200 * 16 + talk.size + sum(one.size for one in gap)
    found = ends(recording)
    for true in ((200 * 16 + first, 200 * 16 + past), (later + first, later + past)):
        assert min(np.abs(np.subtract(one, true)).max() for one in found) < 5 * RATE_HZ // 1000


@pytest.mark.parametrize("text", [LONG, "Until six?", "What is your address?"])
@pytest.mark.parametrize("line", ["pcm", "pcmu", "pcma"])
def test_a_soft_end_is_where_it_is(text: str, line: audio.Encoding) -> None:
    recording, places = call(said(text), said("Yes, please."))
    coded = audio.to_samples(audio.AudioFormat(line).quantise(recording.tobytes()))
    found = ends(coded)
    assert len(found) == len(places)
    for one, true in zip(found, places, strict=True):
        assert np.abs(np.subtract(one, true)).max() < 5 * RATE_HZ // 1000


@pytest.mark.parametrize("seed", range(4))
def test_what_a_codec_makes_of_next_to_nothing_is_no_part_of_a_faint_sound(seed: int) -> None:
    """PCMU knows nothing between 0 and 8, and resampling makes 11 of 8: -40 dBFS less 30 is 10."""
    voice = said("Yes, please.").astype(np.float64)
    level_dbfs = active_level.active_level_dbfs(voice.astype(np.int16), RATE_HZ)
    assert level_dbfs
    faint = voice * 10 ** ((-40 - level_dbfs) / 20)
    ((first, past),) = [active_level.edges(faint.astype(np.int16), RATE_HZ) or (0, 0)]
    breath = np.random.default_rng(seed).uniform(-6, 6, RATE_HZ // 20)
    pcm = audio.to_bytes(np.concatenate((silence(400), breath, faint[first:past], silence(900))))
    narrow = audio.AudioFormat("pcmu").quantise(audio.resample(pcm, RATE_HZ, 8000))
    ((start, end),) = ends(audio.to_samples(audio.resample(narrow, 8000, RATE_HZ)))
    begins = 450 * RATE_HZ // 1000
    assert abs(start - begins) < 5 * RATE_HZ // 1000
    assert abs(end - begins - (past - first)) < 5 * RATE_HZ // 1000


def test_half_a_minute_without_a_pause_and_cut_off_anywhere() -> None:
    talk = np.concatenate([said(LONG)] * 8)[: 29 * RATE_HZ + 1234]
    recording, places = call(talk, said("Yes, please."))
    assert np.abs(np.subtract(ends(recording), places)).max() < 5 * RATE_HZ // 1000


@pytest.mark.parametrize(
    ("snr_db", "behind"),
    [
        (32, Behind.FAINT_NOISE),
        (20, Behind.NOISE),
        (11, Behind.LOUD_NOISE),
        (6, Behind.LOUDEST_NOISE),
    ],
)
def test_how_far_noise_lies_below_a_voice_is_measured(snr_db: int, behind: Behind) -> None:
    recording, _ = call(said(VOICED), said(LONG))
    level_dbfs = active_level.active_level_dbfs(said(VOICED), RATE_HZ)
    assert level_dbfs
    noisy = recording + noise(recording.size, level_dbfs - snr_db)
    found = spoken(np.clip(noisy, -32768, 32767).astype(np.int16), RATE_HZ, pause_ms=400)
    assert {one.behind for one in found} == {behind}


@pytest.mark.parametrize(("snr_db", "end_ms"), [(20, 120), (10, MASKED_END.size)])
def test_out_of_noise_that_is_there_from_the_first_sample(snr_db: int, end_ms: float) -> None:
    recording, places = call(said("Hello!"), said(VOICED))
    level_dbfs = active_level.active_level_dbfs(said(VOICED), RATE_HZ)
    assert level_dbfs
    noisy = recording + noise(recording.size, level_dbfs - snr_db)
    found = spoken(np.clip(noisy, -32768, 32767).astype(np.int16), RATE_HZ, pause_ms=400)
    assert len(found) == len(places)
    wanted = Behind.LOUD_NOISE if snr_db == 10 else Behind.NOISE
    assert {one.behind for one in found} == {wanted}
    for one, true in zip(found, places, strict=True):
        assert abs(one.start - true[0]) < 60 * RATE_HZ // 1000
        assert abs(one.end - true[1]) < end_ms * RATE_HZ // 1000


def test_a_lone_peak_of_the_noise_is_no_end() -> None:
    rng = np.random.default_rng(3)
    recording = rng.normal(0, 100, 4 * RATE_HZ)
    recording[RATE_HZ : 2 * RATE_HZ] += rng.normal(0, 3000, RATE_HZ)
    size = RATE_HZ // 400
    recording[2 * RATE_HZ + 4 * size :][:size] *= 1.9  # a block that noise has once in thousands
    ((_, end),) = ends(recording.astype(np.int16))
    assert end == pytest.approx(2 * RATE_HZ, abs=size)


@pytest.mark.parametrize("what", ["noise", "hum", "nothing", "a click"])
def test_what_is_no_speech(what: str) -> None:
    count = 5 * RATE_HZ
    recording = {
        "noise": noise(count, -40),
        "hum": 300 * np.sin(2 * np.pi * 50 * np.arange(count) / RATE_HZ),
        "nothing": np.zeros(count),
        "a click": 9000 * (np.abs(np.arange(count) - 20_000) < 40),
    }[what]
    assert ends(recording.astype(np.int16)) == []


def test_the_echo_of_the_other_channel_is_taken_off_and_nothing_else() -> None:
    mouth, _ = call(said(LONG), said("Yes, please."))
    answer = np.zeros(mouth.size, np.int16)
    answer[mouth.size // 2 :][: said("Hello!").size] = said("Hello!")
    echo = 0.03 * np.concatenate((np.zeros(1920), mouth.astype(np.float64)))[: mouth.size]
    ear = np.rint(answer + echo).astype(np.int16)
    left = without_echo(ear, mouth, RATE_HZ).astype(np.int32) - answer
    assert np.square(left).mean() < 0.01 * np.square(echo).mean()
    assert without_echo(answer, mouth, RATE_HZ) is answer


def test_a_faint_sound_in_silence_is_no_echo_of_what_is_said_meanwhile() -> None:
    mouth, _ = call(said(LONG), said("Yes, please."))
    ear = np.zeros(mouth.size, np.int16)
    snatch = (0.05 * said("Hello!")[RATE_HZ // 10 :].astype(np.float64)).astype(np.int16)
    snatch = snatch[: RATE_HZ // 5]
    ear[mouth.size // 4 :][: snatch.size] = snatch
    assert without_echo(ear, mouth, RATE_HZ) is ear


def in_noise(recording: NDArray[np.int16], kind: str, snr_db: float) -> NDArray[np.int16]:
    """A recording with a noise of the calibration's over it, so far below the active level."""
    level_dbfs = active_level.active_level_dbfs(recording, RATE_HZ)
    assert level_dbfs is not None
    condition = next(one for one in CONDITIONS if one.name == f"{kind} at 10 dB")
    condition = replace(condition, level_dbfs=level_dbfs, snr_db=snr_db)
    under = conditions.noise(condition, recording.size, "seed") * 32768
    return np.clip(np.rint(recording + under), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
def test_talk_that_fills_most_of_a_call_is_no_background(kind: str) -> None:
    """Two thirds of it are speech: what is usual in it is not what is behind it."""
    talk = np.concatenate([said(LONG)] * 3)
    recording, places = call(talk, talk)
    found = ends(in_noise(recording, kind, 10))
    heard = sum(min(b, d) - max(a, c) for a, b in found for c, d in places if a < d and b > c)
    assert heard > 0.8 * sum(past - first for first, past in places)


def test_notes_that_are_struck_again_and_again_are_no_speech() -> None:
    recording, places = call(said(VOICED), said(VOICED))
    recording = np.concatenate([recording, silence(4000)])
    found = ends(in_noise(recording, "music", 10))
    assert len(found) == len(places)
    for one, true in zip(found, places, strict=True):
        assert np.abs(np.subtract(one, true)).max() < 100 * RATE_HZ // 1000


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
def test_a_word_that_fades_into_the_noise_is_heard_as_far_as_it_can_be(kind: str) -> None:
    """The last s of a sentence is 20 dB fainter: it goes on, though none of it stands out."""
    recording, places = call(said(LONG), said(LONG))
    found = ends(in_noise(recording, kind, 10))
    assert len(found) == len(places)
    for one, true in zip(found, places, strict=True):
        assert np.abs(np.subtract(one, true)).max() < 60 * RATE_HZ // 1000
