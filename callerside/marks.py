"""Marks: what happened, when, as seen by whom. The one kind of evidence besides the recording.

Every process of a run writes its own timeline file, one JSON object a line:

    {"at_ns": 123, "source": "agent", "call": "c1", "name": "answered", "fields": {"status": 200}}

`at_ns` is `time.monotonic_ns`, shared by all processes of one Linux host, so that the timelines
of one call merge by sorting. Names are past-tense facts; `callerside.mark_registry` declares them
all with their fields. Fields hold JSON values only: never a key, never audio.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

Source = Literal["agent", "caller", "realtime"]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One fact on the timeline. A minute of call has some ten thousand: hence a `Struct`."""

    at_ns: int
    source: Source
    call: str
    name: str
    fields: Mapping[str, Any] = {}

    def to_json(self) -> str:
        """The mark as one line of JSON, without the line's end."""
        try:
            return _encode(self).decode()
        except UnicodeEncodeError:  # half of a surrogate pair, which only a broken peer sends
            text = json.dumps(msgspec.to_builtins(self, enc_hook=_plain), ensure_ascii=False)
            return text.encode("utf-8", "replace").decode()


def _plain(value: object) -> float:
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{value!r}: a mark's fields hold JSON values")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


MarkSink = Callable[[Mark], None]


def merge(timelines: Iterable[Iterable[Mark]]) -> list[Mark]:
    """Several timelines as one, by time; marks of the same instant keep their order."""
    return sorted((mark for timeline in timelines for mark in timeline), key=lambda m: m.at_ns)
