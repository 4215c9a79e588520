"""What was audible when: a call's recording as sounds on the timeline's clock."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.hearing.detector import PAUSE_MS, Segment, segments
from callerside.reports.hearing.echo import is_echo, without_echo
from callerside.reports.hearing.retrospect import Behind
from callerside.reports.metrics.error_bounds import (
    DROWNED_END,
    DROWNED_ONSET,
    ENERGY_END,
    ENERGY_ONSET,
    EXACT,
    FAINTLY_MASKED_END,
    FAINTLY_MASKED_ONSET,
    LOST_END,
    LOST_ONSET,
    MASKED_END,
    MASKED_ONSET,
    NOISY_TONE,
    SAID,
    TONE,
)
from callerside.reports.metrics.measurement import ErrorBound

NS_PER_MS = 1_000_000

_BOUNDS = {
    Behind.SILENCE: (ENERGY_ONSET, ENERGY_END),
    Behind.FAINT_NOISE: (FAINTLY_MASKED_ONSET, FAINTLY_MASKED_END),
    Behind.NOISE: (MASKED_ONSET, MASKED_END),
    Behind.LOUD_NOISE: (LOST_ONSET, LOST_END),
    Behind.LOUDEST_NOISE: (DROWNED_ONSET, DROWNED_END),
}
_FRAME_NS = 20 * NS_PER_MS  # what is marked is marked when its packet leaves
_LEAST_BESIDE_NS = 60 * NS_PER_MS  # of a sound that is partly an answer: less is its fringe
_BEFORE_NS = 20 * NS_PER_MS  # around an answer that is known, energy is its own
_AFTERWARDS_NS = 60 * NS_PER_MS
_LOST_OF_A_BEEP_NS = 100 * NS_PER_MS
_SAME_HZ = 20.0
_ECHO_NS = 600 * NS_PER_MS
_COMES_BACK = 328
"""A peak of the other channel, -40 dBFS, of which an echo may be heard."""
_LEAST_ECHO_NS = 300 * NS_PER_MS
"""So much is looked at of a sound that may be an echo: a snatch of a voice is like any other."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Something audible from `start_ns` until just before `end_ns`."""

    kind: Literal["beep", "speech"]
    start_ns: int
    end_ns: int
    hz: float | None = None
    source: Literal["energy", "sent", "said"] = "energy"
    """How it is known: heard as energy, or decoded with what the server sent or the caller said."""
    item: str | None = None
    """Of an answer that is `sent`."""
    start_bound: ErrorBound = ENERGY_ONSET
    """How far its beginning may be from the true one."""
    end_bound: ErrorBound = ENERGY_END

    @property
    def length_ms(self) -> float:
        """How long it lasted."""
        return (self.end_ns - self.start_ns) / NS_PER_MS


@dataclass(frozen=True, slots=True)
class Utterance:
    """One thing that the caller said, as it was at the mouth."""

    turn: int
    text: str
    start_ns: int
    """The first voiced sample."""
    end_ns: int
    """Just after the last voiced sample."""
    start_bound: ErrorBound = SAID
    """How far the first voiced sample may be from the true one."""
    end_bound: ErrorBound = SAID


@dataclass(frozen=True)
class AudibleSegments:
    """Everything audible in a call, in order of time, down to pauses of 60 ms."""

    mouth: list[Sound]
    ear: list[Sound]
    beep: Sound | None
    """The connection beep: the first tone, if nothing was said before it."""
    said: list[Utterance]
    detected: Mapping[int, list[Sound]] = field(default_factory=dict)
    """What the detector hears in a channel, whatever else is known of it; where it has listened."""


