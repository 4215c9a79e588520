"""From a call that was played to one that is judged: read once, measured once."""

from dataclasses import replace
from pathlib import Path

import pytest
from hand_played import scenario

from callerside.reports.evidence import CallEvidence, load_evidence
from callerside.reports.metrics.metrics import Measured, measure
from callerside.reports.verdict.call_result import judge_call
from callerside.simulator.lanes.planned_call import PlayedCall
from callerside.simulator.lanes.virtual.lane import VirtualLane
from callerside.simulator.runner.evaluate import evaluate
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load_file

STEPS = "steps: [{expect: greeting}, hang_up]\n"


def played(folder: Path, more: str) -> PlayedCall:
    (planned,) = plan([scenario(folder, STEPS + more)], repeat=None, seed=3)
    return VirtualLane([planned], folder / "out").play(planned)


@pytest.mark.parametrize("at_hand", [True, False])
@pytest.mark.parametrize("more", ["", "never: [{state: LISTENING}]\n"])
def test_a_call_is_measured_once_and_read_at_most_once_with_a_complaint_or_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, at_hand: bool
) -> None:
    done: list[str] = []

    def load(directory: Path) -> CallEvidence:
        done.append("read")
        return load_evidence(directory)

    def count(evidence: CallEvidence) -> Measured:
        done.append("measured")
        return measure(evidence)

    monkeypatch.setattr("callerside.simulator.runner.evaluate.load_evidence", load)
    monkeypatch.setattr("callerside.reports.verdict.call_result.measure", count)
    call = played(tmp_path, more)
    evaluated = evaluate(call if at_hand else replace(call, evidence=None), "virtual")
    assert evaluated.verdict == ("failed" if more else "passed")
    assert done == [*([] if at_hand else ["read"]), "measured"]


def test_a_complaint_is_in_the_call_as_if_it_had_been_read_again(tmp_path: Path) -> None:
    """What is written beside the call, and what the report has of it."""
    call = played(tmp_path, "never: [{state: LISTENING}]\nbudget: {beep_ms: 10}\n")
    evaluated = evaluate(call, "virtual").result
    assert evaluated is not None
    again = judge_call(load_evidence(call.directory))
    assert evaluated.detail.startswith("never: ")
    assert (evaluated.verdict, evaluated.detail) == (again.verdict, again.detail)
    assert evaluated.evidence.info == again.evidence.info
    assert evaluated.judged == again.judged


def test_what_only_an_agent_of_ours_tells_does_not_pass_with_another(tmp_path: Path) -> None:
    """Nor a limit that the scenario states itself; what the caller hears is judged as ever."""
    more = "never: [{state: PROCESSING}, {transcript: rude}]\nbudget: {agent_overhead_ms: 40}\n"
    ours = evaluate(played(tmp_path, more), "virtual").result
    theirs = evaluate(replace(played(tmp_path, more), ours=False), "virtual").result
    assert ours is not None
    assert theirs is not None
    assert ours.behaviour.verdict == "passed"
    assert (theirs.verdict, theirs.behaviour.verdict) == ("not measured", "not measured")
    unchecked = ["never state PROCESSING", 'never the transcript "rude"']
    assert theirs.evidence.info.unchecked == unchecked
    assert ", ".join(unchecked) in theirs.detail
    assert "agent_overhead_ms has a limit" in theirs.detail


def test_a_caller_that_failed_keeps_its_own_sentence(tmp_path: Path) -> None:
    call = replace(
        played(tmp_path, "never: [{state: LISTENING}]\n"), verdict="failed", detail="step 1: no"
    )
    assert evaluate(call, "virtual").sentence == "step 1: no"


@pytest.mark.parametrize("changed_to", [None, "about: Another one.\nsteps: [hang_up]\n"])
def test_a_call_keeps_the_text_that_was_played(tmp_path: Path, changed_to: str | None) -> None:
    """Whatever has become of the file since: a cell of a matrix under a suite, as any other."""
    text = f"about: Ümlauts.\nmatrix: {{caller.codec: [PCMU, G722]}}\n{STEPS}"
    file, suite = tmp_path / "kept.yaml", tmp_path / "suite.yaml"
    file.write_text(text, encoding="utf-8")
    suite.write_text("tags: [shared]\n")
    calls = plan(load_file(file), repeat=None, seed=3)
    suite.unlink()
    if changed_to is None:
        file.unlink()
    else:
        file.write_text(changed_to)
    lane = VirtualLane(calls, tmp_path / "out")
    for planned in calls:
        call = lane.play(planned)
        evaluated = evaluate(call, "virtual")
        assert evaluated.verdict == "passed", evaluated.sentence
        assert load_evidence(call.directory).info.scenario == text


def test_a_caller_that_failed_is_told_of_the_answer_that_did(tmp_path: Path) -> None:
    failed = "{failed: {code: server_error}}"
    text = f"realtime: {{default_reply: {failed}}}\nsteps: [{{say: Hello}}, {{pause: 9s}}, hang_up]"
    (planned,) = plan([scenario(tmp_path, text)], repeat=None, seed=3)
    call = VirtualLane([planned], tmp_path / "out").play(planned)
    told = evaluate(replace(call, verdict="failed", detail="step 3: no"), "virtual").sentence
    assert told.startswith("step 3: no; turn 1: the answer ended failed (server_error)")
