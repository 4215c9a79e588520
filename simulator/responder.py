"""The responder: answers a call in a way that is known to the sample, to calibrate the harness.

It beeps, greets, and answers what it hears after delays that are exactly known, since it counts
samples of its own media clock and reads no other; one answer has a hole in it, one leaves a piece
out and says another twice, and an answer that is talked over stops. What it said and heard is kept,
so that `simulator.calibrate` can tell afterwards what the caller should have measured.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent import audio
from agent.clock import NS_PER_S
from agent.leg import (
    AudioReceived,
    CallReceived,
    FramePlayed,
    LegInput,
    MediaReady,
    PlayoutCleared,
)
from reports.ears import Ears, SpeechEnded, SpeechStarted

HEARD_END_MS = 200
"""How long it must be silent before the responder takes it for the end; its delays are longer."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What the responder does."""

    reply: bytes
    """Every answer: PCM at the leg's rate, loud at both ends."""
    beep_after_ms: float = 200
    beep_hz: float = 440
    beep_length_ms: float = 400
    greeting: bytes = b""
    """What it says first of all, loud at both ends; nothing if empty."""
    greeting_after_ms: float = 900
    delays_ms: tuple[float, ...] = (430, 617, 1238)
    """From the caller's last voiced sample to the answer's first, turn by turn. The longest is the
    longest silence of the call."""
    hole_in: int = 2
    """Which answer has a hole."""
    hole_at_ms: float = 700
    hole_ms: float = 60
    changed_in: int = 3
    """Which answer leaves out a piece, and says another twice."""
    missing_at_ms: float = 1000
    missing_ms: float = 140
    repeated_at_ms: float = 2300
    repeated_ms: float = 180


@dataclass(frozen=True, slots=True)
class Answer:
    """Take the call."""


@dataclass(frozen=True, slots=True)
class Play:
    """Queue audio."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Clear:
    """Drop what has not been played."""


Effect = Answer | Play | Clear


@dataclass
class Said:
    """One thing that the responder said: samples of its mouth's stream."""

    name: str
    start: int
    """Where its first voiced sample is."""
    end: int
    """Just after the last sample that was played of it."""


@dataclass
class ResponderMachine:
    """`handle(input, now_ns) -> list[Effect]`, as all machines; the frames are its clock."""

    behaviour: Behaviour
    rate_hz: int
    said: list[Said] = field(default_factory=list)
    mouth: bytearray = field(default_factory=bytearray)
    ear: bytearray = field(default_factory=bytearray)
    heard_ns: list[int] = field(default_factory=list)
    """When each frame of the ear's stream was heard."""
    received_ns: int = 0
    answered_ns: int = 0
    """When it took the call: a 200 OK leaves at once."""
    started_ns: int | None = None
    """When sample 0 of both streams was at the media clock: the earliest that any frame tells."""

    def __post_init__(self) -> None:
        self._ears = Ears(self.rate_hz, hangover_ms=HEARD_END_MS)
        self._queue = bytearray()
        self._beep_at: int | None = None
        self._greeting_at: int | None = None
        self._turn = 0

    def handle(self, given: LegInput, now_ns: int) -> list[Effect]:
        """Take one input of the leg."""
        match given:
            case CallReceived():
                self.received_ns = self.answered_ns = now_ns
                return [Answer()]
            case MediaReady() if self._beep_at is None:
                self._beep_at = self._samples(self.behaviour.beep_after_ms)
                if self.behaviour.greeting:
                    self._greeting_at = self._samples(self.behaviour.greeting_after_ms)
            case FramePlayed():
                return self._played(given)
            case AudioReceived():
                return self._heard(given)
            case PlayoutCleared():
                self._queue.clear()
        return []

    def _played(self, frame: FramePlayed) -> list[Effect]:
        """One frame has left: what of it was ours goes onto the mouth's stream, then silence."""
        place = len(self.mouth) // 2
        told_ns = frame.at_ns - round(place * NS_PER_S / self.rate_hz)
        self.started_ns = told_ns if self.started_ns is None else min(self.started_ns, told_ns)
        ours = self._queue[: 2 * frame.samples]
        del self._queue[: 2 * frame.samples]
        self.mouth += ours + bytes(2 * (self.rate_hz // 50 - frame.samples))
        if ours and self.said:
            self._note_played(place, frame.samples)
        if self._beep_at is not None and place >= self._beep_at:
            self._beep_at = None
            beep = audio.tone(self.behaviour.beep_hz, self.behaviour.beep_length_ms, self.rate_hz)
            return [self._say("beep", 0, beep)]
        if self._greeting_at is not None and place >= self._greeting_at:
            self._greeting_at = None
            return [self._say("greeting", 0, self.behaviour.greeting)]
        return []

    def _heard(self, frame: AudioReceived) -> list[Effect]:
        self.ear += frame.pcm
        self.heard_ns.append(frame.at_ns)
        effects: list[Effect] = []
        for event in self._ears.feed(frame.pcm):
            if isinstance(event, SpeechStarted) and self._queue:
                effects.append(Clear())
            elif isinstance(event, SpeechEnded):
                effects.append(self._answer(event.sample))
        return effects

    def _answer(self, heard_end: int) -> Play:
        """Answer such that the first voiced sample leaves the delay after what was heard last."""
        delays = self.behaviour.delays_ms
        target = heard_end + self._samples(delays[self._turn % len(delays)])
        self._turn += 1
        pad = max(0, target - len(self.mouth) // 2)
        pcm = answer_in(self.behaviour, self._turn, self.rate_hz)
        return self._say(f"answer {self._turn}", pad, pcm)

    def _say(self, name: str, pad: int, pcm: bytes) -> Play:
        self.said.append(Said(name, -1 - pad, -1))
        self._queue += bytes(2 * pad) + pcm
        return Play(bytes(2 * pad) + pcm)

    def _note_played(self, place: int, samples: int) -> None:
        last = self.said[-1]
        if last.start < 0:
            last.start = place + (-1 - last.start)
        last.end = place + samples

    def _samples(self, length_ms: float) -> int:
        return round(length_ms * self.rate_hz / 1000)


def answer_in(behaviour: Behaviour, turn: int, rate_hz: int) -> bytes:
    """The reply as it is said in a turn, from 1: whole, with a hole, or changed."""

    def place(at_ms: float) -> int:
        return 2 * round(at_ms * rate_hz / 1000)

    pcm, it = behaviour.reply, behaviour
    if turn == it.hole_in:
        at = place(it.hole_at_ms)
        return pcm[:at] + bytes(place(it.hole_ms)) + pcm[at:]
    if turn == it.changed_in:
        gone, again = place(it.missing_at_ms), place(it.repeated_at_ms + it.repeated_ms)
        return (
            pcm[:gone]
            + pcm[gone + place(it.missing_ms) : again]
            + pcm[again - place(it.repeated_ms) :]
        )
    return pcm


def hard_edged(pcm: bytes) -> bytes:
    """Speech cut to where it is loud, so that nobody can argue where it begins and ends."""
    samples = audio.to_samples(pcm)
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > np.abs(samples).max() // 4)
    return samples[loud[0] : loud[-1] + 1].tobytes() if loud.size else pcm


def streams(machine: ResponderMachine) -> NDArray[np.int16]:
    """What the responder said and heard, as one recording: shape (n, 2)."""
    mouth, ear = audio.to_samples(bytes(machine.mouth)), audio.to_samples(bytes(machine.ear))
    count = min(mouth.size, ear.size)
    return np.stack((mouth[:count], ear[:count]), axis=1)
