"""What the page of a call draws: the ladder, the budget, the waterfall, on one axis."""

from dataclasses import replace
from typing import Any

import pytest
from synthetic_call import MS, START_NS, SyntheticCall, TurnTruth

from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence
from callerside.reports.pages.call_view import CallView, view_of
from callerside.reports.verdict.call_result import CallResult, judge_call


def mark(at_ms: float, source: Source, name: str, **fields: Any) -> Mark:
    at_ns = START_NS + round(at_ms * MS)
    return Mark(at_ns=at_ns, source=source, call="x", name=name, fields=fields)


def with_marks(evidence: CallEvidence, *more: Mark) -> CallEvidence:
    return replace(evidence, marks=sorted([*evidence.marks, *more], key=lambda m: m.at_ns))


def seen(evidence: CallEvidence) -> tuple[CallResult, CallView]:
    call = judge_call(evidence)
    return call, view_of(call)


def at(view: CallView, percent: float) -> float:
    """Milliseconds on the axis."""
    return percent * view.length_ms / 100


def test_the_ladder_has_every_message_from_its_sender_to_its_receiver() -> None:
    evidence = with_marks(
        SyntheticCall(answer_ms=30).build(),
        mark(12, "agent", "answer_sent", status=200),
        mark(34, "agent", "answered"),
        mark(20, "caller", "call_progressed", status=180),
    )
    _, view = seen(evidence)
    told = {one.event.label: one for one in view.ladder.messages}
    assert list(told) == ["INVITE", "200 OK", "180", "ACK", "BYE"]
    for label, sent_ms, received_ms, to_agent in (
        ("INVITE", 0, 8, True),
        ("180", 20, 20, False),
        ("200 OK", 12, 30, False),
        ("ACK", 30, 34, True),
    ):
        one = told[label]
        assert at(view, one.sent) == pytest.approx(sent_ms, abs=0.1)
        assert at(view, one.received) == pytest.approx(received_ms, abs=0.1)
        assert one.to_agent == to_agent
    assert at(view, told["BYE"].received - told["BYE"].sent) == pytest.approx(10, abs=0.1)


def test_an_agents_timeline_alone_has_a_ladder_too() -> None:
    marks = [m for m in SyntheticCall().build().marks if m.source == "agent"]
    _, view = seen(CallEvidence(info=SyntheticCall().build().info, marks=marks))
    assert [one.event.label for one in view.ladder.messages] == ["INVITE", "BYE"]


def test_a_refusal_a_cancel_and_a_vanishing_are_told_as_what_they_are() -> None:
    info = SyntheticCall().build().info
    refused = [
        mark(0, "caller", "call_dialed", uri="sip:x@y"),
        mark(9, "caller", "call_ended", by="agent", status=486, reason="Busy Here"),
    ]
    assert labels(CallEvidence(info=info, marks=refused)) == ["INVITE", "486"]
    for how, label in (("cancel", "CANCEL"), ("vanish", "vanishes")):
        marks = [refused[0], mark(5, "caller", "hang_up_sent", how=how)]
        assert labels(CallEvidence(info=info, marks=marks)) == ["INVITE", label]


def labels(evidence: CallEvidence) -> list[str]:
    return [one.event.label for one in seen(evidence)[1].ladder.messages]


def test_rtp_loss_is_drawn_where_it_struck_and_as_each_side_counted_it() -> None:
    evidence = with_marks(
        SyntheticCall().build(),
        mark(1000, "caller", "impairment_applied", what="loss", at="to_agent", packets=2,
             lasted_ms=20.0),
        mark(1500, "caller", "impairment_applied", what="delay", at="to_agent", packets=9),
        mark(1800, "caller", "impairment_applied", what="stalled", at="to_caller", packets=12),
        mark(6000, "agent", "rtp_measured", received_packets=297, lost_packets=3, jitter_ms=1.25),
    )  # fmt: skip
    _, view = seen(evidence)
    lost, late = view.ladder.kept_back
    assert (late.label, late.kind) == ("12 held back to caller (stalled)", "to_caller")
    assert (lost.label, lost.kind) == ("2 lost to agent (loss)", "to_agent")
    assert at(view, lost.left) == pytest.approx(1000, abs=1)
    assert at(view, lost.width) == pytest.approx(20, abs=1)
    (stream,) = view.ladder.rtp
    assert stream.label == ("RTP to agent, PCMU: 297 packets, 3 lost (1.0 %), jitter 1.2 ms")
    assert stream.kind == "lossy"
    assert [event.kind for event in view.troubles] == ["trouble minor"] * 3


