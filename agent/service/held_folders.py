"""Folders in the system's temporary one that live as long as the processes that hold them.

A process that is killed takes nothing away. So each that uses a folder holds a lock on it as long
as it lives (flock(2)); the last one takes the folder away as it stops, and whoever starts later
those that nobody holds.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "callerside-agent-"


@contextlib.contextmanager
def held_folder() -> Iterator[Path]:
    """A new one, of ours alone; those that were left behind are taken away first."""
    remove_abandoned()
    held = None
    while held is None:  # somebody else has just taken it for one that was left behind
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        held = _hold(path)
    try:
        yield path
    finally:
        _release(path, held)


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold a folder that somebody else has made; any other than these stays as it is."""
    held = _hold(path) if path.name.startswith(PREFIX) else None
    try:
        yield
    finally:
        if held is not None:
            _release(path, held)


def remove_abandoned() -> int:
    """Take away what processes of this user have left behind; returns how many there were."""
    return sum(
        _remove_if_free(path)
        for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
        if not path.is_symlink()
    )


def _hold(path: Path) -> int | None:
    """A descriptor with the lock of one among several; None: the folder is gone."""
    with contextlib.suppress(OSError):
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_SH)
            if path.stat().st_ino == os.fstat(held).st_ino:
                return held
        except OSError:
            os.close(held)
            raise
        os.close(held)
    return None


def _release(path: Path, held: int) -> None:
    os.close(held)
    _remove_if_free(path)


def _remove_if_free(path: Path) -> bool:
    try:
        found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if os.fstat(found).st_uid != os.getuid():
            return False
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:  # somebody lives who uses it
        return False
    finally:
        os.close(found)
    return True
