"""Where in the recording the caller's own sounds are, to the sample, whatever the line did to them.

What the caller says is known before noise, echo, gain or codec is laid on it. The recording holds
it on its own media clock; where, is found by laying the clean sound over the mouth's channel, near
the instant at which it is known to have left. So beginnings and ends are those of the clean sound
(`reports.hearing.active_level`) and not what a detector makes of the mixture.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from callerside.clock import NS_PER_S
from callerside.reports.evidence import Said
from callerside.reports.hearing import active_level, correlation
from callerside.simulator.caller.speaker import Utterance

PAUSE_MS = 60
_AROUND_MS = 200  # of the frame's own time: a frame, and what a thread may be late
_PIECE_MS = 800
_FRAMES_A_S = 50  # of which each has been said when it leaves
_ALIKE = 0.3  # noise as loud as the voice leaves 0.7

Samples = NDArray[np.int16]
Span = tuple[int, int]


class Placed(NamedTuple):
    """What of the caller's sounds is in the recording."""

    said: list[Said]
    clean: Samples
    """Each one as it was before it met the line, one behind another."""


def place(
    utterances: Iterable[Utterance], mouth: Samples, rate_hz: int, started_at_ns: int
) -> Placed:
    """What of the caller's sounds is in the recording, and where.

    Args:
        utterances: as they were said; one that never began to leave is left out.
        mouth: the recording's channel.
        rate_hz: of both.
        started_at_ns: when its sample 0 was at the media clock.
    """
    placed, clean = [], [np.zeros(0, np.int16)]
    for said in utterances:
        if said.started_ns is None:
            continue
        near = (
            round((said.started_ns - started_at_ns) * rate_hz / NS_PER_S) - rate_hz // _FRAMES_A_S
        )
        spans = active_level.voiced(said.samples, rate_hz, pause_ms=PAUSE_MS)
        voiced = list(_voiced(said.samples, spans, mouth, near, rate_hz))
        if voiced:
            first = voiced[0][0] - spans[0][0]
            placed.append(
                Said(
                    turn=said.turn,
                    text=said.text,
                    voiced=voiced,
                    first=first,
                    length=said.samples.size,
                )
            )
            clean.append(said.samples)
    return Placed(placed, np.concatenate(clean))


def _voiced(
    clean: Samples, spans: Sequence[Span], mouth: Samples, near: int, rate_hz: int
) -> Iterator[Span]:
    """The stretches of a clean sound, at their places in the recording, as far as that goes."""
    shift = near
    for first, past in spans:
        found = _shift(clean[first:past], mouth, first + shift, rate_hz)
        shift += found
        if first + shift < mouth.size:
            yield max(0, first + shift), min(past + shift, mouth.size)


def _shift(piece: Samples, mouth: Samples, expected: int, rate_hz: int) -> int:
    """By how much a piece is later than expected; 0 where the recording does not tell."""
    piece = piece[: _PIECE_MS * rate_hz // 1000]
    if np.array_equal(piece, mouth[max(0, expected) : expected + piece.size]):
        return 0
    around = _AROUND_MS * rate_hz // 1000
    low = max(0, expected - around)
    within = mouth[low : expected + around + piece.size]
    piece = piece[: within.size]
    match = correlation.find(piece, within)
    return low + match.offset - expected if match.correlation >= _ALIKE else 0
