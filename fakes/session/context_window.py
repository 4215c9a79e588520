"""What a model reads for a response, counted: usage, what of it was cached, what is forgotten.

The rule: a token is four characters of text, 100 ms of what the user said, or 50 ms of what the
model said. Instructions, tools and items are read; as recorded, what the response before read and
wrote is cached in whole blocks of 64.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callerside.fakes.session.context import SessionState
from callerside.fakes.session.conversation import Item, text_tokens, tokens

_BLOCK_TOKENS = 64
MOST_TOKENS = 28_224
"""What a model with a window of 32k can read (the SDK's types)."""


class TooLongError(Exception):
    """What is to be read is too long for the model, and cannot, or must not, be shortened."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Tokens that a response reads; `cached` ones are some of them."""

    text: int
    audio: int
    cached_text: int = 0
    cached_audio: int = 0


class ContextWindow:
    """What of the conversation the model still reads; it forgets the oldest items first."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._forgotten: set[str] = set()
        self._seen: set[str] = set()
        self._fixed = ""

    def read_instead(
        self,
        items: Sequence[Item],
        instructions: str | None,
        tools: Sequence[Mapping[str, Any]] | None,
    ) -> Reads:
        """What a response reads that has its own `input`, of which nothing is forgotten.

        Raises:
            TooLongError: it is too much.
        """
        text, audio = tokens(items)
        text += text_tokens(self._fixed_text(instructions, tools))
        if text + audio > self._most_tokens:
            raise TooLongError
        return Reads(text, audio)

    def read(self, instructions: str | None, tools: Sequence[Mapping[str, Any]] | None) -> Reads:
        """What a response of the conversation reads; what is too much is forgotten.

        Raises:
            TooLongError: it is too much, and `truncation` is `disabled`; or instructions, tools and
                the newest item alone are.
        """
        fixed = self._fixed_text(instructions, tools)
        fixed_tokens = text_tokens(fixed)
        there = list(self._state.conversation)
        self._forgotten &= {item.id for item in there}
        items = [item for item in there if item.id not in self._forgotten]
        is_shortened = self._shorten(items, fixed_tokens)
        text, audio = tokens(items)
        known = fixed == self._fixed
        seen = [item for item in items if item.id in self._seen] if known else []
        cached_text, cached_audio = (0, 0) if is_shortened else tokens(seen)
        cached_text += fixed_tokens if known and self._seen else 0
        self._fixed = fixed
        self._seen = {item.id for item in items}
        return Reads(text + fixed_tokens, audio, _blocks(cached_text), _blocks(cached_audio))

    def wrote(self, items: Sequence[Item]) -> None:
        """A response of the conversation has ended."""
        self._seen.update(item.id for item in items)

    def _shorten(self, items: list[Item], fixed_tokens: int) -> bool:
        """Forget the oldest of these, if they are too many."""
        rule = self._state.config.values["truncation"]
        ratio = 1.0
        room = most = self._most_tokens - fixed_tokens
        if isinstance(rule, Mapping):
            ratio = rule["retention_ratio"]
            limits = rule.get("token_limits") or {}
            most = min(most, limits.get("post_instructions") or most)
        before = sum(tokens(items))
        if before <= most:
            return False
        if rule == "disabled" or sum(tokens(items[-1:])) > room:
            raise TooLongError
        # Each count is of all that is left: a conversation may hold thousands of items.
        most_left = most * ratio
        count = bisect_left(
            range(len(items) - 1), True, key=lambda number: sum(tokens(items[number:])) <= most_left
        )
        self._forgotten.update(item.id for item in items[:count])
        del items[:count]
        self._state.out.mark(
            "context_truncated", items=count, before_tokens=before, left_tokens=sum(tokens(items))
        )
        return True

    @property
    def _most_tokens(self) -> int:
        """As much as the model can read at once."""
        return self._state.script.context_tokens or MOST_TOKENS

    def _fixed_text(
        self, instructions: str | None, tools: Sequence[Mapping[str, Any]] | None
    ) -> str:
        values = self._state.config.values
        said = values["instructions"] if instructions is None else instructions
        shown = values["tools"] if tools is None else tools
        return said + (json.dumps(shown) if shown else "")


def _blocks(count: int) -> int:
    return count // _BLOCK_TOKENS * _BLOCK_TOKENS
