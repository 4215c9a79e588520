"""The turns of a call, and where each one's time went.

A turn begins when the caller's last voiced sample is at the mouth and ends when the first voiced
sample of the answer is at the ear. Between them every mark of the answer's way is an instant, and
the hops between the instants add up to the whole by construction.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import soxr

from agent.timeline import Mark, Source
from reports.ears import segments
from reports.evidence import MOUTH, Audio, CallEvidence
from reports.matching import find
from reports.scene import NS_PER_MS, Scene, Utterance

_TEMPLATE_MS = 800  # of the caller's speech, to find it again in what the server received
_SEARCH_MS = 1500  # around where the marks say that it is
_FRAME_NS = 20 * NS_PER_MS
_FRAMES_A_SECOND = 50
_EARLY_NS = 30 * NS_PER_MS  # a frame is marked as played when it is taken, up to a frame before

Party = Literal["telephone", "agent", "network", "server"]
"""Whose time a hop is. On one machine the network takes none: there it is the reader's lateness."""


@dataclass(frozen=True, slots=True)
class Point:
    """An instant that a turn's way passes, and the hop that ends there."""

    name: str
    hop: str
    party: Party


# In the order of the way. What comes after a point that is not known begins at the one before.
WAY = {
    "left": Point("RTP sent", "mouth to RTP", "telephone"),
    "heard": Point("RTP received", "RTP to agent", "telephone"),
    "appended": Point("append", "agent to append", "agent"),
    "received": Point("the server's receipt", "append to server", "network"),
    "speech_stopped": Point("speech_stopped", "server hears the end (VAD)", "server"),
    "committed": Point("committed", "commit", "server"),
    "response_created": Point("response_created", "response created", "server"),
    "delta_sent": Point("first delta sent", "server thinks", "server"),
    "delta_received": Point("first delta", "delta to agent", "agent"),
    "playout_started": Point("playout", "delta to playout", "agent"),
    "lead_in": Point("the answer's own silence", "answer's leading silence", "server"),
    "ear": Point("ear", "playout to ear", "telephone"),
}

