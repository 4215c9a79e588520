"""The SIP ladder of a call: who sent what when, when it arrived, and the RTP between them.

A message is reported twice, by who sent it and by who received it; where only one of the two is
known it is drawn upright at that instant.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.audible import NS_PER_MS
from callerside.reports.pages.axis import Axis, Event, Span

_WITHIN_NS = 5000 * NS_PER_MS
"""What arrives later than this after a message was sent is another one."""

Party = tuple[Source, str] | None
"""A mark of a message: whose, and its name."""

_MESSAGES: tuple[tuple[str, bool, Party, Party], ...] = (
    ("INVITE", True, ("caller", "call_dialed"), ("agent", "call_received")),
    ("{status}", False, None, ("caller", "call_progressed")),
    ("{status} OK", False, ("agent", "answer_sent"), ("caller", "call_answered")),
    ("ACK", True, ("caller", "call_answered"), ("agent", "answered")),
    ("re-INVITE: hold", True, None, ("agent", "media_held")),
    ("re-INVITE: media", True, None, ("agent", "media_resumed")),
    ("DTMF {digits}", True, ("caller", "dtmf_sent"), None),
    ("DTMF {digit}", False, ("agent", "dtmf_sent"), None),
    ("REFER", False, ("agent", "transfer_sent"), ("caller", "transfer_heard")),
    ("BYE", True, ("caller", "hang_up_sent"), ("agent", "call_ended")),
    ("BYE", False, ("agent", "hang_up_sent"), ("caller", "call_ended")),
)
"""What is written, whether it goes to the agent, who sends it, and who receives it."""

_REFUSED = 300
_SHOWN = dict.fromkeys(("loss", "burst_loss", "dead"), "lost") | {"stalled": "held back"}
"""What befell packets, as far as it is shown, and what became of them."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message on the ladder, from the instant it was sent to the one when it was received."""

    sent: float
    received: float
    to_agent: bool
    event: Event


@dataclass(frozen=True, slots=True)
class Ladder:
    """The caller above, the agent below."""

    messages: list[Message] = field(default_factory=list)
    rtp: list[Span] = field(default_factory=list)
    """Where media is up, with what was reported of each stream."""
    kept_back: list[Span] = field(default_factory=list)
    """Packets that the harness itself kept back, for good or for a while, where they were; `kind`
    is the direction."""


def ladder_of(evidence: CallEvidence, numbered: Sequence[tuple[int, Mark]], axis: Axis) -> Ladder:
    """The ladder; `numbered` are the page's marks with their places in its list."""
    messages = [
        message
        for label, to_agent, sender, receiver in _MESSAGES
        for message in _messages(label, to_agent, sender, receiver, numbered, axis)
    ]
    messages += _refusals(numbered, axis)
    return Ladder(
        sorted(messages, key=lambda message: message.sent),
        list(_rtp(evidence, axis)),
        list(_struck(evidence, axis)),
    )


def _messages(
    label: str,
    to_agent: bool,
    sender: Party,
    receiver: Party,
    numbered: Sequence[tuple[int, Mark]],
    axis: Axis,
) -> Iterator[Message]:
    sent = [(index, mark) for index, mark in numbered if (mark.source, mark.name) == sender]
    got = [(index, mark) for index, mark in numbered if (mark.source, mark.name) == receiver]
    if receiver is not None and receiver[1] == "call_ended":
        got = [pair for pair in got if pair[1].fields.get("by") == (sender or receiver)[0]]
    for index, mark in sent:
        arrival = next(
            (pair for pair in got if 0 <= pair[1].at_ns - mark.at_ns <= _WITHIN_NS), None
        )
        if arrival is not None:
            got.remove(arrival)
        received_ns = mark.at_ns if arrival is None else arrival[1].at_ns
        yield _message(label, to_agent, mark.at_ns, received_ns, (index, mark), axis)
    if sender is None or not sent:
        for index, mark in got:
            if receiver is not None and receiver[1] == "call_ended" and _is_refusal(mark):
                continue
            yield _message(label, to_agent, mark.at_ns, mark.at_ns, (index, mark), axis)


def _message(
    label: str,
    to_agent: bool,
    sent_ns: int,
    received_ns: int,
    reported: tuple[int, Mark],
    axis: Axis,
) -> Message:
    index, mark = reported
    how = mark.fields.get("how")
    text = label if how in (None, "bye") else {"vanish": "vanishes"}.get(str(how), str(how).upper())
    event = Event(axis.left(sent_ns), text.format_map(_Fields(mark)), index)
    return Message(axis.left(sent_ns), axis.left(received_ns), to_agent, event)


class _Fields(dict[str, object]):
    """A mark's fields; one that it lacks is a question mark."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark.fields)

    def __missing__(self, key: str) -> str:
        return "?"


def _refusals(numbered: Iterable[tuple[int, Mark]], axis: Axis) -> Iterator[Message]:
    """Final answers other than 200: the call ends before it was up."""
    for index, mark in numbered:
        if (mark.source, mark.name) == ("caller", "call_ended") and _is_refusal(mark):
            left = axis.left(mark.at_ns)
            yield Message(left, left, False, Event(left, str(mark.fields["status"]), index))


def _is_refusal(mark: Mark) -> bool:
    status = mark.fields.get("status")
    return isinstance(status, int) and status >= _REFUSED


def _rtp(evidence: CallEvidence, axis: Axis) -> Iterator[Span]:
    """Media, from both sides' `media_ready` to the call's end, as each side reports its stream."""
    ended = evidence.first("agent", "call_ended") or evidence.first("caller", "call_ended")
    end_ns = ended.at_ns if ended else axis.end_ns
    streams: tuple[tuple[Source, str], ...] = (("agent", "to agent"), ("caller", "to caller"))
    for row, (source, direction) in enumerate(streams):
        ready = evidence.first(source, "media_ready")
        if ready is None:
            continue
        reported = evidence.last(source, "rtp_measured")
        label = f"RTP {direction}, {ready.fields.get('codec', '?')}"
        if reported is not None:
            label += f": {_statistics(reported)}"
        kind = "lossy" if reported is not None and reported.fields.get("lost_packets") else ""
        yield axis.span(ready.at_ns, end_ns, label, kind, row)


def _statistics(reported: Mark) -> str:
    received, lost = int(reported.fields["received_packets"]), int(reported.fields["lost_packets"])
    share = 100 * lost / max(1, received + lost)
    part = f" ({share:.1f} %)" if lost > 0 else ""
    jitter_ms = float(reported.fields["jitter_ms"])
    return f"{received} packets, {lost} lost{part}, jitter {jitter_ms:.1f} ms"


def _struck(evidence: CallEvidence, axis: Axis) -> Iterator[Span]:
    for mark in evidence.find("caller", "impairment_applied"):
        what, direction = str(mark.fields.get("what")), str(mark.fields.get("at", ""))
        if what in _SHOWN:
            packets = mark.fields.get("packets", 1)
            end_ns = mark.at_ns + round(float(mark.fields.get("lasted_ms", 0)) * NS_PER_MS)
            fate, where, why = _SHOWN[what], direction.replace("_", " "), what.replace("_", " ")
            label = f"{packets} {fate} {where} ({why})"
            yield axis.span(mark.at_ns, end_ns, label, direction)
