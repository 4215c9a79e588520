"""What a caller should have measured at the responder, and by how much it erred.

The places of known sounds are found by cross-correlation with the sounds themselves, so that the
truth does not pass through the ears that are to be judged. The reports' own code measures the call
as it would any other.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from agent import audio
from agent.audio import AudioFormat, Encoding
from agent.clock import NS_PER_MS, NS_PER_S
from agent.timeline import Mark, merge
from reports import matching, quality
from reports.evidence import EAR, MOUTH, Audio, CallEvidence
from reports.metrics import measure
from simulator.responder import Behaviour, Said, answer_in

_AROUND_MS = 300
_PIECE_MS = 250  # of a known sound, to find an end of it: the path may shift the rest
_FRAMES_A_SECOND = 50
_G711: dict[str, Encoding] = {"PCMU": "pcmu", "PCMA": "pcma"}

Samples = NDArray[np.int16]


class TruthError(RuntimeError):
    """A call that cannot serve: a known sound was not found where it must be."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the responder kept of one call."""

    recording: Samples
    """Shape (n, 2): what it said, what it heard."""
    rate_hz: int
    said: tuple[Said, ...]
    heard_ns: tuple[int, ...]
    started_ns: int
    answered_ns: int


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The truth about one turn, in samples of the caller's recording unless it says otherwise."""

    number: int
    phrase_start: int
    phrase_end: int
    answer_start: int
    answer_end: int
    delay_ms: float
    """Of the responder, on its own media clock."""
    own_ms: float
    """From the frame with the last voiced sample to the answer's first sample, as stamped."""
    said_ns: int
    """When the responder said the answer's first sample."""
    whole: bool
    """Whether the answer was said to its end."""


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
        answered_ns=facts["answered_ns"],
    )


