"""One call of a calibration on speech: everything in it is where it was put, to the sample.

The agent greets, 200 ms after the call is up, or after a beep; a piece of the greeting may be
silent, left out, or come twice. The caller asks; the agent answers, is talked over, stops in the
midst of a word, and may be wrong about how much of the answer was heard. What is
said is laid on two silent channels, and only then meets noise, echo, codec and packets, so that the
truth is that of the clean sound. The call is made in three ways, as one of each `Ear`.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from callerside import audio
from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.marks import Mark, Source
from callerside.reports.evidence import Audio, CallEvidence, CallInfo, Said
from callerside.reports.hearing import active_level
from callerside.reports.hearing.detector import PAUSE_MS
from callerside.simulator.calibration.speech.conditions import Condition, Packets, coded, noise
from callerside.simulator.calibration.speech.utterances import RATE_HZ as SERVER_HZ
from callerside.simulator.caller.recorder import CALLER_RATE_HZ

Wave = NDArray[np.float64]
Span = tuple[int, int]
Ear = Literal["known", "sent", "unknown"]
"""Our own agent on our fake server; any agent on it, of which is known what the server sent it, and
nothing that it says itself; any other agent: the recording alone."""

_START_NS = NS_PER_S
_ANSWERED_MS = 0.0
_GREETING_MS = 200.0
_ECHO_MS = 120
_DELTA_MS = 200
_FRAME = CALLER_RATE_HZ // 50
_STRETCH_MS = 60  # as the reports tell sounds apart
_BEEP_MS, _BEEP_AT_MS, _BEEP_HZ = 400.0, 100.0, 440.0
_FAULTS_MS = (37, 60, 120, 255)
_UNTRUTHS_MS = (0, 100, -100)
"""By how much a truncation is beside what was played."""
_ALIKE_DB = 20.0  # below the active level what is lost of a sound is no fault that anybody hears


Fault = Literal["", "hole", "muted", "left out", "twice"]


class Piece(NamedTuple):
    """Of a sound, from one sample to before another, heard so many after the sound's beginning."""

    first: int
    past: int
    at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeting:
    """How the greeting comes."""

    beep: bool = False
    fault: Fault = ""
    length_ms: int = 0


