"""Long tests of one file that are played at once."""

import threading

import pytest
from at_once import AtOnce


def test_all_are_under_way_together() -> None:
    together = threading.Barrier(3, timeout=30)
    with AtOnce(dict.fromkeys(range(3), together.wait)) as stories:
        assert {stories.told(n) for n in range(3)} == {0, 1, 2}
        assert stories.told(0) == stories.told(0), "it is played once"


def test_one_that_failed_is_told_to_its_test_alone_and_played_anew_for_the_next() -> None:
    outcomes = iter([ValueError("a call is missing"), "all is well"])

    def story() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, ValueError):
            raise outcome
        return str(outcome)

    with AtOnce({"red": story, "green": lambda: "green"}) as stories:
        with pytest.raises(ValueError, match="a call is missing"):
            stories.told("red")
        assert stories.told("green") == "green"
        assert stories.told("red") == "all is well"