def listen(evidence: CallEvidence, answers: Sequence[Sound] = ()) -> AudibleSegments:
    """What is audible in a call's recording.

    Args:
        evidence: of the call.
        answers: what is known of the agent's answers from what the server sent of them, in order;
            what is heard as energy counts beside them, where it is not they, nor the caller's echo.
    """
    heard = detected(evidence, EAR)
    listened = {EAR: heard}
    mouth = _known_mouth(evidence)
    if mouth is None:
        mouth = listened[MOUTH] = detected(evidence, MOUTH)
    if evidence.info.lane == "recording":  # whose caller may hear the agent by a loudspeaker
        mouth = [one for one in mouth if not _is_echo(evidence, one, heard, of=EAR)]
    beep = _beep(heard)
    ear = sorted(
        [*answers, *_beside(evidence, heard, answers, mouth)], key=lambda sound: sound.start_ns
    )
    return AudibleSegments(mouth, ear, beep, _turns(_said(evidence, mouth)), listened)


def _beep(heard: list[Sound]) -> Sound | None:
    """The connection beep, in one piece where packets of it were lost."""
    if not heard or heard[0].kind != "beep":
        return None
    beep = heard[0]
    for sound in heard[1:]:
        near = sound.start_ns - beep.end_ns <= _LOST_OF_A_BEEP_NS
        if sound.kind != "beep" or not near or abs((sound.hz or 0) - (beep.hz or 0)) > _SAME_HZ:
            break
        beep = replace(beep, end_ns=sound.end_ns, end_bound=sound.end_bound)
    return beep


def _known_mouth(evidence: CallEvidence) -> list[Sound] | None:
    """What the caller said, as its clean speech is known; nothing overlaps."""
    if evidence.said is None or not evidence.recorded:
        return None
    spans = sorted(span for said in evidence.said for span in said.voiced)
    merged: list[tuple[int, int]] = []
    for first, past in spans:
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(past, merged[-1][1])
        else:
            merged.append((first, past))
    return [
        Sound(
            "speech",
            evidence.at_ns(first),
            evidence.at_ns(past),
            source="said",
            start_bound=SAID,
            end_bound=SAID,
        )
        for first, past in merged
    ]


def _beside(
    evidence: CallEvidence, heard: list[Sound], answers: Sequence[Sound], mouth: list[Sound]
) -> Iterator[Sound]:
    """What is heard beside the answers that are known: beeps, prompts, tones of the agent's own."""
    for sound in heard:
        parts = [(sound.start_ns, sound.end_ns)]
        for answer in answers:
            parts = [part for span in parts for part in _without(span, answer)]
        for start_ns, end_ns in parts:
            whole = (start_ns, end_ns) == (sound.start_ns, sound.end_ns)
            if not whole and end_ns - start_ns < _LEAST_BESIDE_NS:
                continue
            part = replace(sound, start_ns=start_ns, end_ns=end_ns)
            # Beside an answer nothing more is looked at: what is around is the answer.
            looked_at = _at_least(part, _LEAST_ECHO_NS) if whole else part
            if sound.kind == "beep" or not _is_echo(evidence, looked_at, mouth):
                yield part


def _at_least(sound: Sound, length_ns: int) -> Sound:
    """A sound with the silence around it that makes it so long."""
    around_ns = max(0, length_ns - (sound.end_ns - sound.start_ns)) // 2
    return replace(sound, start_ns=sound.start_ns - around_ns, end_ns=sound.end_ns + around_ns)


def _without(span: tuple[int, int], answer: Sound) -> list[tuple[int, int]]:
    start_ns, end_ns = span
    if answer.end_ns + _AFTERWARDS_NS <= start_ns or end_ns <= answer.start_ns - _BEFORE_NS:
        return [span]
    return [
        part
        for part in (
            (start_ns, answer.start_ns - _BEFORE_NS),
            (answer.end_ns + _AFTERWARDS_NS, end_ns),
        )
        if part[0] < part[1]
    ]


