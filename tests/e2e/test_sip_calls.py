"""Real calls over loopback: audio by its content, both good-byes, the fifth call, many calls."""

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from sip_rig import Phone, Recorded, answer_at_once, open_phone, pitch_hz, wait_until

from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallLeg,
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
    PlayoutCleared,
    RtpMeasured,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import level_dbfs, to_samples, tone
from callerside.simulator.caller.ear import play, render

pytestmark = pytest.mark.e2e

AGENT_HZ = 24_000
CALLER_HZ = 16_000
CONCEALED_BLOCKS = 8
"""Of 10 ms: a packet that a busy machine delivers late is concealed, which lengthens the sound."""
LATE_TICK_NS = 24_000_000
"""Between two ticks of a media clock that are meant to be 20 ms apart."""


def sing_at_once(leg: CallLeg, item: LegInput) -> None:
    answer_at_once(leg, item)
    if isinstance(item, MediaReady):
        leg.play(tone(440, 5_000, leg.sample_rate_hz))


@pytest.fixture(scope="module")
def agent() -> Iterator[Phone]:
    with open_phone("agent", SipOptions(sample_rate_hz=AGENT_HZ)) as opened:
        yield opened


@pytest.fixture(scope="module")
def caller() -> Iterator[Phone]:
    with open_phone("caller") as opened:
        yield opened


@pytest.fixture(autouse=True)
def everybody_answers(agent: Phone, caller: Phone) -> Iterator[None]:
    agent.behave(answer_at_once)
    yield
    wait_until(lambda: agent.facts().active_calls == 0, "the agent's calls to end")
    wait_until(lambda: caller.facts().active_calls == 0, "the caller's calls to end")


def dial(agent: Phone, caller: Phone, codec: str | None = None) -> tuple[int, int]:
    """A call that is up: its number at the agent and at the caller."""
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}", codec=codec)
    caller.wait_for(ours, MediaReady)
    agent.wait_for(theirs, MediaReady)
    return theirs, ours


