"""The responder: answers a call in a way that is known to the sample, to calibrate the harness.

It beeps and greets when an agent does, and answers what it hears after delays, all exactly known,
since it counts samples of its own media clock and reads no other. One answer has a hole in it,
leaves a piece of its source out, and plays another twice; an answer that is talked over stops; one
turn has two, as if the second had waited for a function. What
it said and heard is kept, so that `calibration.calibrate` can find afterwards what the caller
should have measured.
"""

from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from callerside import audio
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallProgressed,
    CallReceived,
    DtmfReceived,
    FramePlayed,
    HungUp,
    LegInput,
    MediaHeld,
    MediaReady,
    MediaSource,
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
    TransferProgressed,
    TransferRequested,
)
from callerside.clock import NS_PER_S
from callerside.reports.hearing.detector import SpeechAndToneDetector, SpeechEnded, SpeechStarted

HEARD_END_MS = 200
"""How long it must be silent before the responder takes it for the end; its delays are longer."""
AFTER_FUNCTION = "answer after a function"
"""What the second answer of a turn is called."""
_AHEAD_MS = 60  # of its beginning is queued what follows another sound


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What the responder does."""

    reply: bytes
    """The greeting, and the source of every answer: PCM at the leg's rate, loud at both ends."""
    answer_after_ms: float = 120
    """From the INVITE to the 200 OK."""
    beep_hz: float = 440
    beep_length_ms: float = 400
    greet_after_ms: float = 500
    """From the beep's beginning, which is that of the media."""
    delays_ms: tuple[float, ...] = (430, 1217, 538)
    """From the caller's last voiced sample to the answer's first, turn by turn; one of them is the
    longest silence of the call."""
    heard_end_ms: int = HEARD_END_MS
    """See there."""
    faulty: int = 1
    """Which answer is not as its source: it has a hole, lacks a piece, and has another twice; 0:
    none."""
    hole_at_ms: float = 700
    """In the source, as all of its places."""
    hole_ms: float = 60
    left_out_at_ms: float = 1100
    left_out_ms: float = 120
    twice_until_ms: float = 1900
    twice_ms: float = 80

    with_function: int = 4
    """Which turn is answered twice: by a sentence, and by what has waited for a function."""
    function_wait_ms: float = 900
    """Silence between the two; not the longest of the call."""

    def faulty_reply(self, rate_hz: int) -> bytes:
        """The faulty answer as it is played."""

        def at(place_ms: float) -> int:
            return 2 * round(place_ms * rate_hz / 1000)

        source = self.reply
        hole, twice = at(self.hole_at_ms), at(self.twice_until_ms)
        left_out = at(self.left_out_at_ms)
        return b"".join(
            (
                source[:hole],
                bytes(at(self.hole_ms)),
                source[hole:left_out],
                source[left_out + at(self.left_out_ms) : twice],
                source[twice - at(self.twice_ms) :],
            )
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """Take the call, after a while."""

    after_ms: float


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
    started_ns: int | None = None
    """When sample 0 of both streams was at the media clock: the earliest that any frame shows."""

    def __post_init__(self) -> None:
        self._detector = SpeechAndToneDetector(
            self.rate_hz, hangover_ms=self.behaviour.heard_end_ms
        )
        self._queue = bytearray()
        self._beep_is_due = False
        self._later: tuple[str, int] | None = None
        """What follows another sound, and where it begins in the mouth's stream."""
        self._turn = 0

    def handle(self, given: LegInput, now_ns: int) -> list[Effect]:
        """Take one input of the leg."""
        match given:
            case CallReceived():
                self.received_ns = now_ns
                return [Answer(self.behaviour.answer_after_ms)]
            case MediaReady():
                self._beep_is_due = not self.said
            case FramePlayed():
                return self._played(given)
            case AudioReceived():
                return self._heard(given)
            case PlayoutCleared():
                self._queue.clear()
                self._later = None
            case (
                CallProgressed() | CallAnswered() | MediaHeld() | PlayoutOverflowed()
                | DtmfReceived() | TransferRequested() | TransferProgressed() | RtpMeasured()
                | HungUp() | MediaSource()
            ):  # fmt: skip
                pass  # it answers to what it hears alone
            case unknown:
                assert_never(unknown)
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
        if self._beep_is_due:
            self._beep_is_due = False
            beep = audio.tone(self.behaviour.beep_hz, self.behaviour.beep_length_ms, self.rate_hz)
            begins = len(self.mouth) // 2
            self._later = "greeting", begins + self._samples(self.behaviour.greet_after_ms)
            return [self._say("beep", begins, beep)]
        if self._later is not None and place >= self._later[1] - self._samples(_AHEAD_MS):
            (name, at), self._later = self._later, None
            return [self._say(name, at, self.behaviour.reply)]
        return []

    def _heard(self, frame: AudioReceived) -> list[Effect]:
        self.ear += frame.pcm
        self.heard_ns.append(frame.at_ns)
        effects: list[Effect] = []
        for event in self._detector.feed(frame.pcm):
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
        faulty = self._turn == self.behaviour.faulty
        pcm = self.behaviour.faulty_reply(self.rate_hz) if faulty else self.behaviour.reply
        if self._turn == self.behaviour.with_function:
            ends = max(target, len(self.mouth) // 2) + len(pcm) // 2
            self._later = AFTER_FUNCTION, ends + self._samples(self.behaviour.function_wait_ms)
        return self._say(f"answer {self._turn}", target, pcm)

    def _say(self, name: str, target: int, pcm: bytes) -> Play:
        """Queue a sound such that it begins at a sample of the mouth's stream."""
        pad = max(0, target - len(self.mouth) // 2)
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
