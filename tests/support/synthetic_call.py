"""Calls whose truth is known: marks and recordings made up from what a report should find."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import soxr
from declared import assert_declared
from numpy.typing import NDArray

from callerside import audio
from callerside.marks import Mark, Source
from callerside.reports.evidence import Audio, CallEvidence, CallInfo, Said

RATE_HZ = 8000
SERVER_HZ = 24_000
START_NS = 5_000_000_000_000
MS = 1_000_000
IN_ITS_FRAME_MS = 2
"""What the caller says ends so long before its last packet leaves."""
LEAD_MS = 20
"""Every answer begins with this much silence, as the server sends it."""


def speech(length_ms: float, seed: int, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """Something like speech: a buzz with wandering pitch and syllables, loud at both ends."""
    return _speech(length_ms, seed, rate_hz).copy()


@lru_cache(256)  # the same few are in hundreds of calls
def _speech(length_ms: float, seed: int, rate_hz: int) -> NDArray[np.int16]:
    rng = np.random.default_rng(seed)
    count = round(length_ms * rate_hz / 1000)
    t = np.arange(count) / rate_hz
    pitch = 120 + 25 * np.sin(2 * np.pi * 1.3 * t + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    wave = sum(np.sin(k * phase + rng.uniform(0, 6)) / (1 + abs(k - 5)) for k in range(1, 25))
    syllables = 0.55 + 0.45 * np.cos(2 * np.pi * 4 * t)
    noise = rng.normal(0, 0.05, count)
    loud = 3500 * (wave * syllables + noise)
    loud[:3] = loud[-3:] = 4000
    return np.clip(loud, -32000, 32000).astype(np.int16)


@dataclass
class TurnTruth:
    """One turn, as it is to be."""

    says_ms: float = 1200
    answer_length_ms: float = 1500
    uplink_ms: float = 12
    vad_ms: float = 500
    think_ms: float = 300
    downlink_ms: float = 15
    pause_before_ms: float = 700
    barge_in_after_ms: float | None = None
    """The caller begins this long after the previous answer's onset, instead of after its end."""
    stop_ms: float = 120
    """How long after that the agent falls silent."""


