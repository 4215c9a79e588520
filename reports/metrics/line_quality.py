"""What a caller suffers from the line: its level, clipping, echo, and what packets leave of it."""

import math
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from callerside.marks import Source
from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.hearing import active_level
from callerside.reports.hearing.correlation import fast_length
from callerside.reports.metrics.audible import NS_PER_MS, Sound
from callerside.reports.metrics.e_model import UnknownCodecError, opinion
from callerside.reports.metrics.error_bounds import EXACT
from callerside.reports.metrics.heard_call import HeardCall
from callerside.reports.metrics.measurement import ErrorBound, Measurement, Unmeasured
from callerside.reports.metrics.turns import Turn

Samples = NDArray[np.int16]

_LEAST_SPEECH_MS = 200.0
_FLAT = 0.99  # of the loudest sample: as loud is what was cut off there
_FLAT_RUN = 3  # samples in a row: a voice has its peaks singly
_LATEST_ECHO_MS = 600
_STANDS_OUT = 6.0  # an echo's correlation, above the effective value of that of all other delays
_FAINTEST_DB = 60.0  # of a voice at -20 dBFS that is below the smallest step of G.711
_APART_MS = 30  # of one delay from another
_PACKET_MS = 20.0
_LEVEL_DB, _TAKEN_OFF = 1.0, 2.0
_BESIDE_MS, _HOP_MS = 60, 20
_LEAST_QUIET_HOPS = 10
_CLIPPING = 0.1, 0.15  # percent, and of the share: peaks of a voice that are as loud, or flatter
_ECHO = ErrorBound(1.0, "noise, and what else is heard under the echo")
_ECHO_DELAY = ErrorBound(1.0, "the place of the echo's correlation")
_DELAY_MS = 20.0
"""The delay that an opinion is of is known to a packet."""


