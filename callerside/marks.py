"""Marks: what happened, when, as seen by whom. The one kind of evidence besides the recording.

Every process of a run writes its own timeline file, one JSON object a line:

    {"at_ns": 123, "source": "agent", "call": "c1", "name": "answered", "fields": {"status": 200}}

`at_ns` is `time.monotonic_ns`, shared by all processes of one Linux host, so that the timelines
of one call merge by sorting. Names are past-tense facts; `docs/marks.md` lists them all with their
fields. Fields hold JSON values only: never a key, never audio.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from callerside.files import regular

Source = Literal["agent", "caller", "realtime"]

_FLUSH_EVERY_MARKS = 64


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
_decode = msgspec.json.Decoder(Mark).decode


MarkSink = Callable[[Mark], None]


class TimelineError(ValueError):
    """A timeline file that cannot be read: says which file, which line, and what is wrong there."""


class TimelineWriter:
    """Appends marks to a JSON Lines file; buffered, so that a mark costs no system call."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[str] | None = path.open("a", encoding="utf-8")
        self._unflushed = 0

    def __call__(self, mark: Mark) -> None:
        """Write one mark; a mark after `close` is dropped, as a call that has ended has no say."""
        if self._file is None:
            return
        self._file.write(mark.to_json() + "\n")
        self._unflushed += 1
        if self._unflushed >= _FLUSH_EVERY_MARKS:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        if self._file is not None:
            self._file.flush()
            self._unflushed = 0

    def close(self) -> None:
        """Flush and close; closing twice is harmless."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def read_timeline(path: Path) -> list[Mark]:
    """All marks of a file, in the order of the file.

    Raises:
        TimelineError: it cannot be read, or a line is not a mark. The last line may be cut short
            (its process was killed) and is then left out.
    """
    try:
        lines = regular(path).read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise TimelineError(f"{path}: cannot be read as a timeline: {error}") from None
    marks = []
    for number, line in enumerate(lines, start=1):
        try:
            marks.append(_decode(line))
        except ValueError as error:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise TimelineError(f"{path}:{number}: not a mark (docs/marks.md): {error}") from None
    return marks


def merge(timelines: Iterable[Iterable[Mark]]) -> list[Mark]:
    """Several timelines as one, by time; marks of the same instant keep their order."""
    return sorted((mark for timeline in timelines for mark in timeline), key=lambda m: m.at_ns)
