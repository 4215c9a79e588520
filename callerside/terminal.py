r"""What is printed may be a stranger's: it is shown, and does nothing to whoever looks at it.

A name with an escape sequence in it could clear a terminal or forge a line, and one with marks of
writing direction could show another text than there is (Unicode's TR 36, 3.1). Such characters are
printed as escapes, `\x1b`, at the door to the terminal, wherever they have come from.
"""

import re
import sys
from collections.abc import Iterable
from typing import IO, Any

_COMMANDS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # writing direction
    r"\u2028\u2029\ufeff\ud800-\udfff"  # lines and paragraphs, half of a pair
)
_IN_TEXT = re.compile(f"[{_COMMANDS}]")
_IN_LINE = re.compile(f"[{_COMMANDS}\t\n]")


def shown(text: str) -> str:
    """A text of lines, in which nothing is a command to a terminal."""
    return _IN_TEXT.sub(_escape, text)


def one_line(text: str) -> str:
    """The same of what is to be one line, whatever is in it."""
    return _IN_LINE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "backslashreplace").decode()


class GuardedStream:
    """A stream to which nothing can be printed that is a command to a terminal."""

    def __init__(self, stream: IO[str]) -> None:
        self.drawing = stream
        """The stream itself, for whoever draws on a terminal, and guards what it draws."""

    @property
    def rich_proxied_file(self) -> IO[str]:
        """So rich asks for it."""
        return self.drawing

    def write(self, text: str) -> int:
        """Print a text, as it is `shown`; returns how much of it that was: all."""
        self.drawing.write(shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Print several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self.drawing, name)


def guard() -> None:
    """Guard standard output and standard error of this process, from now on."""
    sys.stdout = _guarded(sys.stdout)
    sys.stderr = _guarded(sys.stderr)


def drawing(stream: IO[str]) -> IO[str]:
    """The stream on which to draw, guarded or not."""
    return stream.drawing if isinstance(stream, GuardedStream) else stream


def _guarded(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, GuardedStream) else GuardedStream(stream)
