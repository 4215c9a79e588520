"""The turns of a call, and where each one's time went.

A turn begins when the packet with the caller's last voiced sample leaves and ends when the first
voiced sample of the answer is at the ear. Between them every mark of the answer's way is an
instant, and the hops between the instants add up to the whole by construction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence
from callerside.reports.hearing.active_level import edges
from callerside.reports.metrics.answers import Answer
from callerside.reports.metrics.audible import (
    NS_PER_MS,
    AudibleSegments,
    Sound,
    Utterance,
    spoken,
)
from callerside.reports.metrics.error_bounds import EXACT, SAID
from callerside.reports.metrics.measurement import ErrorBound
from callerside.reports.metrics.server_audio import ServerStream, counted
from callerside.reports.metrics.server_way import NO_WAY, ServerWay, Trip, way_of
from callerside.reports.metrics.turn_path import Hop, hops_of

_EDGE_NS = 2 * NS_PER_MS
"""So near a packet's edge a sample may have left in either: the caller's filter is no longer."""
_EARLY_NS = 30 * NS_PER_MS  # a frame is marked as played when it is taken, up to a frame before
_RUNS_ON_NS = 60 * NS_PER_MS

_ANSWER_MARKS: tuple[tuple[str, Source, str, str], ...] = (
    ("response_created", "realtime", "response_created", "response"),
    ("delta_sent", "realtime", "delta_sent", "response"),
    ("delta_received", "agent", "first_delta", "response"),
    ("playout_started", "agent", "playout_started", "item"),
)
"""Instant, and the mark of it: the first whose field is that of the first delta."""


@dataclass(frozen=True)
class Turn:
    """One utterance of the caller, and the answer to it, if one was heard."""

    number: int
    text: str
    start_ns: int
    end_ns: int
    """The last voiced sample at the mouth."""
    left_ns: int
    """When the packet with it left: the turn's time begins."""
    answer_ns: int | None = None
    """The first voiced sample of the answer at the ear."""
    response: str | None = None
    item: str | None = None
    instants: dict[str, int] = field(default_factory=dict)
    """When the turn passed the checkpoints of `LATENCY_PATH`, as far as they are known."""
    lead_ms: float = 0.0
    """Silence at the beginning of the answer as the server sent it."""
    way_there: Trip = NO_WAY
    """What the scenario's way took of the last voiced sample's append."""
    way_back: Trip = NO_WAY
    """The same of the answer's first delta."""
    source: str = ""
    """How the answer's beginning is known; where it is not, why not."""
    detail: str = ""
    """How the last voiced sample was found at the server."""
    end_bound: ErrorBound = SAID
    """How far the end of what was said may be from the true one."""
    answer_bound: ErrorBound = EXACT
    """How far the answer's beginning may be from the true one."""
    own_bound: ErrorBound = EXACT
    """How far the server's receipt of the last voiced sample may be from the true one, and the way
    from what it took."""

    @property
    def turn_ms(self) -> float | None:
        """Voice to voice."""
        return None if self.answer_ns is None else (self.answer_ns - self.left_ns) / NS_PER_MS

    @property
    def own_ms(self) -> float | None:
        """The server's own delay: from its receipt of the last voiced sample to the answer's.

        It holds the VAD's silence, the think time, and the silence that the answer begins with; and
        the way there and back, where the scenario puts the server far away.
        """
        received, sent = self.instants.get("received"), self.instants.get("delta_sent")
        if received is None or sent is None:
            return None
        way_ns = self.way_there.length_ns + self.way_back.length_ns
        return (sent - received + way_ns) / NS_PER_MS + self.lead_ms

    @property
    def hops(self) -> list[Hop]:
        """The parts of `turn_ms`, in order; where an instant is unknown two parts are one."""
        if self.answer_ns is None:
            return []
        ways_ns = {"received": self.way_there.length_ns, "delta_received": self.way_back.length_ns}
        ways_ns = {name: length_ns for name, length_ns in ways_ns.items() if length_ns}
        return hops_of(self.left_ns, self.instants, self.answer_ns, ways_ns)


