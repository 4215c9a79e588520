"""The caller's audio as the server received it: which of its samples came when, and how we know.

A call may have several sessions, one after another: when a connection is lost, the agent makes
another. Each counts its samples from zero; here they follow one another, as in the recordings of
what the server received and sent.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import soxr

from callerside.marks import Mark
from callerside.reports.evidence import MOUTH, Audio, CallEvidence
from callerside.reports.hearing.correlation import find
from callerside.reports.metrics.audible import NS_PER_MS, Utterance
from callerside.reports.metrics.error_bounds import EXACT, VAD_FRAME_MS
from callerside.reports.metrics.measurement import ErrorBound

_TEMPLATE_MS = 800  # of the caller's speech, to find it again in what the server received
_SEARCH_MS = (200, 1500)  # around where the marks say that it is: nearly always it is near
_SURE = 0.8  # of what is found near: a correlation that no other stretch of a call has
_FOUND_WITHIN_MS = ((0.9, 0.25), (_SURE, 1.0), (0.0, 5.0))
"""From which correlation on a place is true to how many milliseconds."""
_FRAME_NS = 20 * NS_PER_MS
_FRAMES_A_SECOND = 50


def counted(marks: Iterable[Mark]) -> Iterator[tuple[Mark, int]]:
    """Each piece of a stream, and how many samples came up to its end, over all sessions."""
    total = 0
    for mark in marks:
        total += int(mark.fields["samples"])
        yield mark, total


@dataclass(frozen=True, slots=True)
class Located:
    """The way of an utterance's last voiced sample to the server."""

    instants: dict[str, int] = field(default_factory=dict)
    """When it was `heard`, `appended` and `received`, as far as that is known."""
    detail: str = ""
    """How that is known; where it is not, why."""
    bound: ErrorBound = EXACT
    """How far `appended` and `received` may be from the true ones: a sample beside the one that was
    found may have come with another append."""


