"""How long each turn took, hop by hop, as the agent itself can see it from its own marks.

Metrics and call records both report turn latency; this is the one place that computes it. It is the
agent's share of the truth only: what the caller's ear heard is measured by a test, not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from callerside.clock import ns_to_ms
from callerside.marks import Mark

HOPS: Mapping[str, str] = {
    "commit": "committed",
    "response": "response_created",
    "first_delta": "first_delta",
    "playout": "playout_started",
}
"""Hop -> the mark that ends it. Each begins where the one before it ended, the first at
`speech_stopped`, so that the hops of a turn add up to its latency."""


@dataclass(kw_only=True, slots=True)
class Turn:
    """One turn: from the end of the caller's speech to the first frame of the answer.

    `hops_ms` holds the hops that were passed; `turn_ms` is None until the answer has begun.
    """

    stopped_at_ns: int
    hops_ms: dict[str, float] = field(default_factory=dict)
    turn_ms: float | None = None


class TurnTracker:
    """Folds the marks of one call into turns."""

    def __init__(self) -> None:
        self._turn: Turn | None = None
        self._hop_began_ns = 0
        self._answer_item: object = None

    def add(self, mark: Mark) -> Turn | None:
        """Take the next mark; returns a turn when it is complete, answered or not.

        A turn that the caller resumes before it was answered is over, unanswered: the answer, if
        one comes, is to what was said last.
        """
        if mark.name == "speech_stopped":
            return self._begin(mark)
        if self._turn is None:
            return None
        if mark.name == "call_ended":
            return self._end()
        hop = self._hop_ended_by(mark, self._turn)
        if hop is None or not self._belongs(mark):
            return None
        self._turn.hops_ms[hop] = ns_to_ms(mark.at_ns - self._hop_began_ns)
        self._hop_began_ns = mark.at_ns
        if hop != "playout":
            return None
        self._turn.turn_ms = ns_to_ms(mark.at_ns - self._turn.stopped_at_ns)
        return self._end()

    def _begin(self, mark: Mark) -> Turn | None:
        unanswered = self._end()
        self._turn = Turn(stopped_at_ns=mark.at_ns)
        self._hop_began_ns = mark.at_ns
        self._answer_item = None
        return unanswered

    def _end(self) -> Turn | None:
        turn, self._turn = self._turn, None
        return turn

    def _belongs(self, mark: Mark) -> bool:
        """Whether a mark is about this turn's answer, and not about the tail of an older one."""
        if mark.name == "first_delta":
            self._answer_item = mark.fields.get("item")
        return mark.name != "playout_started" or mark.fields.get("item") == self._answer_item

    @staticmethod
    def _hop_ended_by(mark: Mark, turn: Turn) -> str | None:
        """The hop that this mark ends: the turn's next one, or the response without a commit.

        A server that never says `committed` answers all the same; nothing else may be skipped, as
        that would let the tail of an older answer in.
        """
        left = [hop for hop in HOPS if hop not in turn.hops_ms]
        if "response" in turn.hops_ms and left[0] == "commit":
            left = left[1:]
        may_end = left[:2] if left[0] == "commit" else left[:1]
        return next((hop for hop in may_end if HOPS[hop] == mark.name), None)
