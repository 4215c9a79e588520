"""Keys and passwords, taken out of whatever is written down: by their exact value, and by shape.

A server may say a key back in an error, and a telephone a digest: so marks, recordings and logs
all pass through here before anybody keeps them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from callerside.marks import Mark, MarkSink

REDACTED = "[redacted]"
_SHORTEST = 8
"""Characters of a value that is looked for: shorter ones stand in ordinary words."""
_SHAPE = re.compile(
    r"\bsk-[A-Za-z0-9_-]{8,}|\bBearer\s+[^\s'\",]+|(?<=response=)\"[0-9a-fA-F]{32,}\"",
    re.IGNORECASE,
)


class SecretFilter:
    """Texts, and what holds texts, without secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets`: exact values, such as the API key."""
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _SHORTEST)

    def text(self, text: str) -> str:
        """A text without them."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        return _SHAPE.sub(REDACTED, text)

    def data(self, value: Any) -> Any:
        """What JSON can hold, without them; bytes are audio, and are left alone."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.data(name): self.data(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(one) for one in value]
        return value

    def sink(self, marks: MarkSink) -> MarkSink:
        """A sink that hands marks on without them."""

        def hand_on(mark: Mark) -> None:
            fields = mark.fields
            if any(not isinstance(one, bool | int | float) for one in fields.values()):
                clean = self.data(fields)
                mark = mark if clean == fields else replace(mark, fields=clean)
            marks(mark)

        return hand_on
