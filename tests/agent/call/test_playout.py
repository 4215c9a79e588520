"""The playout tracker counts truly, whatever the frames bring."""

import random

import pytest

from callerside.agent.call.playout import (
    Kind,
    PlayoutEvent,
    PlayoutEventKind,
    PlayoutTracker,
    Segment,
)

FRAME = 480


def response(item: str = "a") -> Segment:
    return Segment(kind=Kind.RESPONSE, item=item)


def kinds(events: list[PlayoutEvent]) -> list[tuple[PlayoutEventKind, str | None]]:
    return [(event.kind, event.segment.item) for event in events]


def test_a_segment_starts_and_ends_with_its_frames() -> None:
    tracker = PlayoutTracker(FRAME)
    segment = response()
    tracker.add(segment, 2 * FRAME)
    assert tracker.complete(segment) == []
    assert kinds(tracker.frame_played(FRAME, 1)) == [(PlayoutEventKind.STARTED, "a")]
    assert kinds(tracker.frame_played(FRAME, 2)) == [(PlayoutEventKind.ENDED, "a")]
    assert len(tracker) == 0


def test_a_frame_can_hold_the_end_of_one_segment_and_the_start_of_the_next() -> None:
    tracker = PlayoutTracker(FRAME)
    first, second = response("a"), response("b")
    tracker.add(first, 100)
    tracker.complete(first)
    tracker.add(second, 1000)
    events = tracker.frame_played(FRAME, 1)
    assert kinds(events) == [
        (PlayoutEventKind.STARTED, "a"),
        (PlayoutEventKind.ENDED, "a"),
        (PlayoutEventKind.STARTED, "b"),
    ]
    assert (first.played, second.played) == (100, 380)


def test_a_segment_that_is_completed_after_it_was_heard_ended_with_its_last_frame() -> None:
    tracker = PlayoutTracker(FRAME)
    segment = response()
    tracker.add(segment, FRAME)
    tracker.frame_played(FRAME, 7)
    tracker.frame_played(0, 27)
    (event,) = tracker.complete(segment)
    assert (event.kind, event.at_ns) == (PlayoutEventKind.ENDED, 7)


def test_a_hole_is_an_underrun_only_when_more_came() -> None:
    tracker = PlayoutTracker(FRAME)
    segment = response()
    tracker.add(segment, FRAME + 80)
    tracker.frame_played(FRAME, 1)
    assert tracker.frame_played(80, 2) == []
    assert tracker.frame_played(0, 3) == []
    tracker.add(segment, FRAME)
    (event,) = tracker.frame_played(FRAME, 4)
    assert (event.kind, event.samples) == (PlayoutEventKind.UNDERRUN, 400 + FRAME)
    assert segment.missing == 0


def test_a_hole_is_an_underrun_also_when_the_rest_and_its_end_came_at_once() -> None:
    tracker = PlayoutTracker(FRAME)
    segment = response()
    tracker.add(segment, FRAME)
    tracker.frame_played(FRAME, 1)
    tracker.frame_played(0, 2)
    tracker.add(segment, 2 * FRAME)
    assert tracker.complete(segment) == []
    (event,) = tracker.frame_played(FRAME, 3)
    assert (event.kind, event.samples) == (PlayoutEventKind.UNDERRUN, FRAME)
    assert kinds(tracker.frame_played(FRAME, 4)) == [(PlayoutEventKind.ENDED, "a")]


def test_silence_before_the_first_sample_is_no_underrun() -> None:
    tracker = PlayoutTracker(FRAME)
    segment = response()
    tracker.frame_played(0, 1)
    tracker.add(segment, FRAME)
    assert kinds(tracker.frame_played(FRAME, 2)) == [(PlayoutEventKind.STARTED, "a")]


def test_frames_that_left_before_the_clearing_still_count() -> None:
    tracker = PlayoutTracker(FRAME)
    old, new = response("old"), response("new")
    tracker.add(old, 5 * FRAME)
    tracker.frame_played(FRAME, 1)
    tracker.clear()
    tracker.add(new, 5 * FRAME)
    tracker.frame_played(FRAME, 2)
    assert [(s.item, s.played) for s in tracker.cleared()] == [("old", 2 * FRAME)]
    tracker.frame_played(FRAME, 3)
    assert new.played == FRAME


def test_the_newest_audio_is_what_an_overflow_takes() -> None:
    tracker = PlayoutTracker(FRAME)
    first, second = response("a"), response("b")
    tracker.add(first, 1000)
    tracker.add(second, 300)
    tracker.overflowed(500)
    assert (first.queued, second.queued) == (800, 0)
    assert tracker.waiting_samples == 800


@pytest.mark.parametrize("seed", range(200))
def test_every_sample_is_counted_once_in_random_calls(seed: int) -> None:
    """Random adding, playing, completing and clearing against a buffer of plain numbers."""
    _random_call(random.Random(seed))


def _random_call(rng: random.Random) -> None:
    tracker = PlayoutTracker(FRAME)
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
            tracker.add(current, samples)
            waiting += samples
            total_queued += samples
        elif choice < 0.4 and current is not None:
            tracker.complete(current)
            current = None
        elif choice < 0.45:
            tracker.clear()
            tracker.cleared()
            total_dropped += waiting
            waiting = 0
            current = None
        else:
            samples = min(FRAME, waiting)
            tracker.frame_played(samples, step)
            waiting -= samples
            total_played += samples
        assert tracker.waiting_samples == waiting
    assert sum(segment.played for segment in segments) == total_played
    assert total_queued == total_played + total_dropped + waiting
