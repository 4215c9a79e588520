"""Opus as it is sent and taken here: its delay, its lengths, its rate, and what is none of it."""

import random

import numpy as np
import pytest

from callerside.agent.telephony.baresip.codecs import OPUS_DELAY_MS, Opus, codec_named
from callerside.audio import level_dbfs, to_bytes, to_samples, tone
from callerside.reports.evidence import OPUS_MS

FRAME_MS = 20


def frames(pcm: bytes, rate_hz: int, ms: int = FRAME_MS) -> list[bytes]:
    size = rate_hz * ms // 1000 * 2
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def noise(ms: int, rate_hz: int) -> bytes:
    return to_bytes(np.random.default_rng(5).normal(0, 4_000, rate_hz * ms // 1000))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000])
def test_what_was_said_is_heard_two_and_a_half_milliseconds_later(rate_hz: int) -> None:
    sender, receiver = Opus(rate_hz), Opus(24_000)
    said = noise(1_000, rate_hz)
    packets = [sender.encode(frame) for frame in frames(said, rate_hz)]
    same = Opus(rate_hz)
    heard = to_samples(b"".join(map(same.decode, packets))).astype(float)
    wide = b"".join(map(receiver.decode, packets))
    assert len(wide) == 2 * 24_000
    part = to_samples(said).astype(float)[rate_hz // 2 :][: rate_hz // 4]
    likeness = [float(part @ heard[rate_hz // 2 + k :][: len(part)]) for k in range(rate_hz // 50)]
    late_ms = int(np.argmax(likeness)) * 1000 / rate_hz
    assert late_ms == OPUS_DELAY_MS
    assert late_ms == OPUS_MS, "what is measured counts with it"


@pytest.mark.parametrize("ms", [10, 20, 40, 60, 120])
def test_a_packet_says_how_long_it_is_and_is_so_long(ms: int) -> None:
    sender, receiver = Opus(24_000), Opus(16_000)
    for frame in frames(tone(440, 4 * ms, 24_000), 24_000, ms):
        payload = sender.encode(frame)
        assert receiver.duration(payload) == 48 * ms
        assert len(receiver.decode(payload)) == 2 * 16 * ms


def test_what_cannot_be_read_is_silence_of_its_length_and_what_follows_is_heard() -> None:
    rng, codec = random.Random(7), Opus(24_000)
    said = [codec.encode(frame) for frame in frames(tone(440, 400, 24_000), 24_000)]
    for size in range(1, 400):
        payload = rng.randbytes(size)
        assert len(codec.decode(payload)) == codec.duration(payload)  # half of its units, twice
    assert codec.duration(b"") == 0
    heard = b"".join(map(codec.decode, said))
    assert level_dbfs(to_samples(heard)[-4_800:]) == pytest.approx(-15, abs=0.5)


@pytest.mark.parametrize(
    ("most", "sent"), [(0, 64_000), (20_000, 20_000), (128_000, 64_000), (100, 64_000)]
)
def test_no_more_bits_are_sent_than_are_wanted(most: int, sent: int) -> None:
    codec = codec_named("OPUS", 24_000, most)
    packets = [codec.encode(frame) for frame in frames(noise(2_000, 24_000), 24_000)]
    assert 8 * sum(map(len, packets)) / 2 == pytest.approx(sent, rel=0.15)