@dataclass
class SyntheticCall:
    """Builds the evidence of a call.

    `mouth` and `ear` are written in absolute milliseconds since the dialling.
    """

    turns: list[TurnTruth] = field(default_factory=lambda: [TurnTruth(), TurnTruth()])
    name: str = "synthetic"
    answer_ms: float = 30
    beep_ms: float = 120
    beep_hz: float = 440
    beep_length_ms: float = 400
    greeting_ms: float = 640
    greeting_length_ms: float = 1100
    greeting_origin: str = "cache"
    server: bool = True
    traced: bool = True
    said: bool = True
    """Whether it is known to the sample what the caller said, as it is of every call of ours."""
    noise_dbfs: float | None = None
    seed: int = 1
    info: dict[str, Any] = field(default_factory=dict)

    def build(self) -> CallEvidence:
        """The evidence."""
        self.marks: list[Mark] = []
        self._pieces: list[tuple[int, float, NDArray[np.int16]]] = []
        self._cuts: list[tuple[float, float]] = []
        self._sent = [np.zeros(0, np.int16)]
        self._said: list[Said] = []
        answered = self._set_up()
        end_ms = self._greeting(answered)
        last_onset = answered + self.greeting_ms
        for number, truth in enumerate(self.turns, start=1):
            last_onset, end_ms = self._turn(number, truth, last_onset, end_ms)
        self._mark(end_ms + 300, "caller", "hang_up_sent", how="bye")
        self._mark(end_ms + 310, "agent", "call_ended", by="caller", status=200, reason="")
        self._mark(end_ms + 320, "caller", "call_ended", by="caller", status=200, reason="")
        recording = self._record(answered, end_ms + 400)
        heard = self._server_heard(recording, answered) if self.server else None
        self.marks.sort(key=lambda mark: mark.at_ns)
        return CallEvidence(
            info=CallInfo(name=self.name, **self.info),
            marks=self.marks,
            recording=recording,
            rate_hz=RATE_HZ,
            recording_start_ns=_at(answered),
            server_heard=heard,
            server_sent=Audio(np.concatenate(self._sent), SERVER_HZ) if self.server else None,
            said=self._said if self.said else None,
        )

    def _set_up(self) -> float:
        answered = self.answer_ms
        self._mark(0, "caller", "call_dialed", uri="sip:synthetic@127.0.0.1")
        self._mark(8, "agent", "call_received", called="synthetic", caller="c", sip_call_id="x")
        for at_ms, before, after in (
            (8, "CALL_RECEIVED", "ANSWERING_CALL"),
            (10, "ANSWERING_CALL", "CONNECTING_OPENAI"),
            (40, "CONNECTING_OPENAI", "MEDIA_READY"),
        ):
            self._mark(at_ms, "agent", "state_changed", **{"from": before, "to": after})
        self._mark(answered, "caller", "call_answered", status=200)
        self._mark(answered, "caller", "recording_started", sample_rate_hz=RATE_HZ)
        self._mark(28, "agent", "realtime_connected")
        self._mark(40, "agent", "media_ready", codec="PCMU")
        beep = audio.to_samples(audio.tone(self.beep_hz, self.beep_length_ms, RATE_HZ))
        self._sound(1, answered + self.beep_ms, beep)
        return answered

    def _greeting(self, answered: float) -> float:
        onset = answered + self.greeting_ms
        self._mark(onset - 10, "agent", "greeting_started", origin=self.greeting_origin)
        self._sound(1, onset, speech(self.greeting_length_ms, self.seed))
        end = onset + self.greeting_length_ms
        self._mark(
            end, "agent", "greeting_ended", played_ms=self.greeting_length_ms, interrupted=False
        )
        states = {"from": "SENDING_GREETING", "to": "LISTENING"}
        self._mark(end + 1, "agent", "state_changed", **states)
        return end

    def _turn(
        self, number: int, truth: TurnTruth, last_onset: float, end_ms: float
    ) -> tuple[float, float]:
        barge_in = truth.barge_in_after_ms is not None
        start = (
            last_onset + (truth.barge_in_after_ms or 0)
            if barge_in
            else end_ms + truth.pause_before_ms
        )
        left = self._frame_end(start + truth.says_ms + IN_ITS_FRAME_MS)
        end = left - IN_ITS_FRAME_MS
        start = end - truth.says_ms
        self._mark(
            start - 5, "caller", "utterance_started", turn=number, text=f"utterance {number}"
        )
        self._mark(end + 5, "caller", "utterance_ended", turn=number)
        wave = speech(truth.says_ms, self.seed + 100 * number)
        self._sound(0, start, wave)
        first = round((start - self.answer_ms) * RATE_HZ / 1000)
        self._said.append(
            Said(turn=number, text=f"utterance {number}", voiced=[(first, first + wave.size)])
        )
        item = f"item_{number}"
        self._mark(
            start + 60, "realtime", "speech_started", item=f"user_{number}", audio_start_ms=0
        )
        if barge_in:
            self._barge_in(number, start, truth, last_onset)
        received = left + truth.uplink_ms
        stopped = received + truth.vad_ms
        sent = stopped + truth.think_ms
        response = f"resp_{number}"
        heard_ms = (end - self.answer_ms) - 0.0
        self._mark(
            stopped,
            "realtime",
            "speech_stopped",
            item=f"user_{number}",
            audio_end_ms=0,
            last_voiced_ms=heard_ms,
        )
        self._mark(stopped + 1, "realtime", "committed", item=f"user_{number}", by="vad")
        self._mark(stopped + 2, "realtime", "response_created", response=response)
        self._send(sent, response, item, truth, number)
        self._mark(sent + 3, "agent", "first_delta", response=response, item=item)
        self._mark(sent + 6, "agent", "playout_started", item=item)
        onset = sent + LEAD_MS + truth.downlink_ms
        self._sound(1, onset, speech(truth.answer_length_ms, self.seed + 1000 * number))
        return onset, onset + truth.answer_length_ms

    def _frame_end(self, at_ms: float) -> float:
        """The next end of a frame: when its packet leaves."""
        return self.answer_ms + 20 * math.ceil((at_ms - self.answer_ms) / 20)

    def _barge_in(self, number: int, start: float, truth: TurnTruth, last_onset: float) -> None:
        stop = start + truth.stop_ms
        self._cuts.append((stop, stop + 60_000))
        heard = stop - last_onset
        item = f"item_{number - 1}"
        self._mark(stop - 5, "agent", "playout_cleared", item=item, played_ms=heard, dropped_ms=500)
        self._mark(stop, "agent", "truncate_sent", item=item, audio_end_ms=round(heard) + LEAD_MS)

    def _send(self, at_ms: float, response: str, item: str, truth: TurnTruth, number: int) -> None:
        if not self.server:
            return
        wave = speech(truth.answer_length_ms, self.seed + 1000 * number).astype(np.float32)
        full = soxr.resample(wave, RATE_HZ, SERVER_HZ).astype(np.int16)
        lead = np.zeros(LEAD_MS * SERVER_HZ // 1000, np.int16)
        stream = np.concatenate((lead, full))
        step = SERVER_HZ // 4
        for index in range(0, stream.size, step):
            delta = stream[index : index + step]
            self._sent.append(delta)
            self._mark(
                at_ms + index / step * 20,
                "realtime",
                "delta_sent",
                response=response,
                item=item,
                samples=delta.size,
                total_samples=sum(map(len, self._sent)),
            )

    def _server_heard(self, recording: NDArray[np.int16], answered: float) -> Audio:
        """The mouth at 24 kHz, in appends of 20 ms; how late follows the turn that it is in."""
        mouth = recording[:, 0].astype(np.float32)
        heard = np.clip(soxr.resample(mouth, RATE_HZ, SERVER_HZ), -32768, 32767).astype(np.int16)
        uplinks = self._uplinks(answered)
        step = SERVER_HZ // 50
        for total in range(step, heard.size + 1, step):
            end_ms = answered + total * 1000 / SERVER_HZ
            late = next((ms for until, ms in uplinks if end_ms <= until), self.turns[-1].uplink_ms)
            # The append's last sample is voiced at end_ms; the truth holds for that sample.
            self._mark(
                end_ms + late,
                "realtime",
                "audio_received",
                samples=step,
                total_samples=total,
            )
            if self.traced:
                self._mark(
                    end_ms + late - 2,
                    "agent",
                    "audio_appended",
                    samples=step,
                    total_samples=total,
                    heard_ns=_at(end_ms + late - 4),
                )
        return Audio(heard, SERVER_HZ)

    def _uplinks(self, answered: float) -> list[tuple[float, float]]:
        ends = [m.at_ns for m in self.marks if m.name == "utterance_ended"]
        return [
            ((at_ns - START_NS) / MS + 300, truth.uplink_ms)
            for at_ns, truth in zip(ends, self.turns, strict=True)
        ]

    def _record(self, answered: float, end_ms: float) -> NDArray[np.int16]:
        count = round((end_ms - answered) * RATE_HZ / 1000)
        wide = np.zeros((count, 2))
        for channel, at_ms, wave in self._pieces:
            start = round((at_ms - answered) * RATE_HZ / 1000)
            end = min(count, start + wave.size)
            for cut, until in self._cuts:
                cut_at = round((cut - answered) * RATE_HZ / 1000)
                if channel == 1 and start < cut_at < end and at_ms < cut < until:
                    end = cut_at
            wide[start:end, channel] += wave[: end - start]
        if self.noise_dbfs is not None:
            rng = np.random.default_rng(self.seed)
            wide += rng.normal(0, 32768 * 10 ** (self.noise_dbfs / 20), wide.shape)
        return np.clip(np.rint(wide), -32768, 32767).astype(np.int16)

    def _sound(self, channel: int, at_ms: float, wave: NDArray[np.int16]) -> None:
        self._pieces.append((channel, at_ms, wave))

    def _mark(self, at_ms: float, source: Source, name: str, **fields: Any) -> None:
        if source == "realtime" and not self.server:
            return
        assert_declared(source, name, fields)
        self.marks.append(
            Mark(at_ns=_at(at_ms), source=source, call=self.name, name=name, fields=fields)
        )


def _at(ms: float) -> int:
    return START_NS + round(ms * MS)