@dataclass(kw_only=True)
class SpokenCall:
    """The call, and what is true of it; samples are those of the recording."""

    condition: Condition
    recording: NDArray[np.int16]
    said: list[Said]
    """What the caller said, as it is known."""
    heard: list[list[Span]]
    """Of the greeting and of the answer: the stretches that were heard."""
    sent: list[NDArray[np.int16]]
    """What the server sent of each, at its rate."""
    mouth: NDArray[np.int16]
    """What the caller said, at its place, before it met the line."""
    at: list[int] = field(default_factory=list)
    """Where each was put."""
    cut: int = 0
    """Where the agent stopped."""
    greeting: Greeting
    told_ms: float
    """How much of the answer the server is told was heard."""
    heard_between_ms: tuple[float, float]
    """How much was: from its last sample of sound that was played to the next one that was not."""
    agent_level_dbfs: float
    """Active level of what the agent said, without anything else."""
    clean: Wave
    """What the agent said, at its place, before it met the line,"""
    noise: Wave
    """and the noise that it met there."""

    def at_ns(self, sample: int) -> int:
        """When a sample of the recording was heard, on the clock of the marks."""
        return _START_NS + round(sample * NS_PER_S / CALLER_RATE_HZ)

    @property
    def turn_ms(self) -> float:
        """From when the packet with the end of the question leaves to its answer."""
        left = -(-self.said[0].voiced[-1][1] // _FRAME) * _FRAME
        return (self.heard[1][0][0] - left) * 1000 / CALLER_RATE_HZ

    @property
    def stop_ms(self) -> float:
        """From the onset of the interruption to the last that was heard of the answer."""
        return (self.heard[1][-1][1] - self.said[1].voiced[0][0]) * 1000 / CALLER_RATE_HZ

    @property
    def talk_over_ms(self) -> float:
        """How long both spoke, pauses of an utterance included."""
        return both_ms(
            (span for one in self.said for span in one.voiced),
            (span for one in self.heard for span in one),
        )

    @property
    def others(self) -> Iterator[tuple[str, int | None, float]]:
        """Every other metric that has a truth here: its name, its turn, and what is true."""
        yield "greeting_ms", None, _ms(self.heard[0][0][0])
        if self.greeting.beep:
            yield "beep_ms", None, _BEEP_AT_MS
            yield "beep_length_ms", None, _BEEP_MS
            yield "beep_hz", None, _BEEP_HZ
        if not (self.condition.loss or self.condition.late):
            fault, of_ms = self.greeting.fault, self.greeting.length_ms
            yield "gap_ms", None, of_ms if fault in ("hole", "muted") else 0
            yield "missing_ms", None, of_ms if fault == "left out" else 0
            yield "repeated_ms", None, of_ms if fault == "twice" else 0
        low_ms, high_ms = self.heard_between_ms
        yield "heard_error_ms", None, self.told_ms - min(max(self.told_ms, low_ms), high_ms)
        yield "false_stops", None, 0
        yield "dead_air_ms", None, self._dead_air_ms
        yield "agent_level_dbfs", None, self.agent_level_dbfs
        if self.condition.echo_db is not None:
            yield "echo_return_loss_db", None, -self.condition.echo_db
            yield "echo_delay_ms", None, _ECHO_MS

    @property
    def _dead_air_ms(self) -> float:
        """The longest time in which nobody spoke, from the 200 OK to the end."""
        beep = [(_BEEP_AT_MS, _BEEP_AT_MS + _BEEP_MS)] if self.greeting.beep else []
        voiced = [span for one in self.said for span in one.voiced]
        heard = [span for one in self.heard for span in one]
        spans = [*beep, *((_ms(first), _ms(past)) for first, past in (*voiced, *heard))]
        longest_ms, since_ms = 0.0, _ANSWERED_MS
        for first_ms, past_ms in [*sorted(spans), (_ms(len(self.recording)), 0.0)]:
            longest_ms = max(longest_ms, first_ms - since_ms)
            since_ms = max(since_ms, past_ms)
        return longest_ms

    def evidence(self, ear: Ear) -> CallEvidence:
        """The call as a report reads it who knows so much of it."""
        marks = sorted(self._marks(ear), key=lambda mark: mark.at_ns)
        sent = None if ear == "unknown" else np.concatenate(self.sent)
        return CallEvidence(
            info=CallInfo(name="spoken", lane="virtual"),
            marks=marks,
            recording=self.recording,
            rate_hz=CALLER_RATE_HZ,
            recording_start_ns=_START_NS,
            server_sent=None if sent is None else Audio(sent, SERVER_HZ),
            said=self.said,
        )

    def _marks(self, ear: Ear) -> Iterator[Mark]:
        over_ms = len(self.recording) * 1000 / CALLER_RATE_HZ
        yield _mark(_ANSWERED_MS - 100, "caller", "call_dialed", uri="sip:spoken@127.0.0.1")
        yield _mark(_ANSWERED_MS, "caller", "call_answered", status=200)
        yield _mark(0, "caller", "recording_started", sample_rate_hz=CALLER_RATE_HZ)
        for turn, one in enumerate(self.said, start=1):
            onset_ms, end_ms = _ms(one.voiced[0][0]), _ms(one.voiced[-1][1])
            yield _mark(onset_ms - 5, "caller", "utterance_started", turn=turn, text="x")
            yield _mark(end_ms + 30, "caller", "utterance_ended", turn=turn)
        yield _mark(over_ms, "caller", "call_ended", by="caller", status=200, reason="")
        if ear != "unknown":
            told_by = ("realtime", "agent") if ear == "known" else ("realtime",)
            yield from (mark for mark in self._their_marks() if mark.source in told_by)

    def _their_marks(self) -> Iterator[Mark]:
        yield _mark(-90, "agent", "call_received", called="x", caller="c", sip_call_id="1")
        yield _mark(-50, "realtime", "session_opened", path="/", model="m", session="s", delay_ms=0)
        for one in self.said:
            onset_ms = _ms(one.voiced[0][0])
            yield _mark(onset_ms + 60, "realtime", "speech_started", item="u", audio_start_ms=0)
        total = 0
        for number, (sent, at) in enumerate(zip(self.sent, self.at, strict=True)):
            names: dict[str, Any] = {"response": f"r{number}", "item": f"i{number}"}
            at_ms = _ms(at)
            for first in range(0, sent.size, size := SERVER_HZ * _DELTA_MS // 1000):
                count = min(size, sent.size - first)
                total += count
                yield _mark(
                    at_ms - 30 + first / size * 15,
                    "realtime", "delta_sent", **names, samples=count, total_samples=total,
                )  # fmt: skip
            yield _mark(at_ms - 25, "agent", "first_delta", **names)
            if number == 0:
                yield _mark(at_ms - 15, "agent", "greeting_started", origin="generated")
            yield _mark(at_ms - 15, "agent", "playout_started", item=names["item"])
            ended_ms = at_ms + sent.size * 1000 / SERVER_HZ
            if number == 0:
                yield _mark(ended_ms, "agent", "playout_ended", item=names["item"], played_ms=1)
            else:
                played_ms = _ms(self.cut) - at_ms
                yield _mark(
                    _ms(self.cut), "agent", "playout_cleared",
                    item=names["item"], played_ms=played_ms, dropped_ms=ended_ms - _ms(self.cut),
                )  # fmt: skip
                yield _mark(
                    _ms(self.cut), "agent", "truncate_sent",
                    item=names["item"], audio_end_ms=self.told_ms,
                )  # fmt: skip


def both_ms(mouth: Iterable[Span], ear: Iterable[Span]) -> float:
    """How long two speak at once, pauses of an utterance included; spans at the caller's rate."""
    here, there = _merged(mouth), _merged(ear)
    both = sum(
        max(0, min(one[1], other[1]) - max(one[0], other[0])) for one in here for other in there
    )
    return both * 1000 / CALLER_RATE_HZ


def make(
    condition: Condition, greeting: Wave, question: Wave, answer: Wave, barge: Wave, seed: str
) -> SpokenCall:
    """A call; the sounds are at the server's rate, of any level."""
    rng = random.Random(seed)
    greets, asks, answers, barges = (
        levelled(wave, condition.level_dbfs) for wave in (greeting, question, answer, barge)
    )

    def samples(ms: float) -> int:
        return round(ms * CALLER_RATE_HZ / 1000)

    here = [_resampled(one) for one in (greets, asks, answers, barges)]
    begins = random.Random(f"{seed}/greeting")
    greeted, pieces = _greeting(here[0], condition.level_dbfs, begins)
    greets_at = samples(_GREETING_MS)
    if greeted.beep:
        greets_at += samples(_BEEP_AT_MS + _BEEP_MS)
    lasts = max(piece.at + piece.past - piece.first for piece in pieces)
    asks_at = greets_at + lasts + samples(rng.uniform(700, 1300))
    answers_at = asks_at + here[1].size + samples(rng.uniform(500, 1500))
    barges_at = answers_at + round(here[2].size * rng.uniform(0.3, 0.7))
    cut = min(answers_at + here[2].size, barges_at + samples(rng.uniform(120, 600)))
    count = barges_at + here[3].size + samples(1500)
    mouth, ear = np.zeros(count), np.zeros(count)
    sounding = []
    whole = [Piece(0, cut - answers_at, 0)]
    for wave, source, at, parts in (
        (here[0], greets, greets_at, pieces), (here[2], answers, answers_at, whole)
    ):  # fmt: skip
        for first, past, later in parts:
            ear[at + later : at + later + past - first] += wave[first:past]
        sounding.append(_sounding(source, at, parts, count))
    clean = ear.copy()
    agent_level_dbfs = active_level.active_level_dbfs(_int16(clean), CALLER_RATE_HZ)
    if greeted.beep:
        first = samples(_BEEP_AT_MS)
        beep = np.sin(2 * np.pi * _BEEP_HZ * np.arange(samples(_BEEP_MS)) / CALLER_RATE_HZ)
        ear[first : first + beep.size] += np.sqrt(2) * 10 ** (condition.level_dbfs / 20) * beep
    said = []
    for turn, (wave, at) in enumerate(((here[1], asks_at), (here[3], barges_at)), start=1):
        mouth[at : at + wave.size] += wave
        spans = active_level.voiced(_int16(wave), CALLER_RATE_HZ, pause_ms=_STRETCH_MS)
        said.append(Said(turn=turn, text="x", voiced=[(at + a, at + b) for a, b in spans]))
    packets = Packets(condition, count, seed)
    at_mouth, at_ear = _line(condition, mouth, ear, seed)
    pause = samples(_STRETCH_MS)
    heard = [
        active_level.without_pauses(np.flatnonzero(packets.carry(one)), pause) for one in sounding
    ]
    return SpokenCall(
        condition=condition,
        recording=np.stack([_int16(at_mouth), _int16(packets.carry(at_ear))], axis=1),
        said=said,
        heard=heard,
        sent=[_int16(greets), _int16(answers)],
        mouth=_int16(mouth),
        at=[greets_at, answers_at],
        cut=cut,
        greeting=greeted,
        told_ms=max(0.0, _ms(cut - answers_at) + begins.choice(_UNTRUTHS_MS)),
        heard_between_ms=_between_ms(answers, _ms(cut - answers_at)),
        agent_level_dbfs=agent_level_dbfs or 0.0,
        clean=clean,
        noise=_noise(condition, count, seed, 1),
    )


def _greeting(wave: Wave, level_dbfs: float, rng: random.Random) -> tuple[Greeting, list[Piece]]:
    """How the greeting comes, and the pieces in which it is heard."""
    beep = rng.random() < 1 / 3
    faults: tuple[Fault, ...] = ("", "", "hole", "muted", "left out", "twice")
    fault = rng.choice(faults)
    length_ms = rng.choice(_FAULTS_MS)
    count = length_ms * CALLER_RATE_HZ // 1000
    for _ in range(50 if fault else 0):
        at = rng.randrange(max(1, wave.size))
        lost = wave[at - count : at] if fault == "twice" else wave[at : at + count]
        if fault == "hole" or (lost.size == count and _quietest(lost) > level_dbfs - _ALIKE_DB):
            resumes, later = {
                "hole": (at, at + count),
                "muted": (at + count, at + count),
                "left out": (at + count, at),
            }.get(fault, (at - count, at))
            pieces = [Piece(0, at, 0), Piece(resumes, wave.size, later)]
            return Greeting(beep=beep, fault=fault, length_ms=length_ms), pieces
    return Greeting(beep=beep), [Piece(0, wave.size, 0)]


def _quietest(wave: Wave) -> float:
    """The level of the quietest 10 ms, in dB against full scale."""
    size = CALLER_RATE_HZ // 100
    rows = wave[: wave.size // size * size].reshape(-1, size)
    return float(10 * np.log10(np.square(rows).mean(axis=1).min() + 1e-12))


def _between_ms(source: Wave, played_ms: float) -> tuple[float, float]:
    """From the last sample of sound that was played to the next one that was not."""
    loud = active_level.loud(_int16(source), SERVER_HZ)
    played = played_ms * SERVER_HZ / 1000
    before, after = loud[loud < played], loud[loud >= played]
    low = int(before[-1]) + 1 if before.size else 0
    high = int(after[0]) if after.size else source.size
    return low * 1000 / SERVER_HZ, high * 1000 / SERVER_HZ


def _sounding(source: Wave, at: int, pieces: Sequence[Piece], count: int) -> Wave:
    """Where the recording has what is part of a sound, by its source at the source's own rate.

    At another rate a single peak more or less is high enough, and an end lies elsewhere by it.
    """
    places = active_level.loud(_int16(source), SERVER_HZ) * CALLER_RATE_HZ / SERVER_HZ
    found = np.rint(places).astype(np.int64)
    flags = np.zeros(count)
    for first, past, later in pieces:
        heard = found[(found >= first) & (found < past)]
        flags[at + later + heard - first] = 1
    return flags


def _line(condition: Condition, mouth: Wave, ear: Wave, seed: str) -> tuple[Wave, Wave]:
    """Both channels with echo, noise and codec; what the caller says meets no codec of its own."""
    late = _ECHO_MS * CALLER_RATE_HZ // 1000
    both = [mouth, ear]
    if condition.echo_db is not None:
        gain = 10 ** (condition.echo_db / 20)
        both = [
            one + gain * np.pad(other, (late, 0))[: one.size]
            for one, other in ((mouth, ear), (ear, mouth))
        ]
    noisy = [one + _noise(condition, one.size, seed, number) for number, one in enumerate(both)]
    return noisy[0], coded(noisy[1], condition.codec)


def _noise(condition: Condition, count: int, seed: str, channel: int) -> Wave:
    return noise(condition, count, f"{seed}/{channel}")


def levelled(wave: Wave, dbfs: float) -> Wave:
    """A sound at the server's rate, as loud as its active level (ITU-T P.56) is to be."""
    level_dbfs = active_level.active_level_dbfs(_int16(wave), SERVER_HZ)
    if level_dbfs is None:
        raise ValueError("a sound without any sound")
    return np.asarray(np.clip(wave * 10 ** ((dbfs - level_dbfs) / 20), -1, 0.99997))


def _resampled(wave: Wave) -> Wave:
    return np.asarray(soxr.resample(wave, SERVER_HZ, CALLER_RATE_HZ))


def _merged(spans: Iterable[Span]) -> list[Span]:
    pause = PAUSE_MS * CALLER_RATE_HZ // 1000
    merged: list[Span] = []
    for first, past in sorted(spans):
        if merged and first - merged[-1][1] <= pause:
            merged[-1] = merged[-1][0], max(past, merged[-1][1])
        else:
            merged.append((first, past))
    return merged


def _int16(wave: Wave) -> NDArray[np.int16]:
    return audio.to_samples(audio.to_bytes(wave * 32768))


def _ms(sample: int) -> float:
    return sample * 1000 / CALLER_RATE_HZ


def _mark(at_ms: float, source: Source, name: str, **fields: Any) -> Mark:
    at_ns = _START_NS + round(at_ms * NS_PER_MS)
    return Mark(at_ns=at_ns, source=source, call="spoken", name=name, fields=fields)
