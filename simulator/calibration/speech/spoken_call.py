"""One call of a calibration on speech: everything in it is where it was put, to the sample.

The agent greets, 200 ms after the call is up; the caller asks; the agent answers, is talked over,
and stops in the midst of a word. What is said is laid on two silent channels, and only then meets
noise, echo, codec and packets, so that the truth is that of the clean sound. The call is made
twice: as one of our fake server, of which it is known what was sent, and as one of an agent of
which nothing is known but the recording.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

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

_START_NS = NS_PER_S
_ANSWERED_MS = 0.0
_GREETING_MS = 200.0
_ECHO_MS = 120
_DELTA_MS = 200
_FRAME = CALLER_RATE_HZ // 50
_STRETCH_MS = 60  # as the reports tell sounds apart


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
        mouth = _merged(span for one in self.said for span in one.voiced)
        ear = _merged(span for one in self.heard for span in one)
        both = sum(
            max(0, min(one[1], other[1]) - max(one[0], other[0])) for one in mouth for other in ear
        )
        return both * 1000 / CALLER_RATE_HZ

    def evidence(self, *, known: bool) -> CallEvidence:
        """The call as a report reads it; `known`: with all that our own agent and server tell."""
        marks = sorted(self._marks(known), key=lambda mark: mark.at_ns)
        sent = np.concatenate(self.sent) if known else None
        return CallEvidence(
            info=CallInfo(name="spoken", lane="virtual"),
            marks=marks,
            recording=self.recording,
            rate_hz=CALLER_RATE_HZ,
            recording_start_ns=_START_NS,
            server_sent=None if sent is None else Audio(sent, SERVER_HZ),
            said=self.said,
        )

    def _marks(self, known: bool) -> Iterator[Mark]:
        over_ms = len(self.recording) * 1000 / CALLER_RATE_HZ
        yield _mark(_ANSWERED_MS - 100, "caller", "call_dialed", uri="sip:spoken@127.0.0.1")
        yield _mark(_ANSWERED_MS, "caller", "call_answered", status=200)
        yield _mark(0, "caller", "recording_started", sample_rate_hz=CALLER_RATE_HZ)
        for turn, one in enumerate(self.said, start=1):
            onset_ms, end_ms = _ms(one.voiced[0][0]), _ms(one.voiced[-1][1])
            yield _mark(onset_ms - 5, "caller", "utterance_started", turn=turn, text="x")
            yield _mark(end_ms + 30, "caller", "utterance_ended", turn=turn)
        yield _mark(over_ms, "caller", "call_ended", by="caller", status=200, reason="")
        if known:
            yield from self._their_marks()

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


def make(
    condition: Condition, greeting: Wave, question: Wave, answer: Wave, barge: Wave, seed: str
) -> SpokenCall:
    """A call; the sounds are at the server's rate, of any level."""
    rng = random.Random(seed)
    greets, asks, answers, barges = (
        _levelled(wave, condition.level_dbfs) for wave in (greeting, question, answer, barge)
    )

    def samples(ms: float) -> int:
        return round(ms * CALLER_RATE_HZ / 1000)

    here = [_resampled(one) for one in (greets, asks, answers, barges)]
    greets_at = samples(_GREETING_MS)
    asks_at = greets_at + here[0].size + samples(rng.uniform(700, 1300))
    answers_at = asks_at + here[1].size + samples(rng.uniform(500, 1500))
    barges_at = answers_at + round(here[2].size * rng.uniform(0.3, 0.7))
    cut = min(answers_at + here[2].size, barges_at + samples(rng.uniform(120, 600)))
    count = barges_at + here[3].size + samples(1500)
    mouth, ear = np.zeros(count), np.zeros(count)
    sounding = []
    for wave, source, at, past in (
        (here[0], greets, greets_at, count), (here[2], answers, answers_at, cut)
    ):  # fmt: skip
        size = min(wave.size, past - at)
        ear[at : at + size] += wave[:size]
        sounding.append(_sounding(source, at, at + size, count))
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
    )


def _sounding(source: Wave, at: int, past: int, count: int) -> Wave:
    """Where the recording has what is part of a sound, by its source at the source's own rate.

    At another rate a single peak more or less is high enough, and an end lies elsewhere by it.
    """
    places = active_level.loud(_int16(source), SERVER_HZ) * CALLER_RATE_HZ / SERVER_HZ
    found = at + np.rint(places).astype(np.int64)
    flags = np.zeros(count)
    flags[found[found < past]] = 1
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
    noisy = [
        one + noise(condition, one.size, f"{seed}/{number}") for number, one in enumerate(both)
    ]
    return noisy[0], coded(noisy[1], condition.codec)


def _levelled(wave: Wave, dbfs: float) -> Wave:
    level_dbfs = active_level.active_level_dbfs(_int16(wave), SERVER_HZ)
    if level_dbfs is None:
        raise ValueError("a sound without any sound")
    return np.asarray(np.clip(wave * 10 ** ((dbfs - level_dbfs) / 20), -1, 0.99997))


def _resampled(wave: Wave) -> Wave:
    return np.asarray(soxr.resample(wave, SERVER_HZ, CALLER_RATE_HZ))


def _merged(spans: Iterator[Span]) -> list[Span]:
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
