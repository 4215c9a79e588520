"""The knee: verdicts, charts and the page, from made-up steps."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from load_steps import HOPS_MS, knee, step
from synthetic_call import SyntheticCall, TurnTruth

from callerside.marks import Mark
from callerside.reports.pages.html import knee_page
from callerside.reports.pages.line_chart import HEIGHT, WIDTH, Series, line_chart
from callerside.reports.verdict.call_result import judge_call
from callerside.reports.verdict.capacity import Load, charts, step_of, table, to_json

STALL = {"late_ms": 12.5, "cpu": 0}


def test_the_knee_is_the_last_step_within_the_budget() -> None:
    found = knee(step(1, 20), step(4, 39), step(8, 55))
    assert found.calls == 4
    assert "at 8 the agent gave way first" in found.sentence
    assert knee(step(1, 20)).sentence == "1 call at once within the budget; the knee is beyond."
    assert knee(step(1, 50)).calls == 0


def test_it_says_who_gave_way() -> None:
    late = knee(step(1, 20), step(8, 55, lag=60))
    assert "the harness gave way first: it was 60 ms late itself" in late.sentence
    distorted = knee(step(1, 20), step(8, 55, stalled_ms=43.0)).sentence
    assert "at 8 nobody gave way: the machine stood still for 43 ms at a time." in distorted
    full = knee(step(1, 20), step(8, 55, agent=2.2, harness=1.6))
    assert "the machine gave way" in full.sentence
    for hop, who in (("agent to append", "agent"), ("append to server", "harness")):
        slow = knee(step(1, 20), step(8, 55, hops_ms=HOPS_MS | {hop: 31.0}))
        assert (
            f"at 8 the {who} gave way first: {hop} took 31 ms (p95), and 0 with 1." in slow.sentence
        )
    alone = knee(step(1, 55, hops_ms={"RTP to agent": 24.0})).sentence
    assert alone == (
        "Not even 1 call within the budget: "
        "the agent gave way first: RTP to agent took 24 ms (p95)."
    )
    assert "no turn was heard" in knee(step(1, 99, hops_ms={})).sentence
    lost = knee(step(1, 20), replace(step(8, 30, finished=6), within=False))
    assert "at 8 2 of 8 calls did not go as scripted" in lost.sentence


def test_what_the_harness_may_be_off_by_is_kept_in_view() -> None:
    close = knee(step(1, 20), step(8, 42), error_ms=3.0)
    assert "closer to the limit than the harness's own error, 3.0 ms" in close.sentence
    assert "closer" not in knee(step(1, 20), step(8, 55), error_ms=3.0).sentence
    assert "own error is 3.0 ms" in knee_page(close)
    assert "was not calibrated" in knee_page(knee(step(1, 20)))


def test_a_step_is_made_of_its_calls() -> None:
    calls = [
        judge_call(SyntheticCall(turns=[TurnTruth(downlink_ms=ms)]).build()) for ms in (15, 20, 25)
    ]
    load = Load(cpu_cores=0.1, memory_mib=70)
    found = step_of(3, calls, load, load)
    assert (found.finished, found.placed, found.turns, found.within) == (3, 3, 3, True)
    assert found.hops_ms["agent to append"] == pytest.approx(2, abs=0.1)
    assert "server thinks" not in found.hops_ms
    assert step_of(1, calls, load, load, rounds=3).within
    stall = Mark(at_ns=1, source="caller", call="x", name="machine_stalled", fields=STALL)
    distorted = replace(calls[0].evidence, marks=[stall, *calls[0].evidence.marks])
    assert step_of(1, [judge_call(distorted)], load, load).disturbed
    assert not found.disturbed
    assert found.overhead_ms["p50"] == pytest.approx(12 + 20, abs=1)
    assert found.overhead_ms["p95"] == pytest.approx(12 + 25, abs=1)
    assert not step_of(4, calls, load, load).within, "a call is missing"
    nothing = step_of(1, [], load, load)
    assert (nothing.finished, nothing.turns, nothing.within) == (0, 0, False)


def test_the_page_the_table_and_the_json_tell_the_same() -> None:
    found = knee(step(1, 20), step(4, 39), step(8, 55))
    page = knee_page(found)
    assert found.sentence in page
    assert page.count("<figure") == 4
    assert "https://" not in page
    assert table(found).splitlines()[-1] == found.sentence
    data = json.loads(to_json(found))
    assert (data["calls"], data["version"], len(data["steps"])) == (4, 2, 3)


def test_everything_in_a_chart_lies_within_it() -> None:
    for chart in charts(knee(step(1, 20), step(4, 39), step(32, 900))):
        for line in chart.lines:
            assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line.dots)
        assert [label for _, label in chart.x_ticks] == ["1", "4", "32"]
        assert len(chart.y_ticks) <= 8


def test_ticks_of_a_chart_have_room_for_their_labels() -> None:
    (chart, *_) = charts(knee(*(step(n, 20) for n in (1, 2, 4, 8, 32, 64))))
    assert [label for _, label in chart.x_ticks] == ["1", "8", "32", "64"]
    places = [x for x, _ in chart.x_ticks]
    assert all(after - before >= 26 for before, after in pairwise(places))


def test_a_step_that_was_taken_again_says_so() -> None:
    assert "attempt" not in knee_page(knee(step(1, 20)))
    page = knee_page(knee(step(1, 20), replace(step(4, 20), attempt=2)))
    assert "attempt 2" in page
    assert "is taken again" in page


def test_a_chart_of_one_point_or_of_none_is_drawn() -> None:
    assert line_chart("t", "x", [Series("a", [(4, 0)])]).lines[0].dots
    assert line_chart("t", "x", [Series("a", [])]).lines[0].path == ""


def test_labels_at_the_ends_do_not_overlap() -> None:
    lines = line_chart("t", "x", [Series(n, [(1, 5), (2, 9)]) for n in "abc"]).lines
    places = sorted(line.label_y for line in lines)
    assert min(b - a for a, b in pairwise(places)) >= 14
