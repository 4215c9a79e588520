"""Calls made by hand, whose numbers are right by construction: marks, recording, what was sent.

Everything is put at a time in milliseconds on one axis, whose 0 is the dialling; what a report must
find is noted beside it with `expect`. Sounds are floats of full scale 1; the caller's two channels
stay apart until the end, so that noise, echo or a codec can be laid on either.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from callerside.marks import Mark, Source
from callerside.reports.evidence import Audio, CallEvidence, CallInfo, Said
from callerside.reports.hearing import active_level
from callerside.speech.synthesis import synthesise

Wave = NDArray[np.float64]

START_NS = 10**12
RATE_HZ = 16_000
SERVER_HZ = 24_000
RECORDED_FROM_MS = 120.0
ANSWERED_MS = 100.0
RINGING_MS = 40.0
_PACKET_MS = 20.0
_FILTER_MS = 1.5
"""By how much the caller's telephone has a sound later in its packets than at the mouth."""
_NETWORK_MS = 0.5


@dataclass(frozen=True, slots=True)
class Truth:
    """What a report must say; `value` None where it must not say a number, but why not."""

    metric: str
    value: float | None
    turn: int | None = None


@cache
def _spoken(text: str, voice: str) -> bytes:
    return synthesise(text, voice=voice, speed_wpm=160, rate_hz=SERVER_HZ)


def voice(text: str, name: str = "en-gb") -> Wave:
    """Speech at the server's rate, cut to where its edges are hard."""
    wave = np.frombuffer(_spoken(text, name), "<i2") / 32768
    loud = np.flatnonzero(np.abs(wave) > 0.02)
    return wave[loud[0] : loud[-1] + 1].copy()


@cache
def _steady(length_ms: int, seed: int) -> Wave:
    count = length_ms * SERVER_HZ // 1000
    rng = np.random.default_rng(seed)
    pulses, place = np.zeros(count), 0.0
    while place < count:
        pulses[int(place)] = 1
        wander = 120 + 15 * np.sin(2 * np.pi * 2.3 * place / SERVER_HZ) + rng.uniform(-3, 3)
        place += SERVER_HZ / wander
    hz = np.fft.rfftfreq(count, 1 / SERVER_HZ)
    formants = sum(
        share / (1 + ((hz - middle) / width) ** 2)
        for middle, width, share in ((500, 150, 1.0), (1500, 200, 0.6), (2500, 200, 0.2))
    )
    wave = np.fft.irfft(np.fft.rfft(pulses) * formants, count)
    wave = wave + 0.05 * np.std(wave) * rng.standard_normal(count)
    return np.asarray(0.1 * wave / np.sqrt(np.mean(wave**2)))


def steady(length_ms: int, seed: int = 4) -> Wave:
    """A voice without any pause: pulses through three formants, at the server's rate."""
    return _steady(length_ms, seed).copy()


def at_rate(wave: Wave, rate_hz: int = RATE_HZ) -> Wave:
    """What was at the server's rate, at the recording's."""
    return np.asarray(soxr.resample(wave, SERVER_HZ, rate_hz))


def factor(db: float) -> float:
    """Of so many dB."""
    return float(10 ** (db / 20))


def tone(hz: float, length_ms: float, dbfs: float = -14.0, rate_hz: int = RATE_HZ) -> Wave:
    """A sine with hard edges."""
    count = round(length_ms * rate_hz / 1000)
    phase = 2 * np.pi * hz * np.arange(count) / rate_hz + 0.7
    return np.asarray(factor(dbfs) * np.sqrt(2) * np.sin(phase))


def noise(count: int, dbfs: float, seed: int = 1) -> Wave:
    """White noise."""
    return np.asarray(factor(dbfs) * np.random.default_rng(seed).standard_normal(count))


