"""The playout ledger counts truly, whatever the frames bring."""

import random

import pytest

from callerside.agent.call.playout import Fact, Happening, Kind, Ledger, Segment

FRAME = 480


def response(item: str = "a") -> Segment:
    return Segment(kind=Kind.RESPONSE, item=item)


def whats(facts: list[Fact]) -> list[tuple[Happening, str | None]]:
    return [(fact.what, fact.segment.item) for fact in facts]


def test_a_segment_starts_and_ends_with_its_frames() -> None:
    ledger = Ledger(FRAME)
    segment = response()
    ledger.add(segment, 2 * FRAME)
    assert ledger.complete(segment) == []
    assert whats(ledger.frame_played(FRAME, 1)) == [(Happening.STARTED, "a")]
    assert whats(ledger.frame_played(FRAME, 2)) == [(Happening.ENDED, "a")]
    assert len(ledger) == 0


def test_a_frame_can_hold_the_end_of_one_segment_and_the_start_of_the_next() -> None:
    ledger = Ledger(FRAME)
    first, second = response("a"), response("b")
    ledger.add(first, 100)
    ledger.complete(first)
    ledger.add(second, 1000)
    facts = ledger.frame_played(FRAME, 1)
    assert whats(facts) == [
        (Happening.STARTED, "a"),
        (Happening.ENDED, "a"),
        (Happening.STARTED, "b"),
    ]
    assert (first.played, second.played) == (100, 380)


def test_a_segment_that_is_completed_after_it_was_heard_ended_with_its_last_frame() -> None:
    ledger = Ledger(FRAME)
    segment = response()
    ledger.add(segment, FRAME)
    ledger.frame_played(FRAME, 7)
    ledger.frame_played(0, 27)
    (fact,) = ledger.complete(segment)
    assert (fact.what, fact.at_ns) == (Happening.ENDED, 7)


def test_a_hole_is_an_underrun_only_when_more_came() -> None:
    ledger = Ledger(FRAME)
    segment = response()
    ledger.add(segment, FRAME + 80)
    ledger.frame_played(FRAME, 1)
    assert ledger.frame_played(80, 2) == []
    assert ledger.frame_played(0, 3) == []
    ledger.add(segment, FRAME)
    (fact,) = ledger.frame_played(FRAME, 4)
    assert (fact.what, fact.samples) == (Happening.UNDERRUN, 400 + FRAME)
    assert segment.missing == 0


def test_a_hole_is_an_underrun_also_when_the_rest_and_its_end_came_at_once() -> None:
    ledger = Ledger(FRAME)
    segment = response()
    ledger.add(segment, FRAME)
    ledger.frame_played(FRAME, 1)
    ledger.frame_played(0, 2)
    ledger.add(segment, 2 * FRAME)
    assert ledger.complete(segment) == []
    (fact,) = ledger.frame_played(FRAME, 3)
    assert (fact.what, fact.samples) == (Happening.UNDERRUN, FRAME)
    assert whats(ledger.frame_played(FRAME, 4)) == [(Happening.ENDED, "a")]


def test_silence_before_the_first_sample_is_no_underrun() -> None:
    ledger = Ledger(FRAME)
    segment = response()
    ledger.frame_played(0, 1)
    ledger.add(segment, FRAME)
    assert whats(ledger.frame_played(FRAME, 2)) == [(Happening.STARTED, "a")]


def test_frames_that_left_before_the_clearing_still_count() -> None:
    ledger = Ledger(FRAME)
    old, new = response("old"), response("new")
    ledger.add(old, 5 * FRAME)
    ledger.frame_played(FRAME, 1)
    ledger.clear()
    ledger.add(new, 5 * FRAME)
    ledger.frame_played(FRAME, 2)
    assert [(s.item, s.played) for s in ledger.cleared()] == [("old", 2 * FRAME)]
    ledger.frame_played(FRAME, 3)
    assert new.played == FRAME


def test_the_newest_audio_is_what_an_overflow_takes() -> None:
    ledger = Ledger(FRAME)
    first, second = response("a"), response("b")
    ledger.add(first, 1000)
    ledger.add(second, 300)
    ledger.overflowed(500)
    assert (first.queued, second.queued) == (800, 0)
    assert ledger.waiting_samples == 800


@pytest.mark.parametrize("seed", range(200))
def test_every_sample_is_counted_once_in_random_calls(seed: int) -> None:
    """Random adding, playing, completing and clearing against a buffer of plain numbers."""
    _random_call(random.Random(seed))


def _random_call(rng: random.Random) -> None:
    ledger = Ledger(FRAME)
    waiting = total_played = total_dropped = total_queued = 0
    segments: list[Segment] = []
    current: Segment | None = None
    for step in range(60):
        choice = rng.random()
        if choice < 0.3:
            if current is None:
                current = response(str(step))
                segments.append(current)
            samples = rng.randrange(1, 4000)
            ledger.add(current, samples)
            waiting += samples
            total_queued += samples
        elif choice < 0.4 and current is not None:
            ledger.complete(current)
            current = None
        elif choice < 0.45:
            ledger.clear()
            ledger.cleared()
            total_dropped += waiting
            waiting = 0
            current = None
        else:
            samples = min(FRAME, waiting)
            ledger.frame_played(samples, step)
            waiting -= samples
            total_played += samples
        assert ledger.waiting_samples == waiting
    assert sum(segment.played for segment in segments) == total_played
    assert total_queued == total_played + total_dropped + waiting
