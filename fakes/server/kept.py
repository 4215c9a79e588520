"""What a server keeps for its clients: so many, and so much in all; the oldest goes first."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from callerside.fakes.session.interface import size_chars

Value = TypeVar("Value")

MOST_CHARS = 2**25
"""Of all of them together, as JSON."""


class Kept(Generic[Value]):
    """Things by their names, the oldest first; what is kept anew is the newest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: dict[str, tuple[Value, int]] = {}
        self._chars = 0

    def __len__(self) -> int:
        return len(self._all)

    def items(self) -> Iterator[tuple[str, Value]]:
        """All of them, with their names."""
        return ((name, value) for name, (value, _) in self._all.items())

    def get(self, name: str) -> Value | None:
        """What is kept by that name."""
        kept = self._all.get(name)
        return None if kept is None else kept[0]

    def keep(self, name: str, value: Value, asked: Mapping[str, Any]) -> None:
        """Keep something, or keep it anew; `asked` is what takes its memory."""
        self.forget(name)
        chars = size_chars(asked)
        self._all[name] = value, chars
        self._chars += chars
        while len(self._all) > self._most or self._chars > MOST_CHARS:
            self.forget(next(iter(self._all)))

    def forget(self, name: str) -> None:
        """Let go of it, if it is there."""
        _, chars = self._all.pop(name, (None, 0))
        self._chars -= chars
