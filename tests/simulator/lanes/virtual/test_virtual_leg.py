from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallProgressed,
    CallReceived,
    DtmfReceived,
    FramePlayed,
    HungUp,
    LegInput,
    MediaHeld,
    MediaReady,
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
    TransferProgressed,
    TransferRequested,
)
from callerside.audio import level_dbfs, to_samples, tone
from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.simulator.lanes.virtual.leg import LineOptions, VirtualLeg
from callerside.simulator.lanes.virtual.line import VirtualLine

RATE_HZ = 8000
FRAME_BYTES = 320


def ignore(told: LegInput) -> None:
    """Listens, and does nothing."""


class Call:
    """A line with a listener at each end."""

    def __init__(self, on_call: Callable[[VirtualLeg], None] | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.at_agent: list[LegInput] = []
        self.at_caller: list[LegInput] = []
        self.line = VirtualLine(
            self.clock,
            LineOptions(sample_rate_hz=RATE_HZ, **options),
            to_agent=lambda sent_ns: (sent_ns + 500_000,),
            to_caller=lambda sent_ns: (sent_ns + 500_000,),
            on_call=on_call or self._accept,
        )
        self.agent, self.caller = self.line.agent, self.line.caller
        self.caller.start(self.at_caller.append)

    def _accept(self, leg: VirtualLeg) -> None:
        leg.start(self.at_agent.append)
        leg.answer()

    def up(self) -> "Call":
        self.caller.dial("sip:shop@127.0.0.1:5060")
        self.pass_ms(50)
        return self

    def pass_ms(self, duration_ms: float) -> None:
        self.clock.run_until(self.clock.now_ns() + int(duration_ms * NS_PER_MS))

    def signals(self, side: str) -> list[LegInput]:
        """What was told, without the frames."""
        told = self.at_agent if side == "agent" else self.at_caller
        return [one for one in told if not isinstance(one, AudioReceived | FramePlayed)]

    def heard(self, side: str) -> bytes:
        told = self.at_agent if side == "agent" else self.at_caller
        return b"".join(one.pcm for one in told if isinstance(one, AudioReceived))

    def frames_left(self, side: str) -> int:
        told = self.at_agent if side == "agent" else self.at_caller
        return sum(isinstance(one, FramePlayed) for one in told)

    def played(self, side: str) -> int:
        told = self.at_agent if side == "agent" else self.at_caller
        return sum(one.samples for one in told if isinstance(one, FramePlayed))


def test_a_call_comes_up_in_the_order_of_sip() -> None:
    call = Call().up()
    assert call.signals("agent") == [
        CallReceived(called="shop", caller="caller", sip_call_id="virtual-shop"),
        MediaReady(codec="PCMU"),
        CallAnswered(),
    ]
    assert call.signals("caller") == [CallAnswered(status=200), MediaReady(codec="PCMU")]


def test_ringing_is_told_to_the_caller() -> None:
    def ring(leg: VirtualLeg) -> None:
        leg.start(ignore)
        leg.answer(180)

    call = Call(ring).up()
    assert call.signals("caller") == [CallProgressed(status=180)]


def test_inputs_that_came_before_start_are_delivered_by_it_but_not_within_it() -> None:
    legs: list[VirtualLeg] = []
    call = Call(legs.append).up()
    told: list[LegInput] = []
    legs[0].start(told.append)
    assert told == []
    call.pass_ms(1)
    assert [type(one) for one in told] == [CallReceived]


def test_frames_leave_every_20_ms_out_of_step_and_are_heard_as_they_come() -> None:
    call = Call(phase_ms=7).up()
    call.pass_ms(1000)
    for told, other, phase_ms in (
        (call.at_agent, call.at_caller, 0),
        (call.at_caller, call.at_agent, 7),
    ):
        left = [one.at_ns for one in told if isinstance(one, FramePlayed)]
        assert {later - sooner for sooner, later in pairwise(left)} == {20 * NS_PER_MS}
        assert left[0] % (20 * NS_PER_MS) == phase_ms * NS_PER_MS
        came = [one.at_ns for one in other if isinstance(one, AudioReceived)]
        assert came == [at_ns + 500_000 for at_ns in left][: len(came)]
        assert all(len(one.pcm) == FRAME_BYTES for one in told if isinstance(one, AudioReceived))


@pytest.mark.parametrize("drift_ppm", [-500.0, 500.0])
def test_a_drifting_clock_sends_more_or_less_often(drift_ppm: float) -> None:
    call = Call(drift_ppm=drift_ppm).up()
    call.pass_ms(100_000)
    frames = {side: len(call.heard(side)) // FRAME_BYTES for side in ("agent", "caller")}
    assert frames["agent"] - frames["caller"] == pytest.approx(-5000 * drift_ppm / 1e6, abs=1.1)


def test_what_one_plays_the_other_hears_with_the_codecs_loss_and_no_more() -> None:
    call = Call().up()
    sound = tone(440, 100, RATE_HZ)
    call.agent.play(sound)
    call.pass_ms(300)
    heard = to_samples(call.heard("caller"))
    start = int(np.argmax(heard != 0))
    original = to_samples(sound)
    start -= int(np.argmax(original != 0))
    error = heard[start : start + original.size].astype(int) - original
    assert 0 < level_dbfs(error) + 120 < 120 - 12 - 30  # G.711 keeps about 38 dB
    assert not heard[start + original.size :].any()
    assert call.played("agent") == original.size


def test_clear_is_answered_after_the_frames_that_left_before_it() -> None:
    call = Call().up()
    call.agent.play(tone(440, 1000, RATE_HZ))
    call.pass_ms(100)
    call.agent.clear()
    assert PlayoutCleared not in map(type, call.at_agent)
    call.pass_ms(100)
    cleared = next(one for one in call.at_agent if isinstance(one, PlayoutCleared))
    assert cleared.dropped_samples + call.played("agent") == RATE_HZ


def test_a_full_playout_buffer_drops_the_newest_and_says_so() -> None:
    call = Call(max_playout_ms=100).up()
    call.agent.play(tone(440, 150, RATE_HZ))
    call.pass_ms(20)
    assert PlayoutOverflowed(tag=0, dropped_samples=50 * 8) in call.at_agent


@pytest.mark.parametrize("by", ["agent", "caller"])
def test_a_hang_up_ends_both_ends_with_the_statistics_first(by: str) -> None:
    call = Call().up()
    call.pass_ms(1000)
    getattr(call, by).hang_up()
    getattr(call, by).hang_up()
    call.pass_ms(1000)
    for side in ("agent", "caller"):
        measured, hung_up = call.signals(side)[-2:]
        assert isinstance(measured, RtpMeasured)
        assert measured.received_packets > 45
        assert measured.lost_packets == 0
        assert hung_up == HungUp(by=by, status=200, reason="Normal call clearing")  # type: ignore[arg-type]
        told = call.at_agent if side == "agent" else call.at_caller
        assert told[-1] == hung_up


def test_both_may_hang_up_at_once() -> None:
    call = Call().up()
    call.agent.hang_up()
    call.caller.hang_up()
    call.pass_ms(1000)
    for side in ("agent", "caller"):
        assert sum(isinstance(one, HungUp) for one in call.signals(side)) == 1


def test_a_caller_may_cancel_before_the_answer() -> None:
    call = Call(lambda leg: leg.start(call.at_agent.append))
    call.up()
    call.caller.hang_up()
    call.pass_ms(100)
    cancelled = HungUp(by="caller", status=487, reason="Request Terminated")
    assert call.signals("agent")[1:] == [cancelled]
    assert call.signals("caller") == [cancelled]
    call.agent.answer()
    call.pass_ms(100)
    assert call.signals("caller") == [cancelled]


def test_an_agent_may_refuse() -> None:
    def refuse(leg: VirtualLeg) -> None:
        leg.start(ignore)
        leg.hang_up(486)

    call = Call(refuse).up()
    assert call.signals("caller") == [HungUp(by="agent", status=486, reason="Busy Here")]


def test_key_presses_arrive_one_after_the_other() -> None:
    call = Call().up()
    call.caller.send_dtmf("12#", "info")
    call.pass_ms(250)
    assert [one for one in call.signals("agent") if isinstance(one, DtmfReceived)] == [
        DtmfReceived(digit="1", method="info"),
        DtmfReceived(digit="2", method="info"),
    ]
    call.pass_ms(250)
    assert call.signals("agent")[-1] == DtmfReceived(digit="#", method="info")


@pytest.mark.parametrize(("lets_itself", "status"), [(True, 200), (False, 603)])
def test_a_transfer_is_told_to_the_caller_and_its_end_to_the_agent(
    lets_itself: bool, status: int
) -> None:
    call = Call(lets_itself_be_transferred=lets_itself).up()
    call.agent.transfer("sip:desk@example.org")
    call.pass_ms(10)
    assert call.signals("caller")[-1] == TransferRequested(uri="sip:desk@example.org")
    assert call.signals("agent")[-1] == TransferProgressed(status=status)


def test_on_hold_nothing_is_heard_and_what_is_to_be_played_waits() -> None:
    call = Call().up()
    call.caller.hold()
    call.pass_ms(40)
    assert call.signals("agent")[-1] == MediaHeld()
    call.at_agent.clear()
    call.at_caller.clear()
    call.agent.play(tone(440, 200, RATE_HZ))
    call.caller.play(tone(440, 200, RATE_HZ))
    call.pass_ms(400)
    assert not any(call.heard("agent"))
    assert not any(call.heard("caller"))
    assert call.played("agent") == 0
    call.caller.resume()
    call.pass_ms(40)
    assert call.signals("agent")[-1] == MediaReady(codec="PCMU")
    call.pass_ms(400)
    assert call.played("agent") == 1600
    assert any(call.heard("caller"))


def test_a_caller_who_vanishes_is_given_up_after_the_rtp_timeout() -> None:
    call = Call(rtp_timeout_ms=5000).up()
    call.caller.vanish()
    call.pass_ms(4900)
    assert not any(isinstance(one, HungUp) for one in call.at_agent)
    call.pass_ms(200)
    assert call.at_agent[-1] == HungUp(by="network", status=408, reason="no RTP for 5000 ms")


def test_an_answer_that_nobody_acknowledges_ends_the_call() -> None:
    call = Call()
    call.caller.dial("sip:shop@127.0.0.1")
    call.caller.vanish()
    call.pass_ms(31_900)
    assert not any(isinstance(one, HungUp) for one in call.at_agent)
    call.pass_ms(200)
    assert isinstance(call.at_agent[-1], HungUp)
    assert call.at_agent[-1].by == "network"


def test_a_call_that_is_over_does_nothing() -> None:
    call = Call().up()
    call.caller.hang_up()
    call.pass_ms(100)
    told = len(call.at_agent), len(call.at_caller)
    for leg in (call.agent, call.caller):
        leg.play(tone(440, 100, RATE_HZ))
        leg.clear()
        leg.send_dtmf("1")
        leg.transfer("sip:x@y")
        leg.answer()
        leg.hang_up()
    call.caller.hold()
    call.caller.vanish()
    call.caller.dial("sip:again@127.0.0.1")
    call.pass_ms(1000)
    assert (len(call.at_agent), len(call.at_caller)) == told


def test_the_caller_records_both_directions_on_one_clock() -> None:
    call = Call().up()
    call.caller.play(tone(440, 100, RATE_HZ))
    call.pass_ms(1000)
    recorder = call.caller.recorder
    assert recorder.started_at_ns is not None
    assert recorder.samples == call.frames_left("caller") * FRAME_BYTES // 2
    assert len(recorder.channels()[1]) == recorder.samples * 2


def test_who_takes_an_input_may_hand_on_what_follows() -> None:
    first: list[LegInput] = []
    later: list[LegInput] = []

    def on_call(leg: VirtualLeg) -> None:
        def receive(told: LegInput) -> None:
            first.append(told)
            leg.start(later.append)
            leg.answer()

        leg.start(receive)

    Call(on_call=on_call).up()
    assert [type(told) for told in first] == [CallReceived]
    assert CallAnswered() in later
    assert any(isinstance(told, AudioReceived) for told in later)
