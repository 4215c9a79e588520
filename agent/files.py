"""Files that somebody names: what is none must not make a command wait for ever."""

import errno
import stat
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
