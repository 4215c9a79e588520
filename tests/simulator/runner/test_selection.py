"""`-k EXPR` chooses by words in names."""

from pathlib import Path

import pytest

from callerside.simulator.runner.selection import (
    SelectionError,
    compile_expression,
    draw,
    select,
)
from callerside.simulator.scenario.loader import load

NAMES = ["barge_in_early", "barge_in_late", "noise-10db", "first_call"]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("barge", NAMES[:2]),
        ("BARGE and not late", NAMES[:1]),
        ("noise-10 or first", NAMES[2:]),
        ("not (barge or first)", NAMES[2:3]),
        ("nothing_like_it", []),
        ("911_call or first", NAMES[3:]),
        ("class or not (barge or noise-10db)", NAMES[3:]),
        ("noise[10]", []),
    ],
)
def test_words_choose(expression: str, chosen: list[str]) -> None:
    matches = compile_expression(expression)
    assert [name for name in NAMES if matches(name)] == chosen


def test_a_word_may_be_in_a_tag() -> None:
    matches = compile_expression("smoke and not late")
    assert matches("barge_in_early", "slow", "smoke")
    assert not matches("barge_in_late", "smoke")
    assert not matches("barge_in_early")


@pytest.mark.parametrize("expression", ["", "barge and", "1 + 2", "f(x)", "barge late", "(barge"])
def test_an_expression_that_is_none_is_refused(expression: str) -> None:
    with pytest.raises(SelectionError, match="expected words joined by"):
        compile_expression(expression)


def test_a_cell_is_chosen_by_the_name_that_a_run_prints(tmp_path: Path) -> None:
    text = "about: x\nmatrix: {caller.codec: [PCMU, G722]}\nsteps: [hang_up]\n"
    (tmp_path / "codecs.yaml").write_text(text)
    scenarios = load([tmp_path])
    assert [one.name for one in select(scenarios, "codecs-G722")] == ["codecs-G722"]
    assert select(scenarios, "codecs[G722]") == []


@pytest.mark.parametrize(("share", "count"), [(0.1, 4), (1.0, 40), (0.001, 1)])
def test_a_share_is_drawn_by_its_seed_and_keeps_its_order(
    tmp_path: Path, share: float, count: int
) -> None:
    for number in range(40):
        (tmp_path / f"s{number:02}.yaml").write_text("about: x\nsteps: [hang_up]\n")
    scenarios = load([tmp_path])
    drawn = [[one.name for one in draw(scenarios, share, seed)] for seed in (1, 1, 2, 3)]
    assert all(len(names) == count and names == sorted(names) for names in drawn)
    assert drawn[0] == drawn[1]
    assert count == 40 or len({tuple(names) for names in drawn}) == 3
    assert draw([], 0.5, 1) == []


MANY = ["mm-200", "mm-2000", "r_twelve-1", "r_twelve-10", "r_twelve-12", "pause", "pause_long"]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("mm-200", ["mm-200"]),
        ("R_Twelve-1", ["r_twelve-1"]),
        ("r_twelve and not r_twelve-1", ["r_twelve-10", "r_twelve-12"]),
        ("mm-200 or r_twelve-12", ["mm-200", "r_twelve-12"]),
        ("mm", ["mm-200", "mm-2000"]),
        ("paus", ["pause", "pause_long"]),
        ("pause", ["pause"]),
    ],
)
def test_a_word_that_is_the_whole_name_of_one_is_that_one_alone(
    expression: str, chosen: list[str]
) -> None:
    matches = compile_expression(expression, MANY)
    assert [name for name in MANY if matches(name)] == chosen


def test_a_name_that_is_a_tag_as_well_is_the_tag_too() -> None:
    matches = compile_expression("smoke", ["smoke", "smoke_signal", "other"])
    assert matches("smoke")
    assert matches("other", "smoke")
    assert not matches("smoke_signal", "smoke_free")


def test_a_cell_or_a_row_is_chosen_by_its_whole_name(tmp_path: Path) -> None:
    text = "about: x\nmatrix: {budget.turn_ms: [200, 2000]}\nsteps: [hang_up]\n"
    (tmp_path / "mm.yaml").write_text(text)
    scenarios = load([tmp_path])
    assert [one.name for one in select(scenarios, "mm-200")] == ["mm-200"]
