"""The agent's answers as they were heard, beside what the server sent of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import soxr
from numpy.typing import NDArray

from callerside.reports.evidence import EAR, CallEvidence
from callerside.reports.hearing import intelligibility
from callerside.reports.hearing.alignment import Alignment, align
from callerside.reports.hearing.detector import segments
from callerside.reports.metrics.audible import NS_PER_MS, AudibleSegments, Sound
from callerside.reports.metrics.server_audio import counted

COMPARED_HZ = 6400
"""What was heard and what was sent are compared at this rate: up to 3 kHz, which every codec and
filter of a telephone lets through. An s lies above that, and would look like a hole."""

_EARLY_NS = 30 * NS_PER_MS  # a frame is marked as played when it is taken, up to a frame before


@dataclass(frozen=True)
class Answer:
    """One response with sound: `sounds` is what was heard of it, in order, not empty."""

    response: str
    item: str
    sounds: Sequence[Sound]
    sent: NDArray[np.int16]
    """As the server sent it, at the recording's rate, from its first voiced sample on."""
    lead_ms: float
    """Silence that was sent before that."""
    evidence: CallEvidence

    @cached_property
    def alignment(self) -> Alignment:
        """How the heard follows the sent, at `COMPARED_HZ`."""
        end = self.evidence.sample_at(self.sounds[-1].end_ns)
        heard = self.evidence.channel(EAR)[self._start : end]
        rate_hz = self.evidence.rate_hz
        return align(
            _at_rate(self.sent, rate_hz, COMPARED_HZ),
            _at_rate(heard, rate_hz, COMPARED_HZ),
            COMPARED_HZ,
        )

    @property
    def likeness(self) -> float:
        """How well what was heard fits what was sent (1: the same)."""
        return self.alignment.likeness

    @cached_property
    def intelligibility(self) -> float | None:
        """STOI of what was heard of it, in percent; silence that was put in is left out."""
        rate_hz = self.evidence.rate_hz
        end = self.evidence.sample_at(self.sounds[-1].end_ns)
        heard = _at_rate(
            self.evidence.channel(EAR)[self._start : end], rate_hz, intelligibility.RATE_HZ
        )
        sent = _at_rate(self.sent, rate_hz, intelligibility.RATE_HZ)
        scale = intelligibility.RATE_HZ / COMPARED_HZ
        places = np.arange(sent.size)
        for place, lag in self.alignment.lags:
            start = round(place * scale)
            places[start:] = np.arange(start, sent.size) + round(lag * scale)
        known = (places >= 0) & (places < heard.size)
        return intelligibility.intelligibility(sent[known], heard[places[known]])

    def heard_between_ms(self) -> tuple[float, float]:
        """How much of the answer was heard: from its last voiced sample heard to the next one.

        The two differ where the answer was cut in a pause of its own: nobody can say how much of
        the pause was heard.
        """
        rate_hz = self.evidence.rate_hz
        scale = rate_hz / COMPARED_HZ
        end = self.evidence.sample_at(self.sounds[-1].end_ns) - self._start
        place = round(self.alignment.sent_place(round(end / scale)) * scale)
        place = min(self.sent.size, max(0, place))
        rest = segments(self.sent[place:], rate_hz, clean=True)
        silent = rest[0].start if rest else self.sent.size - place
        first_ms = self.lead_ms + place * 1000 / rate_hz
        return first_ms, first_ms + silent * 1000 / rate_hz

    def holes_ns(self) -> list[tuple[int, int]]:
        """When the answer was silent as heard, and not as sent."""
        scale = self.evidence.rate_hz / COMPARED_HZ

        def at_ns(sample: int) -> int:
            return self.evidence.at_ns(self._start + sample * scale)

        return [(at_ns(hole.start), at_ns(hole.end)) for hole in self.alignment.holes]

    @property
    def _start(self) -> int:
        return max(0, self.evidence.sample_at(self.sounds[0].start_ns - _EARLY_NS))


def answers_of(evidence: CallEvidence, audible: AudibleSegments) -> list[Answer]:
    """Every response that was sent and heard; none where what was sent is not known."""
    if evidence.server_sent is None or not evidence.recorded:
        return []
    playouts = list(evidence.find("agent", "playout_started", "greeting_started"))
    found = []
    for response, item, first, past in _responses(evidence):
        started = next((m for m in playouts if m.fields.get("item") == item), None)
        if started is None:
            started = next(
                (m for m in playouts if m.at_ns >= first[1] and m.name == "greeting_started"), None
            )
        if started is None:
            continue
        until_ns = min((m.at_ns for m in playouts if m.at_ns > started.at_ns), default=1 << 62)
        sounds = [
            s
            for s in audible.ear
            if s.kind == "speech" and started.at_ns - _EARLY_NS <= s.start_ns < until_ns
        ]
        sent, lead_ms = _voiced(evidence, first[0], past)
        if sounds and sent.size:
            found.append(Answer(response, item, sounds, sent, lead_ms, evidence))
    return found


def _responses(
    evidence: CallEvidence,
) -> Iterator[tuple[str, str, tuple[int, int], int]]:
    """Response, item, (first sample sent, when), and the sample after the last."""
    spans: dict[tuple[str, str], tuple[tuple[int, int], int]] = {}
    for mark, total in counted(evidence.find("realtime", "delta_sent")):
        key = str(mark.fields.get("response")), str(mark.fields.get("item"))
        start = total - int(mark.fields["samples"])
        first = spans[key][0] if key in spans else (start, mark.at_ns)
        spans[key] = first, total
    for (response, item), (first, past) in spans.items():
        yield response, item, first, past


def _voiced(evidence: CallEvidence, start: int, past: int) -> tuple[NDArray[np.int16], float]:
    """What was sent, from its first voiced sample on, and the silence before that."""
    sent = evidence.server_sent
    if sent is None:
        return np.zeros(0, np.int16), 0.0
    wave = _at_rate(sent.samples[start:past], sent.rate_hz, evidence.rate_hz)
    sounds = segments(wave, evidence.rate_hz, clean=True)
    lead = sounds[0].start if sounds else wave.size
    return wave[lead:], lead * 1000 / evidence.rate_hz


def _at_rate(wave: NDArray[np.int16], rate_hz: int, wanted_hz: int) -> NDArray[np.int16]:
    if rate_hz == wanted_hz or not wave.size:
        return wave
    raw = soxr.resample(wave.astype(np.float32), rate_hz, wanted_hz)
    samples: NDArray[np.int16] = np.clip(np.rint(raw), -32768, 32767).astype(np.int16)
    return samples
