"""What every `agent.telephony.interface.CallLeg` must do, over SIP and RTP and in memory.

Each test plays one call between the agent's leg and the caller's. A `Rig` knows how to make such a
pair and how to let time pass for it; the promises are the same. Where an implementation is slower
than another (packets, jitter buffers, codecs), a test compares counts of samples, never times.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np
import pytest
from sip_rig import Phone, Told, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import (
    FRAME_MS,
    AudioReceived,
    CallAnswered,
    CallProgressed,
    CallReceived,
    DtmfMethod,
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
from callerside.agent.telephony.options import SipOptions
from callerside.audio import level_dbfs, to_samples, tone
from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.simulator.lanes.virtual.leg import LineOptions, VirtualLeg
from callerside.simulator.lanes.virtual.line import VirtualLine

Side = Literal["agent", "caller"]
T = TypeVar("T", bound=LegInput)

MAX_PLAYOUT_MS = 5_000
CONCEALED_MS = 80
"""A packet that a busy machine delivers late is concealed, and then played: sound grows longer."""
AGENT_HZ = 24_000


class Rig(Protocol):
    """A pair of legs, and the time they live in."""

    rate_hz: dict[Side, int]

    def dial(self, called: str) -> None:
        """The caller's INVITE."""

    def do(self, side: Side, method: str, *arguments: object) -> None:
        """Call a method of one of the legs."""

    def told(self, side: Side) -> list[Told]:
        """Everything that a leg has told so far."""

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Let time pass until a condition holds; fails if it does not come to."""

    def end(self) -> None:
        """Whatever the test has left: end it."""


class SipRig:
    """Real SIP and RTP between two processes."""

    _phones: ClassVar[dict[tuple[str, str], Phone]] = {}
    """By side and engine."""

    def __init__(self, agent: EngineName, caller: EngineName) -> None:
        options = SipOptions(sample_rate_hz=AGENT_HZ, max_playout_ms=MAX_PLAYOUT_MS)
        theirs = SipOptions(max_playout_ms=MAX_PLAYOUT_MS)
        self.rate_hz: dict[Side, int] = {"agent": AGENT_HZ, "caller": 16_000}
        self.phones: dict[Side, Phone] = {
            "agent": self._phone("agent", agent, options),
            "caller": self._phone("caller", caller, theirs),
        }
        self.calls: dict[Side, int] = {"agent": self.phones["agent"].calls()}

    def dial(self, called: str) -> None:
        uri = f"sip:{called}@127.0.0.1:{self.phones['agent'].port}"
        self.calls["caller"] = self.phones["caller"].dial(uri)
        agent, call = self.phones["agent"], self.calls["agent"]
        wait_until(lambda: agent.calls() > call, "the INVITE")

    def do(self, side: Side, method: str, *arguments: object) -> None:
        self.phones[side].do(self.calls[side], method, *arguments)

    def told(self, side: Side) -> list[Told]:
        return self.phones[side].told(self.calls[side])

    def until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, what)

    def end(self) -> None:
        if "caller" in self.calls:
            self.do("caller", "hang_up")
            for phone in self.phones.values():
                wait_until(lambda p=phone: p.facts().active_calls == 0, "an end")  # type: ignore[misc]

    @classmethod
    def _phone(cls, side: Side, engine: EngineName, options: SipOptions) -> Phone:
        if (side, engine) not in cls._phones:
            cls._phones[side, engine] = Phone(side, options, engine=engine)
        return cls._phones[side, engine]

    @classmethod
    def close(cls) -> None:
        """After the last test."""
        codes = {which: phone.close() for which, phone in cls._phones.items()}
        cls._phones.clear()
        assert set(codes.values()) <= {0}, codes


class VirtualRig:
    """Both legs in memory, under a virtual clock."""

    def __init__(self) -> None:
        self.rate_hz: dict[Side, int] = {"agent": AGENT_HZ, "caller": AGENT_HZ}
        self.clock = VirtualClock()
        options = LineOptions(sample_rate_hz=AGENT_HZ, max_playout_ms=MAX_PLAYOUT_MS)
        self.line = VirtualLine(
            self.clock,
            options,
            to_agent=self._network,
            to_caller=self._network,
            on_call=lambda leg: self._listen("agent", leg),
        )
        self.inputs: dict[Side, list[Told]] = {"agent": [], "caller": []}
        self.calling = False
        self._listen("caller", self.line.caller)

    def dial(self, called: str) -> None:
        self.line.caller.dial(f"sip:{called}@example.invalid")

    def do(self, side: Side, method: str, *arguments: object) -> None:
        self.calling = True
        getattr(self.line.agent if side == "agent" else self.line.caller, method)(*arguments)
        self.calling = False

    def told(self, side: Side) -> list[Told]:
        return list(self.inputs[side])

    def until(self, condition: Callable[[], bool], what: str) -> None:
        limit_ns = self.clock.now_ns() + 60_000 * NS_PER_MS
        while not condition():
            assert self.clock.now_ns() < limit_ns, what
            self.clock.run_until(self.clock.now_ns() + NS_PER_MS)

    def end(self) -> None:
        """Nothing outlives the clock."""

    def _network(self, sent_ns: int) -> tuple[int, ...]:
        return (sent_ns + NS_PER_MS,)

    def _listen(self, side: Side, leg: VirtualLeg) -> None:
        def on_input(item: LegInput) -> None:
            self.inputs[side].append(Told(self.clock.now_ns(), item, self.calling))

        leg.start(on_input)


class Call:
    """A call on a rig, in the words of the tests."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def inputs(self, side: Side, kind: type[T]) -> list[T]:
        return [told.input for told in self.rig.told(side) if isinstance(told.input, kind)]

    def wait(self, side: Side, kind: type[T], count: int = 1) -> T:
        self.rig.until(
            lambda: len(self.inputs(side, kind)) >= count, f"{side}: {kind.__name__} {count}"
        )
        return self.inputs(side, kind)[count - 1]

    def more_frames(self, count: int) -> None:
        """Let so many more ticks pass on both sides."""
        sides: tuple[Side, ...] = ("agent", "caller")
        had = {side: len(self.inputs(side, AudioReceived)) for side in sides}
        for side in sides:
            self.wait(side, AudioReceived, had[side] + count)

    def connect(self) -> None:
        """Dial, answer, and let the audio settle."""
        self.rig.dial("100")
        self.wait("agent", CallReceived)
        self.rig.do("agent", "answer")
        self.wait("agent", MediaReady)
        self.wait("agent", CallAnswered)
        self.wait("caller", MediaReady)
        self.more_frames(5)

    def signals(self, side: Side) -> list[LegInput]:
        return [
            told.input
            for told in self.rig.told(side)
            if not isinstance(told.input, AudioReceived | FramePlayed)
        ]

    def played(self, side: Side) -> int:
        return sum(frame.samples for frame in self.inputs(side, FramePlayed))

    def voiced_ms(self, side: Side) -> int:
        """How much sound has been heard."""
        pcm = b"".join(frame.pcm for frame in self.inputs(side, AudioReceived))
        blocks = to_samples(pcm).reshape(-1, self.rig.rate_hz[side] // 100)
        return 10 * int(np.sum([level_dbfs(block) > -40 for block in blocks]))

    def hears(self, side: Side, length_ms: float) -> bool:
        """Whether this much sound has been heard, give or take the frames at its ends."""
        return -20 <= self.voiced_ms(side) - length_ms <= 20 + CONCEALED_MS

    def tone(self, side: Side, length_ms: int) -> bytes:
        return tone(500, length_ms, self.rig.rate_hz[side])


ENGINES: tuple[EngineName, ...] = tuple(PROFILES)


@pytest.fixture(
    params=[
        VirtualRig,
        *(
            pytest.param(partial(SipRig, *pair), marks=pytest.mark.e2e, id="-".join(pair))
            for pair in product(ENGINES, repeat=2)
        ),
    ]
)
def call(request: pytest.FixtureRequest) -> Iterator[Call]:
    rig: Rig = request.param()
    yield Call(rig)
    rig.end()


@pytest.fixture(scope="module", autouse=True)
def phones_are_closed() -> Iterator[None]:
    yield
    SipRig.close()


OTHER: dict[Side, Side] = {"agent": "caller", "caller": "agent"}
both_sides = pytest.mark.parametrize("side", ["agent", "caller"])


def test_a_call_begins_with_who_calls_whom(call: Call) -> None:
    call.rig.dial("4711")
    received = call.wait("agent", CallReceived)
    assert (received.called, received.caller) == ("4711", "caller")
    assert received.sip_call_id
    assert call.signals("agent") == [received]


def test_nothing_comes_before_the_answer_but_progress(call: Call) -> None:
    call.rig.dial("100")
    call.wait("agent", CallReceived)
    call.rig.do("agent", "answer", 180)
    assert call.wait("caller", CallProgressed).status == 180
    call.rig.do("agent", "answer")
    assert call.wait("caller", CallAnswered).status == 200
    call.wait("agent", CallAnswered)
    names = [type(item) for item in call.signals("caller")]
    assert names.index(CallProgressed) < names.index(CallAnswered)


@both_sides
def test_frames_of_20_ms_come_and_go_while_media_is_up(call: Call, side: Side) -> None:
    call.connect()
    call.more_frames(30)
    heard = call.inputs(side, AudioReceived)
    frame_bytes = call.rig.rate_hz[side] * FRAME_MS // 1000 * 2
    assert {len(frame.pcm) for frame in heard} == {frame_bytes}
    came_ns = [frame.at_ns for frame in heard]
    left_ns = [frame.at_ns for frame in call.inputs(side, FramePlayed)]
    for times_ns in (came_ns, left_ns):
        assert len(times_ns) >= 30
        # One that a busy machine makes late is made up for by the next ones.
        late_ms = [at_ns / NS_PER_MS - n * FRAME_MS for n, at_ns in enumerate(times_ns)]
        middle = len(late_ms) // 2
        assert abs(min(late_ms[middle:]) - min(late_ms[:middle])) < FRAME_MS


@both_sides
def test_what_one_plays_the_other_hears_and_every_sample_is_counted(call: Call, side: Side) -> None:
    call.connect()
    pcm = call.tone(side, 330)
    call.rig.do(side, "play", pcm)
    call.more_frames(40)
    assert call.played(side) == len(pcm) // 2
    assert call.played(OTHER[side]) == 0
    assert call.hears(OTHER[side], 330)
    assert max(f.samples for f in call.inputs(side, FramePlayed)) * 2 == len(
        call.inputs(side, AudioReceived)[0].pcm
    )


def test_what_was_played_before_media_waits_for_it(call: Call) -> None:
    call.rig.dial("100")
    call.wait("agent", CallReceived)
    pcm = call.tone("agent", 200)
    call.rig.do("agent", "play", pcm)
    call.rig.do("agent", "answer")
    call.wait("caller", MediaReady)
    call.more_frames(30)
    assert call.played("agent") == len(pcm) // 2


@both_sides
def test_clear_is_answered_behind_the_last_frame_and_nothing_is_lost(
    call: Call, side: Side
) -> None:
    call.connect()
    pcm = call.tone(side, 3_000)
    call.rig.do(side, "play", pcm)
    call.more_frames(10)
    call.rig.do(side, "clear")
    cleared = call.wait(side, PlayoutCleared)
    call.more_frames(20)
    told = [t.input for t in call.rig.told(side)]
    before = told[: told.index(cleared)]
    played_before = sum(item.samples for item in before if isinstance(item, FramePlayed))
    assert played_before + cleared.dropped_samples == len(pcm) // 2
    assert call.played(side) == played_before
    assert call.hears(OTHER[side], played_before * 1000 / call.rig.rate_hz[side])


def test_clear_of_nothing_is_answered_too(call: Call) -> None:
    call.connect()
    call.rig.do("agent", "clear")
    assert call.wait("agent", PlayoutCleared).dropped_samples == 0


def test_after_a_clear_new_audio_plays(call: Call) -> None:
    call.connect()
    call.rig.do("agent", "play", call.tone("agent", 1_000))
    call.rig.do("agent", "clear")
    call.rig.do("agent", "play", call.tone("agent", 200))
    call.more_frames(30)
    before_the_clear = sum(f.samples for f in call.inputs("agent", FramePlayed)) - AGENT_HZ // 5
    assert call.hears("caller", 200 + before_the_clear * 1000 / AGENT_HZ)


@both_sides
def test_a_tag_is_played_to_its_end_and_every_sample_told_with_its_tag(
    call: Call, side: Side
) -> None:
    call.connect()
    call.rig.do(side, "play", call.tone(side, 200), 3)
    call.rig.do(side, "play", call.tone(side, 110), 4)
    call.rig.do(side, "play", call.tone(side, 100), 3)
    call.more_frames(40)
    told = [part for frame in call.inputs(side, FramePlayed) for part in frame.played]
    ms = call.rig.rate_hz[side] // 1000
    assert sum(samples for tag, samples in told if tag == 3) == 300 * ms
    assert sum(samples for tag, samples in told if tag == 4) == 110 * ms
    tags = [tag for tag, _ in told]
    assert tags == sorted(tags), "what waits of a tag goes before the next"


@both_sides
def test_what_is_not_named_survives_a_clear(call: Call, side: Side) -> None:
    call.connect()
    ms = call.rig.rate_hz[side] // 1000
    call.rig.do(side, "play", call.tone(side, 1_000), 1)
    call.rig.do(side, "play", call.tone(side, 300), 2)
    call.more_frames(5)
    call.rig.do(side, "clear", (1, 7))
    cleared = call.wait(side, PlayoutCleared)
    call.more_frames(30)
    told = [told.input for told in call.rig.told(side)]
    before = told[: told.index(cleared)]
    played = [part for item in before if isinstance(item, FramePlayed) for part in item.played]
    assert {tag for tag, _ in played} == {1}
    assert cleared.dropped == ((1, 1_000 * ms - sum(samples for _, samples in played)), (7, 0))
    after = [part for item in told if isinstance(item, FramePlayed) for part in item.played]
    assert after[len(played) :] == [(2, 20 * ms)] * 15


@both_sides
def test_what_the_buffer_cannot_hold_is_told(call: Call, side: Side) -> None:
    call.connect()
    pcm = call.tone(side, MAX_PLAYOUT_MS + 1_000)
    call.rig.do(side, "play", pcm, 5)
    overflowed = call.wait(side, PlayoutOverflowed)
    assert overflowed.tag == 5
    dropped = overflowed.dropped_samples
    assert dropped == pytest.approx(call.rig.rate_hz[side], abs=call.rig.rate_hz[side] // 5)


@both_sides
def test_the_end_is_told_last_with_the_streams_numbers_before_it(call: Call, side: Side) -> None:
    call.connect()
    call.more_frames(10)
    call.rig.do(side, "hang_up")
    for end in ("agent", "caller"):
        ended = call.wait(end, HungUp)
        assert (ended.by, ended.status) == (side, 200)
        assert ended.reason
        measured, last = call.signals(end)[-2:]
        assert isinstance(measured, RtpMeasured)
        assert measured.received_packets >= 10
        assert measured.lost_packets == 0
        assert last == ended
        assert call.rig.told(end)[-1].input == ended


@both_sides
def test_a_call_that_is_over_takes_everything_and_does_nothing(call: Call, side: Side) -> None:
    call.connect()
    call.rig.do(side, "hang_up")
    call.wait(side, HungUp)
    for method, *arguments in (
        ("answer",),
        ("play", call.tone(side, 100)),
        ("clear",),
        ("send_dtmf", "1"),
        ("transfer", "sip:200@127.0.0.1"),
        ("hang_up",),
    ):
        call.rig.do(side, str(method), *arguments)
    call.wait(OTHER[side], HungUp)
    assert isinstance(call.rig.told(side)[-1].input, HungUp)
    assert len(call.inputs(side, HungUp)) == 1


def test_an_incoming_call_can_be_refused(call: Call) -> None:
    call.rig.dial("100")
    call.wait("agent", CallReceived)
    call.rig.do("agent", "hang_up", 480)
    for side in ("agent", "caller"):
        ended = call.wait(side, HungUp)
        assert (ended.by, ended.status) == ("agent", 480)
        assert not call.inputs(side, RtpMeasured)


def test_a_call_that_nobody_has_answered_can_be_cancelled(call: Call) -> None:
    call.rig.dial("100")
    call.wait("agent", CallReceived)
    call.rig.do("agent", "answer", 180)
    call.wait("caller", CallProgressed)
    call.rig.do("caller", "hang_up")
    for side in ("agent", "caller"):
        ended = call.wait(side, HungUp)
        assert (ended.by, ended.status) == ("caller", 487)


def test_hold_keeps_the_clock_and_keeps_what_waits(call: Call) -> None:
    call.connect()
    call.rig.do("caller", "hold")
    call.wait("agent", MediaHeld)
    call.more_frames(5)
    pcm = call.tone("agent", 300)
    call.rig.do("agent", "play", pcm)
    call.rig.do("caller", "play", call.tone("caller", 200))
    call.more_frames(20)
    assert call.played("agent") == 0
    assert call.voiced_ms("agent") == 0
    call.rig.do("caller", "resume")
    call.wait("agent", MediaReady, 2)
    call.more_frames(40)
    assert call.played("agent") == len(pcm) // 2
    assert call.hears("caller", 300)


@both_sides
@pytest.mark.parametrize("method", ["rfc4733", "info"])
def test_key_presses_arrive_in_order(call: Call, side: Side, method: DtmfMethod) -> None:
    """A process that waits for a processor takes what waits for it at once: it has three tries."""
    call.connect()
    keys = "159#"
    for tries in range(1, 4):
        before = (tries - 1) * len(keys)
        call.rig.do(side, "send_dtmf", keys, method)
        call.wait(OTHER[side], DtmfReceived, before + 1)
        call.more_frames(10)
        on_the_way = len(call.inputs(OTHER[side], DtmfReceived)) < before + len(keys)
        call.wait(OTHER[side], DtmfReceived, before + len(keys))
        call.more_frames(10)
        pressed = call.inputs(OTHER[side], DtmfReceived)
        assert "".join(press.digit for press in pressed) == keys * tries
        assert {press.method for press in pressed} == {method}
        if on_the_way:
            return
    pytest.fail("they came all at once")


@both_sides
def test_what_is_played_while_keys_go_out_waits_for_their_end(call: Call, side: Side) -> None:
    call.connect()
    call.rig.do(side, "send_dtmf", "15", "rfc4733")
    call.rig.do(side, "play", call.tone(side, 330))
    call.rig.until(lambda: call.hears(OTHER[side], 330), "all of it to be heard")
    call.more_frames(10)
    assert call.hears(OTHER[side], 330)
    assert call.played(side) == len(call.tone(side, 330)) // 2


def test_a_transfer_is_requested_and_its_outcome_told(call: Call) -> None:
    call.connect()
    call.rig.do("agent", "transfer", "sip:operator@127.0.0.1")
    assert call.wait("caller", TransferRequested).uri.strip("<>") == "sip:operator@127.0.0.1"
    assert call.wait("agent", TransferProgressed).status == 603, "who expects none declines"


def test_no_input_comes_within_a_methods_call(call: Call) -> None:
    call.connect()
    call.rig.do("agent", "play", call.tone("agent", MAX_PLAYOUT_MS + 100))
    call.rig.do("agent", "clear")
    call.wait("agent", PlayoutCleared)
    call.rig.do("caller", "hang_up")
    call.wait("caller", HungUp)
    call.wait("agent", HungUp)
    for side in ("agent", "caller"):
        assert not [told.input for told in call.rig.told(side) if told.within_call]
