"""Whatever packets bring, a call has frames of 20 ms at its own rate, and none is missing."""

import pytest

from callerside.agent.telephony.media.frame_rate import FrameMaker
from callerside.agent.telephony.media.jitter_buffer import Gap
from callerside.audio import tone

RATE_HZ = 8_000
FRAME = RATE_HZ // 50 * 2


def maker(codec_hz: int = RATE_HZ, *, conceals: bool = False) -> FrameMaker:
    return FrameMaker(codec_hz, 8_000, RATE_HZ, conceals=conceals)


def test_a_frame_comes_out_as_it_is() -> None:
    pcm = tone(440, 20, RATE_HZ)
    frames = maker().heard(pcm)
    assert len(frames) == 1
    assert frames[0] is pcm


@pytest.mark.parametrize("packet_ms", [10, 30, 40, 60])
def test_packets_of_other_lengths_are_cut(packet_ms: int) -> None:
    sound, made = tone(440, 240, RATE_HZ), maker()
    size = packet_ms * RATE_HZ // 1000 * 2
    frames = [f for at in range(0, len(sound), size) for f in made.heard(sound[at : at + size])]
    assert {len(frame) for frame in frames} == {FRAME}
    assert b"".join(frames) == sound


def test_another_rate_becomes_the_calls() -> None:
    made = maker(16_000)
    assert [len(frame) for frame in made.heard(tone(440, 40, 16_000))] == [FRAME, FRAME]
    assert [len(frame) for frame in made.missing(Gap(duration=160, lost=False))] == [FRAME]


@pytest.mark.parametrize(("lost", "sounds"), [(True, True), (False, False)])
def test_what_was_lost_is_concealed_and_what_was_not_said_is_silence(
    *, lost: bool, sounds: bool
) -> None:
    made = maker(conceals=True)
    made.heard(tone(200, 100, RATE_HZ))
    (frame,) = made.missing(Gap(duration=160, lost=lost))
    assert any(frame) is sounds
    assert not any(maker().missing(Gap(duration=160, lost=lost))[0])
