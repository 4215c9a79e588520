"""`-k EXPR` chooses by words in names."""

import pytest

from callerside.simulator.runner.selection import SelectionError, compile_expression

NAMES = ["barge_in_early", "barge_in_late", "noise-10db", "first_call"]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("barge", NAMES[:2]),
        ("BARGE and not late", NAMES[:1]),
        ("noise-10 or first", NAMES[2:]),
        ("not (barge or first)", NAMES[2:3]),
        ("nothing_like_it", []),
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
