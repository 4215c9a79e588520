"""Frames at another rate: whole frames, every time, soon, and the same sound."""

import numpy as np
import pytest

from callerside.agent.telephony.media.frame_rate import DELAY_MS, FrameRate
from callerside.audio import level_dbfs, silence, to_samples, tone


def frames(pcm: bytes, rate_hz: int) -> list[bytes]:
    size = rate_hz // 50 * 2
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(16_000, 24_000), (24_000, 16_000), (8_000, 24_000)]
)
def test_each_frame_in_is_a_frame_out_and_the_sound_is_the_same(from_hz: int, to_hz: int) -> None:
    rate = FrameRate(from_hz, to_hz)
    out = [rate.convert(frame) for frame in frames(tone(1_000, 2_000, from_hz), from_hz)]
    assert {len(frame) for frame in out} == {to_hz // 50 * 2}
    samples = to_samples(b"".join(out)).astype(float)
    middle = samples[to_hz // 2 : to_hz]
    assert level_dbfs(middle) == pytest.approx(-15, abs=0.2)
    spectrum = np.abs(np.fft.rfft(middle))
    assert float(spectrum.argmax()) * to_hz / len(middle) == pytest.approx(1_000, abs=2)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(16_000, 24_000), (24_000, 16_000)])
def test_it_is_soon_there(from_hz: int, to_hz: int) -> None:
    rate = FrameRate(from_hz, to_hz)
    click = bytearray(from_hz // 5 * 2)  # 200 ms
    at = from_hz // 10 * 2
    click[at : at + 2] = b"\xff\x3f"
    out = to_samples(b"".join(rate.convert(frame) for frame in frames(bytes(click), from_hz)))
    late_ms = float(np.abs(out.astype(float)).argmax()) * 1000 / to_hz - 100
    assert 0 <= late_ms <= DELAY_MS


def test_what_would_fold_is_not_heard() -> None:
    """11 kHz at 24 kHz would be 5 kHz at 16."""
    rate = FrameRate(24_000, 16_000)
    out = b"".join(rate.convert(frame) for frame in frames(tone(11_000, 500, 24_000), 24_000))
    assert level_dbfs(to_samples(out)[1_600:-1_600]) < -65


def test_frames_join_without_a_seam() -> None:
    """In frames or as a whole: the same samples."""
    pcm = tone(997, 400, 16_000)
    rate = FrameRate(16_000, 24_000)
    whole = FrameRate(16_000, 24_000).convert(pcm)
    assert b"".join(rate.convert(frame) for frame in frames(pcm, 16_000)) == whole


def test_silence_after_sound_ends_as_it_would_in_one_piece() -> None:
    """Also in frames that are shorter than the filter, whose end is still to be heard."""
    pcm = silence(40, 16_000) + tone(997, 65, 16_000)[:-40] + silence(80, 16_000)
    for frame in (640, 32, 8):  # bytes
        rate = FrameRate(16_000, 24_000)
        out = b"".join(rate.convert(pcm[at : at + frame]) for at in range(0, len(pcm), frame))
        whole = FrameRate(16_000, 24_000).convert(pcm)
        np.testing.assert_allclose(to_samples(out), to_samples(whole), atol=1)  # it may round
