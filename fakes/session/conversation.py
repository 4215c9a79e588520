"""The conversation: items, their order, and how much audio each holds."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from callerside.audio import AudioFormat
from callerside.fakes.session.refusals import RequestError

MS_PER_INPUT_TOKEN = 100
MS_PER_OUTPUT_TOKEN = 50
_CHARS_PER_TEXT_TOKEN = 4

AUDIO_CONTENT = ("input_audio", "output_audio")
_FRONT = "root"  # as `previous_item_id`: before all others


@dataclass(slots=True)
class Item:
    """An item: `data` as it goes over the wire, and the audio that belongs to it."""

    data: dict[str, Any]
    audio_ms: float = 0.0
    pcm: bytes = b""
    """What the user said (PCM16 at the input's rate), as far as it is kept."""
    audio_format: AudioFormat = field(default_factory=AudioFormat)
    """How it went over the wire, and goes when it is retrieved."""
    has_begun: bool = True
    """Whether any of its audio has been sent; false while a response is only announced."""
    added_chars: int = 0
    """`chars` when it was added."""

    @property
    def id(self) -> str:
        """Its id."""
        identifier: str = self.data["id"]
        return identifier

    @property
    def is_user(self) -> bool:
        """Whether the user said it."""
        return self.data.get("role") == "user"

    @property
    def is_assistant_audio(self) -> bool:
        """Whether it holds audio of the model's."""
        return self.data.get("role") == "assistant" and any(
            part["type"] == "output_audio" for part in self.data["content"]
        )

    def snapshot(self, *, with_audio: bool = False) -> dict[str, Any]:
        """A copy for an event; what the user said is in it only on request."""
        if "content" not in self.data:
            return dict(self.data)
        content = [dict(part) for part in self.data["content"]]
        if with_audio and self.pcm:
            spoken = next(part for part in content if part["type"] in AUDIO_CONTENT)
            spoken["audio"] = self.audio_format.encode(self.pcm)
        return {**self.data, "content": content}

    @property
    def chars(self) -> int:
        """Characters of its text, and of its images."""
        texts = [self.data.get("arguments"), self.data.get("output")]
        for part in self.data.get("content", ()):
            texts += [part.get("text"), part.get("transcript"), part.get("image_url")]
        return sum(len(text) for text in texts if text)

    @property
    def text_tokens(self) -> int:
        """Tokens of its text, by the rule of thumb of four characters each."""
        texts = [part.get("text") or "" for part in self.data.get("content", ())]
        texts += [self.data.get("arguments") or "", self.data.get("output") or ""]
        return text_tokens("".join(texts))


def text_tokens(text: str) -> int:
    """Tokens of a text, by the rule of thumb of four characters each."""
    return math.ceil(len(text) / _CHARS_PER_TEXT_TOKEN)


def tokens(items: Iterable[Item]) -> tuple[int, int]:
    """How many tokens items are for the model: of text, and of audio."""
    text, audio = 0, 0.0
    for item in items:
        text += item.text_tokens
        audio += item.audio_ms / (MS_PER_INPUT_TOKEN if item.is_user else MS_PER_OUTPUT_TOKEN)
    return text, math.ceil(audio)


@dataclass
class Conversation:
    """Items in order. What they take is bounded: the oldest, or their audio, is forgotten.

    No call comes near these bounds, but a flood does.
    """

    id: str
    kept_audio_bytes: int = 2**24
    kept_items: int = 10_000
    kept_chars: int = 2**24
    _items: list[Item] = field(default_factory=list)
    _chars: int = 0

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __contains__(self, item_id: str | None) -> bool:
        return any(item.id == item_id for item in self._items)

    @property
    def has_user_item(self) -> bool:
        """Whether the user has said anything."""
        return any(item.is_user for item in self._items)

    @property
    def has_result(self) -> bool:
        """Whether a function has answered, or a tool of the server's own."""
        results = ("function_call_output", "mcp_call")
        return any(item.data["type"] in results for item in self._items)

    @property
    def has_assistant_audio(self) -> bool:
        """Whether the model has."""
        return any(item.is_assistant_audio for item in self._items)

    def has_place(self, after: str | None) -> bool:
        """Whether an item can be put behind that one (see `add`)."""
        return after in (None, _FRONT) or after in self

    def has_call(self, call_id: str) -> bool:
        """Whether a function was called under that id."""
        return any(
            item.data["type"] == "function_call" and item.data["call_id"] == call_id
            for item in self._items
        )

    @property
    def last_id(self) -> str | None:
        """Id of the last item."""
        return self._items[-1].id if self._items else None

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put an item at the end, or behind `after` (`root`: to the front).

        Returns:
            The id of the item before it.

        Raises:
            RequestError: `item_create_duplicate_item_id`, or `after` is not there.
        """
        if item.id in self:
            raise RequestError("duplicate_item", "item.id", value=item.id)
        if after is None:
            position = len(self._items)
        elif after == _FRONT:
            position = 0
        else:
            position = self._position(after, "previous_item_unknown", "previous_item_id") + 1
        previous = self._items[position - 1].id if position else None
        self._items.insert(position, item)
        self._bound_items(item)
        self._bound_audio()
        return previous

    def previous_of_done(self, item_id: str) -> str | None:
        """`previous_item_id` in the `conversation.item.done` of a response's item.

        In recorded sessions it names the item before, unless that is the conversation's first:
        then it is null (three of three, against one of one where it is not the first).
        """
        position = next((n for n, item in enumerate(self._items) if item.id == item_id), 0)
        return self._items[position - 1].id if position > 1 else None

    def get(self, item_id: str, refusal: str) -> Item:
        """An item by its id.

        Raises:
            RequestError: `refusal`: there is none.
        """
        return self._items[self._position(item_id, refusal)]

    def delete(self, item_id: str) -> None:
        """Remove an item.

        Raises:
            RequestError: `item_delete_invalid_item_id`.
        """
        item = self._items.pop(self._position(item_id, "deleted_item_unknown"))
        self._chars -= item.added_chars

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Shorten an assistant's audio, and drop its transcript, which says too much now.

        Raises:
            RequestError: no such item or content, no assistant's audio, or it is shorter already.
        """
        item = self.get(item_id, "truncated_item_unknown")
        if not (item.is_assistant_audio and item.has_begun):
            raise RequestError("nothing_to_truncate", "item_id")
        if content_index >= len(item.data["content"]):
            count = len(item.data["content"])
            raise RequestError("no_such_content", "content_index", count=count)
        if audio_end_ms > item.audio_ms:
            raise RequestError(
                "truncated_already", "audio_end_ms", ms=item.audio_ms, asked_ms=audio_end_ms
            )
        item.audio_ms = float(audio_end_ms)
        item.data["content"][content_index].pop("transcript", None)

    def _position(self, item_id: str, refusal: str, param: str = "item_id") -> int:
        for position, item in enumerate(self._items):
            if item.id == item_id:
                return position
        raise RequestError(refusal, param, value=item_id)

    def _bound_items(self, newest: Item) -> None:
        newest.added_chars = newest.chars
        self._chars += newest.added_chars
        while len(self._items) > 1 and (
            len(self._items) > self.kept_items or self._chars > self.kept_chars
        ):
            oldest = self._items.pop(1 if self._items[0] is newest else 0)
            self._chars -= oldest.added_chars

    def _bound_audio(self) -> None:
        total = 0
        for item in reversed(self._items):
            total += len(item.pcm)
            if total > self.kept_audio_bytes:
                item.pcm = b""
