"""The playout against a real buffer: what it accounts for is what was heard."""

import random
from collections import deque

import pytest
from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import ClearPlayout, EmitMark, Play
from callerside.agent.call.playout import Kind, Playout, Segment
from callerside.agent.telephony.interface import (
    FRAME_MS,
    INBAND_KEYS,
    FramePlayed,
    PlayoutCleared,
    PlayoutOverflowed,
)
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.audio import BYTES_PER_SAMPLE
from callerside.clock import NS_PER_MS

RATE_HZ = 8_000
FRAME = RATE_HZ * FRAME_MS // 1000


class Bench:
    """A player, its leg, and the caller's ear. A segment's audio is its own letter, over and over.

    What the leg tells waits in an inbox, as it does in a process: what happens before it is
    delivered is what matters here.
    """

    def __init__(self, *, leg_ms: int = 600_000) -> None:
        self.context = CallContext()
        self.playout = Playout(self.context, RATE_HZ, max_ms=120_000)
        self.leg = PlayoutBuffer(RATE_HZ * leg_ms // 1000)
        self.heard = bytearray()
        self.inbox: deque[FramePlayed | PlayoutCleared | PlayoutOverflowed] = deque()
        self.written: dict[Segment, int] = {}
        self.marks: list[EmitMark] = []
        self.dropped: list[Segment] = []
        self.now_ns = 0

    def segment(self, *, interruptible: bool = True) -> Segment:
        kind = Kind.RESPONSE if interruptible else Kind.GREETING
        letter = chr(ord("a") + len(self.written))
        segment = Segment(kind=kind, item=letter, interruptible=interruptible)
        self.written[segment] = 0
        return segment

    def write(self, segment: Segment, length_ms: float) -> None:
        samples = round(length_ms * RATE_HZ / 1000)
        self.written[segment] += samples
        self.playout.write(segment, (segment.item or "").encode() * samples * BYTES_PER_SAMPLE)
        self.settle()

    def complete(self, segment: Segment) -> None:
        self.playout.complete(segment)
        self.settle()

    def interrupt(self) -> None:
        self.playout.interrupt()
        self.settle()

    def frames(self, count: int = 1) -> None:
        """So many frames leave, and are told."""
        for _ in range(count):
            self.frame_leaves()
            self.deliver()

    def frame_leaves(self) -> None:
        self.now_ns += FRAME_MS * NS_PER_MS
        pcm, played = self.leg.read(FRAME)
        told = FramePlayed(played=played, at_ns=self.now_ns)
        self.heard += pcm[: told.samples * BYTES_PER_SAMPLE]
        self.inbox.append(told)

    def deliver(self, count: int = 1_000) -> None:
        while self.inbox and count:
            match self.inbox.popleft():
                case FramePlayed() as frame:
                    self.playout.frame_played(frame)
                case PlayoutCleared() as cleared:
                    self.dropped += self.playout.cleared(cleared)
                case PlayoutOverflowed() as overflowed:
                    self.playout.overflowed(overflowed)
            self.settle()
            count -= 1

    def settle(self) -> None:
        effects, self.context.effects = self.context.effects, []
        for effect in effects:
            if isinstance(effect, Play):
                dropped = self.leg.write(effect.pcm, effect.tag)
                if dropped:
                    told = PlayoutOverflowed(tag=effect.tag, dropped_samples=dropped)
                    self.inbox.append(told)
            elif isinstance(effect, ClearPlayout):
                self.inbox.append(PlayoutCleared(dropped=self.leg.clear(effect.tags)))
            elif isinstance(effect, EmitMark):
                self.marks.append(effect)

    def heard_of(self, segment: Segment) -> int:
        return self.heard.count((segment.item or "").encode()) // BYTES_PER_SAMPLE

    def order(self) -> str:
        """Whose audio was heard, each stretch once."""
        text = self.heard.decode()
        return "".join(letter for i, letter in enumerate(text) if not i or letter != text[i - 1])

    def told(self) -> list[str]:
        """The marks since the last time: what happened to whom, and what is missing in ms."""
        marks, self.marks = self.marks, []
        short = [(mark.name.removeprefix("playout_"), mark.fields) for mark in marks]
        return [
            " ".join(
                str(part) for part in (name, fields.get("item"), fields.get("missing_ms")) if part
            )
            for name, fields in short
        ]


def test_a_segment_starts_and_ends_with_its_frames() -> None:
    bench = Bench()
    answer = bench.segment()
    bench.write(answer, 40)
    bench.complete(answer)
    assert bench.told() == []
    bench.frames()
    assert bench.told() == ["started a"]
    bench.frames()
    assert bench.told() == ["ended a"]
    assert bench.playout.idle


def test_a_frame_can_hold_the_end_of_one_segment_and_the_start_of_the_next() -> None:
    bench = Bench()
    first, second = bench.segment(), bench.segment()
    bench.write(first, 5)
    bench.complete(first)
    bench.write(second, 100)
    bench.frames()
    assert bench.told() == ["started a", "ended a", "started b"]
    assert (first.played, second.played) == (40, 120)


def test_a_segment_that_is_completed_after_it_was_heard_ended_with_its_last_frame() -> None:
    bench = Bench()
    answer = bench.segment()
    bench.write(answer, 20)
    bench.frames(2)
    bench.complete(answer)
    assert [mark.at_ns for mark in bench.marks if mark.name == "playout_ended"] == [
        FRAME_MS * NS_PER_MS
    ]


def test_a_hole_is_an_underrun_only_when_more_came() -> None:
    bench = Bench()
    answer = bench.segment()
    bench.write(answer, 25)
    bench.frames(3)
    assert bench.told() == ["started a"]
    bench.write(answer, 20)
    bench.frames()
    assert bench.told() == ["underrun a 35.0"]
    assert answer.missing == 0


def test_a_hole_is_an_underrun_also_when_the_rest_and_its_end_came_at_once() -> None:
    bench = Bench()
    answer = bench.segment()
    bench.write(answer, 20)
    bench.frames(2)
    bench.write(answer, 40)
    bench.complete(answer)
    bench.frames()
    assert bench.told() == ["started a", "underrun a 20.0"]
    bench.frames()
    assert bench.told() == ["ended a"]


def test_silence_before_the_first_sample_is_no_underrun() -> None:
    bench = Bench()
    answer = bench.segment()
    bench.frames()
    bench.write(answer, 20)
    bench.frames()
    assert bench.told() == ["started a"]


def test_what_the_leg_plays_of_its_own_is_counted_for_nobody() -> None:
    bench = Bench()
    answer = bench.segment()
    bench.write(answer, 40)
    bench.frames()
    bench.leg.write(b"k" * 2 * FRAME * 2, INBAND_KEYS)
    bench.interrupt()
    bench.frames(3)
    assert bench.dropped == [answer]
    assert answer.played == FRAME
    assert bench.order() == "ak", "and a barge-in does not stop it"


def test_frames_that_left_before_the_clearing_still_count() -> None:
    bench = Bench()
    old, new = bench.segment(), bench.segment()
    bench.write(old, 100)
    bench.frames()
    bench.frame_leaves()
    bench.interrupt()
    bench.write(new, 100)
    bench.frame_leaves()
    bench.deliver()
    assert bench.dropped == [old]
    assert (old.played, new.played) == (2 * FRAME, FRAME)


def test_what_the_leg_could_not_hold_is_not_waited_for() -> None:
    bench = Bench(leg_ms=100)
    first, second = bench.segment(), bench.segment()
    for segment in (first, second):
        bench.write(segment, 80)
        bench.complete(segment)
    bench.deliver()
    assert bench.playout.waiting_ms == 100
    bench.frames(5)
    assert (bench.heard_of(first), bench.heard_of(second)) == (640, 160)
    assert bench.playout.idle


def test_what_the_leg_could_not_hold_at_all_has_ended() -> None:
    bench = Bench(leg_ms=100)
    first, second = bench.segment(), bench.segment()
    bench.write(first, 100)
    bench.complete(first)
    bench.write(second, 80)
    bench.complete(second)
    bench.deliver()
    assert bench.playout.head is first
    bench.frames(5)
    assert bench.playout.idle


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_must_be_heard_survives_what_it_waits_behind(is_whole: bool) -> None:
    bench = Bench()
    answer, greeting = bench.segment(), bench.segment(interruptible=False)
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
    later = bench.segment()
    bench.write(later, 100)
    bench.complete(later)
    bench.frames(10)
    assert bench.heard_of(later) == bench.written[later], "the call is not mute"
    assert bench.order() == "abc"


def test_what_arrives_while_the_leg_clears_stands_behind_what_stays() -> None:
    bench = Bench()
    answer, greeting = bench.segment(), bench.segment(interruptible=False)
    bench.write(answer, 1_000)
    bench.complete(answer)
    bench.write(greeting, 200)
    bench.interrupt()
    bench.write(greeting, 200)
    prompt = bench.segment()
    bench.write(prompt, 100)
    bench.complete(prompt)
    bench.deliver()
    bench.complete(greeting)
    bench.frames(60)
    assert bench.order() == "bc"
    assert bench.heard_of(greeting) == bench.written[greeting]
    assert bench.playout.idle


def test_what_is_cut_just_before_its_end_is_heard_to_its_end() -> None:
    bench = Bench()
    greeting, answer = bench.segment(interruptible=False), bench.segment()
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


def test_an_answer_that_is_still_arriving_is_finished_before_the_greeting_begins() -> None:
    bench = Bench()
    answer, greeting = bench.segment(), bench.segment(interruptible=False)
    bench.write(answer, 100)
    bench.frames(2)
    bench.write(greeting, 100)
    bench.complete(greeting)
    bench.frames(2)
    bench.write(answer, 100)
    bench.complete(answer)
    bench.frames(20)
    assert bench.order() == "ab"
    assert bench.playout.idle


def test_what_follows_an_answer_that_has_run_dry_does_not_wait_for_it() -> None:
    bench = Bench()
    answer, greeting = bench.segment(), bench.segment(interruptible=False)
    bench.write(answer, 20)
    bench.frames(3)
    bench.write(greeting, 40)
    bench.complete(greeting)
    bench.frames(3)
    bench.write(answer, 20)
    bench.complete(answer)
    bench.frames(2)
    assert bench.order() == "aba"
    assert bench.told() == [
        *("started a", "greeting_started"),
        *("started b", "ended b"),
        *("greeting_ended", "underrun a 60.0", "ended a"),
    ]
    assert bench.playout.idle


def test_an_answer_that_waits_to_be_heard_is_not_dropped_by_the_next() -> None:
    rig = CallRig(NO_GREETING).listening()
    rig.turn()
    rig.respond("r1", audio_ms=1000)
    rig.respond("r2", item="a2", audio_ms=100)
    rig.wait(1200)
    heard = {fields["item"]: fields["played_ms"] for fields in rig.marks("playout_ended")}
    assert heard == {"a1": 1000, "a2": 100}


def test_last_words_that_wait_are_not_dropped_by_the_callers_voice() -> None:
    bench = Bench()
    greeting, answer = bench.segment(interruptible=False), bench.segment()
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
        assert segment.queued in (written, segment.played) or segment in call.dropped
    ended = [mark.fields["item"] for mark in call.marks if mark.name == "playout_ended"]
    assert len(ended) == len(set(ended))


def test_what_waits_to_be_heard_is_bounded_whatever_each_delta_brings() -> None:
    rig = CallRig(with_settings(NO_GREETING, {"playout": {"max_ms": 1000}})).listening()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(800)
    rig.delta(800)
    assert [fields["dropped_ms"] for fields in rig.marks("playout_overflowed")] == [600]
