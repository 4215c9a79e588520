"""GA as Azure OpenAI has it: what its recorded sessions have otherwise, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from in_memory import Client

SCRIPT = {"greeting": {"say": "Hello there."}, "timing": {"think_ms": 0}}


def played(dialect: str) -> Sequence[Mapping[str, Any]]:
    client = Client({**SCRIPT, "dialect": dialect})
    client.send("response.create")
    client.wait(3000)
    return client.events


def test_the_parts_of_contents_come_a_second_time_and_the_rest_is_gas() -> None:
    azure, ga = played("azure"), played("ga")
    assert [event["type"] for event in azure] == [event["type"] for event in ga]
    parts = [event for event in azure if "part" in event]
    assert {event["type"] for event in parts} == {
        "response.content_part.added",
        "response.content_part.done",
    }
    assert all(event["content"] == event["part"] for event in parts)
    for one, other in zip(azure, ga, strict=True):
        assert one.keys() - {"content"} == other.keys() - {"content"}


def test_its_voice_is_alloy_unless_another_is_asked_for() -> None:
    client = Client({**SCRIPT, "dialect": "azure"})
    assert client.only("session.created")["session"]["audio"]["output"]["voice"] == "alloy"
    client.update(audio={"output": {"voice": "marin"}})
    assert client.only("session.updated")["session"]["audio"]["output"]["voice"] == "marin"
