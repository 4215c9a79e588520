"""Waiting for something to its end, whatever else is wanted meanwhile."""

import asyncio
from typing import TypeVar

Result = TypeVar("Result")


async def outlast(work: "asyncio.Future[Result]") -> tuple[Result, bool]:
    """What comes of some work, and whether this was to end meanwhile: it counts all the same."""
    is_to_end = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            is_to_end = True
    return work.result(), is_to_end
