"""What is kept of calls, for how long: what is too old is deleted, and one call can be, everywhere.

Of a call there are files that bear its id (timeline, recordings) and a line in the file of records.
Nothing else of ours holds anything of a caller's; the log is whoever's who collects it.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from callerside import host
from callerside.agent.config.settings import CallSettings, Settings

CALL_ID = re.compile(r"[0-9a-f]{12}")
_OF_A_CALL = re.compile(
    rf"[A-Za-z0-9_.+-]*-({CALL_ID.pattern})(?:-\d+)?\.(?:jsonl|wav|wav\.part|realtime)"
)
"""As `agent.service` names them: nothing else that lies in these folders is touched."""
_log = structlog.get_logger(__name__)


def forget(settings: Settings, call: str) -> list[Path]:
    """Delete all that is kept of a call; returns the files that were changed or are gone.

    Args:
        settings: say where it is.
        call: its id, of 12 letters and digits.

    Raises:
        OSError: something of it cannot be deleted.
    """
    gone = [path for path, found in _files(settings) if found == call]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone + _drop_records(settings, lambda record: record.get("call") == call)


def expire(settings: Settings, now: datetime | None = None) -> int:
    """Delete what is older than `retention.days`; returns how much was. What fails is logged."""
    days = settings.retention.days
    if days is None:
        return 0
    since = (now or datetime.now(UTC)) - timedelta(days=days)
    count = 0
    for path, _ in list(_files(settings)):
        try:
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < since:
                path.unlink()
                count += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.error("not_deleted", file=str(path), error=str(error))
    try:
        count += len(_drop_records(settings, lambda record: _ended_before(record, since)))
    except OSError as error:
        _log.error("not_deleted", file=str(settings.records.file), error=str(error))
    return count


def _ended_before(record: dict[str, object], since: datetime) -> bool:
    told = record.get("ended_at") or record.get("received_at")
    try:
        return datetime.fromisoformat(str(told)) < since
    except ValueError:  # it does not say: it is kept
        return False


def unfinished_recordings(settings: Settings) -> Iterator[Path]:
    """Of calls that are up, and of those whose process was killed."""
    for folder in {one.recordings.dir for one in (settings, *settings.routes)} - {None}:
        assert folder is not None  # noqa: S101 - taken out
        for path in sorted(folder.glob("*.wav.part")):
            if _OF_A_CALL.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                yield path


def _files(settings: Settings) -> Iterator[tuple[Path, str]]:
    """The files of calls, and the id of each."""
    for folder in {one for each in (settings, *settings.routes) for one in _folders(each)}:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            found = _OF_A_CALL.fullmatch(path.name)
            if found and path.is_file() and not path.is_symlink():
                yield path, found[1]


def _folders(settings: CallSettings) -> Iterable[Path]:
    return [one for one in (settings.timeline.dir, settings.recordings.dir) if one is not None]


def _drop_records(settings: Settings, unwanted: Callable[[dict[str, object]], bool]) -> list[Path]:
    """Write the file of records without some of them, in its place: workers append to it.

    The lock is the one that `RecordFile` takes for each line.
    """
    path = settings.records.file
    if path is None or not path.is_file():
        return []
    descriptor = os.open(path, os.O_RDWR)
    with os.fdopen(descriptor, "r+b") as file:
        host.lock(file.fileno())
        lines = file.readlines()
        kept = [line for line in lines if not _is(line, unwanted)]
        if len(kept) == len(lines):
            return []
        file.seek(0)
        file.writelines(kept)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    return [path]


def _is(line: bytes, unwanted: Callable[[dict[str, object]], bool]) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # not ours to judge
        return False
    return isinstance(record, dict) and unwanted(record)
