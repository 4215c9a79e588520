"""The player against a leg of plain bytes: what it accounts for is what was heard."""

import random
from collections import deque

import pytest

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import ClearPlayout, EmitMark, Play
from callerside.agent.call.playout import Kind, Playout, Segment
from callerside.agent.telephony.interface import FRAME_MS, FramePlayed, PlayoutCleared
from callerside.audio import BYTES_PER_SAMPLE

RATE_HZ = 8_000
FRAME = RATE_HZ * FRAME_MS // 1000


class Bench:
    """A player, its leg, and the caller's ear. A segment's audio is its own letter, over and over.

    What the leg tells waits in an inbox, as it does in a process: what happens before it is
    delivered is what matters here.
    """

    def __init__(self) -> None:
        self.context = CallContext()
        self.playout = Playout(self.context, RATE_HZ, max_ms=120_000)
        self.leg = bytearray()
        self.heard = bytearray()
        self.inbox: deque[FramePlayed | PlayoutCleared] = deque()
        self.written: dict[Segment, int] = {}
        self.marks: list[EmitMark] = []
        self.dropped: list[Segment] = []

    def segment(self, *, interruptible: bool) -> Segment:
        kind = Kind.RESPONSE if interruptible else Kind.GREETING
        letter = chr(ord("a") + len(self.written))
        segment = Segment(kind=kind, item=letter, interruptible=interruptible)
        self.written[segment] = 0
        return segment

    def write(self, segment: Segment, length_ms: int) -> None:
        samples = length_ms * RATE_HZ // 1000
        self.written[segment] += samples
        self.playout.write(segment, (segment.item or "").encode() * samples * BYTES_PER_SAMPLE)
        self.settle()

    def complete(self, segment: Segment) -> None:
        self.playout.complete(segment)
        self.settle()

    def interrupt(self) -> None:
        self.playout.interrupt()
        self.settle()

    def frames(self, count: int) -> None:
        """So many frames leave, and are told."""
        for _ in range(count):
            self.frame_leaves()
            self.deliver()

    def frame_leaves(self) -> None:
        frame = self.leg[: FRAME * BYTES_PER_SAMPLE]
        del self.leg[: len(frame)]
        self.heard += frame
        samples = len(frame) // BYTES_PER_SAMPLE
        self.inbox.append(FramePlayed(samples=samples, at_ns=1_000))

    def deliver(self, count: int = 1_000) -> None:
        while self.inbox and count:
            told = self.inbox.popleft()
            if isinstance(told, FramePlayed):
                self.playout.frame_played(told)
            else:
                self.dropped += self.playout.cleared()
            self.settle()
            count -= 1

    def settle(self) -> None:
        effects, self.context.effects = self.context.effects, []
        for effect in effects:
            if isinstance(effect, Play):
                self.leg += effect.pcm
            elif isinstance(effect, ClearPlayout):
                dropped = len(self.leg) // BYTES_PER_SAMPLE
                self.leg.clear()
                self.inbox.append(PlayoutCleared(dropped_samples=dropped))
            elif isinstance(effect, EmitMark):
                self.marks.append(effect)

    def heard_of(self, segment: Segment) -> int:
        return self.heard.count((segment.item or "").encode()) // BYTES_PER_SAMPLE

    def order(self) -> str:
        """Whose audio was heard, each stretch once."""
        text = self.heard.decode()
        return "".join(letter for i, letter in enumerate(text) if not i or letter != text[i - 1])


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_must_be_heard_survives_what_it_waits_behind(is_whole: bool) -> None:
    bench = Bench()
    answer, greeting = bench.segment(interruptible=True), bench.segment(interruptible=False)
    bench.write(answer, 1_000)
    bench.complete(answer)
    bench.write(greeting, 500)
    if is_whole:
        bench.complete(greeting)
    bench.frames(10)
    bench.interrupt()
    bench.deliver()
    assert bench.dropped == [answer]
    if not is_whole:
        bench.write(greeting, 300)
        bench.complete(greeting)
    bench.frames(60)
    assert bench.heard_of(greeting) == bench.written[greeting] == greeting.played
    assert bench.playout.idle
    later = bench.segment(interruptible=True)
    bench.write(later, 100)
    bench.complete(later)
    bench.frames(10)
    assert bench.heard_of(later) == bench.written[later], "the call is not mute"
    assert bench.order() == "abc"