def _is_echo(evidence: CallEvidence, sound: Sound, others: list[Sound], of: int = MOUTH) -> bool:
    """Whether a sound in one channel is what was heard in the other, a little later.

    `others` are what is heard in the channel `of` which it may be an echo.
    """
    if not any(
        one.start_ns < sound.end_ns and one.end_ns + _ECHO_NS > sound.start_ns for one in others
    ):
        return False
    rate_hz = evidence.rate_hz
    first, past = (max(0, evidence.sample_at(ns)) for ns in (sound.start_ns, sound.end_ns))
    piece = evidence.recording[first : min(past, first + rate_hz), MOUTH if of == EAR else EAR]
    low = max(0, first - _ECHO_NS * rate_hz // (1000 * NS_PER_MS))
    return is_echo(piece, evidence.recording[low : first + piece.size, of])


def spoken(sounds: Sequence[Sound], *, pause_ms: float = PAUSE_MS) -> list[Sound]:
    """The speech among `sounds`, as utterances: merged over pauses of up to `pause_ms`."""
    merged: list[Sound] = []
    for sound in sounds:
        if sound.kind != "speech":
            continue
        if merged and sound.start_ns - merged[-1].end_ns <= pause_ms * NS_PER_MS:
            last = merged[-1]
            merged[-1] = Sound(
                "speech",
                last.start_ns,
                sound.end_ns,
                start_bound=last.start_bound,
                end_bound=sound.end_bound,
            )
        else:
            merged.append(sound)
    return merged


def overlaps(
    some: Sequence[Sound], others: Sequence[Sound]
) -> tuple[list[tuple[int, int]], ErrorBound]:
    """When sounds of both were audible at once, and how far all of that may be off, in ms.

    Both are in order and do not overlap. An edge that is in no overlap, but near to one, counts as
    far as it may have made one.
    """
    found, first, second = [], 0, 0
    bound = EXACT
    while first < len(some) and second < len(others):
        one, other = some[first], others[second]
        ended = min(one, other, key=lambda sound: sound.end_ns)
        begun = max(one, other, key=lambda sound: sound.start_ns)
        length_ns = ended.end_ns - begun.start_ns
        if length_ns > 0:
            found.append((begun.start_ns, ended.end_ns))
        edges = ended.end_bound + begun.start_bound
        near = min(edges.size, edges.size + length_ns / NS_PER_MS)
        if near > 0:
            bound = bound + replace(edges, size=near)
        if one.end_ns <= other.end_ns:
            first += 1
        else:
            second += 1
    return found, bound


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which nothing was audible."""

    start_ns: int
    end_ns: int
    bound: ErrorBound
    """Of its length."""

    @property
    def span_ns(self) -> tuple[int, int]:
        """From when to when."""
        return self.start_ns, self.end_ns

    @property
    def length_ns(self) -> int:
        """How long it lasted."""
        return self.end_ns - self.start_ns


def longest_silence(sounds: Sequence[Sound], start_ns: int, end_ns: int) -> Silence:
    """The longest time between two instants in which none of the sounds was audible.

    The two instants are exact.
    """
    longest = Silence(start_ns, start_ns, EXACT)
    silent_since, since_bound = start_ns, EXACT
    for sound in sorted(sounds, key=lambda s: s.start_ns):
        if sound.end_ns <= silent_since:
            continue
        if sound.start_ns >= end_ns:
            break
        if sound.start_ns - silent_since > longest.length_ns:
            bound = since_bound + sound.start_bound
            longest = Silence(silent_since, sound.start_ns, bound)
        silent_since, since_bound = sound.end_ns, sound.end_bound
    if end_ns - silent_since > longest.length_ns:
        longest = Silence(silent_since, end_ns, since_bound)
    return longest


def detected(evidence: CallEvidence, channel: int) -> list[Sound]:
    """What the detector hears in a channel of the recording, whatever else is known of it."""
    if not evidence.recorded:
        return []
    here, there = evidence.channel(channel), evidence.channel(EAR if channel == MOUTH else MOUTH)
    alone = without_echo(here, there, evidence.rate_hz)
    heard = evidence.heard.get(channel) if alone is here else None
    if heard is None:
        heard = segments(alone, evidence.rate_hz)
    sounds = [_by_energy(evidence, one) for one in heard]
    if alone is here:
        return sounds
    return [_amid_echo(evidence, one, there) for one in sounds]


def _by_energy(evidence: CallEvidence, heard: Segment) -> Sound:
    sound = Sound(heard.kind, evidence.at_ns(heard.start), evidence.at_ns(heard.end), heard.hz)
    if heard.kind == "beep":
        edge = TONE if heard.behind is Behind.SILENCE else NOISY_TONE
        return replace(sound, start_bound=edge, end_bound=edge)
    onset, end = _BOUNDS[heard.behind]
    return replace(sound, start_bound=onset, end_bound=end)


def _amid_echo(evidence: CallEvidence, sound: Sound, other: NDArray[np.int16]) -> Sound:
    """A sound of a channel from which an echo was taken: what is left of that hides its edges."""

    def is_hidden(at_ns: int) -> bool:
        first, past = (max(0, evidence.sample_at(ns)) for ns in (at_ns - _ECHO_NS, at_ns))
        return bool(np.abs(other[first:past].astype(np.int32)).max(initial=0) > _COMES_BACK)

    onset, end = sound.start_bound, sound.end_bound
    if sound.kind == "speech" and is_hidden(sound.start_ns):
        onset = max(onset, MASKED_ONSET, key=lambda bound: bound.size)
    if sound.kind == "speech" and is_hidden(sound.end_ns):
        end = max(end, MASKED_END, key=lambda bound: bound.size)
    return replace(sound, start_bound=onset, end_bound=end)


def _turns(said: Iterable[Utterance]) -> list[Utterance]:
    """In order of time; what begins within another is part of it, and takes no turn of its own."""
    turns: list[Utterance] = []
    for one in sorted(said, key=lambda one: one.start_ns):
        if not turns or one.start_ns >= turns[-1].end_ns:
            turns.append(one)
        elif one.end_ns > turns[-1].end_ns:
            turns[-1] = replace(turns[-1], end_ns=one.end_ns, end_bound=one.end_bound)
    return turns


def _said(evidence: CallEvidence, mouth: list[Sound]) -> list[Utterance]:
    """The caller's utterances: as they are known, else as the script says, else as heard."""
    if evidence.said is not None:
        return [
            Utterance(
                said.turn,
                said.text,
                evidence.at_ns(said.voiced[0][0]),
                evidence.at_ns(said.voiced[-1][1]),
            )
            for said in evidence.said
            if said.turn is not None
        ]
    started = list(evidence.find("caller", "utterance_started"))
    if not started:
        return [
            Utterance(number, "", sound.start_ns, sound.end_ns, sound.start_bound, sound.end_bound)
            for number, sound in enumerate(spoken(mouth), start=1)
        ]
    ended = {
        mark.fields.get("turn"): mark.at_ns for mark in evidence.find("caller", "utterance_ended")
    }
    return [
        _utterance(
            int(mark.fields.get("turn", number)),
            str(mark.fields.get("text", "")),
            mark.at_ns,
            ended.get(mark.fields.get("turn"), evidence.marks[-1].at_ns),
            mouth,
        )
        for number, mark in enumerate(started, start=1)
    ]


def _utterance(turn: int, text: str, start_ns: int, end_ns: int, mouth: list[Sound]) -> Utterance:
    """What the script said between two marks, cut to what was voiced of it."""
    voiced = [s for s in mouth if s.end_ns > start_ns and s.start_ns < end_ns]
    if not voiced:
        return Utterance(turn, text, start_ns, end_ns, ENERGY_ONSET, ENERGY_END)
    return Utterance(
        turn,
        text,
        max(start_ns - _FRAME_NS, voiced[0].start_ns),
        voiced[-1].end_ns,
        voiced[0].start_bound,
        voiced[-1].end_bound,
    )
