"""What a response reads, counted: usage, what was cached, and what a model forgets."""

from typing import Any

import pytest
from in_memory import Client

TEN_TOKENS = "x" * 40
INSTRUCTIONS = "y" * 40


def reading(context_tokens: int | None = None, truncation: Any = "auto") -> Client:
    client = Client({"default_reply": {"text": "z" * 8}, "context_tokens": context_tokens})
    client.update(instructions=INSTRUCTIONS, truncation=truncation, output_modalities=["text"])
    return client


def say(client: Client, count: int) -> None:
    content = [{"type": "input_text", "text": TEN_TOKENS}]
    for _ in range(count):
        item = {"type": "message", "role": "user", "content": content}
        client.send("conversation.item.create", item=item)


def answer(client: Client, **response: Any) -> dict[str, Any]:
    client.send("response.create", response=response)
    client.wait(3000)
    done: dict[str, Any] = client.all("response.done")[-1]["response"]
    return done


def reads(done: dict[str, Any]) -> tuple[int, int]:
    usage = done["usage"]
    return usage["input_tokens"], usage["input_token_details"]["cached_tokens"]


def test_instructions_and_items_are_read_and_what_was_read_is_cached_in_blocks() -> None:
    client = reading()
    say(client, 10)
    assert reads(answer(client)) == (110, 0)
    assert reads(answer(client)) == (112, 64)  # two tokens were written
    say(client, 2)
    assert reads(answer(client)) == (134, 64)


def test_tools_are_read_too_and_what_changes_is_read_anew() -> None:
    client = reading()
    say(client, 10)
    answer(client)
    client.update(tools=[{"type": "function", "name": "hours"}])
    count, cached = reads(answer(client))
    assert count > 112
    assert cached == 0


def test_a_response_with_its_own_input_reads_that_alone() -> None:
    client = reading()
    say(client, 10)
    content = [{"type": "input_text", "text": TEN_TOKENS}]
    given = [{"type": "message", "role": "user", "content": content}]
    asked = {"conversation": "none", "metadata": {"topic": "x"}, "input": given}
    done = answer(client, **asked)
    assert reads(done) == (20, 0)
    assert (done["conversation_id"], done["metadata"]) == (None, {"topic": "x"})
    assert reads(answer(client)) == (110, 0)


def test_auto_forgets_just_enough_of_the_oldest() -> None:
    client = reading(context_tokens=60)
    say(client, 10)
    assert reads(answer(client)) == (60, 0)
    (mark,) = client.marked("context_truncated")
    assert mark.fields == {"items": 5, "before_tokens": 100, "left_tokens": 50}


def test_a_retention_ratio_forgets_more_at_once_and_rarely() -> None:
    rule = {"type": "retention_ratio", "retention_ratio": 0.5}
    client = reading(context_tokens=110, truncation=rule)
    say(client, 11)
    assert reads(answer(client))[0] == 60
    say(client, 3)
    assert reads(answer(client))[0] == 92
    assert len(client.marked("context_truncated")) == 1


def test_a_limit_of_its_own_counts_what_comes_behind_the_instructions() -> None:
    limits = {"post_instructions": 40}
    rule = {"type": "retention_ratio", "retention_ratio": 1, "token_limits": limits}
    client = reading(truncation=rule)
    say(client, 6)
    assert reads(answer(client))[0] == 50


def test_disabled_fails_what_is_too_long() -> None:
    client = reading(context_tokens=60, truncation="disabled")
    say(client, 10)
    done = answer(client)
    assert done["status"] == "failed"
    assert done["status_details"]["error"]["code"] == "context_length_exceeded"


def test_what_is_forgotten_is_still_there_for_the_client() -> None:
    client = reading(context_tokens=20)
    say(client, 5)
    answer(client)
    first = client.all("conversation.item.added")[0]["item"]["id"]
    client.send("conversation.item.retrieve", item_id=first)
    assert client.only("conversation.item.retrieved")["item"]["id"] == first


def test_audio_counts_by_its_length() -> None:
    client = reading()
    client.turn_detection(None)
    client.hear(bytes(48 * 1000))
    client.send("input_audio_buffer.commit")
    client.wait(1000)
    usage = answer(client)["usage"]["input_token_details"]
    assert (usage["text_tokens"], usage["audio_tokens"]) == (10, 10)


def prompted(**prompt: Any) -> Client:
    client = Client({"prompts": {"pmpt_1": "Be {{mood}} at {{ place }}."}})
    client.update(prompt=prompt)
    return client


def test_a_prompt_gives_the_session_its_instructions() -> None:
    variables = {"mood": "kind", "place": {"type": "input_text", "text": "the desk"}}
    session = prompted(id="pmpt_1", variables=variables).only("session.updated")["session"]
    assert session["instructions"] == "Be kind at the desk."
    assert session["prompt"]["id"] == "pmpt_1"


@pytest.mark.parametrize(
    ("prompt", "param", "words"),
    [
        ({"id": "pmpt_2"}, "session.prompt.id", "Prompt with id 'pmpt_2' not found."),
        (
            {"id": "pmpt_1", "variables": {"mood": "kind"}},
            "session.prompt.variables",
            "Missing prompt variables: place.",
        ),
    ],
)
def test_a_prompt_that_cannot_be_is_refused(prompt: Any, param: str, words: str) -> None:
    error = prompted(**prompt).only("error")["error"]
    assert (error["param"], error["message"]) == (param, words)


def test_any_prompt_is_taken_by_a_script_without_prompts() -> None:
    client = Client()
    client.update(prompt={"id": "pmpt_mine", "version": "3"})
    assert client.only("session.updated")["session"]["prompt"]["id"] == "pmpt_mine"


def failed(done: dict[str, Any]) -> str | None:
    return None if done["status"] == "completed" else done["status_details"]["error"]["code"]


@pytest.mark.parametrize("truncation", ["auto", "disabled"])
def test_instructions_alone_may_be_too_long_and_nothing_can_be_forgotten_of_them(
    truncation: str,
) -> None:
    client = reading(context_tokens=60, truncation=truncation)
    client.update(instructions="y" * 4 * 61)
    assert failed(answer(client)) == "context_length_exceeded"
    assert failed(answer(client, instructions="y" * 4 * 60)) is None
    say(client, 1)
    assert failed(answer(client, instructions="y" * 4 * 60)) == "context_length_exceeded"


def test_the_newest_item_alone_may_be_too_long() -> None:
    client = reading(context_tokens=19)  # ten are instructions
    say(client, 2)
    assert failed(answer(client)) == "context_length_exceeded"
    assert not client.marked("context_truncated")


def test_a_responses_own_input_may_be_too_long_whatever_the_conversation_is() -> None:
    content = [{"type": "input_text", "text": TEN_TOKENS}]
    given = [{"type": "message", "role": "user", "content": content}]
    client = reading(context_tokens=30)
    assert failed(answer(client, conversation="none", input=given * 2)) is None
    done = answer(client, conversation="none", input=given * 3)
    assert failed(done) == "context_length_exceeded"