def test_what_arrives_while_the_leg_clears_stands_behind_what_returns() -> None:
    bench = Bench()
    answer, greeting = bench.segment(interruptible=True), bench.segment(interruptible=False)
    bench.write(answer, 1_000)
    bench.complete(answer)
    bench.write(greeting, 200)
    bench.interrupt()
    bench.write(greeting, 200)
    prompt = bench.segment(interruptible=True)
    bench.write(prompt, 100)
    bench.complete(prompt)
    assert not bench.leg
    bench.deliver()
    bench.complete(greeting)
    bench.frames(60)
    assert bench.order() == "bc"
    assert bench.heard_of(greeting) == bench.written[greeting]
    assert bench.playout.idle


def test_what_is_cut_just_before_its_end_is_heard_to_its_end() -> None:
    """What may be interrupted stands behind it already, so that there is no gap between them."""
    bench = Bench()
    greeting, answer = bench.segment(interruptible=False), bench.segment(interruptible=True)
    bench.write(greeting, 200)
    bench.complete(greeting)
    bench.write(answer, 1_000)
    bench.frames(8)
    bench.interrupt()
    bench.deliver()
    bench.frames(10)
    assert bench.heard_of(greeting) == bench.written[greeting]
    assert bench.dropped == [answer]
    assert bench.playout.idle


def test_an_answer_that_arrives_slowly_is_finished_before_the_greeting_begins() -> None:
    bench = Bench()
    answer, greeting = bench.segment(interruptible=True), bench.segment(interruptible=False)
    bench.write(answer, 100)
    bench.frames(2)
    bench.write(greeting, 100)
    bench.complete(greeting)
    bench.frames(10)
    bench.write(answer, 100)
    bench.complete(answer)
    bench.frames(20)
    assert bench.order() == "ab"
    assert bench.playout.idle


def test_last_words_that_wait_are_not_dropped_by_the_callers_voice() -> None:
    bench = Bench()
    greeting, answer = bench.segment(interruptible=False), bench.segment(interruptible=True)
    bench.write(greeting, 500)
    bench.complete(greeting)
    bench.write(answer, 500)
    bench.complete(answer)
    farewell = bench.segment(interruptible=False)
    bench.write(farewell, 500)
    bench.complete(farewell)
    bench.interrupt()
    bench.frames(60)
    assert bench.order() == "ac"
    assert bench.heard_of(farewell) == bench.written[farewell]


class RandomCall(Bench):
    """Segments that arrive, are interrupted and are heard in any order."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.arriving: list[Segment] = []

    def step(self) -> None:
        moves = [self.begin, self.arrive, self.arrive, self.finish, self.barge_in]
        self.rng.choice([*moves, self.pass_time, self.pass_time, self.tell])()

    def tell(self) -> None:
        self.deliver(self.rng.randrange(1, 40))

    def begin(self) -> None:
        self.arriving.append(self.segment(interruptible=self.rng.random() < 0.6))

    def arrive(self) -> None:
        if self.arriving:
            self.write(self.rng.choice(self.arriving), self.rng.randrange(1, 400))

    def finish(self) -> None:
        if self.arriving:
            self.complete(self.arriving.pop(self.rng.randrange(len(self.arriving))))

    def barge_in(self) -> None:
        self.interrupt()
        for segment in [one for one in self.arriving if one.interruptible]:
            self.arriving.remove(segment)  # its response is dead: nothing more comes of it
            self.complete(segment)

    def pass_time(self) -> None:
        for _ in range(self.rng.randrange(1, 20)):
            self.frame_leaves()


@pytest.mark.parametrize("seed", range(100))
def test_in_random_calls_the_account_is_what_was_heard_and_nothing_stays_mute(seed: int) -> None:
    call = RandomCall(random.Random(seed))
    for _ in range(80):
        call.step()
    call.deliver()
    for segment in call.arriving:
        call.complete(segment)
    call.frames(sum(call.written.values()) // FRAME + 50)
    assert call.playout.idle, "something waits for ever"
    for segment, written in call.written.items():
        assert segment.played == call.heard_of(segment)
        assert segment.interruptible or segment.played == written
    ended = [mark.fields["item"] for mark in call.marks if mark.name == "playout_ended"]
    assert len(ended) == len(set(ended))