def agents_voice(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """How loud the agent's voice was at the ear, and how much of it was cut off by clipping."""
    evidence = call.evidence
    spans = _spans(evidence, [sound for sound in call.audible.ear if sound.kind == "speech"])
    ear = evidence.channel(EAR) if evidence.recorded else np.zeros(0, np.int16)
    voice = np.concatenate([ear[first:past] for first, past in spans] or [ear[:0]])
    if voice.size < _LEAST_SPEECH_MS * evidence.rate_hz / 1000:
        reason = f"less than {_LEAST_SPEECH_MS:.0f} ms of the agent was heard"
        for name in ("agent_level_dbfs", "agent_clipping_share"):
            yield Unmeasured(name=name, reason=reason)
        return
    yield from _level(ear, spans, _spans(evidence, call.audible.ear), evidence.rate_hz)
    share = 100 * _clipped(voice) / voice.size
    least, part = _CLIPPING
    bound = ErrorBound(max(least, part * share), "peaks of the voice that are as loud")
    yield Measurement(name="agent_clipping_share", value=share, bound=bound)


def _spans(evidence: CallEvidence, sounds: Sequence[Sound]) -> list[tuple[int, int]]:
    """The samples of sounds: (first, just after last)."""
    return [
        (max(0, evidence.sample_at(one.start_ns)), max(0, evidence.sample_at(one.end_ns)))
        for one in sounds
    ]


def _level(
    ear: Samples,
    voice: Sequence[tuple[int, int]],
    sounds: Sequence[tuple[int, int]],
    rate_hz: int,
) -> Iterator[Measurement]:
    """The active level of a voice in its own time, less the noise that lies under it.

    Its pauses stay in their place: P.56 counts those of up to 200 ms as active.
    """
    alone = np.zeros_like(ear)
    for first, past in voice:
        alone[first:past] = ear[first:past]
    level_dbfs = active_level.active_level_dbfs(alone, rate_hz)
    if level_dbfs is None:
        return
    wave = alone.astype(np.float32)
    heard = float(np.vecdot(wave, wave))
    noise = _noise(ear, sounds, rate_hz) * sum(past - first for first, past in voice)
    taken_off_db = -10 * math.log10(max(0.1, 1 - noise / heard))
    size = _LEVEL_DB + _TAKEN_OFF * taken_off_db
    yield Measurement(
        name="agent_level_dbfs",
        value=level_dbfs - taken_off_db,
        bound=ErrorBound(size, "noise under the voice, and what it hides"),
    )


def _noise(ear: Samples, sounds: Sequence[tuple[int, int]], rate_hz: int) -> float:
    """The usual energy of a sample where nothing sounds; 0 where there is too little of that."""
    hop, beside = (rate_hz * ms // 1000 for ms in (_HOP_MS, _BESIDE_MS))
    quiet = np.ones(ear.size, np.bool_)
    for first, past in sounds:
        quiet[max(0, first - beside) : past + beside] = False
    whole = ear.size // hop * hop
    rows = ear[:whole].reshape(-1, hop)[quiet[:whole].reshape(-1, hop).all(axis=1)]
    if len(rows) < _LEAST_QUIET_HOPS:
        return 0.0
    wave = rows.astype(np.float32)
    return float(np.median(np.vecdot(wave, wave))) / hop


def _clipped(voice: Samples) -> int:
    """How many samples are in a row of such as are as loud as the loudest, above or below."""
    count = 0
    for side in (voice.astype(np.int32), -voice.astype(np.int32)):
        flat = np.concatenate(([False], side >= max(1.0, _FLAT * float(side.max())), [False]))
        turns = np.flatnonzero(np.diff(flat))
        lengths = turns[1::2] - turns[::2]
        count += int(lengths[lengths >= _FLAT_RUN].sum())
    return count


def echo(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """How loud, and how late, the caller's own voice comes back to the ear."""
    found = _echo(call)
    if found is None:
        why = "no echo of the caller's voice was found" if call.audible.said else "nothing was said"
        for name in ("echo_return_loss_db", "echo_delay_ms"):
            yield Unmeasured(name=name, reason=why, moot=True)
        return
    loss_db, delay_ms = found
    yield Measurement(name="echo_return_loss_db", value=loss_db, bound=_ECHO)
    yield Measurement(name="echo_delay_ms", value=delay_ms, bound=_ECHO_DELAY)


def _echo(call: HeardCall) -> tuple[float, float] | None:
    evidence = call.evidence
    if not evidence.recorded or not call.audible.said:
        return None
    rate_hz = evidence.rate_hz
    latest = _LATEST_ECHO_MS * rate_hz // 1000
    mouth = evidence.channel(MOUTH).astype(np.float64)
    ear = evidence.channel(EAR).astype(np.float64)
    for sound in call.audible.ear:
        if sound.source == "sent" or sound.kind == "beep":
            first, past = (evidence.sample_at(ns) for ns in (sound.start_ns, sound.end_ns))
            ear[max(0, first) : max(0, past)] = 0
    cross, energy = np.zeros(latest + 1), 0.0
    for said in call.audible.said:
        first, past = (max(0, evidence.sample_at(ns)) for ns in (said.start_ns, said.end_ns))
        piece, heard = mouth[first:past], ear[first : past + latest]
        size = fast_length(piece.size + latest + 1)
        heard = np.pad(heard, (0, max(0, piece.size + latest - heard.size)))
        product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(piece, size))
        cross += np.fft.irfft(product, size)[: latest + 1]
        energy += float(piece.dot(piece))
    place = int(np.abs(cross).argmax())
    apart = _APART_MS * rate_hz // 1000
    rest = np.concatenate((cross[: max(0, place - apart)], cross[place + apart :]))
    usual = float(np.sqrt(np.mean(rest**2))) if rest.size else 0.0
    strength = abs(float(cross[place]))
    if not energy or not strength or strength < _STANDS_OUT * usual:
        return None
    loss_db = -20 * math.log10(strength / energy)
    return None if loss_db > _FAINTEST_DB else (loss_db, place * 1000 / rate_hz)


_DIRECTIONS: tuple[tuple[str, Source, bool], ...] = (
    ("mos_heard", "caller", False),
    ("mos_sent", "agent", True),
)
"""Metric, who received the packets, and whether what is lost is made up for there."""


def opinions(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """What listeners would say of each direction, by what became of its packets."""
    evidence = call.evidence
    ready = evidence.first("agent", "media_ready")
    codec = "" if ready is None else str(ready.fields.get("codec", ""))
    for name, receiver, concealed in _DIRECTIONS:
        rtp = evidence.last(receiver, "rtp_measured")
        if rtp is None or not codec:
            continue
        lost = max(0, int(rtp.fields["lost_packets"]))
        sent = int(rtp.fields["received_packets"]) + lost
        if not sent:
            yield Unmeasured(name=name, reason="no packet came")
            continue
        delay_ms = _delay_ms(call.turns, to_caller=receiver == "caller")
        loss = 100 * lost / sent
        try:
            value, later = (
                opinion(
                    codec,
                    loss_percent=loss,
                    delay_ms=(delay_ms or _PACKET_MS) + more_ms,
                    concealed=concealed,
                )
                for more_ms in (0.0, _DELAY_MS)
            )
        except UnknownCodecError as error:
            yield Unmeasured(name=name, reason=str(error))
            continue
        known = "unknown, taken as a packet's" if delay_ms is None else f"{delay_ms:.0f} ms"
        size = abs(value - later)
        bound = ErrorBound(size, "its delay, to a packet") if size else EXACT
        detail = f"{codec}, {loss:.1f} % lost, delay {known}"
        yield Measurement(name=name, value=value, detail=detail, bound=bound)


def _delay_ms(turns: Sequence[Turn], *, to_caller: bool) -> float | None:
    """From mouth to ear, without what the agent itself takes."""
    first, last = ("lead_in", "ear") if to_caller else ("left", "heard")
    ways = []
    for turn in turns:
        instants = dict(turn.instants)
        if turn.answer_ns is not None:
            instants["ear"] = turn.answer_ns
        if first in instants and last in instants:
            ways.append((instants[last] - instants[first]) / NS_PER_MS)
    return max(0.0, median(ways)) + _PACKET_MS if ways else None
