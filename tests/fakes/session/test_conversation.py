"""The conversation's own rules; the order of items is tested with the official client."""

from typing import Any

import pytest

from callerside.fakes.session.conversation import Conversation, Item
from callerside.fakes.session.refusals import RequestError


def item(name: str, text: str = "Hello.", **fields: Any) -> Item:
    content = [{"type": "input_text", "text": text}]
    return Item({"id": name, "type": "message", "role": "user", "content": content}, **fields)


def ids(conversation: Conversation, *names: str) -> list[str]:
    return [name for name in names if name in conversation]


def test_the_oldest_items_are_forgotten_when_there_are_too_many() -> None:
    conversation = Conversation("conv", kept_items=2)
    assert conversation.add(item("a")) is None
    assert conversation.add(item("b")) == "a"
    assert conversation.add(item("c")) == "b"
    assert ids(conversation, "a", "b", "c") == ["b", "c"]
    with pytest.raises(RequestError, match="'a' does not exist"):
        conversation.get("a", "retrieved_item_unknown")


def test_the_oldest_items_are_forgotten_when_they_say_too_much() -> None:
    conversation = Conversation("conv", kept_chars=10)
    for name in ("a", "b"):
        conversation.add(item(name, "12345"))
    conversation.delete("a")
    conversation.add(item("c", "12345"))
    assert ids(conversation, "a", "b", "c") == ["b", "c"]
    conversation.add(item("d", "1"))
    assert ids(conversation, "b", "c", "d") == ["c", "d"]
    conversation.add(item("e", "x" * 100))
    assert ids(conversation, "c", "d", "e") == ["e"]


def test_a_new_item_in_front_is_not_the_oldest() -> None:
    conversation = Conversation("conv", kept_items=2)
    for name in ("a", "b"):
        conversation.add(item(name))
    conversation.add(item("c"), "root")
    assert ids(conversation, "a", "b", "c") == ["b", "c"]


def test_the_audio_of_the_oldest_is_forgotten_first() -> None:
    conversation = Conversation("conv", kept_audio_bytes=10)
    for name in ("a", "b", "c"):
        conversation.add(item(name, pcm=bytes(5)))
    assert [conversation.get(name, "").pcm for name in ("a", "b", "c")] == [b"", bytes(5), bytes(5)]