class ServerStream:
    """The caller's audio as the server received it, and when."""

    def __init__(self, evidence: CallEvidence) -> None:
        self._evidence = evidence
        self._received = _Arrivals(evidence.find("realtime", "audio_received"))
        self._appended = _Arrivals(evidence.find("agent", "audio_appended"))
        self._connected_ns = [m.at_ns for m in evidence.find("agent", "realtime_connected")]

    def locate(self, utterance: Utterance) -> Located:
        """When an utterance's last voiced sample was heard, appended, received; and how we know."""
        if not self._received.totals:
            return Located(detail="no server's marks: its own delay is unknown")
        sample, within_ms, detail = self._sample(utterance)
        if sample is None:
            return Located(detail=detail)
        instants = {}
        sent_sample = self._as_sent(sample)
        appended = self._appended.of(sent_sample)
        if appended is not None:
            mark, total = appended
            if "heard_ns" in mark.fields:
                instants["heard"] = self._heard_ns(mark, total - 1 - sent_sample)
            instants["appended"] = mark.at_ns
        received = self._received.of(sample)
        if received is not None:
            instants["received"] = received[0].at_ns
        return Located(instants, detail, self._bound(sample, within_ms))

    def _bound(self, sample: int, within_ms: float) -> ErrorBound:
        """How much earlier or later a sample came that lies so far from the one that was found."""
        around = max(1, round(within_ms * self._stream_hz() / 1000))
        size_ms = 0.0
        for arrivals, found in ((self._received, sample), (self._appended, self._as_sent(sample))):
            at_ns = [
                one[0].at_ns
                for one in map(arrivals.of, (found - around, found, found + around))
                if one is not None
            ]
            size_ms = max(size_ms, (max(at_ns) - min(at_ns)) / NS_PER_MS if at_ns else 0.0)
        return ErrorBound(size_ms, f"the last voiced sample at the server, to {within_ms:g} ms")

    def _as_sent(self, sample: int) -> int:
        """A sample that the server received, in the agent's count.

        They differ by what was sent into a connection that was lost, and never came.
        """
        base, begun_ns = self._received.session_of(sample)
        made = bisect_right(self._connected_ns, begun_ns)
        if not made:
            return sample
        return sample - base + self._appended.total_at(self._connected_ns[made - 1])

    def _heard_ns(self, appended: Mark, samples_behind: int) -> int:
        """When the frame with a sample was taken, of which the append may hold several.

        The append's mark is about its last frame; the others came a frame's time apart before it.
        """
        frames_behind = samples_behind // (self._stream_hz() // _FRAMES_A_SECOND)
        return int(appended.fields["heard_ns"]) - frames_behind * _FRAME_NS

    def _sample(self, utterance: Utterance) -> tuple[int | None, float, str]:
        """The stream's index of the last voiced sample, to how many milliseconds, and how."""
        heard = self._evidence.server_heard
        if heard is not None:
            found = self._match(heard, utterance)
            if found is not None:
                return *found, "last voiced sample found in what the server received"
        stopped = self._evidence.first("realtime", "speech_stopped", after_ns=utterance.end_ns)
        if stopped is None or "last_voiced_ms" not in stopped.fields:
            return None, 0.0, "the last voiced sample was not found at the server"
        in_session = round(float(stopped.fields["last_voiced_ms"]) * self._stream_hz() / 1000)
        sample = self._received.base_at(stopped.at_ns) + in_session
        return (
            sample,
            VAD_FRAME_MS,
            "last voiced sample as the server's VAD has it (frames of 32 ms)",
        )

    def _stream_hz(self) -> int:
        """The rate of the stream: from its recording, else from the pace of its appends."""
        if self._evidence.server_heard is not None:
            return self._evidence.server_heard.rate_hz
        return 24_000 if self._received.per_second() > 16_000 else 8_000

    def _match(self, heard: Audio, utterance: Utterance) -> tuple[int, float] | None:
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
        for search_ms in _SEARCH_MS:
            margin = search_ms * heard.rate_hz // 1000
            low = max(0, expected - margin)
            high = expected + round((end - start) * ratio) + margin
            window = heard.samples[low:high].astype(np.float32)
            if ratio != 1 and window.size:
                window = soxr.resample(window, heard.rate_hz, evidence.rate_hz)
            match = find(piece, window)
            if match.correlation >= _SURE:
                break
        if not match.found:
            return None
        within_ms = next(ms for least, ms in _FOUND_WITHIN_MS if match.correlation >= least)
        return low + round((match.offset + piece.size) * ratio) - 1, within_ms


class _Arrivals:
    """A stream that came in pieces: which sample came when."""

    def __init__(self, marks: Iterable[Mark]) -> None:
        pieces = list(counted(marks))
        self._marks = [mark for mark, _ in pieces]
        self.totals = [total for _, total in pieces]
        self._sessions = [
            (total - int(mark.fields["samples"]), mark.at_ns)
            for mark, total in pieces
            if mark.fields["total_samples"] == mark.fields["samples"]
        ]
        """Where each session's own count began: after how many samples, and when."""

    def of(self, sample: int) -> tuple[Mark, int] | None:
        """The piece that carried a sample, and the count at its end."""
        index = bisect_left(self.totals, sample + 1)
        return (self._marks[index], self.totals[index]) if index < len(self._marks) else None

    def total_at(self, at_ns: int) -> int:
        """How much had come by an instant."""
        index = bisect_left(self._marks, at_ns, key=lambda mark: mark.at_ns)
        return self.totals[index - 1] if index else 0

    def session_of(self, sample: int) -> tuple[int, int]:
        """The session with a sample: what had come before it, and when its first piece came."""
        found = [session for session in self._sessions if session[0] <= sample]
        return found[-1] if found else (0, 0)

    def base_at(self, at_ns: int) -> int:
        """What had come before the session that went on at an instant."""
        found = [base for base, begun_ns in self._sessions if begun_ns <= at_ns]
        return found[-1] if found else 0

    def per_second(self) -> float:
        """Samples a second, over the whole."""
        if len(self._marks) < 2:
            return 0.0
        span_ns = self._marks[-1].at_ns - self._marks[0].at_ns
        return (self.totals[-1] - self.totals[0]) * 1e9 / max(1, span_ns)
