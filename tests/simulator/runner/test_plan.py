"""The plan of a run: names that are unique, and an order that forerunners keep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from callerside.simulator.runner.plan import PlanError, plan, with_forerunners
from callerside.simulator.scenario.model import Callers, Scenario


def scenario(name: str, **fields: Any) -> Scenario:
    data: Mapping[str, Any] = {"about": "A call.", "steps": [{"do": "hang_up"}], **fields}
    return Scenario.model_construct(**data, **_defaults(data)).named(name, Path(f"{name}.yaml"))


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    fields = Scenario.model_fields
    return {
        name: f.get_default(call_default_factory=True)
        for name, f in fields.items()
        if name not in given
    }


def test_a_forerunner_comes_first_and_lends_its_cache() -> None:
    third, second = scenario("third", after="second"), scenario("second", after="first")
    planned_calls = plan([third, second, scenario("first")], repeat=None, seed=1)
    assert [planned.name for planned in planned_calls] == ["first", "second", "third"]
    assert [planned.after for planned in planned_calls] == [None, "first", "second"]
    assert {planned.greeting_cache for planned in planned_calls} == {"first"}


def test_repeats_follow_the_same_repeat_of_their_forerunner() -> None:
    planned_calls = plan([scenario("b", after="a"), scenario("a")], repeat=2, seed=1)
    assert {planned.name: planned.after for planned in planned_calls} == {
        "a-r1": None, "a-r2": None, "b-r1": "a-r1", "b-r2": "a-r2",
    }  # fmt: skip


def test_each_call_knows_which_of_the_repeats_it_is() -> None:
    planned_calls = plan([scenario("a"), scenario("b")], repeat=3, seed=1)
    assert [one.repeat for one in planned_calls] == [1, 2, 3, 1, 2, 3]
    assert [one.together for one in planned_calls][:3] == ["a 1", "a 2", "a 3"]


def test_many_repeats_may_follow_one_forerunner() -> None:
    planned_calls = plan([scenario("b", after="a", repeat=3), scenario("a")], repeat=None, seed=1)
    assert {planned.after for planned in planned_calls if planned.after} == {"a"}


def test_seeds_differ_between_stages_and_come_from_the_runs() -> None:
    first = plan([scenario("a"), scenario("b")], repeat=5, seed=1)
    again = plan([scenario("b")], repeat=5, seed=1)
    assert len({planned.seed for planned in first}) == 10
    assert [s.seed for s in again] == [s.seed for s in first if s.scenario.name == "b"]
    assert plan([scenario("a")], repeat=None, seed=2)[0].seed != first[0].seed


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([("a", None), ("a", None)], "a: a scenario named a is in a.yaml already"),
        ([("a", "b")], r"after: there is no scenario 'b' here, and no other$"),
        ([("a", "b"), ("b", "a")], "comes after itself"),
    ],
)
def test_what_cannot_be_played_is_named(
    names: list[tuple[str, str | None]], complaint: str
) -> None:
    with pytest.raises(PlanError, match=complaint):
        plan([scenario(name, after=after) for name, after in names], repeat=None, seed=1)


@pytest.mark.parametrize(("repeat", "count"), [(999_999_999, 1), (1000, 101)])
def test_a_run_has_an_end(repeat: int, count: int) -> None:
    calls = [scenario("few"), scenario("many", callers=Callers(count=count))]
    with pytest.raises(PlanError, match=rf"a run of \d+ calls \({repeat * count} of them "):
        plan(calls, repeat=repeat, seed=1)


def test_the_nearest_name_may_be_that_of_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "first_call.yaml").write_text("")
    alone = scenario("a", after="frist_call").named("a", tmp_path / "a.yaml")
    with pytest.raises(PlanError, match='did you mean "first_call"'):
        plan([alone], repeat=None, seed=1)


@pytest.mark.parametrize(
    ("scenarios", "repeat", "complaint"),
    [
        (
            [scenario("a", repeat=3), scenario("a-r2")],
            None,
            "a-r2: .* be called a-r2, as one of a ",
        ),
        ([scenario("a-r2"), scenario("a")], 2, None),
        ([scenario("a-r2"), scenario("a", repeat=2)], None, "a: .* be called a-r2, as .* of a-r2 "),
        (
            [scenario("a", callers=Callers(count=2)), scenario("a-c1")],
            None,
            "a-c1: .* be called a-c1, as one of a ",
        ),
        (
            [scenario("a", repeat=2, callers=Callers(count=2)), scenario("a-r1-c2")],
            None,
            "be called a-r1-c2",
        ),
        ([scenario("a-r1", repeat=2), scenario("a", repeat=2)], None, None),
        ([scenario("a", repeat=2), scenario("a-r3")], None, None),
        ([scenario("a"), scenario("a-again1")], None, None),
    ],
)
def test_no_call_is_called_as_one_of_another_scenario(
    scenarios: list[Scenario], repeat: int | None, complaint: str | None
) -> None:
    if complaint is None:
        names = [planned.name for planned in plan(scenarios, repeat=repeat, seed=1)]
        assert (
            len(set(names))
            == len(names)
            == sum((repeat or one.repeat) * one.callers.count for one in scenarios)
        )
        return
    with pytest.raises(PlanError, match=complaint):
        plan(scenarios, repeat=repeat, seed=1)


def test_choosing_one_brings_its_forerunners() -> None:
    everything = [scenario("a"), scenario("b", after="a"), scenario("c", after="b"), scenario("d")]
    assert [s.name for s in with_forerunners([everything[2]], everything)] == ["a", "b", "c"]
