"""Files that are whole or absent."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

PUBLIC, PRIVATE = 0o644, 0o600


def write_atomically(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Write a file so that nobody ever sees half of it.

    What was there before is replaced; whose it is, and who may read it, stay if we may say so.
    A new file has `mode`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat() if path.is_file() else None
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if before is not None:
            with contextlib.suppress(PermissionError):
                os.chown(temporary, before.st_uid, before.st_gid)
        Path(temporary).chmod(stat.S_IMODE(before.st_mode) if before else mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
