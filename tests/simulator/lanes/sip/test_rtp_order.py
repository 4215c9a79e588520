"""Packets that wait in the relay leave in the order of their arrival, and of their sending."""

import asyncio
import random
import socket

from callerside.simulator.lanes.impairments import Impairer
from callerside.simulator.lanes.sip.rtp_relay import _Direction
from callerside.simulator.scenario.network import Direction

SEED = 5
LIMIT_S = 30


def passed_on(
    network: Direction, packets: int, every_ms: float | None
) -> tuple[list[int], Impairer]:
    """The packets' numbers, as they came out of a relay that was closed when all were out.

    Args:
        every_ms: between two of them; None: all come before the relay has a turn.
    """

    async def play() -> list[int]:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            there.bind(("127.0.0.1", 0))
            there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            there.setblocking(False)
            relay = _Direction(impairer)
            for number in range(packets):
                relay.pass_on(number.to_bytes(2), sender, there.getsockname())
                if every_ms is not None:
                    await asyncio.sleep(every_ms / 1000)
            async with asyncio.timeout(LIMIT_S):
                while relay._waiting:  # noqa: ASYNC110 - the relay's own bookkeeping has no event
                    await asyncio.sleep(0.01)
            numbers = []
            while True:
                try:
                    numbers.append(int.from_bytes(there.recv(16)))
                except BlockingIOError:
                    return numbers

    impairer = Impairer(network, random.Random(SEED))
    return asyncio.run(play()), impairer


def test_what_jitter_holds_back_together_comes_in_order() -> None:
    numbers, _ = passed_on(Direction(jitter=500), packets=300, every_ms=1)
    assert numbers == list(range(300))


def test_the_longest_delay_that_can_be_asked_for_loses_no_packet_to_the_queue() -> None:
    network = Direction(delay=300, jitter=50, duplicate=1.0)
    numbers, impairer = passed_on(network, packets=600, every_ms=None)  # 6 s of a stream, at once
    assert sorted(numbers) == sorted([*range(600), *range(600)])
    assert "queue_full" not in {struck.what for struck in impairer.struck}


def test_what_a_flood_brings_is_dropped_and_reported() -> None:
    numbers, impairer = passed_on(Direction(delay=300), packets=1600, every_ms=None)
    assert numbers == list(range(1500))
    (dropped,) = (struck for struck in impairer.struck if struck.what == "queue_full")
    assert dropped.packets == 100
