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


class Mark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fact on the timeline. A minute of call has some ten thousand: hence a `Struct`.

    The garbage collector need not look at any of them: nothing in a mark leads back to it.
    """

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


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_encode = _encoder.encode


MarkSink = Callable[[Mark], None]


def to_lines(marks: Iterable[Mark]) -> bytes:
    """Marks as they stand in a timeline: each as a line of JSON, in UTF-8."""
    marks = list(marks)
    try:
        return _encoder.encode_lines(marks)
    except UnicodeEncodeError:  # see `Mark.to_json`
        return "".join(mark.to_json() + "\n" for mark in marks).encode()


def merge(timelines: Iterable[Iterable[Mark]]) -> list[Mark]:
    """Several timelines as one, by time; marks of the same instant keep their order."""
    return sorted((mark for timeline in timelines for mark in timeline), key=lambda m: m.at_ns)
