"""Files that somebody names: what is none must not make a command wait, nor its name end it."""

import codecs
import contextlib
import errno
import io
import os
import re
import stat
import sys
from pathlib import Path
from typing import IO

MOST_BYTES = 2**29
"""An hour of a session in one file: both sides at 24 kHz, as base64 in events of 20 ms."""
_PART_BYTES = 2**20
_HANDED_OVER = re.compile(r"/dev/(null|stdin|fd/\d+)|/proc/self/fd/\d+")


def regular(path: Path) -> Path:
    """The same path, if reading it comes to an end.

    Opening a named pipe waits until somebody writes to it, and reading a device may never end. What
    this process was handed open was meant: `/dev/stdin`, or what a shell makes of `<(...)`.

    Raises:
        OSError: it is neither a file nor a folder, there is no such thing, or nothing can have such
            a name.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a NUL, or half a surrogate pair: no name of a file has those
        raise OSError(errno.EINVAL, f"no file can have this name: {error}", str(path)) from None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or _HANDED_OVER.fullmatch(str(path)):
        return path
    kind = "named pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
    raise OSError(errno.EINVAL, f"it is no file, but a {kind}", str(path))


def read_bytes(path: Path, *, at_most: int = MOST_BYTES) -> bytes:
    """What is in a file, if it is a file and no larger than that.

    Raises:
        OSError: it cannot be read, is none (see `regular`), or is larger.
    """
    too_large = OSError(errno.EFBIG, f"larger than {at_most} bytes", str(path))
    parts, length = [], 0
    with regular(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size > at_most:
            raise too_large
        while part := file.read(_PART_BYTES):  # its size says nothing of a pipe or a device
            parts.append(part)
            length += len(part)
            if length > at_most:
                raise too_large
    return b"".join(parts)


def read_text(path: Path, *, at_most: int = MOST_BYTES) -> str:
    """The same as text in UTF-8, its lines ended as Python ends them.

    Raises:
        OSError: as `read_bytes`.
        UnicodeDecodeError: it is no such text.
    """
    with io.TextIOWrapper(io.BytesIO(read_bytes(path, at_most=at_most)), encoding="utf-8") as text:
        return text.read()


def make_private(folder: Path) -> None:
    """Make a folder, if there is none: for its owner's eyes only, as calls' names are in it.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_private(path: Path, *, append: bool = False) -> IO[str]:
    """Write a file of text in UTF-8, or go on with it; a new one is for its owner's eyes only.

    Raises:
        OSError: it cannot be opened.
    """
    how = os.O_APPEND if append else os.O_TRUNC
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    return os.fdopen(descriptor, "a" if append else "w", encoding="utf-8")


def is_there(path: Path) -> bool:
    """Whether there is something of that name that can be reached, whatever it is."""
    with contextlib.suppress(OSError, ValueError):  # a name may be longer than any can be
        path.stat()
        return True
    return False


def begin_in_utf8() -> None:
    """Begin this process anew in Python's UTF-8 mode if it takes names and text for ASCII.

    `LC_ALL=C` with `PYTHONUTF8=0` does that: then no page and no timeline can hold the name of a
    folder with an umlaut, and nothing with one can be printed.
    """
    is_ascii = codecs.lookup(sys.getfilesystemencoding()).name == "ascii"
    if is_ascii and os.environ.get("PYTHONUTF8") != "1":  # else it was of no use
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted
