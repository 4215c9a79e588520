"""Calls that are up, noted on disk, so that those of a process that is killed have a record, too.

A process that keeps records has a note beside them, `.NAME.PID.open`, with what is known so far of
each of its calls. It holds a lock on the note as long as it lives, and takes the note away when it
stops; so whoever can lock a note knows that its owner was killed, and writes the records it owes.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import structlog

from callerside.files import make_private

LOST = {"by": "agent", "status": None, "reason": "the process that had the call died"}
"""How such a call ended."""

_log = structlog.get_logger(__name__)


class InFlightCalls:
    """This process's note. A disk that does not take it costs one line in the log, no call."""

    def __init__(self, records: Path) -> None:
        """Begin the note beside the file of records."""
        self._path = _note_of(records, os.getpid())
        self._descriptor: int | None = None
        try:
            make_private(records.parent)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._give_up(error)

    def __call__(self, records: Iterable[dict[str, Any]]) -> None:
        """Note these calls, and no others."""
        if self._descriptor is None:
            return
        line = json.dumps(list(records), separators=(",", ":")).encode() + b"\n"
        try:
            _replace(self._descriptor, line)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Every call has its record: take the note away."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _give_up(self, error: OSError) -> None:
        _log.error("open_calls_not_noted", file=str(self._path), error=str(error))
        self.close()


def _replace(descriptor: int, line: bytes) -> None:
    """All that is in the file, by this: half of it would say nothing."""
    if os.pwrite(descriptor, line, 0) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(descriptor, len(line))


def lost_calls(records: Path, pid: int | None = None) -> Iterator[dict[str, Any]]:
    """The records that processes owe which were killed; each is returned once.

    Args:
        records: the file of records, beside which the notes are.
        pid: only of this process, which has just ended.
    """
    for path in sorted(records.parent.glob(_note_of(records, pid or "*").name)):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
            line = file.readline()
            file.truncate(0)
            path.unlink(missing_ok=True)
            yield from _read(path, line)


def _read(path: Path, line: bytes) -> list[dict[str, Any]]:
    try:
        noted = json.loads(line or b"[]")
    except ValueError:
        _log.error("open_calls_unreadable", file=str(path))
        return []
    return [{**record, "ended": LOST} for record in noted]


def _note_of(records: Path, pid: int | str) -> Path:
    return records.with_name(f".{records.name}.{pid}.open")
