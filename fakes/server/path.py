"""The way between client and server over a socket: messages that are still on their way."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from callerside.clock import NS_PER_S, Clock
from callerside.fakes.session.one_way import OneWay

Message = str | bytes

_MOST_ON_THE_WAY = 4096
"""Messages; a client that sends more of them is not read for so long."""


async def arriving(
    messages: AsyncIterable[Message], way: OneWay, clock: Clock
) -> AsyncIterator[Message]:
    """The same messages in their order, each when it has come the whole way.

    Raises:
        Exception: what reading them raised, behind the last.
    """
    if way.is_instant:
        async for message in messages:
            yield message
        return
    coming: asyncio.Queue[tuple[int, Message] | None] = asyncio.Queue(_MOST_ON_THE_WAY)

    async def read() -> None:
        try:
            async for message in messages:
                await coming.put((way.arrival_ns(clock.now_ns()), message))
        finally:
            await coming.put(None)

    reader = asyncio.create_task(read())
    try:
        while (one := await coming.get()) is not None:
            arrival_ns, message = one
            await until(arrival_ns, clock)
            yield message
        await reader
    finally:
        reader.cancel()


async def until(at_ns: int, clock: Clock) -> None:
    """Wait until then."""
    left_ns = at_ns - clock.now_ns()
    if left_ns > 0:
        await asyncio.sleep(left_ns / NS_PER_S)
