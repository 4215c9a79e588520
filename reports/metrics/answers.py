"""The agent's answers as they were heard, beside what the server sent of them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import soxr
from numpy.typing import NDArray

from callerside.clock import NS_PER_S
from callerside.marks import Mark
from callerside.reports.evidence import EAR, CallEvidence
from callerside.reports.hearing import active_level, intelligibility
from callerside.reports.hearing.alignment import Alignment, Span, align, in_step
from callerside.reports.metrics.audible import NS_PER_MS, Sound
from callerside.reports.metrics.measurement import ErrorBound
from callerside.reports.metrics.server_audio import counted

COMPARED_HZ = 8000
"""What was heard and what was sent are compared at this rate: up to 3.5 kHz, which every codec and
filter of a telephone lets through. An s lies above that, and would look like a hole."""

_EARLY_NS = 60 * NS_PER_MS  # a frame is marked as played when it is taken, up to a frame before
_LATE_NS = 300 * NS_PER_MS  # an answer's end may be at the ear when the next one leaves already
_LAST_HEARD = {
    "truncate_sent": 700 * NS_PER_MS,
    "playout_cleared": 700 * NS_PER_MS,
    "playout_ended": 1500 * NS_PER_MS,
}
"""So long after these, nothing more of an answer is on its way."""
_UNTOLD_NS = 1500 * NS_PER_MS  # after its length, an answer of which nobody says when it is played
_SOON_MS = 600  # after its playout began, nearly every answer is at the ear
_PAUSE_MS = 60
_LONGER = 1.5  # than sent an answer may be as heard, and by so much besides
_LONGER_MS = 12_000


@dataclass(frozen=True)
class Answer:
    """One response with sound, and where in the recording it was looked for."""

    response: str
    item: str
    sent: NDArray[np.int16]
    """As the server sent it, at the recording's rate, from its first sample of sound on."""
    lead_ms: float
    """Silence that was sent before that."""
    first: int
    """The recording's samples in which it can have been heard: from this one,"""
    past: int
    """to before this one."""
    evidence: CallEvidence
    loud: NDArray[np.int64]
    """The samples sent that count as sound: places in `sent`, by the source at its own rate."""
    played_ms: float | None = None
    """How much of it had left where it was cut, as the agent counts it."""

    @cached_property
    def alignment(self) -> Alignment:
        """How the heard follows the sent, at `COMPARED_HZ`."""
        heard = self.evidence.channel(EAR)[self.first : self.past]
        rate_hz = self.evidence.rate_hz
        found = in_step(self.sent, heard, rate_hz, self.lead_ms + _SOON_MS)
        if found is not None:
            places = (*found.span, *found.first[1:], *found.last[1:])
            start, end, lag, *between = (round(one * COMPARED_HZ / rate_hz) for one in places)
            rest = [one for one in self._voiced if one[1] > found.span.end]
            unheard = rest[-1][1] - max(found.span.end, rest[0][0]) if rest else 0
            return Alignment(
                1.0,
                [Span(start, end, lag)],
                missing=start,
                unheard=round(unheard * COMPARED_HZ / rate_hz),
                exact=True,
                first_between=(between[0], between[1]),
                last_between=(between[2], between[3]),
            )
        return align(
            _at_rate(self.sent, rate_hz, COMPARED_HZ),
            _at_rate(heard, rate_hz, COMPARED_HZ),
            COMPARED_HZ,
        )

    @property
    def found(self) -> bool:
        """Whether it was recognised in what was heard."""
        return bool(self.sounds)

    @property
    def likeness(self) -> float:
        """How well what was heard fits what was sent (1: the same)."""
        return self.alignment.likeness

    @cached_property
    def sounds(self) -> list[Sound]:
        """When it was audible, down to pauses of 60 ms, as it is known from what was sent."""
        merged: list[tuple[int, int]] = []
        for first, past in sorted(self._audible()):
            if merged and first - merged[-1][1] <= _PAUSE_MS * self.evidence.rate_hz / 1000:
                merged[-1] = merged[-1][0], max(past, merged[-1][1])
            else:
                merged.append((first, past))
        at_ns = self.evidence.at_ns
        found = [
            Sound(
                "speech",
                at_ns(first),
                at_ns(past),
                source="sent",
                item=self.item,
                start_bound=self._edge_bound,
                end_bound=self._edge_bound,
            )
            for first, past in merged
        ]
        if found:
            found[0] = replace(found[0], start_bound=self.start_bound)
            found[-1] = replace(found[-1], end_bound=self.end_bound)
        return found

    @property
    def cut_as_counted(self) -> bool:
        """Whether the agent's count says where it was cut: among places that sound alike."""
        return self.found and self._end != self._place(self.alignment.spans[-1].end)

    @cached_property
    def _end(self) -> int:
        """The place in `sent` after the last sample that was heard.

        Where an answer is cut amid what is too faint to be told from the noise, all the places
        between which that may be sound alike. If the agent says that it played up to one of them,
        it is that one; how far off it may be is the sound's to say.
        """
        low, last, high = (
            self._place(place)
            for place in (
                self.alignment.last_between[0],
                self.alignment.spans[-1].end,
                self.alignment.last_between[1],
            )
        )
        if self.played_ms is None:
            return last
        counted = round((self.played_ms - self.lead_ms) * self.evidence.rate_hz / 1000)
        return counted if low <= counted <= high else last

    def _audible(self) -> Iterator[tuple[int, int]]:
        spans = self.alignment.spans
        for number, span in enumerate(spans, start=1):
            start = self._place(span.start)
            end = self._end if number == len(spans) else self._place(span.end)
            later = self.first + round(span.lag * self.evidence.rate_hz / COMPARED_HZ)
            for first, past in self._voiced:
                low, high = max(first, start), min(past, end)
                heard = self.loud[
                    np.searchsorted(self.loud, low) : np.searchsorted(self.loud, high)
                ]
                if heard.size:
                    yield later + int(heard[0]), later + int(heard[-1]) + 1

    def _place(self, compared: int) -> int:
        """A place of the alignment in `sent`: at either end, that to the sample."""
        scale = self.evidence.rate_hz / COMPARED_HZ
        at = round(compared * scale)
        if at < scale:
            return 0
        return self.sent.size if at > self.sent.size - scale else at

    @cached_property
    def _voiced(self) -> list[tuple[int, int]]:
        return active_level.without_pauses(self.loud, _PAUSE_MS * self.evidence.rate_hz // 1000)

    @property
    def _edge_bound(self) -> ErrorBound:
        return self._bound_of(self.alignment.lag_within_ms)

    def _loud_from(self, place: int) -> int:
        """The first of them at a place of the alignment, or after it."""
        at = self._place(place)
        after = self.loud[np.searchsorted(self.loud, at) :]
        return int(after[0]) if after.size else self.sent.size

    def _loud_before(self, place: int) -> int:
        """Just after the last of them before a place of the alignment."""
        return self._loud_until(self._place(place))

    def _loud_until(self, at: int) -> int:
        before = self.loud[: np.searchsorted(self.loud, at)]
        return int(before[-1]) + 1 if before.size else 0

    def _bound_of(self, within_ms: float) -> ErrorBound:
        likeness = f"a correlation of {self.likeness:.2f}"
        return ErrorBound(within_ms, f"an answer laid over what was sent ({likeness})")

    @property
    def start_bound(self) -> ErrorBound:
        """How far `start_ns` may be from the truth."""
        low, high = self.alignment.first_between
        onsets = [self._loud_from(place) for place in (low, self.alignment.spans[0].start, high)]
        return self._between(onsets)

    @property
    def end_bound(self) -> ErrorBound:
        """How far `end_ns` may be from the truth."""
        return self._end_bound(self._end)

    @property
    def heard_bound(self) -> ErrorBound:
        """How far `heard_between_ms` may be from the truth."""
        return self._end_bound(self._place(self.alignment.spans[-1].end))

    def _end_bound(self, end: int) -> ErrorBound:
        low, high = (self._place(place) for place in self.alignment.last_between)
        return self._between([self._loud_until(place) for place in (low, end, high)])

    def _between(self, places: Sequence[int]) -> ErrorBound:
        """Of a place among three, of which the outer two are as far as it may be."""
        low, found, high = places
        off_ms = max(found - low, high - found) * 1000 / self.evidence.rate_hz
        edge = self._edge_bound
        if not off_ms:
            return edge
        return edge + ErrorBound(off_ms, "it was cut where it is too faint to be told from noise")

    @property
    def faults_bound(self) -> ErrorBound:
        """How far the lengths of its faults may be from the truth."""
        return self._bound_of(self.alignment.faults_within_ms)

    @property
    def hole_bound(self) -> ErrorBound:
        """How far the length of its longest hole may be from the truth."""
        return self._bound_of(self.alignment.hole_within_ms)

    @property
    def start_ns(self) -> int:
        """When its first sound was at the ear; only where it was found."""
        return self.sounds[0].start_ns

    @property
    def end_ns(self) -> int:
        """When its last sound was over at the ear."""
        return self.sounds[-1].end_ns

    @cached_property
    def intelligibility(self) -> float | None:
        """STOI of what was heard of it, in percent; silence that was put in is left out."""
        rate_hz = self.evidence.rate_hz
        end = self.evidence.sample_at(self.end_ns)
        heard = _at_rate(
            self.evidence.channel(EAR)[self.first : end], rate_hz, intelligibility.RATE_HZ
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
        """How much of the answer was heard: from its last sample of sound to the next one.

        By the sound alone: it is what the agent's own count is held against.
        The two differ where the answer was cut in a pause of its own: nobody can say how much of
        the pause was heard.
        """
        place = self.alignment.spans[-1].end
        low, high = self._loud_before(place), self._loud_from(place)
        to_ms = 1000 / self.evidence.rate_hz
        return self.lead_ms + low * to_ms, self.lead_ms + high * to_ms

    def holes_ns(self) -> list[tuple[int, int]]:
        """When the answer was silent as heard, and not as sent."""
        scale = self.evidence.rate_hz / COMPARED_HZ

        def at_ns(sample: int) -> int:
            return self.evidence.at_ns(self.first + sample * scale)

        return [(at_ns(hole.start), at_ns(hole.end)) for hole in self.alignment.holes]


def answers_of(evidence: CallEvidence) -> list[Answer]:
    """Every response that was sent and played; none where what was sent is not known.

    Whether it was `found` in what was heard is another matter.
    """
    if evidence.server_sent is None or not evidence.recorded:
        return []
    playouts = list(evidence.find("agent", "playout_started", "greeting_started"))
    found = []
    responses = list(_responses(evidence))
    for response, item, first, past in responses:
        started_ns = first[1]
        if playouts:
            started = next((m for m in playouts if m.fields.get("item") == item), None)
            if started is None:
                greeted = (m for m in playouts if m.name == "greeting_started")
                started = next((m for m in greeted if m.at_ns >= first[1]), None)
            if started is None:
                continue
            started_ns = started.at_ns
        cleared = evidence.find("agent", "playout_cleared", after_ns=first[1])
        played_ms = next(
            (float(m.fields["played_ms"]) for m in cleared if m.fields.get("item") == item), None
        )
        sound = _sound_of(evidence, first[0], past)
        if sound is None:
            continue
        sent, lead_ms, loud = sound
        low, high = _where(evidence, sent, started_ns, playouts, item)
        if not playouts:
            following = (other[1] for _, _, other, _ in responses if other[1] > started_ns)
            high = min(high, _untold_past(evidence, sent, started_ns, following))
        if high > low:
            found.append(
                Answer(response, item, sent, lead_ms, low, high, evidence, loud, played_ms)
            )
    return found


def _where(
    evidence: CallEvidence,
    sent: NDArray[np.int16],
    started_ns: int,
    playouts: Sequence[Mark],
    item: str,
) -> tuple[int, int]:
    """In which of the recording's samples an answer can have been heard."""
    later = (
        m.at_ns
        for m in playouts
        if m.at_ns > started_ns and m.name == "playout_started" and m.fields.get("item") != item
    )
    until_ns = min(later, default=1 << 62) + _LATE_NS
    for name, late_ns in _LAST_HEARD.items():
        for mark in evidence.find("agent", name, after_ns=started_ns):
            if mark.fields.get("item") == item:
                until_ns = min(until_ns, mark.at_ns + late_ns)
    low = max(0, evidence.sample_at(started_ns - _EARLY_NS))
    longest = round(sent.size * _LONGER + _LONGER_MS * evidence.rate_hz / 1000)
    return low, min(len(evidence.recording), evidence.sample_at(until_ns), low + longest)


def _untold_past(
    evidence: CallEvidence, sent: NDArray[np.int16], started_ns: int, following_ns: Iterable[int]
) -> int:
    """Before which sample an answer must have been heard of which nobody says when it is played.

    An agent is done with it, or has stopped, when the server sends the next one; that may say the
    same words, and would be taken for this one where a fault befell this one.

    Args:
        evidence: of the call.
        sent: the answer, at the recording's rate.
        started_ns: when the server began to send it.
        following_ns: when it began to send each later one.
    """
    if (next_ns := min(following_ns, default=None)) is None:
        return len(evidence.recording)
    lasts_ns = round(sent.size * NS_PER_S / evidence.rate_hz)
    return evidence.sample_at(max(next_ns + _LATE_NS, started_ns + lasts_ns + _UNTOLD_NS))


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


def _sound_of(
    evidence: CallEvidence, start: int, past: int
) -> tuple[NDArray[np.int16], float, NDArray[np.int64]] | None:
    """What was sent, from its first sample of sound on, the silence before that, what is loud."""
    sent = evidence.server_sent
    if sent is None:
        return None
    piece = sent.samples[start:past]
    loud = active_level.loud(piece, sent.rate_hz)
    if not loud.size:
        return None
    scale = evidence.rate_hz / sent.rate_hz
    first, end = math.floor(loud[0] * scale), math.ceil((loud[-1] + 1) * scale)
    wave = _at_rate(piece, sent.rate_hz, evidence.rate_hz)[first:end]
    places = np.rint(loud * scale).astype(np.int64) - first
    places = places[np.diff(places, prepend=-1) > 0]  # in order they are: each once
    return wave, loud[0] * 1000 / sent.rate_hz, np.minimum(places, wave.size - 1)


def _at_rate(wave: NDArray[np.int16], rate_hz: int, wanted_hz: int) -> NDArray[np.int16]:
    if rate_hz == wanted_hz or not wave.size:
        return wave
    raw = soxr.resample(wave.astype(np.float32), rate_hz, wanted_hz)
    samples: NDArray[np.int16] = np.clip(np.rint(raw), -32768, 32767).astype(np.int16)
    return samples
