"""Marks: what happened, when, as seen by whom. The one kind of evidence besides the recording.

Every process of a run writes its own timeline file, one JSON object a line:

    {"at_ns": 123, "source": "agent", "call": "c1", "name": "answered", "fields": {"status": 200}}

`at_ns` is `time.monotonic_ns`, shared by all processes of one Linux host, so that the timelines
of one call merge by sorting. Names are past-tense facts; `docs/marks.md` lists them all with their
fields. Fields hold JSON values only: never a key, never audio.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, get_args

Source = Literal["agent", "caller", "realtime"]

_FLUSH_EVERY_MARKS = 64
_SOURCES = get_args(Source)
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One fact on the timeline."""

    at_ns: int
    source: Source
    call: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The mark as one line of JSON, without the line's end."""
        return _encode(
            {
                "at_ns": self.at_ns,
                "source": self.source,
                "call": self.call,
                "name": self.name,
                "fields": dict(self.fields),
            }
        )


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
        if self._file is not None:
            self._file.close()
            self._file = None


def read_timeline(path: Path) -> list[Mark]:
    """All marks of a file, in the order of the file.

    Raises:
        TimelineError: it cannot be read, or a line is not a mark. The last line may be cut short
            (its process was killed) and is then left out.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise TimelineError(f"{path}: cannot be read as a timeline: {error}") from None
    marks = []
    for number, line in enumerate(lines, start=1):
        try:
            marks.append(_parse(line))
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise TimelineError(f"{path}:{number}: not a mark: {error}") from None
    return marks


def merge(timelines: Iterable[Iterable[Mark]]) -> list[Mark]:
    """Several timelines as one, by time; marks of the same instant keep their order."""
    return sorted((mark for timeline in timelines for mark in timeline), key=lambda m: m.at_ns)


def _parse(line: str) -> Mark:
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - one kind of error for a line
    missing = {"at_ns", "source", "call", "name"} - data.keys()
    if missing:
        raise ValueError(f"missing {', '.join(sorted(missing))}")
    if data["source"] not in _SOURCES:
        raise ValueError(f"source {data['source']!r}, expected one of {', '.join(_SOURCES)}")
    if not isinstance(data["at_ns"], int):
        raise ValueError(f"at_ns {data['at_ns']!r}, expected whole nanoseconds")  # noqa: TRY004
    if not isinstance(data.get("fields", {}), dict):
        raise ValueError("fields: expected a JSON object")  # noqa: TRY004
    return Mark(
        at_ns=data["at_ns"],
        source=data["source"],
        call=str(data["call"]),
        name=str(data["name"]),
        fields=data.get("fields", {}),
    )
