"""Where speech begins and ends: as it is known, as the detector finds it, and what lies between.

What the scripted caller says and what our fake server sends is known to the sample. The detector
hears the same recording without knowing. Where there is both, the difference is the detector's
error; where there is no more than the detector (an unknown agent, a bare recording), so it stands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.metrics.audible import (
    NS_PER_MS,
    AudibleSegments,
    Sound,
    detected,
    spoken,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A beginning or an end of speech or of a beep, at the mouth or at the ear.

    One of the two instants is there; both where it is known and was detected.
    """

    channel: int
    """`MOUTH` or `EAR` of the recording."""
    kind: Literal["onset", "end"]
    of: Literal["speech", "beep"] = "speech"
    known_ns: int | None = None
    detected_ns: int | None = None

    @property
    def at_ns(self) -> int:
        """Where it is known to be, else where it was detected."""
        return self.known_ns if self.known_ns is not None else self.detected_ns or 0

    @property
    def difference_ms(self) -> float | None:
        """How much later it was detected than it is; None where one of the two is missing."""
        if self.known_ns is None or self.detected_ns is None:
            return None
        return (self.detected_ns - self.known_ns) / NS_PER_MS


def edges_of(evidence: CallEvidence, audible: AudibleSegments) -> list[Edge]:
    """Both edges of every utterance at the mouth and at the ear, in order of time."""
    if not evidence.recorded:
        return []
    found: list[Edge] = []
    for channel, sounds in ((MOUTH, audible.mouth), (EAR, audible.ear)):
        heard = audible.detected.get(channel)
        found += _of_channel(
            channel, sounds, detected(evidence, channel) if heard is None else heard
        )
    return sorted(found, key=lambda edge: (edge.at_ns, edge.channel))


def _of_channel(channel: int, sounds: Sequence[Sound], found: Sequence[Sound]) -> Iterator[Edge]:
    known = spoken([sound for sound in sounds if sound.source != "energy"])
    for sound in known:
        within = [one for one in found if _meet(one, sound)]
        first = within[0].start_ns if within else None
        last = within[-1].end_ns if within else None
        yield Edge(channel=channel, kind="onset", known_ns=sound.start_ns, detected_ns=first)
        yield Edge(channel=channel, kind="end", known_ns=sound.end_ns, detected_ns=last)
    alone = [one for one in found if not any(_meet(one, sound) for sound in known)]
    for one in [*spoken(alone), *(beep for beep in alone if beep.kind == "beep")]:
        yield Edge(channel=channel, kind="onset", of=one.kind, detected_ns=one.start_ns)
        yield Edge(channel=channel, kind="end", of=one.kind, detected_ns=one.end_ns)


def _meet(one: Sound, other: Sound) -> bool:
    return one.start_ns < other.end_ns and one.end_ns > other.start_ns
