"""Timelines: the files in which marks are kept, one JSON object a line."""

from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from callerside.files import make_private, open_private, read_bytes
from callerside.marks import Mark

_FLUSH_EVERY_MARKS = 64


_decoder = msgspec.json.Decoder(Mark)


class TimelineError(ValueError):
    """A timeline file that cannot be read: says which file, which line, and what is wrong there."""


class TimelineWriter:
    """Appends marks to a JSON Lines file; buffered, so that a mark costs no system call.

    It holds what callers type and say: a new one is for its owner's eyes only.
    """

    def __init__(self, path: Path) -> None:
        make_private(path.parent)
        self.path = path
        self._file: IO[str] | None = open_private(path, append=True)
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
        data = read_bytes(path)
    except OSError as error:
        raise TimelineError(f"{path}: cannot be read as a timeline: {error}") from None
    with suppress(
        ValueError, RecursionError
    ):  # all at once, unless something is wrong with one of them
        marks = _decoder.decode_lines(data)
        if len(marks) == data.count(b"\n") and b"\n\n" not in data:
            return marks
    return _read_line_by_line(path, data)


def _read_line_by_line(path: Path, data: bytes) -> list[Mark]:
    lines = data.splitlines(keepends=True)
    marks = []
    for number, line in enumerate(lines, start=1):
        try:
            marks.append(_decoder.decode(line))
        except (ValueError, RecursionError) as error:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise TimelineError(f"{path}:{number}: not a mark (docs/marks.md): {error}") from None
    return marks