def turns_of(
    evidence: CallEvidence, audible: AudibleSegments, answers: Sequence[Answer] = ()
) -> list[Turn]:
    """The turns of a call, one for each utterance of the caller."""
    if not audible.said:
        return []
    stream = ServerStream(evidence)
    ends = [u.start_ns for u in audible.said[1:]] + [evidence.end_ns]
    return [
        _turn(evidence, audible, answers, stream, utterance, until_ns)
        for utterance, until_ns in zip(audible.said, ends, strict=True)
    ]


def _turn(
    evidence: CallEvidence,
    audible: AudibleSegments,
    answers: Sequence[Answer],
    stream: ServerStream,
    said: Utterance,
    until_ns: int,
) -> Turn:
    located = stream.locate(said)
    where, detail = located.instants, located.detail
    left_ns = _left_ns(evidence, said, where.get("heard"))
    instants = where | _answer_instants(evidence, said.end_ns, until_ns)
    delta = _first_delta(evidence, said.end_ns, until_ns)
    response = None if delta is None else str(delta.fields.get("response"))
    item = None if delta is None else str(delta.fields.get("item"))
    known = [one for one in answers if one.response == response and one.item == item and one.found]
    bound = EXACT
    if known:
        answer_ns: int | None = known[0].start_ns
        bound = known[0].start_bound
        source = f"from what was sent (a correlation of {known[0].likeness:.2f})"
    elif delta is None and _marks_answers(evidence):
        answer_ns = None
        source = _TOO_EARLY if _answered_early(evidence, said) else "no response with sound came"
    else:
        onset, source = _answer_onset(evidence, audible, instants, said, until_ns)
        answer_ns = None if onset is None else onset.start_ns
        bound = EXACT if onset is None else onset.start_bound
    if answer_ns is not None and answer_ns < left_ns:
        answer_ns, source = None, _TOO_EARLY
    of_it = [one for one in answers if one.response == response]
    lead_ms = of_it[0].lead_ms if of_it else lead_ms_of(evidence, "response", response)
    there, back = _ways(way_of(evidence), instants)
    if evidence.server_sent is not None and "playout_started" in instants:
        instants["lead_in"] = instants["playout_started"] + round(lead_ms * NS_PER_MS)
    return Turn(
        number=said.turn,
        text=said.text,
        start_ns=said.start_ns,
        end_ns=said.end_ns,
        left_ns=left_ns,
        answer_ns=answer_ns,
        response=response,
        item=item,
        instants=instants,
        lead_ms=lead_ms,
        way_there=there,
        way_back=back,
        source=source,
        detail=detail,
        end_bound=said.end_bound,
        answer_bound=bound,
        own_bound=located.bound + there.bound + back.bound,
    )


def _ways(way: ServerWay, instants: Mapping[str, int]) -> tuple[Trip, Trip]:
    """The way of the append with the last voiced sample, and of the answer's first delta."""
    at = instants.get
    there, back = NO_WAY, NO_WAY
    if "received" in instants:
        there = way.trip(at("appended"), at("received"))
    if "delta_sent" in instants:
        back = way.trip(at("delta_sent"), at("delta_received"))
    return there, back


_TOO_EARLY = "its answer began before the caller was done"


def _answered_early(evidence: CallEvidence, said: Utterance) -> bool:
    """Whether a response began while the caller was still speaking."""
    return any(
        said.start_ns <= mark.at_ns < said.end_ns
        for mark in (
            *evidence.find("agent", "first_delta"),
            *_first_deltas(evidence),
        )
    )


def _left_ns(evidence: CallEvidence, said: Utterance, heard_ns: int | None) -> int:
    """When the packet with the last voiced sample left; not known, when that was spoken.

    Where a packet begins or ends about there it is hard to say which of two it was in. It did not
    come before it left, though.
    """
    left_ns = evidence.left_ns(evidence.sample_at(said.end_ns) - 1)
    if left_ns is None:
        return said.end_ns
    before_ns = evidence.left_ns(evidence.sample_at(said.end_ns - _EDGE_NS) - 1)
    if heard_ns is not None and before_ns is not None and before_ns <= heard_ns < left_ns:
        return before_ns
    return left_ns


