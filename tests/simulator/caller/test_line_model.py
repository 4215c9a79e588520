"""The caller's line: noise at its level, echo at its delay, gain and clipping."""

import random
from pathlib import Path

import numpy as np
import pytest

from callerside import audio
from callerside.simulator.caller.audio.noise import make_noise
from callerside.simulator.caller.audio.voice import at_level
from callerside.simulator.caller.line_model import LineModel
from callerside.simulator.scenario.model import Caller, Echo, Noise

RATE_HZ = 16_000
FRAME = RATE_HZ // 50
HERE = Path(__file__).parent


def line(caller: Caller, noise: bytes = b"", seed: int = 1) -> LineModel:
    return LineModel(caller, noise, RATE_HZ, random.Random(seed))


def a_tone(length_ms: float = 1000, level_dbfs: float = -20.0) -> bytes:
    return audio.tone(300, length_ms, RATE_HZ, level_dbfs=level_dbfs)


def carried(through: LineModel, pcm: bytes) -> bytes:
    return through.carry(audio.to_samples(pcm).astype(np.float64), 0)


def test_a_quiet_line_carries_the_voice_as_it_is() -> None:
    assert carried(line(Caller()), a_tone()) == a_tone()
    assert not line(Caller()).sounds_by_itself


@pytest.mark.parametrize("gain_db", [-20.0, 6.0])
def test_gain_changes_the_level_by_as_much(gain_db: float) -> None:
    louder = carried(line(Caller(gain_db=gain_db)), a_tone())
    change_db = audio.level_dbfs(audio.to_samples(louder)) - audio.level_dbfs(
        audio.to_samples(a_tone())
    )
    assert change_db == pytest.approx(gain_db, abs=0.1)


def test_clipping_cuts_off_at_its_level() -> None:
    clipped = audio.to_samples(carried(line(Caller(gain_db=40, clip_dbfs=-12)), a_tone()))
    ceiling = 32767 * 10 ** (-12 / 20)
    assert np.abs(clipped).max() == pytest.approx(ceiling, abs=1)
    assert np.mean(np.abs(clipped) > ceiling - 2) > 0.9


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "babble"])
@pytest.mark.parametrize("snr_db", [20.0, 5.0])
def test_noise_lies_as_far_below_the_voice_as_stated(kind: str, snr_db: float) -> None:
    noise = Noise.model_validate({"kind": kind, "snr_db": snr_db})
    caller = Caller(noise=noise)
    loop = make_noise(noise, caller.level_dbfs, HERE, RATE_HZ)
    silence = audio.silence(5000, RATE_HZ)
    heard = audio.to_samples(carried(line(caller, loop), silence))
    assert audio.level_dbfs(heard) == pytest.approx(caller.level_dbfs - snr_db, abs=1.0)


def test_pink_and_brown_noise_are_darker_than_white() -> None:
    def bright(kind: str) -> float:
        noise = Noise.model_validate({"kind": kind, "snr_db": 0})
        wave = audio.to_samples(make_noise(noise, -20.0, HERE, RATE_HZ)).astype(float)
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float(power[len(power) // 2 :].sum() / power.sum())

    assert bright("white") > 0.4 > bright("pink") > bright("brown")


def test_noise_begins_where_the_seed_says_and_goes_on_without_a_seam() -> None:
    noise = Noise(kind="white", snr_db=10)
    loop = make_noise(noise, -20.0, HERE, RATE_HZ)
    caller = Caller(noise=noise)
    second = audio.silence(1000, RATE_HZ)
    whole = carried(line(caller, loop, seed=3), second + second)
    in_parts = line(caller, loop, seed=3)
    assert carried(in_parts, second) + carried(in_parts, second) == whole
    assert carried(line(caller, loop, seed=4), second + second) != whole


def test_an_echo_comes_back_weaker_at_its_delay() -> None:
    caller = Caller(echo=Echo(loss_db=12, delay=200))
    echoing = line(caller)
    agent = at_level(a_tone(200), RATE_HZ, -20)
    frames = [agent[i : i + 2 * FRAME] for i in range(0, len(agent), 2 * FRAME)]
    left = b""
    for tick in range(40):
        echoing.hear(frames[tick] if tick < len(frames) else bytes(2 * FRAME))
        left += echoing.carry(np.zeros(FRAME), 0)
    samples = audio.to_samples(left)
    onset = int(np.argmax(np.abs(samples) > 100)) / RATE_HZ * 1000
    # The frame that leaves after the one heard in tick 0 is the one of tick 1: 20 ms.
    assert onset == pytest.approx(200 - 20, abs=5)
    loud = samples[np.abs(samples) > 0]
    assert audio.level_dbfs(loud) == pytest.approx(-20 - 12, abs=1)
