"""What the responder kept of a call, and the call as if it had been a server and its agent.

Nothing is measured here: the responder's own counts become the marks that a server and an agent
write, so that the reports' code measures the call as it would any other.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.marks import Mark, merge
from callerside.reports.evidence import Audio, CallEvidence
from callerside.simulator.calibration.responder import AFTER_FUNCTION, Said

FRAMES_A_SECOND = 50
UNTRUTHS_MS = (0.0, 100.0, -100.0)
"""By how much the truncations of a cut answer are beside what was played of it: a metric that is
reported nothing but the truth might just as well be constant."""

CALLED_AFTER_MS = 300
"""Into the sentence before it, a function is called."""
FINISHED_BEFORE_MS = 400
"""The answer that has waited for it, the function has answered."""

Samples = NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the responder kept of one call."""

    recording: Samples
    """Shape (n, 2): what it said, what it heard."""
    rate_hz: int
    said: tuple[Said, ...]
    heard_ns: tuple[int, ...]
    started_ns: int
    received_ns: int
    """The INVITE."""
    answered_ns: int
    """The 200 OK, as it left."""

    def at_ns(self, sample: int) -> int:
        """When a sample of its streams was at its media clock."""
        return self.started_ns + sample * NS_PER_S // self.rate_hz

    @property
    def spoken(self) -> Iterator[Said]:
        """The greeting, and the answers."""
        return (said for said in self.said if said.name != "beep" and said.start >= 0)

    def played_ms(self, said: Said) -> float:
        """How much of a sound has left."""
        return (said.end - said.start) * 1000 / self.rate_hz


def load_heard(path: Path) -> Heard:
    """What the responder's process wrote, `path` without its suffix."""
    facts = json.loads(path.with_suffix(".json").read_bytes())
    recording, rate_hz = soundfile.read(path.with_suffix(".wav"), dtype="int16", always_2d=True)
    return Heard(
        recording=recording,
        rate_hz=rate_hz,
        said=tuple(Said(**said) for said in facts["said"]),
        heard_ns=tuple(facts["heard_ns"]),
        started_ns=facts["started_ns"],
        received_ns=facts["received_ns"],
        answered_ns=facts["answered_ns"],
    )


def with_marks(evidence: CallEvidence, heard: Heard, reply: Samples) -> CallEvidence:
    """The call with what server and agent would have reported; `reply` is what is sent each time.

    Of an answer that was cut short they report as many truncations as there are `UNTRUTHS_MS`.
    """
    frame = heard.rate_hz // FRAMES_A_SECOND
    marks = [
        _mark("realtime", at_ns, "audio_received", samples=frame, total_samples=(n + 1) * frame)
        for n, at_ns in enumerate(heard.heard_ns)
    ]
    total = 0
    for said in heard.spoken:
        total += reply.size
        at_ns = heard.at_ns(said.start)
        names: dict[str, Any] = {"response": said.name, "item": said.name}
        sent = {"samples": reply.size, "total_samples": total}
        marks.append(_mark("realtime", at_ns, "delta_sent", **names, **sent))
        marks.append(_mark("agent", at_ns, "first_delta", **names))
        begun = "greeting_started" if said.name == "greeting" else "playout_started"
        marks.append(_mark("agent", at_ns, begun, item=said.name))
        if is_cut(said, reply):
            marks += _truncations(heard, said)
    marks += _function(heard)
    return replace(
        evidence,
        marks=merge([evidence.marks, sorted(marks, key=lambda m: m.at_ns)]),
        server_heard=Audio(np.ascontiguousarray(heard.recording[:, 1]), heard.rate_hz),
        server_sent=Audio(np.tile(reply, max(1, total // reply.size)), heard.rate_hz),
    )


def is_cut(said: Said, reply: Samples) -> bool:
    """Whether an answer stopped before its end."""
    return said.end - said.start < reply.size


def called_ns(heard: Heard, before: Said) -> int:
    """When the function is called: amid the sentence before it."""
    return heard.at_ns(before.start) + CALLED_AFTER_MS * NS_PER_MS


def finished_ns(heard: Heard, after: Said) -> int:
    """When it has answered: before the answer that waits for it."""
    return heard.at_ns(after.start) - FINISHED_BEFORE_MS * NS_PER_MS


def _function(heard: Heard) -> Iterator[Mark]:
    """As an agent tells of it, and of the response that it leads to."""
    for before, after in pairwise(heard.spoken):
        if after.name == AFTER_FUNCTION:
            called, finished = called_ns(heard, before), finished_ns(heard, after)
            took_ms = (finished - called) / NS_PER_MS
            names = {"name": "look_up", "call_id": "call"}
            made = partial(Mark, source="agent", call="calibration")
            yield made(at_ns=called, name="tool_called", fields=names)
            ended = {**names, "ok": True, "took_ms": took_ms}
            yield made(at_ns=finished, name="tool_finished", fields=ended)
            yield _mark("agent", finished, "response_created", response=after.name)


def _truncations(heard: Heard, said: Said) -> Iterator[Mark]:
    at_ns = heard.at_ns(said.end)
    for untruth_ms in UNTRUTHS_MS:
        told_ms = heard.played_ms(said) + untruth_ms
        yield _mark("agent", at_ns, "truncate_sent", item=said.name, audio_end_ms=told_ms)


def _mark(source: Any, at_ns: int, name: str, **fields: Any) -> Mark:
    return Mark(at_ns=at_ns, source=source, call="calibration", name=name, fields=fields)
