"""Files that are whole or absent."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

PUBLIC, PRIVATE = 0o644, 0o600


def write_atomically(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Write a file so that nobody ever sees half of it.

    What was there before is replaced; whose it is, and who may read it, stay if we may say so.
    A new file has `mode`.
    """
    write_all_atomically({path: data}, mode)


def write_all_atomically(files: Mapping[Path, bytes], mode: int = PUBLIC) -> None:
    """The same for files that belong together: none takes its place before all are written.

    Raises:
        OSError: one of them cannot be written; all are as they were.
    """
    written: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            written[path] = _write_beside(path, data, mode)
        for path, temporary in written.items():
            temporary.replace(path)
    except BaseException:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
        raise


def _write_beside(path: Path, data: bytes, mode: int) -> Path:
    """Write what is to take a file's place; returns where it is."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
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
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Path(temporary)