def ulaw(wave: Wave) -> Wave:
    """Through G.711, near enough."""
    squeezed = np.round(np.log1p(255 * np.minimum(np.abs(wave), 1)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(wave) * np.expm1(squeezed * np.log(256)) / 255)


def pieces(wave: Wave, *spans: tuple[float, float] | float, rate_hz: int = RATE_HZ) -> Wave:
    """Parts of a sound, one after another: (from, to) in ms of it, or so many ms of silence."""
    parts = []
    for span in spans:
        if isinstance(span, tuple):
            parts.append(wave[round(span[0] * rate_hz / 1000) : round(span[1] * rate_hz / 1000)])
        else:
            parts.append(np.zeros(round(span * rate_hz / 1000)))
    return np.concatenate(parts)


END = 1e6
"""As the end of a span of `pieces`: to the sound's own end."""


class MadeCall:
    """One call in the making."""

    def __init__(self, length_s: float = 30, rate_hz: int = RATE_HZ) -> None:
        self.rate_hz = rate_hz
        self.mouth = np.zeros(round(length_s * rate_hz))
        self.ear = np.zeros(round(length_s * rate_hz))
        self.truths: list[Truth] = []
        self.length_ms = length_s * 1000
        self.says_of_the_mouth = True
        """Whether the caller's clean speech is told beside the recording."""
        self.only_the_callers_marks = False
        self.lane = "sip"
        self.uplink_ms = 5.0
        """From a packet's leaving to its append."""
        self._marks: list[tuple[float, Source, str, dict[str, Any]]] = []
        self._sent: list[Wave] = []
        self._sent_count = 0
        self._responses = 0
        self.turns = 0
        self.said: list[tuple[int, str, float, Wave]] = []
        self._heard_by_server = np.zeros(0)

    def expect(self, metric: str, value: float | None, turn: int | None = None) -> None:
        """A report must say so."""
        self.truths.append(Truth(metric, value, turn))

    def mark(self, at_ms: float, source: Source, name: str, **fields: Any) -> None:
        """A fact."""
        self._marks.append((at_ms, source, name, fields))

    def hears(self, at_ms: float, wave: Wave) -> float:
        """A sound at the ear; returns when it is over."""
        return self._put(self.ear, at_ms, wave)

    def place(self, at_ms: float) -> int:
        """The recording's sample of a moment."""
        return round((at_ms - RECORDED_FROM_MS) * self.rate_hz / 1000)

    def _put(self, channel: Wave, at_ms: float, wave: Wave) -> float:
        first = self.place(at_ms)
        wave = wave[max(0, -first) : max(0, channel.size - first)]
        first = max(0, first)
        channel[first : first + wave.size] += wave
        return at_ms + wave.size * 1000 / self.rate_hz

    def set_up(self, beep: Wave | None) -> None:
        """Dialled, answered, connected, and beeped."""
        self.mark(0, "caller", "call_dialed", uri="sip:x@127.0.0.1")
        self.mark(RINGING_MS, "caller", "call_progressed", status=180)
        self.mark(10, "agent", "call_received", called="x", caller="c", sip_call_id="1")
        self.mark(ANSWERED_MS, "caller", "call_answered", status=200)
        self.mark(50, "realtime", "session_opened", path="/", model="m", session="s", delay_ms=0.0)
        self.mark(60, "agent", "realtime_connected")
        self.mark(110, "agent", "media_ready", codec="PCMU")
        self.mark(RECORDED_FROM_MS, "caller", "recording_started", sample_rate_hz=self.rate_hz)
        if beep is not None:
            self.hears(150, beep)

    def respond(
        self,
        first_delta_ms: float,
        at_ms: float,
        wave: Wave,
        *,
        heard: Wave | None = None,
        lead_ms: float = 0.0,
        played_ms: float | None = None,
        greeting: bool = False,
        playout_ms: float | None = None,
        pace: float = 12.0,
    ) -> tuple[float, str]:
        """The server sends a sound, and `heard` is heard of it; returns when, and the item."""
        self._responses += 1
        response, item = f"resp{self._responses}", f"item{self._responses}"
        stream = np.concatenate([np.zeros(round(lead_ms * SERVER_HZ / 1000)), wave])
        self.mark(first_delta_ms - 200, "realtime", "response_created", response=response)
        delta_ms, size = first_delta_ms, 255 * SERVER_HZ // 1000
        for first in range(0, stream.size, size):
            delta = stream[first : first + size]
            self._sent.append(delta)
            self._sent_count += delta.size
            self.mark(
                delta_ms,
                "realtime",
                "delta_sent",
                response=response,
                item=item,
                samples=delta.size,
                total_samples=self._sent_count,
            )
            delta_ms += 255 / pace
        self.mark(first_delta_ms + 1, "agent", "first_delta", response=response, item=item)
        self.mark(delta_ms, "realtime", "response_done", response=response, status="completed")
        playout = at_ms - lead_ms - 15 if playout_ms is None else playout_ms
        if greeting:
            self.mark(playout, "agent", "greeting_started", origin="generated")
        self.mark(playout, "agent", "playout_started", item=item)
        end_ms = self.hears(at_ms, at_rate(wave, self.rate_hz) if heard is None else heard)
        length_ms = played_ms or wave.size * 1000 / SERVER_HZ
        self.mark(
            max(playout + length_ms, end_ms),
            "agent",
            "playout_ended",
            item=item,
            played_ms=length_ms,
        )
        if greeting:
            self.mark(playout + length_ms, "agent", "greeting_ended", played_ms=length_ms)
            states = {"from": "SENDING_GREETING", "to": "LISTENING"}
            self.mark(playout + length_ms + 1, "agent", "state_changed", **states)
        return end_ms, item

    def say(self, at_ms: float, wave: Wave, *, detected: bool = True) -> float:
        """The caller speaks; returns when it is over."""
        self.turns += 1
        at_mouth = at_rate(wave, self.rate_hz)
        end_ms = self._put(self.mouth, at_ms, at_mouth)
        self.said.append((self.turns, "x", at_ms, at_mouth))
        self.mark(at_ms - 5, "caller", "utterance_started", turn=self.turns, text="x")
        self.mark(end_ms + 30, "caller", "utterance_ended", turn=self.turns)
        if detected:
            item = f"user{self.turns}"
            self.mark(at_ms + 60, "realtime", "speech_started", item=item, audio_start_ms=0)
            self.mark(
                end_ms + 500,
                "realtime",
                "speech_stopped",
                item=item,
                audio_end_ms=0,
                last_voiced_ms=end_ms + _FILTER_MS - RECORDED_FROM_MS,
            )
            self.mark(end_ms + 500, "realtime", "committed", item=item, by="vad")
        return end_ms

    def left_ms(self, end_ms: float) -> float:
        """When the packet with the last sample before a moment at the mouth has left."""
        packet = (self.place(end_ms + _FILTER_MS) - 1) // round(_PACKET_MS * self.rate_hz / 1000)
        return RECORDED_FROM_MS + _PACKET_MS * (packet + 1)

    def turn(
        self,
        at_ms: float,
        question: Wave,
        answer: Wave,
        *,
        own_ms: float = 900.0,
        down_ms: float = 30.0,
        lead_ms: float = 0.0,
        heard: Wave | None = None,
    ) -> tuple[float, float]:
        """A question and its answer; returns when the answer is heard, and when it is over."""
        end_ms = self.say(at_ms, question)
        left_ms = self.left_ms(end_ms)
        delta_ms = left_ms + self.uplink_ms + _NETWORK_MS + own_ms - lead_ms
        ear_ms = delta_ms + 1 + down_ms + lead_ms
        over_ms, _ = self.respond(delta_ms, ear_ms, answer, heard=heard, lead_ms=lead_ms)
        turn_ms = ear_ms - left_ms
        for metric, value in (
            ("turn_ms", turn_ms),
            ("uplink_ms", self.uplink_ms),
            ("downlink_ms", down_ms),
            ("agent_overhead_ms", turn_ms - own_ms),
        ):
            self.expect(metric, value, self.turns)
        return ear_ms, over_ms

    def hang_up(self, at_ms: float) -> None:
        """The call is over; what the server heard is what the mouth says now."""
        self.mark(at_ms, "caller", "hang_up_sent", how="bye")
        self.mark(at_ms + 2, "caller", "call_ended", by="caller", status=200, reason="")
        heard = np.asarray(soxr.resample(self.mouth, self.rate_hz, SERVER_HZ))
        heard = np.concatenate([np.zeros(round(_FILTER_MS * SERVER_HZ / 1000)), heard])
        first_ms = RECORDED_FROM_MS + _PACKET_MS + self.uplink_ms
        size, count = SERVER_HZ // 50, int((at_ms - first_ms) // _PACKET_MS)
        heard = np.pad(heard, (0, max(0, count * size - heard.size)))
        self._heard_by_server = heard[: count * size]
        for number in range(count):
            append_ms = first_ms + _PACKET_MS * number
            counts = {"samples": size, "total_samples": size * (number + 1)}
            heard_ns = START_NS + round((append_ms - self.uplink_ms / 2) * 1e6)
            self.mark(append_ms, "agent", "audio_appended", **counts, heard_ns=heard_ns)
            self.mark(append_ms + _NETWORK_MS, "realtime", "audio_received", **counts)

    def evidence(self) -> CallEvidence:
        """As a report reads it."""
        marks = [
            Mark(at_ns=START_NS + round(ms * 1e6), source=source, call="c", name=name, fields=more)
            for ms, source, name, more in sorted(self._marks, key=lambda one: one[0])
            if source == "caller" or not self.only_the_callers_marks
        ]
        sent = np.concatenate(self._sent) if self._sent else np.zeros(0)
        return CallEvidence(
            info=CallInfo(name="made"),
            marks=marks,
            recording=np.stack([_int16(self.mouth), _int16(self.ear)], axis=1),
            rate_hz=self.rate_hz,
            recording_start_ns=START_NS + round(RECORDED_FROM_MS * 1e6),
            server_heard=Audio(_int16(self._heard_by_server), SERVER_HZ),
            server_sent=Audio(_int16(sent), SERVER_HZ) if sent.size else None,
            said=[*self._said()] if self.says_of_the_mouth else None,
        )

    def _said(self) -> Iterator[Said]:
        for turn, text, at_ms, wave in self.said:
            first = self.place(at_ms)
            spans = active_level.voiced(_int16(wave), self.rate_hz, pause_ms=60)
            voiced = [(first + start, first + end) for start, end in spans]
            yield Said(turn=turn, text=text, voiced=voiced)


def _int16(wave: Wave) -> NDArray[np.int16]:
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


Make = Callable[[], MadeCall]