def voiced(pcm: bytes, rate_hz: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """For each 10 ms, whether there is sound in it."""
    size = rate_hz // 100
    samples = to_samples(pcm)
    blocks = samples[: len(samples) // size * size].reshape(-1, size)
    return np.array([level_dbfs(block) > -40 for block in blocks])


def received(phone: Phone, call: int) -> bytes:
    told = phone.told(call)
    return b"".join(t.input.pcm for t in told if isinstance(t.input, AudioReceived))


def late_ticks(phone: Phone, call: int) -> int:
    """How often the media clock of a telephone stood still for more than a frame's time."""
    ticks = [t.input.at_ns for t in phone.told(call) if isinstance(t.input, AudioReceived)]
    return sum(later - earlier > LATE_TICK_NS for earlier, later in pairwise(ticks))


def more_frames(phone: Phone, call: int, count: int) -> None:
    """Until so many more frames have been heard than now."""
    heard = sum(isinstance(told.input, AudioReceived) for told in phone.told(call))
    phone.wait_for(call, AudioReceived, count=heard + count)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
def test_each_end_hears_what_the_other_plays(agent: Phone, caller: Phone, codec: str) -> None:
    theirs, ours = dial(agent, caller, codec)
    assert agent.wait_for(theirs, MediaReady).codec == codec
    agent.do(theirs, "play", tone(440, 1_000, AGENT_HZ))
    caller.do(ours, "play", tone(1_000, 1_000, CALLER_HZ))
    more_frames(agent, theirs, 75)
    more_frames(caller, ours, 75)
    caller.do(ours, "hang_up")
    caller.wait_for(ours, HungUp)

    # A jitter buffer that starts empty runs dry once until it knows how far apart the two clocks
    # are; every tick that came late may make it run dry again.
    excused = 1 + late_ticks(agent, theirs) + late_ticks(caller, ours)
    for pcm, rate_hz, hz in (
        (caller.recorded(ours).ear, CALLER_HZ, 440),
        (received(agent, theirs), AGENT_HZ, 1_000),
    ):
        heard = np.flatnonzero(voiced(pcm, rate_hz))
        holes = np.diff(heard)[np.diff(heard) > 1] - 1
        assert 97 - 2 * excused <= len(heard) <= 103 + CONCEALED_BLOCKS
        assert len(holes) <= excused, f"{holes} blocks of the tone are missing"
        middle = slice(2 * rate_hz // 100 * int(heard[20]), 2 * rate_hz // 100 * int(heard[80]))
        assert pitch_hz(pcm[middle], rate_hz) == pytest.approx(hz, abs=3)
        assert level_dbfs(to_samples(pcm[middle])) == pytest.approx(-15, abs=1)


@pytest.mark.parametrize("who", ["caller", "agent"])
def test_either_end_can_hang_up(agent: Phone, caller: Phone, who: str) -> None:
    theirs, ours = dial(agent, caller)
    agent.wait_for(theirs, CallAnswered)
    agent.wait_for(theirs, AudioReceived, count=10)
    (caller if who == "caller" else agent).do(ours if who == "caller" else theirs, "hang_up")
    for phone, call in ((caller, ours), (agent, theirs)):
        ended = phone.wait_for(call, HungUp)
        assert (ended.by, ended.status) == (who, 200)
        *_, measured, last = phone.signals(call)
        assert last is ended or last == ended
        assert isinstance(measured, RtpMeasured)
        assert measured.received_packets >= 5
        assert measured.lost_packets == 0
        assert phone.told(call)[-1].input == ended


def test_who_calls_whom_is_told(agent: Phone, caller: Phone) -> None:
    theirs = agent.calls()
    ours = caller.dial(f"sip:%2B4930123@127.0.0.1:{agent.port}", user="alice")
    received = agent.wait_for_call(theirs)
    assert (received.called, received.caller) == ("+4930123", "alice")
    assert received.sip_call_id
    caller.do(ours, "hang_up")


def test_a_call_can_be_placed_over_tcp(agent: Phone, caller: Phone) -> None:
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port};transport=tcp")
    caller.wait_for(ours, AudioReceived, count=5)
    agent.wait_for(theirs, AudioReceived, count=5)
    caller.do(ours, "hang_up")
    assert agent.wait_for(theirs, HungUp).by == "caller"


def test_nobody_at_the_other_end_is_the_networks_doing(caller: Phone) -> None:
    ours = caller.dial("sip:100@127.0.0.1:1;transport=tcp")
    ended = caller.wait_for(ours, HungUp)
    assert (ended.by, ended.status) == ("network", 503)


def test_clear_stops_the_audio_and_accounts_for_every_sample(agent: Phone, caller: Phone) -> None:
    theirs, ours = dial(agent, caller)
    pcm = tone(440, 4_000, AGENT_HZ)
    agent.do(theirs, "play", pcm)
    agent.wait_for(theirs, FramePlayed, count=60)
    agent.do(theirs, "clear")
    cleared = agent.wait_for(theirs, PlayoutCleared)
    more_frames(caller, ours, 20)
    caller.do(ours, "hang_up")
    caller.wait_for(ours, HungUp)

    told = agent.told(theirs)
    at = next(n for n, t in enumerate(told) if isinstance(t.input, PlayoutCleared))
    played = [t.input.samples for t in told if isinstance(t.input, FramePlayed)]
    played_before = sum(t.input.samples for t in told[:at] if isinstance(t.input, FramePlayed))
    assert sum(played) == played_before, "a frame of what was cleared left afterwards"
    assert played_before + cleared.dropped_samples == len(pcm) // 2
    heard = voiced(caller.recorded(ours).ear, CALLER_HZ)
    played_blocks = played_before * 100 / AGENT_HZ
    assert played_blocks - 2 <= heard.sum() <= played_blocks + 2 + CONCEALED_BLOCKS


def test_a_fifth_call_is_busy_and_the_four_stay(agent: Phone, caller: Phone) -> None:
    second_caller = Phone("caller", SipOptions())
    try:
        calls = [dial(agent, caller) for _ in range(4)]
        fifth = second_caller.dial(f"sip:100@127.0.0.1:{agent.port}")
        refused = second_caller.wait_for(fifth, HungUp, within_s=2)
        assert (refused.by, refused.status) == ("agent", 486)
        for theirs, ours in calls:
            more_frames(agent, theirs, 5)
            caller.do(ours, "hang_up")
    finally:
        assert second_caller.close() == 0


def test_a_call_before_its_answer_can_be_cancelled(agent: Phone, caller: Phone) -> None:
    agent.behave(None)
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
    agent.wait_for_call(theirs)
    agent.do(theirs, "answer", 180)
    caller.do(ours, "hang_up")
    for phone, call in ((caller, ours), (agent, theirs)):
        ended = phone.wait_for(call, HungUp)
        assert (ended.by, ended.status) == ("caller", 487)


def test_a_refusal_reaches_the_caller_with_its_status(agent: Phone, caller: Phone) -> None:
    agent.behave(None)
    theirs = agent.calls()
    ours = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
    agent.wait_for_call(theirs)
    agent.do(theirs, "hang_up", 404)
    assert caller.wait_for(ours, HungUp).status == 404
    assert agent.wait_for(theirs, HungUp).status == 404


@pytest.mark.parametrize("stood_s", [0.0, 0.5], ids=["calm", "stands_still"])
def test_recorded_time_is_the_marks_time(agent: Phone, caller: Phone, stood_s: float) -> None:
    """Sample n of the recording is n / rate after its start, on the clock of the marks.

    So it is, too, where nothing came for a while: what is told then has no time of arrival.
    """
    agent.behave(sing_at_once)
    _, ours = dial(agent, caller)
    caller.wait_for(ours, AudioReceived, count=30)
    if stood_s:
        for signal_to in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(agent.process.pid or 0, signal_to)
            time.sleep(stood_s)
    caller.wait_for(ours, AudioReceived, count=100)
    caller.do(ours, "hang_up")
    caller.wait_for(ours, HungUp)
    recorded: Recorded = caller.recorded(ours)
    frames = [t.input for t in caller.told(ours) if isinstance(t.input, AudioReceived)]
    assert recorded.started_at_ns is not None
    assert [one.pcm for one in recorded.arrivals] == [frame.pcm for frame in frames]
    came = [(one, frame) for one, frame in zip(recorded.arrivals, frames, strict=True) if one.at_ns]
    assert all(one.at_ns == frame.at_ns for one, frame in came)
    assert (len(came) < len(frames)) or not stood_s
    first, rate_hz = came[0][1], recorded.rate_hz
    ear = to_samples(recorded.ear)
    begin = round((first.at_ns - recorded.started_at_ns) * rate_hz / 1e9)
    assert ear[begin : begin + rate_hz // 50].tobytes() == first.pcm
    assert level_dbfs(ear) > -40
    played = render(
        play(recorded.arrivals, rate_hz),
        rate_hz,
        begin_ns=recorded.started_at_ns,
        samples=len(ear),
    )
    assert not np.flatnonzero(ear != played).size
    # A frame for each 20 ms, however late a busy machine sends some: none is made up, or missing.
    late_ms = [frame.at_ns / 1e6 - 20 * n for n, frame in enumerate(frames)]
    assert min(late_ms[50:]) == pytest.approx(min(late_ms[:50]), abs=10)


def test_a_call_that_comes_as_another_goes_keeps_its_place(caller: Phone) -> None:
    """A BYE and the next INVITE within one poll: the stack gives the last place to both."""
    agent = Phone("agent", SipOptions())
    agent.behave(answer_at_once)
    uri = f"sip:100@127.0.0.1:{agent.port}"
    staying = [caller.dial(uri) for _ in range(3)]
    for call in staying:
        caller.wait_for(call, MediaReady)
    churning = Phone("caller", SipOptions())
    call = churning.dial(uri)
    for _ in range(10):
        churning.wait_for(call, MediaReady)
        churning.do(call, "hang_up")
        call = churning.dial(uri)
    churning.wait_for(call, MediaReady)
    assert churning.close() == 0
    for call in staying:
        caller.do(call, "hang_up")
        assert caller.wait_for(call, HungUp).by == "caller"
    assert agent.close() == 0


def test_calls_follow_at_once_on_calls_that_took_all_places(agent: Phone, caller: Phone) -> None:
    """Those are over, and their places free a moment later."""
    for _ in range(10):
        calls = [caller.dial(f"sip:100@127.0.0.1:{agent.port}") for _ in range(4)]
        for call in calls:
            caller.wait_for(call, MediaReady)
        for call in calls:
            caller.do(call, "hang_up")
        for call in calls:
            caller.wait_for(call, HungUp)
