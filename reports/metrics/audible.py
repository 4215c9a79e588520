"""What was audible when: a call's recording as sounds on the timeline's clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.hearing.detector import PAUSE_MS, segments

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Sound:
    """Something audible from `start_ns` until just before `end_ns`."""

    kind: Literal["beep", "speech"]
    start_ns: int
    end_ns: int
    hz: float | None = None

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


@dataclass(frozen=True)
class AudibleSegments:
    """Everything audible in a call, in order of time, down to pauses of 60 ms."""

    mouth: list[Sound]
    ear: list[Sound]
    beep: Sound | None
    """The connection beep: the first tone, if nothing was said before it."""
    said: list[Utterance]


def listen(evidence: CallEvidence) -> AudibleSegments:
    """What is audible in a call's recording."""
    mouth = _sounds(evidence, MOUTH)
    ear = _sounds(evidence, EAR)
    beep = ear[0] if ear and ear[0].kind == "beep" else None
    return AudibleSegments(mouth, ear, beep, _said(evidence, mouth))


def spoken(sounds: Sequence[Sound], *, pause_ms: float = PAUSE_MS) -> list[Sound]:
    """The speech among `sounds`, as utterances: merged over pauses of up to `pause_ms`."""
    merged: list[Sound] = []
    for sound in sounds:
        if sound.kind != "speech":
            continue
        if merged and sound.start_ns - merged[-1].end_ns <= pause_ms * NS_PER_MS:
            merged[-1] = Sound("speech", merged[-1].start_ns, sound.end_ns)
        else:
            merged.append(sound)
    return merged


def overlap_ms(some: Sequence[Sound], others: Sequence[Sound]) -> float:
    """For how long sounds of both were audible at once. Both are in order and do not overlap."""
    total_ns = first = second = 0
    while first < len(some) and second < len(others):
        one, other = some[first], others[second]
        total_ns += max(0, min(one.end_ns, other.end_ns) - max(one.start_ns, other.start_ns))
        if one.end_ns <= other.end_ns:
            first += 1
        else:
            second += 1
    return total_ns / NS_PER_MS


def longest_silence_ms(sounds: Sequence[Sound], start_ns: int, end_ns: int) -> float:
    """The longest time between two instants in which none of the sounds was audible."""
    longest_ns = 0
    silent_since = start_ns
    for sound in sorted(sounds, key=lambda s: s.start_ns):
        if sound.end_ns <= silent_since:
            continue
        if sound.start_ns >= end_ns:
            break
        longest_ns = max(longest_ns, sound.start_ns - silent_since)
        silent_since = sound.end_ns
    return max(longest_ns, end_ns - silent_since) / NS_PER_MS


def _sounds(evidence: CallEvidence, channel: int) -> list[Sound]:
    if not evidence.recorded:
        return []
    return [
        Sound(s.kind, evidence.at_ns(s.start), evidence.at_ns(s.end), s.hz)
        for s in segments(evidence.channel(channel), evidence.rate_hz)
    ]


def _said(evidence: CallEvidence, mouth: list[Sound]) -> list[Utterance]:
    """The caller's utterances: as its script says, else as they are heard."""
    started = list(evidence.find("caller", "utterance_started"))
    if not started:
        return [
            Utterance(number, "", sound.start_ns, sound.end_ns)
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
        return Utterance(turn, text, start_ns, end_ns)
    return Utterance(turn, text, max(start_ns, voiced[0].start_ns), voiced[-1].end_ns)
