"""Files that somebody names: what is none must not make a command wait, nor its name end it."""

import codecs
import errno
import os
import stat
import sys
from pathlib import Path


def regular(path: Path) -> Path:
    """The same path, if reading it comes to an end.

    Opening a named pipe waits until somebody writes to it, and reading a device may never end. What
    lies in /dev was meant: `/dev/stdin`, or what a shell makes of `<(...)`.

    Raises:
        OSError: it is neither a file nor a folder, or there is no such thing.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path.parts[:2] == ("/", "dev"):
        return path
    kind = "named pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
    raise OSError(errno.EINVAL, f"it is no file, but a {kind}", str(path))


def begin_in_utf8() -> None:
    """Begin this process anew in Python's UTF-8 mode if it takes names and text for ASCII.

    `LC_ALL=C` with `PYTHONUTF8=0` does that: then no page and no timeline can hold the name of a
    folder with an umlaut, and nothing with one can be printed.
    """
    is_ascii = codecs.lookup(sys.getfilesystemencoding()).name == "ascii"
    if is_ascii and os.environ.get("PYTHONUTF8") != "1":  # else it was of no use
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted
