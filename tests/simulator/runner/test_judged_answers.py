"""Answers that ended otherwise than a caller can use fail a call by default."""

from pathlib import Path
from typing import Any

import pytest

from callerside.marks import Mark, Source
from callerside.simulator.runner.answers import judge_answers, unusable_answers
from callerside.simulator.scenario.loader import load_file
from callerside.simulator.scenario.model import Scenario


def mark(at_ms: int, source: Source, name: str, /, **fields: Any) -> Mark:
    return Mark(at_ns=at_ms * 1_000_000, source=source, call="c", name=name, fields=fields)


def scenario(folder: Path, steps: str = "[hang_up]") -> Scenario:
    path = folder / "one.yaml"
    path.write_text(f"about: a\nsteps: {steps}\n")
    (loaded,) = load_file(path)
    return loaded


def ended(at_ms: int, response: str, status: str, **fields: Any) -> Mark:
    return mark(at_ms, "realtime", "response_done", response=response, status=status, **fields)


def sound(at_ms: int, response: str) -> Mark:
    return mark(at_ms, "realtime", "delta_sent", response=response)


TURN = mark(900, "realtime", "committed", item="u", by="vad")
CUT = [TURN, sound(1400, "r1"), ended(1500, "r1", "incomplete", reason="max_output_tokens")]
SILENT = [TURN, ended(1500, "r1", "completed")]
PLANNED = mark(950, "realtime", "response_planned", response="r1", think_ms=500)
WITHHELD = mark(950, "realtime", "response_withheld", response="r1")
LEFT = mark(9000, "caller", "hang_up_sent", how="bye")
ASIDE = mark(1, "realtime", "response_planned", response="r1", reply="out_of_band")
WHOLE = [sound(2000, "r2"), ended(2100, "r2", "completed")]
HEARD = mark(4000, "caller", "silence_heard")
AGENT = mark(2000, "agent", "playout_started", item="i")


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        (CUT, ["turn 1: the answer ended incomplete (max_output_tokens)"]),
        (SILENT, ["turn 1: the answer was silent"]),
        ([TURN, *WHOLE], []),
        (
            [ended(10, "r1", "failed", reason="x")],
            ["before the first turn: the answer ended failed (x)"],
        ),
        # It calls a function: nothing is to be heard of it.
        ([TURN, PLANNED, mark(1, "realtime", "function_called", name="f"), SILENT[1]], []),
        # What the caller stopped, or asked for beside the conversation.
        ([TURN, ended(1500, "r1", "cancelled", reason="turn_detected")], []),
        (
            [
                mark(1, "realtime", "response_planned", response="r1", reply="out_of_band"),
                SILENT[1],
            ],
            [],
        ),
    ],
)
def test_how_answers_ended(marks: list[Mark], told: list[str]) -> None:
    assert [str(one) for one in unusable_answers(marks)] == told


def test_an_answer_after_a_function_call_is_judged_by_itself() -> None:
    calls = mark(950, "realtime", "function_called", name="f", arguments={})
    marks = [TURN, PLANNED, calls, ended(1000, "r1", "completed"), ended(1500, "r2", "completed")]
    assert [one.response for one in unusable_answers(marks)] == ["r2"]


def test_nothing_instead_of_it_is_a_failure(tmp_path: Path) -> None:
    (told,), warnings = judge_answers(scenario(tmp_path), [*CUT, HEARD])
    assert told == (
        "turn 1: the answer ended incomplete (max_output_tokens), and the caller heard no whole "
        "answer; if that is meant: expect: {response: incomplete}"
    )
    assert not warnings
    (unheard,), _ = judge_answers(scenario(tmp_path), SILENT)
    assert "and the caller heard no answer instead of it" in unheard


@pytest.mark.parametrize("withheld", [[], [WITHHELD]])
def test_an_answer_that_never_comes_is_a_failure(tmp_path: Path, withheld: list[Mark]) -> None:
    marks = [TURN, PLANNED, *withheld, LEFT]
    (told,), warnings = judge_answers(scenario(tmp_path), marks)
    assert told.startswith("turn 1: the answer never came, and the caller heard no answer")
    assert not warnings
    steps = "[{expect: {response: withheld}}]"
    assert told.endswith("expect: {response: withheld}") is bool(withheld)
    assert bool(judge_answers(scenario(tmp_path, steps), marks)[0]) is not bool(withheld)


def test_an_answer_that_was_asked_for_in_vain_is_told_once(tmp_path: Path) -> None:
    again = mark(3000, "realtime", "response_planned", response="r2", think_ms=500)
    failures, _ = judge_answers(scenario(tmp_path), [TURN, PLANNED, again, LEFT])
    assert len(failures) == 1


def test_an_answer_that_a_fault_swallows_is_meant_by_who_expects_the_fault(tmp_path: Path) -> None:
    fault = mark(900, "realtime", "fault_applied", fault="stall", at="turn 1")
    marks = [TURN, fault, PLANNED, LEFT]
    (told,), _ = judge_answers(scenario(tmp_path), marks)
    steps = "[{expect: {mark: fault_applied, fields: {fault: stall}}}]"
    assert told.endswith(steps.removeprefix("[{").removesuffix("}]"))
    assert judge_answers(scenario(tmp_path, steps), marks) == ([], [])


@pytest.mark.parametrize(
    ("name", "left_ms", "more", "fails"),
    [
        ("look_up", 9000, [], True),
        ("look_up", 5000, [], False),  # the caller has not waited
        ("look_up", 9000, [mark(1400, "realtime", "delta_sent", response="r1")], False),
        ("transfer", 9000, [], False),
        ("hang_up", 9000, [], False),
        ("look_up", 9000, [*WHOLE, HEARD], False),
    ],
)
def test_a_function_behind_which_nothing_comes_is_an_answer_that_never_came(
    tmp_path: Path, name: str, left_ms: int, more: list[Mark], *, fails: bool
) -> None:
    called = mark(1450, "realtime", "function_called", name=name, arguments={})
    off = mark(left_ms, "agent", "tool_cancelled", name=name, call_id="c", ran_ms=1.0)
    left = mark(left_ms, "caller", "hang_up_sent", how="bye")
    asked = [mark(1900, "realtime", "response_planned", response="r2")] if len(more) > 1 else []
    early, late = (more, []) if not asked else ([], [*asked, *more])
    marks = [TURN, PLANNED, *early, called, ended(1500, "r1", "completed"), *late, left, off]
    failures, _ = judge_answers(scenario(tmp_path), marks)
    assert bool(failures) is fails
    if fails:
        assert failures[0].endswith("if that is meant: expect: {mark: tool_cancelled}")
        meant = scenario(tmp_path, "[{expect: {mark: tool_cancelled}}]")
        assert judge_answers(meant, marks) == ([], [])


def test_a_caller_who_leaves_at_once_has_not_waited_for_the_answer(tmp_path: Path) -> None:
    left = mark(1900, "caller", "hang_up_sent", how="bye")
    assert judge_answers(scenario(tmp_path), [TURN, PLANNED, left, ended(1900, "r1", "x")])[0] == []
    assert judge_answers(scenario(tmp_path), [TURN, PLANNED, left])[0] == []


def test_an_answer_that_never_comes_may_be_made_up_for(tmp_path: Path) -> None:
    failures, warnings = judge_answers(
        scenario(tmp_path), [TURN, PLANNED, WITHHELD, AGENT, *WHOLE, HEARD, LEFT]
    )
    assert not failures
    assert warnings == ["turn 1: the answer never came; the agent made up for it"]


@pytest.mark.parametrize(
    ("before", "by_script", "told"),
    [
        ([], True, ["turn 1: the answer ended cancelled (turn_detected)"]),
        ([], False, []),
        ([mark(1200, "realtime", "speech_started")], True, []),
        # Half of an answer is none either.
        ([sound(1200, "r1")], True, ["turn 1: the answer ended cancelled (turn_detected)"]),
        ([sound(1200, "r1"), mark(1300, "realtime", "speech_started")], True, []),
    ],
)
def test_an_answer_that_is_cancelled_by_nobody(
    before: list[Mark], by_script: bool, told: list[str]
) -> None:
    fields = {"by_script": True} if by_script else {}
    done = ended(1500, "r1", "cancelled", reason="turn_detected", **fields)
    assert [str(one) for one in unusable_answers([TURN, PLANNED, *before, done])] == told


def test_an_answer_instead_of_it_is_a_warning(tmp_path: Path) -> None:
    failures, warnings = judge_answers(scenario(tmp_path), [*SILENT, AGENT, *WHOLE, HEARD])
    assert not failures
    assert warnings == ["turn 1: the answer was silent; the agent made up for it"]


def test_an_answer_that_the_caller_had_to_ask_for_again_makes_up_for_nothing(
    tmp_path: Path,
) -> None:
    again = mark(6000, "caller", "utterance_started", turn=2, text="Hello?")
    late = [mark(8000, "agent", "playout_started", item="i"), sound(8000, "r2")]
    late += [ended(8100, "r2", "completed"), mark(9000, "caller", "silence_heard")]
    failures, _ = judge_answers(scenario(tmp_path), [*SILENT, again, *late])
    assert len(failures) == 1
    own_words = mark(2500, "agent", "prompt_started", prompt="apology")
    assert judge_answers(scenario(tmp_path), [*SILENT, own_words, again, *late])[0] == []


def test_a_caller_who_moves_on_has_not_waited(tmp_path: Path) -> None:
    soon = mark(2000, "caller", "utterance_started", turn=2, text="And on Sunday?")
    late = [sound(4000, "r2"), ended(4100, "r2", "completed"), mark(5000, "caller", "speech_heard")]
    assert judge_answers(scenario(tmp_path), [*SILENT, soon, *late])[0] == []


def test_an_answer_that_nobody_heard_makes_up_for_nothing(tmp_path: Path) -> None:
    before = mark(1600, "caller", "silence_heard")
    failures, _ = judge_answers(scenario(tmp_path), [*CUT, before, AGENT, *WHOLE])
    assert len(failures) == 1


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ("[{expect: {response: incomplete}}]", True),
        ("[{expect: {response: incomplete, reason: max_output_tokens}}]", True),
        ("[{expect: {response: incomplete, reason: content_filter}}]", False),
        ("[{expect: {mark: response_done, fields: {status: incomplete}}}]", True),
        ("[{expect: {response: failed}}]", False),
        ("[{expect: {response: silent}}]", False),
    ],
)
def test_what_is_expected_is_no_failure(tmp_path: Path, steps: str, wanted: bool) -> None:
    failures, _ = judge_answers(scenario(tmp_path, steps), CUT)
    assert bool(failures) is not wanted


@pytest.mark.parametrize(
    ("steps", "turns"),
    [
        ("[{expect: {response: incomplete}}]", [2]),
        ("[{expect: {response: incomplete, reason: content_filter}}]", [1]),
        ("[{expect: {response: incomplete}}, {expect: {response: incomplete}}]", []),
        (
            "[{expect: {response: incomplete}}, {expect: {response: incomplete, reason: max*}}]",
            [],
        ),
    ],
)
def test_an_expectation_excuses_the_answer_of_one_turn(
    tmp_path: Path, steps: str, turns: list[int]
) -> None:
    second = mark(5000, "realtime", "committed", item="v", by="vad")
    filtered = ended(6000, "r2", "incomplete", reason="content_filter")
    marks = [*CUT, second, sound(5500, "r2"), filtered]
    failures, _ = judge_answers(scenario(tmp_path, steps), marks)
    assert [int(one.split()[1].rstrip(":")) for one in failures] == turns


def test_an_expectation_excuses_what_was_asked_for_again_in_its_turn(tmp_path: Path) -> None:
    again = ended(3000, "r2", "incomplete", reason="max_output_tokens")
    steps = "[{expect: {response: incomplete}}]"
    assert judge_answers(scenario(tmp_path, steps), [*CUT, sound(2500, "r2"), again]) == ([], [])


INAUDIBLE = [TURN, sound(1400, "r1"), ended(1500, "r1", "completed", inaudible=True)]


def test_audio_in_which_nothing_can_be_heard_is_silence(tmp_path: Path) -> None:
    (told,), _ = judge_answers(scenario(tmp_path), [*INAUDIBLE, HEARD])
    assert told.startswith("turn 1: the answer was silent, and the caller heard no answer")
    meant = scenario(tmp_path, "[{expect: {response: silent}}]")
    assert judge_answers(meant, INAUDIBLE) == ([], [])
    # Nor does it make up for another.
    late = [sound(2000, "r2"), ended(2100, "r2", "completed", inaudible=True), HEARD]
    assert (
        "turn 1: the answer ended incomplete"
        in judge_answers(scenario(tmp_path), [*CUT, *late])[0][0]
    )


def test_half_an_answer_makes_up_for_none(tmp_path: Path) -> None:
    half = ended(2100, "r2", "cancelled", reason="turn_detected", by_script=True)
    failures, _ = judge_answers(scenario(tmp_path), [*CUT, sound(2000, "r2"), half, HEARD])
    assert len(failures) == 2


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ([], True),
        ([mark(2500, "realtime", "response_planned", response="r2", think_ms=4000)], True),
        (
            [
                mark(2500, "realtime", "response_planned", response="r2", think_ms=50),
                sound(2600, "r2"),
            ],
            False,
        ),
        ([mark(2500, "realtime", "committed", item="v", by="vad")], False),
    ],
)
@pytest.mark.parametrize("preamble", [True, False])
def test_who_leaves_before_a_function_is_done_is_told(
    tmp_path: Path, after: list[Mark], *, told: bool, preamble: bool
) -> None:
    called = mark(1450, "realtime", "function_called", name="look_up", arguments={})
    said = [sound(1400, "r1")] if preamble else []
    left = mark(3000, "caller", "hang_up_sent", how="bye")
    marks = [TURN, PLANNED, *said, called, ended(1500, "r1", "completed"), *after, left]
    failures, warnings = judge_answers(scenario(tmp_path), marks)
    assert not failures
    why = "the caller left before the answer after the function 'look_up' came"
    assert warnings == ([f"turn 1: {why}; expect: reply waits for it"] if told else [])


def test_a_silent_answer_may_be_expected(tmp_path: Path) -> None:
    told = mark(1500, "agent", "response_silent", response="r1")
    failures, _ = judge_answers(
        scenario(tmp_path, "[{expect: {response: silent}}]"), [*SILENT, told]
    )
    assert not failures
