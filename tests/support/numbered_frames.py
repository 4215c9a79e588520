"""Frames that can be told apart behind a codec, by their levels: which came, and in which order."""

from collections.abc import Iterable

import numpy as np

from callerside.audio import AudioFormat, to_bytes, to_samples

SILENT = 1_000


def level(pcm: bytes) -> int:
    """Of the middle of a frame: at its ends, a change of rate mixes it with its neighbours."""
    return int(to_samples(pcm)[len(pcm) // 4])


LEVELS = [level(AudioFormat("pcmu").decode(2 * bytes([0x80 + n]))) for n in range(48)]
"""Of frames one after the other, and then anew; so far from each other that a change of rate mixes
none up."""


def encoded(number: int) -> bytes:
    """The n-th frame, 20 ms of PCMU."""
    return bytes([0x80 + number % len(LEVELS)]) * 160


def frames(count: int, rate_hz: int) -> bytes:
    """The first so many, as PCM."""
    levels = [LEVELS[number % len(LEVELS)] for number in range(count)]
    return to_bytes(np.repeat(levels, rate_hz // 50))


def numbers(heard: Iterable[bytes]) -> list[int | None]:
    """Which each frame is, if they come in their order; None: silence."""
    found: list[int | None] = []
    last = 0
    for frame in heard:
        here = level(frame)
        if abs(here) <= SILENT:
            found.append(None)
            continue
        at = min(range(len(LEVELS)), key=lambda n: abs(LEVELS[n] - here))
        last += (at - last) % len(LEVELS)
        found.append(last)
    return found
