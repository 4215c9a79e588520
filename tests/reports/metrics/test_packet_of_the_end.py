"""Which packet the caller's last voiced sample left in: a turn begins when that one left."""

from dataclasses import replace

import msgspec
import pytest
import synthetic_call
from synthetic_call import MS, SyntheticCall, TurnTruth

from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.metrics import measure


def heard_earlier(call: CallEvidence, by_ms: float) -> CallEvidence:
    """The same call, of whose packets the agent tells that they came so much earlier."""
    marks = []
    for mark in call.marks:
        fields = dict(mark.fields)
        if "heard_ns" in fields:
            fields["heard_ns"] = int(fields["heard_ns"]) - round(by_ms * MS)
        marks.append(msgspec.structs.replace(mark, fields=fields))
    return replace(call, marks=marks)


def turn_ms(call: CallEvidence) -> float:
    (turn,) = measure(call).turns
    assert turn.turn_ms is not None
    return turn.turn_ms


HEARD_AFTER_MS = TurnTruth().uplink_ms - 4
"""What the call that is made says of a packet: when it was heard, after it had left."""


@pytest.mark.parametrize("end_in_packet_ms", [4, 10, 18])
def test_a_stamp_that_is_a_hair_early_is_not_the_packet_before(
    monkeypatch: pytest.MonkeyPatch, end_in_packet_ms: int
) -> None:
    """The end is well within its packet: nothing else than that one can have carried it."""
    monkeypatch.setattr(synthetic_call, "IN_ITS_FRAME_MS", 20 - end_in_packet_ms)
    call = SyntheticCall(turns=[TurnTruth()]).build()
    early = heard_earlier(call, HEARD_AFTER_MS + 0.5)
    assert turn_ms(early) == turn_ms(call)


def test_at_a_packets_edge_it_is_the_one_that_had_left_when_the_sample_was_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the last sound is in this packet or the next, the caller's filter decides."""
    monkeypatch.setattr(synthetic_call, "IN_ITS_FRAME_MS", 0)
    call = SyntheticCall(turns=[TurnTruth()]).build()
    later = heard_earlier(call, -20)
    assert turn_ms(later) == pytest.approx(turn_ms(call) - 20)
