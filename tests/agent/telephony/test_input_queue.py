"""The queue keeps order across threads, bounds audio, and never loses what is not audio."""

import asyncio
import threading

from callerside.agent.telephony.input_queue import MAX_WAITING_MS, InputQueue
from callerside.agent.telephony.interface import (
    AudioReceived,
    DtmfReceived,
    FramePlayed,
    LegInput,
    MediaHeld,
)

BOUND = 2 * MAX_WAITING_MS // 20


def played(samples: int) -> FramePlayed:
    return FramePlayed(played=((0, samples),), at_ns=0)


def heard(number: int) -> AudioReceived:
    return AudioReceived(pcm=number.to_bytes(4, "little"), at_ns=number)


async def turns_of_the_loop() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_waits_before_start_comes_first_and_never_within_a_call() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []
    inputs.post(heard(1))
    inputs.start(got.append)
    inputs.post(heard(2))
    assert got == []
    await turns_of_the_loop()
    assert got == [heard(1), heard(2)]


async def test_who_takes_an_input_may_hand_on_what_follows() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    first: list[LegInput] = []
    later: list[LegInput] = []

    def on_first(item: LegInput) -> None:
        first.append(item)
        inputs.start(later.append)

    inputs.start(on_first)
    for number in range(3):
        inputs.post(heard(number))
    await turns_of_the_loop()
    assert first == [heard(0)]
    assert later == [heard(1), heard(2)]


async def test_an_input_may_cause_another() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []

    def on_input(item: LegInput) -> None:
        got.append(item)
        if len(got) < 3:
            inputs.post(heard(len(got)))
            assert len(got) < 3, "delivered within the call"

    inputs.start(on_input)
    inputs.post(heard(0))
    for _ in range(3):
        await turns_of_the_loop()
    assert got == [heard(0), heard(1), heard(2)]


async def test_threads_are_told_of_in_the_order_of_their_posts() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []
    done = asyncio.Event()

    def on_input(item: LegInput) -> None:
        got.append(item)
        if len(got) == 400:
            done.set()

    def post_all() -> None:
        for number in range(400):
            inputs.post(heard(number))

    inputs.start(on_input)
    thread = threading.Thread(target=post_all)
    thread.start()
    await asyncio.wait_for(done.wait(), 10)
    thread.join()
    assert got == [heard(n) for n in range(400)]


async def test_what_may_wait_is_delivered_with_the_next() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []
    inputs.start(got.append)
    inputs.post_soon(played(1))
    await turns_of_the_loop()
    assert got == []
    inputs.post(heard(1))
    await turns_of_the_loop()
    assert got == [played(1), heard(1)]


async def test_where_nothing_comes_the_next_of_its_kind_wakes_the_loop() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []
    inputs.start(got.append)
    inputs.post_soon(played(1))
    inputs.post_soon(played(2))
    await turns_of_the_loop()
    assert got == [played(1), played(2)]


async def test_what_is_delivered_comes_at_once_behind_what_waits() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []
    inputs.start(got.append)
    inputs.post_soon(played(1))
    inputs.deliver(heard(0))
    assert got == [played(1), heard(0)]
    inputs.deliver()
    inputs.deliver(heard(1))
    await turns_of_the_loop()
    assert got == [played(1), heard(0), heard(1)]


async def test_nothing_is_delivered_to_nobody() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    for number in range(BOUND + 1):
        inputs.deliver(heard(number))
    got: list[LegInput] = []
    inputs.start(got.append)
    await turns_of_the_loop()
    assert got == [heard(number) for number in range(BOUND)]
    assert inputs.dropped_frames == 1


async def test_a_stuck_loop_costs_audio_but_no_count_and_no_signal() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []
    inputs.start(got.append)
    for number in range(BOUND):
        inputs.post(heard(number))
    inputs.post(heard(BOUND))
    inputs.post(played(480))
    inputs.post(played(20))
    inputs.post(MediaHeld())
    assert inputs.dropped_frames == 1
    await turns_of_the_loop()
    inputs.post(played(1))
    await turns_of_the_loop()
    assert got[BOUND:] == [MediaHeld(), played(501)]


async def test_an_input_that_fails_silences_no_other() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []

    pressed = DtmfReceived(digit="1", method="info")

    def on_input(item: LegInput) -> None:
        got.append(item)
        if item == pressed:
            raise RuntimeError("broken")

    inputs.start(on_input)
    inputs.post(pressed)
    inputs.post(heard(1))
    await turns_of_the_loop()
    assert got == [pressed, heard(1)]


def test_a_loop_that_is_closed_is_no_error_in_the_media_thread() -> None:
    loop = asyncio.new_event_loop()
    inputs = InputQueue(loop)
    inputs.start(print)
    loop.close()
    inputs.post(heard(1))
