"""What the caller says: what leaves, and the account of it, whole utterances and frame by frame."""

import random

import numpy as np

from callerside import audio
from callerside.simulator.caller.line_model import LineModel
from callerside.simulator.caller.speaker import LEAD_FRAMES, SpeechOutput
from callerside.simulator.scenario.model import Caller, Echo

RATE_HZ = 16_000
FRAME = RATE_HZ // 50


def speech_output(caller: Caller | None = None, *, mixes: bool = False) -> SpeechOutput:
    line = LineModel(caller or Caller(), b"", RATE_HZ, random.Random(1))
    made = SpeechOutput(line, RATE_HZ, mixes=mixes)
    made.open()
    return made


def samples(count: int, value: int) -> bytes:
    return np.full(count, value, "<i2").tobytes()


def test_nothing_is_made_before_there_is_audio() -> None:
    shut = SpeechOutput(LineModel(Caller(), b"", RATE_HZ, random.Random(1)), RATE_HZ)
    shut.say("a", samples(FRAME, 1), 1)
    assert shut.more_audio() == b""
    shut.open()
    assert shut.more_audio() == samples(FRAME, 1)


def test_an_utterance_begins_and_ends_with_its_frames() -> None:
    one = speech_output()
    said = one.say("a", samples(5 * FRAME // 2, 1), 1)
    assert len(one.more_audio()) == 5 * FRAME
    assert one.more_audio() == b""
    assert one.frame_left(FRAME, 20) == [said]
    assert one.frame_left(FRAME, 40) == []
    assert one.speaking
    assert one.frame_left(FRAME // 2, 60) == [said]
    assert (said.started_ns, said.ended_ns) == (20, 60)
    assert not one.speaking


def test_on_a_quiet_line_utterances_wait_for_each_other() -> None:
    one = speech_output()
    first = one.say("a", samples(FRAME, 1), 1)
    second = one.say("b", samples(FRAME, 2), 2)
    assert one.more_audio() == samples(FRAME, 1) + samples(FRAME, 2)
    assert one.frame_left(FRAME, 20) == [first]
    assert one.frame_left(FRAME, 40) == [second]


def test_where_tracks_mix_utterances_overlap() -> None:
    one = speech_output(mixes=True)
    assert one.more_audio() == samples(LEAD_FRAMES * FRAME, 0)
    first = one.say("a", samples(3 * FRAME, 100), 1)
    one.frame_left(FRAME, 20)
    assert one.more_audio() == samples(FRAME, 100)
    second = one.say("b", samples(FRAME, 1000), None)
    one.frame_left(FRAME, 40)
    assert one.more_audio() == samples(FRAME, 1100)
    assert one.frame_left(FRAME, 60) == []
    assert one.more_audio() == samples(FRAME, 100)
    assert one.frame_left(FRAME, 80) == [first]
    assert one.frame_left(FRAME, 100) == [second]
    assert second.ended_ns == 100
    assert one.frame_left(FRAME, 120) == [first]
    assert (first.started_ns, first.ended_ns) == (80, 120)


def test_frames_are_never_made_further_ahead_than_the_lead() -> None:
    one = speech_output(mixes=True)
    made = len(one.more_audio())
    for tick in range(100):
        one.frame_left(FRAME, tick)
        made += len(one.more_audio())
    assert made == 2 * FRAME * (100 + LEAD_FRAMES)


def test_the_echo_is_as_late_as_stated_even_though_frames_are_made_ahead() -> None:
    one = speech_output(Caller(echo=Echo(loss_db=0, delay=200)))
    left = one.more_audio()
    for tick in range(30):
        one.hear(samples(FRAME, 1000 if tick == 0 else 0))
        one.frame_left(FRAME, tick)
        left += one.more_audio()
    onset = int(np.argmax(audio.to_samples(left) > 0))
    # Frame n leaves in the tick in which the agent's frame n is heard.
    assert onset * 1000 / RATE_HZ == 200
