"""What requests came to that may come again: whoever sends one again gets no second decision.

RFC 3261 §17.2.1 and RFC 6026 §7.1 have transactions for that; a stack forgets some of them sooner.
No I/O.
"""

import re
from collections import OrderedDict
from typing import Generic, TypeVar

from callerside.clock import NS_PER_S

T = TypeVar("T")

MEMORY_NS = 32 * NS_PER_S
"""For how long a request may be sent again: 64 * T1 (RFC 3261 §17.1.1.2)."""
MAX_REMEMBERED = 2_000

_IDENTITY = re.compile(r"^(?:via|v|call-id|i|cseq)[ \t]*:[^\r\n]*", re.IGNORECASE | re.MULTILINE)


def identity(source: str, request: str) -> str:
    """What a request has in common with what is sent again of it (RFC 3261 §17.2.3).

    Args:
        source: where it came from: "host:port".
        request: as it came.
    """
    return "\n".join([source, *(found[0] for found in _IDENTITY.finditer(request))])


class Recent(Generic[T]):
    """What was decided about each request, by its identity."""

    def __init__(self) -> None:
        self._decided: OrderedDict[str, tuple[int, T]] = OrderedDict()

    def recall(self, request: str, now_ns: int) -> T | None:
        """What was decided when it came first; None: it did not, or too long ago."""
        found = self._decided.get(request)
        return found[1] if found is not None and now_ns - found[0] < MEMORY_NS else None

    def remember(self, request: str, decision: T, now_ns: int) -> None:
        """It is decided about; of very many the oldest are forgotten."""
        self._decided[request] = (now_ns, decision)
        self._decided.move_to_end(request)
        if len(self._decided) > MAX_REMEMBERED:
            self._decided.popitem(last=False)