def _first_delta(evidence: CallEvidence, after_ns: int, until_ns: int) -> Mark | None:
    """The first that came of an answer to what was said by then.

    What was under way already answers nothing of that: a greeting, of a server that is far away.
    Nor does one in which nothing can be heard: what is asked for in its place does.
    """
    early, later = _silent(evidence), []
    for mark in _first_deltas(evidence):
        if mark.at_ns < after_ns:
            early.add(str(mark.fields.get("response")))
        else:
            later.append(mark)
    came = evidence.find("agent", "first_delta", after_ns=after_ns)
    taken = (mark for mark in (*came, *later) if mark.fields.get("response") not in early)
    first = next(taken, None)
    return first if first is not None and first.at_ns < until_ns else None


def _silent(evidence: CallEvidence) -> set[str]:
    """The responses in whose audio nothing can be heard."""
    done = evidence.find("realtime", "response_done")
    told = (mark for mark in done if mark.fields.get("inaudible"))
    silent = (*evidence.find("agent", "response_silent"), *told)
    return {str(mark.fields.get("response")) for mark in silent}


def _first_deltas(evidence: CallEvidence) -> Iterator[Mark]:
    """The first delta that the server sent of each response."""
    seen: set[str] = set()
    for mark in evidence.find("realtime", "delta_sent"):
        response = str(mark.fields.get("response"))
        if response not in seen:
            seen.add(response)
            yield mark


def _marks_answers(evidence: CallEvidence) -> bool:
    """Whether agent or server mark answers: what sounds without is a prompt, or a tone."""
    return bool(
        evidence.first("agent", "call_received") or evidence.first("realtime", "session_opened")
    )


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
    evidence: CallEvidence,
    audible: AudibleSegments,
    instants: dict[str, int],
    said: Utterance,
    until_ns: int,
) -> tuple[Sound | None, str]:
    """The first sound at the ear that sets in with the answer's playout, and how that is known.

    What was audible already (an answer that the caller talked over) is no answer to this; where it
    runs on into the answer, nobody can say by the sound alone when that began. Nor is what sounds
    before the answer was sent: a tone meanwhile, or its rest, for which a caller may have hung up.
    """
    if evidence.info.lane == "recording":
        return _next_utterance(audible, said, until_ns)
    started_ns = instants.get("playout_started")
    sent_ns = instants.get("delta_sent", instants.get("delta_received", 0))
    earliest_ns = max(said.end_ns, sent_ns, (started_ns or 0) - _EARLY_NS)
    for sound in audible.ear:
        if started_ns is not None and sound.start_ns < earliest_ns < sound.end_ns - _RUNS_ON_NS:
            return None, "another sound of the agent's runs on into the answer"
        if earliest_ns <= sound.start_ns < until_ns:
            return sound, "by the energy at the ear"
    return None, "no sound was heard after it"


def _next_utterance(
    audible: AudibleSegments, said: Utterance, until_ns: int
) -> tuple[Sound | None, str]:
    """The first time that the agent begins to speak after it: not where it goes on after a breath.

    No mark says here what is an answer. What the agent begins while the caller still speaks is none
    that can be timed.
    """
    for sound in spoken(audible.ear):
        if said.start_ns <= sound.start_ns < said.end_ns < sound.end_ns:
            return None, _TOO_EARLY
        if said.end_ns <= sound.start_ns < until_ns:
            return sound, "by the energy at the ear"
    return None, "the agent did not begin to speak between this and what the caller said next"


def lead_ms_of(evidence: CallEvidence, key: str, value: str | None) -> float:
    """Silence that an answer begins with as it was sent; `key` is `response` or `item`."""
    sent = evidence.server_sent
    if sent is None or value is None:
        return 0.0
    spans = [
        (total - int(mark.fields["samples"]), total)
        for mark, total in counted(evidence.find("realtime", "delta_sent"))
        if mark.fields.get(key) == value
    ]
    if not spans:
        return 0.0
    ends = edges(sent.samples[spans[0][0] : spans[-1][1]], sent.rate_hz)
    return ends[0] * 1000 / sent.rate_hz if ends else 0.0