def errors_of(
    evidence: CallEvidence, heard: Heard, phrase: Samples, behaviour: Behaviour
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Measured less true, by metric; and the telephone's path, up and down, in milliseconds.

    Raises:
        TruthError: a known sound was not found.
    """
    turns = list(_turns(evidence, heard, phrase, behaviour))
    full = _with_the_responders_marks(evidence, heard, turns, behaviour)
    found = {(m.name, m.turn): m.value for m in measure(full).measurements}
    errors: dict[str, list[float]] = defaultdict(list)
    for name, turn, true in (
        *_opening(evidence, heard, behaviour),
        *_latencies(evidence, turns),
        *_overlaps(evidence, turns),
        *_faults(evidence, turns, behaviour),
        ("dead_air_ms", None, _longest_silence_ms(evidence, turns, behaviour)),
    ):
        if (name, turn) in found:
            errors[name].append(found[name, turn] - true)
    if "beep_ms" not in errors:
        raise TruthError("no beep was heard")
    ms = 1000 / evidence.rate_hz
    path = [(turn.answer_start - turn.phrase_end) * ms - turn.delay_ms for turn in turns]
    return dict(errors), {"there and back": path}


Truth = tuple[str, int | None, float]
"""A metric, of which turn, and what it should be."""


def _opening(evidence: CallEvidence, heard: Heard, behaviour: Behaviour) -> Iterator[Truth]:
    """Of the 200 OK, the beep and the greeting."""
    dialed, answered = (evidence.first("caller", name) for name in ("call_dialed", "call_answered"))
    if answered is None or not any(said.name == "beep" for said in heard.said):
        raise TruthError("no beep was heard")
    if dialed is not None:
        yield "answer_ms", None, (heard.answered_ns - dialed.at_ns) / NS_PER_MS
    beep = _beep_of(evidence, behaviour)
    start = _find(beep, evidence.channel(EAR), 0, evidence.rate_hz * 3, "beep")
    yield "beep_ms", None, (evidence.at_ns(start) - answered.at_ns) / NS_PER_MS
    yield "beep_hz", None, behaviour.beep_hz
    yield "beep_length_ms", None, behaviour.beep_length_ms
    if behaviour.greeting:
        greeted = _greeting_at(evidence, behaviour)
        yield "greeting_ms", None, (evidence.at_ns(greeted) - answered.at_ns) / NS_PER_MS


def _latencies(evidence: CallEvidence, turns: Sequence[Turn]) -> Iterator[Truth]:
    ms = 1000 / evidence.rate_hz
    for turn in turns:
        matched_ms = (turn.answer_start - turn.phrase_end) * ms
        said_ms = (turn.said_ns - evidence.at_ns(turn.phrase_end)) / NS_PER_MS
        yield "turn_ms", turn.number, matched_ms
        yield "agent_overhead_ms", turn.number, matched_ms - turn.own_ms
        yield "uplink_ms", turn.number, said_ms - turn.own_ms
        yield "downlink_ms", turn.number, matched_ms - said_ms


def _overlaps(evidence: CallEvidence, turns: Sequence[Turn]) -> Iterator[Truth]:
    for earlier, later in pairwise(turns):
        if later.phrase_start < earlier.answer_end:
            stop_ms = (earlier.answer_end - later.phrase_start) * 1000 / evidence.rate_hz
            yield "barge_in_stop_ms", later.number, stop_ms
            yield "talk_over_ms", None, stop_ms
            yield "heard_error_ms", None, 0.0  # it tells exactly what it said


def _faults(evidence: CallEvidence, turns: Sequence[Turn], behaviour: Behaviour) -> Iterator[Truth]:
    """What was left out of an answer, came twice, or was silent; and how well it was heard."""
    for turn in turns:
        has_hole, is_changed = turn.number == behaviour.hole_in, turn.number == behaviour.changed_in
        heard_ms = (turn.answer_end - turn.answer_start) * 1000 / evidence.rate_hz
        if not has_hole or heard_ms > behaviour.hole_at_ms + behaviour.hole_ms:
            yield "gap_ms", turn.number, behaviour.hole_ms if has_hole else 0.0
        if turn.whole:
            yield "missing_ms", turn.number, behaviour.missing_ms if is_changed else 0.0
            yield "repeated_ms", turn.number, behaviour.repeated_ms if is_changed else 0.0
        if turn.whole and not has_hole and not is_changed:
            intelligible = _through_the_codec(evidence, behaviour)
            if intelligible is not None:
                yield "intelligibility", turn.number, intelligible


def _through_the_codec(evidence: CallEvidence, behaviour: Behaviour) -> float | None:
    """The intelligibility that the call's codec alone leaves to a reply."""
    sent = audio.resample(behaviour.reply, evidence.rate_hz, quality.RATE_HZ)
    ready = evidence.first("caller", "media_ready")
    encoding = _G711.get(str(ready.fields.get("codec"))) if ready else None
    heard = AudioFormat(encoding).quantise(sent) if encoding else sent
    return quality.intelligibility(audio.to_samples(sent), audio.to_samples(heard))


def _longest_silence_ms(
    evidence: CallEvidence, turns: Sequence[Turn], behaviour: Behaviour
) -> float:
    """From the 200 OK to the hang-up, by where the known sounds are."""
    beep = _beep_of(evidence, behaviour)
    beep_at = _find(beep, evidence.channel(EAR), 0, evidence.rate_hz * 3, "beep")
    sounds = [(beep_at, beep_at + beep.size)]
    if behaviour.greeting:
        greeted = _greeting_at(evidence, behaviour)
        sounds.append((greeted, greeted + len(behaviour.greeting) // audio.BYTES_PER_SAMPLE))
    for turn in turns:
        sounds += [(turn.phrase_start, turn.phrase_end), (turn.answer_start, turn.answer_end)]
    answered = evidence.first("caller", "call_answered")
    ended = evidence.first("caller", "hang_up_sent", "call_ended")
    silent_since = evidence.sample_at(answered.at_ns) if answered else 0
    end = evidence.sample_at(ended.at_ns) if ended else len(evidence.recording)
    longest = 0
    for start, stop in [*sorted(sounds), (end, end)]:
        longest = max(longest, start - silent_since)
        silent_since = max(silent_since, stop)
    return longest * 1000 / evidence.rate_hz


def _beep_of(evidence: CallEvidence, behaviour: Behaviour) -> Samples:
    return audio.to_samples(
        audio.tone(behaviour.beep_hz, behaviour.beep_length_ms, evidence.rate_hz)
    )


def _greeting_at(evidence: CallEvidence, behaviour: Behaviour) -> int:
    greeting = audio.to_samples(behaviour.greeting)[: _PIECE_MS * evidence.rate_hz // 1000]
    return _find(greeting, evidence.channel(EAR), 0, evidence.rate_hz * 5, "greeting")


def _turns(
    evidence: CallEvidence, heard: Heard, phrase: Samples, behaviour: Behaviour
) -> Iterator[Turn]:
    reply = audio.to_samples(behaviour.reply)
    opening = reply[: _PIECE_MS * heard.rate_hz // 1000]
    rate_hz = evidence.rate_hz
    answers = [said for said in heard.said if said.name.startswith("answer") and said.start >= 0]
    for mark, said in zip(evidence.find("caller", "utterance_started"), answers, strict=False):
        near = evidence.sample_at(mark.at_ns)
        around = _AROUND_MS * rate_hz // 1000
        start = _find(phrase, evidence.channel(MOUTH), near - around, near + around, "phrase")
        told = round((said.start - _there(heard, said, phrase)) * 1000 / heard.rate_hz, 3)
        after = start + phrase.size
        answer = _find(opening, evidence.channel(EAR), after, after + 2 * rate_hz, "answer")
        end_there = _there(heard, said, phrase)
        frame = (end_there - 1) // (heard.rate_hz // _FRAMES_A_SECOND)
        said_ns = heard.started_ns + said.start * NS_PER_S // heard.rate_hz
        as_said = answer_in(behaviour, int(said.name.split()[-1]), heard.rate_hz)
        yield Turn(
            number=int(mark.fields["turn"]),
            phrase_start=start,
            phrase_end=after,
            answer_start=answer,
            answer_end=answer + said.end - said.start,
            delay_ms=told,
            own_ms=(said_ns - heard.heard_ns[frame]) / NS_PER_MS,
            said_ns=said_ns,
            whole=said.end - said.start >= len(as_said) // audio.BYTES_PER_SAMPLE,
        )


def _there(heard: Heard, said: Said, phrase: Samples) -> int:
    """Where the phrase that an answer answers ended in what the responder heard."""
    tail = phrase[-_PIECE_MS * heard.rate_hz // 1000 :]
    latest = said.start - tail.size
    earliest = latest - 2 * heard.rate_hz
    return _find(tail, heard.recording[:, 1], earliest, latest, "phrase there") + tail.size


def _find(piece: Samples, channel: Samples, low: int, high: int, what: str) -> int:
    """Where a known sound begins, between two places."""
    low = max(0, low)
    match = matching.find(piece, channel[low : high + piece.size])
    if not match.found:
        raise TruthError(f"the {what} was not found (correlation {match.correlation:.2f})")
    return low + match.offset


def _with_the_responders_marks(
    evidence: CallEvidence, heard: Heard, turns: Sequence[Turn], behaviour: Behaviour
) -> CallEvidence:
    """The call as if the responder had been a server and its agent: with what it sent and heard.

    An answer that was talked over it truncates, and tells to the sample what it said of it.
    """
    reply = audio.to_samples(behaviour.reply)
    frame = heard.rate_hz // _FRAMES_A_SECOND
    marks = [
        _mark("realtime", at_ns, "audio_received", samples=frame, total_samples=(n + 1) * frame)
        for n, at_ns in enumerate(heard.heard_ns)
    ]
    total = 0
    for said in heard.said:
        if not said.name.startswith("answer") or said.start < 0:
            continue
        total += reply.size
        at_ns = heard.started_ns + said.start * NS_PER_S // heard.rate_hz
        names: dict[str, Any] = {"response": said.name, "item": said.name}
        sent = {"samples": reply.size, "total_samples": total}
        marks.append(_mark("realtime", at_ns, "delta_sent", **names, **sent))
        marks.append(_mark("agent", at_ns, "first_delta", **names))
        marks.append(_mark("agent", at_ns, "playout_started", item=said.name))
        number = int(said.name.split()[-1])
        if any(turn.number == number and not turn.whole for turn in turns):
            told_ms = (said.end - said.start) * 1000 / heard.rate_hz
            if number == behaviour.hole_in and told_ms > behaviour.hole_at_ms:
                told_ms = max(behaviour.hole_at_ms, told_ms - behaviour.hole_ms)
            cut_ns = heard.started_ns + said.end * NS_PER_S // heard.rate_hz
            marks.append(
                _mark("agent", cut_ns, "truncate_sent", item=said.name, audio_end_ms=told_ms)
            )
    return replace(
        evidence,
        marks=merge([evidence.marks, sorted(marks, key=lambda m: m.at_ns)]),
        server_heard=Audio(np.ascontiguousarray(heard.recording[:, 1]), heard.rate_hz),
        server_sent=Audio(np.tile(reply, max(1, total // reply.size)), heard.rate_hz),
    )


def _mark(source: Any, at_ns: int, name: str, **fields: Any) -> Mark:
    return Mark(at_ns=at_ns, source=source, call="calibration", name=name, fields=fields)
