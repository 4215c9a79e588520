"""Stubs by themselves: one answer after another, and what they are declared as."""

from collections.abc import Iterator
from typing import Any

import pytest
from shop_server import Shop

from callerside.agent.config.settings import CallSettings, Settings
from callerside.agent.tools.interface import ToolError
from callerside.agent.tools.stub import OutOfReach, Stub
from callerside.agent.tools.toolboxes import Toolbox, Toolboxes


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


def box(tools: dict[str, Any], boxes: Toolboxes | None = None) -> Toolbox:
    settings = Settings.model_validate({"tools": tools})
    boxes = boxes or Toolboxes(settings, env={})
    return boxes.for_call(settings.for_call("0"))


def stub(settings: Any) -> Stub:
    made = box({"stub": {"book": settings}})["book"]
    assert isinstance(made, Stub)
    return made


def outputs(made: Stub, calls: int) -> list[str]:
    answers = [made.answer({}) for _ in range(calls)]
    return [answer.output if answer else "never" for answer in answers]


def test_one_answer_after_another_and_the_last_again_and_again() -> None:
    made = stub([{"returns": "one"}, {"fails": "two"}, {"never_returns": True}, {"returns": [4]}])
    assert outputs(made, 5) == ["one", '{"error": "two"}', "never", "[4]", "[4]"]


def test_each_telephone_call_begins_with_the_first() -> None:
    settings = Settings.model_validate({"tools": {"stub": {"book": [{"returns": "one"}, {}]}}})
    boxes = Toolboxes(settings, env={})
    for _ in range(2):
        made = boxes.for_call(settings.for_call("0"))["book"]
        assert isinstance(made, Stub)
        assert outputs(made, 2) == ["one", "null"]


def test_wrong_arguments_take_no_answer() -> None:
    made = stub(
        {
            "parameters": {"type": "object", "required": ["day"]},
            "answers": [{"returns": "one"}, {"returns": "two"}],
        }
    )
    refused = made.answer({})
    assert refused is not None
    assert not refused.ok
    assert refused.refused == "wrong arguments: 'day' is a required property"
    answer = made.answer({"day": "Monday"})
    assert answer is not None
    assert (answer.ok, answer.output, answer.refused) == (True, "one", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # by which jsonschema fetches, left alone
def test_a_reference_out_of_the_schema_is_not_fetched(shop: Shop) -> None:
    elsewhere = {"$ref": f"http://127.0.0.1:{shop.port}/schema"}
    schema = {"type": "object", "properties": {"a": elsewhere}}
    answer = stub({"parameters": schema}).answer({"a": 1})
    assert answer is not None
    assert "refers to what is not in it" in answer.refused
    assert not shop.asked


def test_without_real_functions_what_has_no_stub_refuses_and_needs_no_keys() -> None:
    http = {
        "description": "x",
        "url": "https://api.example/",
        "headers": {"Authorization": "Bearer ${SHOP_KEY}"},
    }
    made = box({"real": False, "http": {"ask": http, "book": http}, "stub": {"book": {}}})
    assert isinstance(made["ask"], OutOfReach)
    assert "ask is a real function" in made["ask"].answer({}).refused
    assert isinstance(made["book"], Stub)
    assert made["book"].declaration["description"] == "x"


@pytest.mark.parametrize("where", ["stub", "http"])
def test_the_names_of_built_in_functions_are_taken(where: str) -> None:
    one = {} if where == "stub" else {"description": "x", "url": "https://api.example/"}
    with pytest.raises(ToolError, match=f"tools.{where}: hang_up is the name of a built-in tool"):
        box({where: {"hang_up": one}})


def test_functions_are_real_in_production() -> None:
    assert CallSettings().tools.real