_ANSWER_MARKS: tuple[tuple[str, Source, str, str], ...] = (
    ("response_created", "realtime", "response_created", "response"),
    ("delta_sent", "realtime", "delta_sent", "response"),
    ("delta_received", "agent", "first_delta", "response"),
    ("playout_started", "agent", "playout_started", "item"),
)
"""Instant, and the mark that tells it: the first whose field is that of the first delta."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One part of a turn's way. Its length may be a little negative: see docs/metrics.md."""

    name: str
    start_ns: int
    end_ns: int
    party: Party | None = None
    """Whose time it is; None where it is several parts in one, of different parties."""

    @property
    def length_ms(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / NS_PER_MS


@dataclass(frozen=True)
class Turn:
    """One utterance of the caller, and the answer to it, if one was heard."""

    number: int
    text: str
    start_ns: int
    end_ns: int
    """The last voiced sample at the mouth."""
    answer_ns: int | None = None
    """The first voiced sample of the answer at the ear."""
    response: str | None = None
    item: str | None = None
    instants: dict[str, int] = field(default_factory=dict)
    """When the turn passed the points of `WAY`, as far as they are known."""
    lead_ms: float = 0.0
    """Silence at the beginning of the answer as the server sent it."""
    detail: str = ""
    """How the last voiced sample was found at the server."""

    @property
    def turn_ms(self) -> float | None:
        """Voice to voice."""
        return None if self.answer_ns is None else (self.answer_ns - self.end_ns) / NS_PER_MS

    @property
    def own_ms(self) -> float | None:
        """The server's own delay: from its receipt of the last voiced sample to the answer's.

        It holds the VAD's silence, the think time, and the silence that the answer begins with.
        """
        received, sent = self.instants.get("received"), self.instants.get("delta_sent")
        if received is None or sent is None:
            return None
        return (sent - received) / NS_PER_MS + self.lead_ms

    @property
    def hops(self) -> list[Hop]:
        """The parts of `turn_ms`, in order; where an instant is unknown two parts are one."""
        if self.answer_ns is None:
            return []
        hops, names = [], list(WAY)
        start_ns, start_name, first = self.end_ns, "mouth", 0
        for last, name in enumerate(names):
            end_ns = self.answer_ns if name == "ear" else self.instants.get(name)
            if end_ns is None:
                continue
            parts = [WAY[part] for part in names[first : last + 1]]
            parties = {part.party for part in parts}
            hops.append(
                Hop(
                    parts[0].hop if len(parts) == 1 else f"{start_name} to {parts[-1].name}",
                    start_ns,
                    end_ns,
                    parties.pop() if len(parties) == 1 else None,
                )
            )
            start_ns, start_name, first = end_ns, parts[-1].name, last + 1
        return hops


def turns_of(evidence: CallEvidence, scene: Scene) -> list[Turn]:
    """The turns of a call, one for each utterance of the caller."""
    if not scene.said:
        return []
    stream = ServerStream(evidence)
    ends = [u.start_ns for u in scene.said[1:]] + [evidence.marks[-1].at_ns]
    return [
        _turn(evidence, scene, stream, utterance, until_ns)
        for utterance, until_ns in zip(scene.said, ends, strict=True)
    ]


class ServerStream:
    """The caller's audio as the server received it, and when."""

    def __init__(self, evidence: CallEvidence) -> None:
        self._evidence = evidence
        self._received = _Arrivals(evidence.find("realtime", "audio_received"))
        self._appended = _Arrivals(evidence.find("agent", "audio_appended"))

    def locate(self, utterance: Utterance) -> tuple[dict[str, int], str]:
        """When an utterance's last voiced sample was heard, appended, received; and how we know."""
        if not self._received.totals:
            return {}, "no server's marks: its own delay is unknown"
        sample, detail = self._sample(utterance)
        if sample is None:
            return {}, detail
        instants = {}
        appended = self._appended.of(sample)
        if appended is not None:
            if "heard_ns" in appended.fields:
                instants["heard"] = self._heard_ns(appended, sample)
            instants["appended"] = appended.at_ns
        received = self._received.of(sample)
        if received is not None:
            instants["received"] = received.at_ns
        return instants, detail

    def _heard_ns(self, appended: Mark, sample: int) -> int:
        """When the frame with a sample was taken, of which the append may hold several.

        The append tells of its last frame; the others came a frame's time apart before it.
        """
        frame = self._stream_hz() // _FRAMES_A_SECOND
        frames_behind = (int(appended.fields["total_samples"]) - 1 - sample) // frame
        return int(appended.fields["heard_ns"]) - frames_behind * _FRAME_NS

    def _sample(self, utterance: Utterance) -> tuple[int | None, str]:
        """The stream's index of the last voiced sample."""
        heard = self._evidence.server_heard
        if heard is not None:
            sample = self._match(heard, utterance)
            if sample is not None:
                return sample, "last voiced sample found in what the server received"
        stopped = self._evidence.first("realtime", "speech_stopped", after_ns=utterance.end_ns)
        if stopped is None or "last_voiced_ms" not in stopped.fields:
            return None, "the last voiced sample was not found at the server"
        rate_hz = self._stream_hz()
        sample = round(float(stopped.fields["last_voiced_ms"]) * rate_hz / 1000)
        return sample, "last voiced sample as the server's VAD has it (frames of 32 ms)"

    def _stream_hz(self) -> int:
        """The rate of the stream: from its recording, else from the pace of its appends."""
        if self._evidence.server_heard is not None:
            return self._evidence.server_heard.rate_hz
        return 24_000 if self._received.per_second() > 16_000 else 8_000

    def _match(self, heard: Audio, utterance: Utterance) -> int | None:
        evidence = self._evidence
        end = evidence.sample_at(utterance.end_ns)
        start = max(
            0,
            evidence.sample_at(utterance.start_ns),
            end - _TEMPLATE_MS * evidence.rate_hz // 1000,
        )
        piece = evidence.channel(MOUTH)[start:end]
        ratio = heard.rate_hz / evidence.rate_hz
        expected = self._received.total_at(utterance.end_ns) - round((end - start) * ratio)
        margin = _SEARCH_MS * heard.rate_hz // 1000
        low = max(0, expected - margin)
        high = expected + round((end - start) * ratio) + margin
        window = heard.samples[low:high].astype(np.float32)
        if ratio != 1 and window.size:
            window = soxr.resample(window, heard.rate_hz, evidence.rate_hz)
        match = find(piece, window)
        if not match.found:
            return None
        return low + round((match.offset + piece.size) * ratio) - 1


class _Arrivals:
    """A stream that came in pieces: which sample came when."""

    def __init__(self, marks: Iterable[Mark]) -> None:
        self._marks = list(marks)
        self.totals = [int(mark.fields["total_samples"]) for mark in self._marks]

    def of(self, sample: int) -> Mark | None:
        """The piece that carried a sample."""
        index = bisect_left(self.totals, sample + 1)
        return self._marks[index] if index < len(self._marks) else None

    def total_at(self, at_ns: int) -> int:
        """How much had come by an instant."""
        index = bisect_left(self._marks, at_ns, key=lambda mark: mark.at_ns)
        return self.totals[index - 1] if index else 0

    def per_second(self) -> float:
        """Samples a second, over the whole."""
        if len(self._marks) < 2:
            return 0.0
        span_ns = self._marks[-1].at_ns - self._marks[0].at_ns
        return (self.totals[-1] - self.totals[0]) * 1e9 / max(1, span_ns)


def _turn(
    evidence: CallEvidence,
    scene: Scene,
    stream: ServerStream,
    said: Utterance,
    until_ns: int,
) -> Turn:
    where, detail = stream.locate(said)
    instants = _left(evidence, said) | where | _answer_instants(evidence, said.end_ns, until_ns)
    delta = _first_delta(evidence, said.end_ns, until_ns)
    response = None if delta is None else str(delta.fields.get("response"))
    item = None if delta is None else str(delta.fields.get("item"))
    answer_ns = _answer_onset(scene, instants, said.end_ns, until_ns)
    lead_ms = lead_ms_of(evidence, "response", response)
    if evidence.server_sent is not None and "playout_started" in instants:
        instants["lead_in"] = instants["playout_started"] + round(lead_ms * NS_PER_MS)
    return Turn(
        number=said.turn,
        text=said.text,
        start_ns=said.start_ns,
        end_ns=said.end_ns,
        answer_ns=answer_ns,
        response=response,
        item=item,
        instants=instants,
        lead_ms=lead_ms,
        detail=detail,
    )


def _left(evidence: CallEvidence, said: Utterance) -> dict[str, int]:
    """When the packet with the last voiced sample left: with the beginning of its frame.

    The recording is the caller's own, a frame for every tick; another's does not tell.
    """
    if not evidence.first("caller", "recording_started"):
        return {}
    frame = evidence.rate_hz // _FRAMES_A_SECOND
    last_sample = evidence.sample_at(said.end_ns) - 1
    return {"left": evidence.at_ns(last_sample // frame * frame)}


def _first_delta(evidence: CallEvidence, after_ns: int, until_ns: int) -> Mark | None:
    mark = evidence.first("agent", "first_delta", after_ns=after_ns) or evidence.first(
        "realtime", "delta_sent", after_ns=after_ns
    )
    return mark if mark is not None and mark.at_ns < until_ns else None


def _answer_instants(evidence: CallEvidence, after_ns: int, until_ns: int) -> dict[str, int]:
    """The way of the first answer with sound (a response may be a function call instead)."""
    found: dict[str, int] = {}
    delta = _first_delta(evidence, after_ns, until_ns)
    stopped = evidence.first("realtime", "speech_stopped", after_ns=after_ns)
    committed = evidence.first("realtime", "committed", after_ns=after_ns)
    for name, mark in (("speech_stopped", stopped), ("committed", committed)):
        if mark is not None and mark.at_ns < until_ns:
            found[name] = mark.at_ns
    if delta is None:
        return found
    for name, source, mark_name, key in _ANSWER_MARKS:
        mark = next(
            (
                mark
                for mark in evidence.find(source, mark_name, after_ns=after_ns)
                if mark.fields.get(key) == delta.fields.get(key)
            ),
            None,
        )
        if mark is not None:
            found[name] = mark.at_ns
    return found


def _answer_onset(
    scene: Scene, instants: dict[str, int], after_ns: int, until_ns: int
) -> int | None:
    """The first sound at the ear that sets in with the answer's playout.

    What was audible already (an answer that the caller talked over) is no answer to this.
    """
    earliest_ns = max(after_ns, instants.get("playout_started", 0) - _EARLY_NS)
    for sound in scene.ear:
        if earliest_ns <= sound.start_ns < until_ns:
            return sound.start_ns
    return None


def lead_ms_of(evidence: CallEvidence, key: str, value: str | None) -> float:
    """Silence that an answer begins with as it was sent; `key` is `response` or `item`."""
    sent = evidence.server_sent
    if sent is None or value is None:
        return 0.0
    for mark in evidence.find("realtime", "delta_sent"):
        if mark.fields.get(key) == value:
            start = int(mark.fields["total_samples"]) - int(mark.fields["samples"])
            opening = sent.samples[start : start + 2 * sent.rate_hz]
            sounds = segments(opening, sent.rate_hz, clean=True)
            return sounds[0].start * 1000 / sent.rate_hz if sounds else 0.0
    return 0.0