def test_the_budget_is_drawn_from_where_it_counts_to_where_it_ends() -> None:
    turns = [TurnTruth(), TurnTruth(barge_in_after_ms=600, stop_ms=120)]
    call, view = seen(SyntheticCall(answer_ms=30, beep_ms=120, turns=turns).build())
    drawn = {one.allowed.label.split(":")[0]: one for one in view.deadlines}
    assert drawn.keys() >= {"answer_ms", "beep_ms", "turn_ms 1", "turn_ms 2", "barge_in_stop_ms 2"}
    beep = drawn["beep_ms"]
    assert at(view, beep.allowed.left) == pytest.approx(30, abs=1)
    assert at(view, beep.allowed.width) == pytest.approx(500, abs=1)
    assert at(view, beep.taken.width) == pytest.approx(120, abs=2)
    turn = call.measured.turns[0]
    start_ms = (turn.left_ns - START_NS) / MS
    assert at(view, drawn["turn_ms 1"].allowed.left) == pytest.approx(start_ms, abs=1)
    assert drawn["turn_ms 1"].allowed.kind == "passed"


def test_a_bar_of_the_budget_ends_in_a_whisker_as_long_as_its_error_bound() -> None:
    call, view = seen(SyntheticCall(turns=[TurnTruth()]).build())
    drawn = {one.allowed.label.split(":")[0]: one for one in view.deadlines}
    turn = next(one for one in call.judged if one.name == "turn_ms")
    assert turn.bound is not None
    bar, whisker = drawn["turn_ms 1"].taken, drawn["turn_ms 1"].whisker
    assert whisker is not None
    middle = at(view, whisker.left + whisker.width / 2)
    assert middle == pytest.approx(at(view, bar.left + bar.width), abs=1)
    assert at(view, whisker.width) == pytest.approx(2 * turn.bound.size, abs=1)
    assert drawn["connect_ms"].whisker is None


def test_bars_of_the_budget_do_not_lie_upon_one_another() -> None:
    _, view = seen(SyntheticCall().build())
    for row in range(view.deadline_rows):
        bars = [one for one in view.deadlines if one.allowed.row == row]
        ends = [0.0]
        for one in bars:
            assert one.allowed.left >= ends[-1]
            ends.append(one.end)


def test_the_label_of_what_may_last_longer_than_the_call_is_on_the_page() -> None:
    _, view = seen(SyntheticCall(turns=[TurnTruth()]).build())
    longest = max(view.deadlines, key=lambda one: one.allowed.left + one.allowed.width)
    assert longest.allowed.left + longest.allowed.width > 100
    assert (longest.end, longest.label_inside) == (100, True)


def test_the_waterfall_has_a_bar_for_each_hop_and_says_whose_time_it_was() -> None:
    call, view = seen(SyntheticCall(turns=[TurnTruth(vad_ms=500, think_ms=300)]).build())
    (row,) = view.turns
    assert [hop.name for hop in row.hops] == [hop.name for hop in call.measured.turns[0].hops]
    assert all(0 <= hop.left <= hop.left + hop.width <= 100.01 for hop in row.hops)
    assert sum(hop.length_ms for hop in row.hops) == pytest.approx(row.turn.turn_ms)
    by_party: dict[str, float] = {}
    for hop in row.hops:
        by_party[hop.party] = by_party.get(hop.party, 0) + hop.length_ms
    assert by_party["server"] == pytest.approx(row.turn.own_ms, abs=1)
    others = sum(length for party, length in by_party.items() if party != "server")
    assert others == pytest.approx(row.overhead_ms, abs=1)
    assert [span.row for span in row.axis] == list(range(len(row.hops)))


def test_a_hole_in_an_answer_is_drawn_where_it_was_heard() -> None:
    full = SyntheticCall(turns=[TurnTruth()]).build()
    call, _ = seen(full)
    onset = full.sample_at(call.measured.turns[0].answer_ns or 0)
    recording = full.recording.copy()
    recording[onset + 4000 : onset + 4480, 1] = 0
    _, view = seen(replace(full, recording=recording))
    heard = view.waves[1]
    (hole,) = heard.holes
    struck_ms = (full.at_ns(onset + 4000) - START_NS) / MS
    assert at(view, hole.left) == pytest.approx(struck_ms, abs=10)
    assert at(view, hole.width) == pytest.approx(60, abs=10)
    assert view.waves[0].holes == []


@pytest.mark.parametrize(
    ("fields", "label"),
    [({"audio_end_ms": 4672}, "speech stopped: 4672 ms"), ({}, "speech stopped")],
)
def test_numbers_have_their_units(fields: dict[str, Any], label: str) -> None:
    stopped = mark(3000, "realtime", "speech_stopped", **fields)
    evidence = CallEvidence(info=SyntheticCall().build().info, marks=[stopped])
    (lane,) = seen(evidence)[1].lanes
    assert [event.label for event in lane.events] == [label]
