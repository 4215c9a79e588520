"""Records the events of a production call's Realtime sessions, in the format of recordings.

A recording is a JSON Lines file: a header, then one event a line, `{"at": seconds since the
beginning, "from": "client" or "server", "event": {...}}`, audio in base64 as on the wire. The fake
server replays it (docs/fake-realtime.md). The words of both sides and their voices are in it.
"""

import base64
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, assert_never

import structlog

from callerside.agent.realtime.interface import (
    Event,
    RealtimeClosed,
    RealtimeConnected,
    RealtimeConnection,
    RealtimeEvent,
    RealtimeGarbage,
    RealtimeInput,
)
from callerside.agent.realtime.requests import append
from callerside.clock import NS_PER_S
from callerside.files import make_private

FORMAT = "realtime-recording"
VERSION = 1
SOURCE = "a call taken by callerside-agent"

_SECRETS = frozenset({"client_secret", "authorization", "api_key", "headers"})
_log = structlog.get_logger(__name__)


class Room:
    """What the recordings of one call may still take."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = self._left_bytes = most_bytes

    @property
    def is_left(self) -> bool:
        """Whether anything may be recorded yet."""
        return self._left_bytes > 0

    def take(self, size_bytes: int) -> None:
        """Take so much of it.

        Raises:
            RoomError: there is not so much left; and from now on there is none.
        """
        if size_bytes > self._left_bytes:
            self._left_bytes = 0
            raise RoomError(
                f"the call's recordings of its sessions have {self._most_bytes} bytes, as many as "
                "they may have by recordings.realtime_max_bytes"
            )
        self._left_bytes -= size_bytes


class RoomError(Exception):
    """The recordings of a call have got as large as they may."""


class StreamFile:
    """One recording that grows; a disk that fails ends it, with one line in the log.

    So does what it may not be larger than.
    """

    def __init__(
        self,
        path: Path,
        now_ns: Callable[[], int],
        *,
        model: str,
        dialect: str,
        room: Room,
        clean: Callable[[Any], Any] = lambda event: event,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin the recording now.

        Args:
            path: of the file.
            now_ns: the monotonic clock.
            model: of the session.
            dialect: of its events.
            room: for it, and for the other recordings of its call.
            clean: takes secrets out of events.
            on_lost: called if the recording cannot go on.
        """
        self._on_lost = on_lost
        self._clean = clean
        self._room = room
        self._path = path
        self._now_ns = now_ns
        self._began_ns = now_ns()
        self._file: IO[bytes] | None = None
        header = {
            "format": FORMAT,
            "version": VERSION,
            "dialect": dialect,
            "model": model,
            "recorded_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "timed": True,
            "source": SOURCE,
        }
        try:
            make_private(path.parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(descriptor, "wb")
            self._write(header)
        except (OSError, RoomError) as error:
            self._give_up(error)

    def add(self, sender: str, event: Event) -> None:
        """Add an event that passes now; `sender` is `client` or `server`."""
        if self._file is None:
            return
        at_s = round((self._now_ns() - self._began_ns) / NS_PER_S, 6)
        try:
            self._write({"at": at_s, "from": sender, "event": _on_the_wire(self._clean(event))})
        except (OSError, RoomError, ValueError, RecursionError) as error:  # what none can hold, too
            self._give_up(error)

    def close(self) -> None:
        """End the recording; twice does no harm."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            self._give_up(error)

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"
        # half of a surrogate pair, which only a broken peer sends, is escaped as JSON does it
        written = text.encode("utf-8", "backslashreplace")
        self._room.take(len(written))
        self._file.write(written)

    def _give_up(self, error: Exception) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
        _log.error("recording_failed", file=str(self._path), error=str(error))
        self._on_lost()


class RecordedConnection:
    """A `RealtimeConnection` that records whatever passes through it."""

    def __init__(
        self,
        connection: RealtimeConnection,
        file: StreamFile,
        may_record: Callable[[], bool] = lambda: True,
    ) -> None:
        """Record what passes, as far as `may_record` says that the caller knows of it.

        Until then only the session's settings are, without which nobody can replay what follows.
        """
        self._may_record = may_record
        self._connection = connection
        self._file = file

    def start(self, on_input: Callable[[RealtimeInput], None]) -> None:
        """See `RealtimeConnection.start`."""

        def listen(received: RealtimeInput) -> None:
            match received:
                case RealtimeEvent():
                    self._record("server", received.event)
                case RealtimeClosed():
                    self._file.close()
                case RealtimeConnected() | RealtimeGarbage():
                    pass  # no event
                case unknown:
                    assert_never(unknown)
            on_input(received)

        self._connection.start(listen)

    def send(self, event: Event) -> None:
        """See `RealtimeConnection.send`."""
        self._record("client", event)
        self._connection.send(event)

    def append(self, audio: bytes) -> None:
        """See `RealtimeConnection.append`."""
        self._record("client", append(audio))
        self._connection.append(audio)

    def _record(self, sender: str, event: Event) -> None:
        if str(event.get("type")).startswith("session.") or self._may_record():
            self._file.add(sender, event)

    def close(self) -> None:
        """See `RealtimeConnection.close`."""
        self._connection.close()
        self._file.close()


def _on_the_wire(value: Any) -> Any:
    """An event as JSON: audio in base64, and no secrets."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {key: _on_the_wire(part) for key, part in value.items() if key not in _SECRETS}
    if isinstance(value, list | tuple):
        return [_on_the_wire(part) for part in value]
    return value
