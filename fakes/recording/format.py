"""Recordings of Realtime sessions: the one module that reads and writes them.

A recording is a JSON Lines file, `*.realtime`. Its first line is the header, every other line one
event; `docs/fake-realtime.md` describes both:

    {"format": "realtime-recording", "version": 1, "dialect": "ga", "model": "...", ...}
    {"at": 1.234, "from": "client", "event": {"type": "response.create"}}

In memory, audio (`audio` of an append, `delta` of an audio delta) is `bytes`, as everywhere.
"""

import base64
import contextlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, get_args

from callerside.fakes.recording.audio_files import Sender, SoundReader, SoundWriter
from callerside.files import make_private, open_private, read_text

FORMAT = "realtime-recording"
VERSION = 1

Dialect = Literal["ga", "beta"]

AUDIO_FIELDS = {
    "input_audio_buffer.append": "audio",
    "response.output_audio.delta": "delta",
    "response.audio.delta": "delta",
}
_SECRET_KEYS = {
    "authorization",
    "api_key",
    "client_secret",
    "headers",
    "openai-organization",
    "openai-project",
}
# Keys of the API, ids of organisations and projects (errors name them), and what else stands where
# a request has its key: it is long, or no mere word.
_SECRET_TEXT = re.compile(
    r"\b(?:sk-|ek_)[\w-]{8,}"
    r"|\b(?:org-|proj_)(?=[A-Za-z]*\d|\w{16})\w{6,}"
    r"|\bBearer\s+(?=[\w.~+/=-]{16}|[^\W\d_]*[\d._~+/=-]\w)[\w.~+/=-]+"
)
_REMOVED = "[removed]"
_USER_OF_URL = re.compile(r"(?<=://)[^\s/?#@]+@")
_SECRET_URLS = {"server_url"}
"""Whose query may be a key, too."""
_SHORTEST_SECRET = 8
"""Characters of what is removed because a client has sent it as its key: a client of a server that
needs none may call its key `none`, which is a word of the protocol."""
_LATEST_S = 1e6
_KINDS = {str: "a text", bool: "true or false"}


class RecordingError(ValueError):
    """A recording that cannot be used: file, line, and what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What is known about a recording as a whole."""

    dialect: Dialect = "ga"
    model: str = ""
    recorded_at: str = ""
    """When it began: ISO 8601 with a zone; empty if nobody knows."""
    timed: bool = True
    """False if the times of its events are made up: only their order is known."""
    source: str = ""
    """Where it comes from, for people."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event, and when it passed (seconds since the recording began)."""

    at_s: float
    sender: Sender
    event: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.event["type"])


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording."""

    header: Header
    entries: tuple[Entry, ...] = ()


class RecordingWriter:
    """Writes a recording event by event, so that what has been written survives a crash.

    Audio is kept in the events, or, with `audio_files`, in two WAV files beside the recording
    (`NAME.client.pcm.wav`, `NAME.server.pcm.wav`), to which the events then refer; those are whole
    only once the writer has been closed.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        audio_files: bool = False,
        caller_audio: bool = True,
        secrets: Collection[str] = (),
    ) -> None:
        """Begin a recording, in place of any that was there.

        Args:
            path: the recording.
            header: its first line.
            audio_files: keep audio in WAV files.
            caller_audio: keep what the client's side said; without it only that it did is kept.
            secrets: texts that are removed wherever they stand, as keys are; of 8 characters at
                least.

        Raises:
            OSError: the file cannot be written.
        """
        known = [re.escape(one) for one in secrets if len(one) >= _SHORTEST_SECRET]
        self._secrets = (
            re.compile("|".join(sorted(known, key=len, reverse=True))) if known else None
        )
        self._keeps_caller = caller_audio
        make_private(path.parent)
        self._path = path
        self._sounds = SoundWriter(path) if audio_files else None
        self._file: IO[str] | None = open_private(path)
        try:
            self._write({"format": FORMAT, "version": VERSION, **asdict(header)})
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, at_s: float, sender: Sender, event: Mapping[str, Any]) -> None:
        """Add an event; secrets in it are removed. Nothing happens after `close`."""
        if self._file is None:
            return
        event = _without_secrets(event, self._secrets)
        if not self._keeps_caller:
            event = _without_caller(event)
        if self._sounds is not None:
            self._sounds.follow(event)
        name = AUDIO_FIELDS.get(event["type"])
        audio = event.get(name) if name else None
        if name and isinstance(audio, bytes):
            stored = _in_line(audio) if self._sounds is None else self._sounds.add(sender, audio)
            event = {**event, name: stored}
        self._write({"at": round(at_s, 6), "from": sender, "event": event})

    def close(self) -> None:
        """End the recording; twice does no harm.

        Raises:
            OSError: the end of it cannot be written.
        """
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        finally:
            if self._sounds is not None:
                self._sounds.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(to_json(line) + "\n")
            self._file.flush()


def to_json(value: Mapping[str, Any]) -> str:
    """An event or a line as JSON, on one line."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half a surrogate pair: no Unicode, but JSON can say it
            return json.dumps(value, separators=(",", ":"))
    return text


def part_of(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside an event, empty if there is none: a recording holds whatever was said."""
    part = event.get(name)
    return part if isinstance(part, Mapping) else {}


def text_of(event: Mapping[str, Any], name: str) -> str:
    """A text inside an event, empty if there is none."""
    text = event.get(name)
    return text if isinstance(text, str) else ""


def one_line(value: object, most: int) -> str:
    """A value for people, on one line: a text as it is, and not all of what is longer than that."""
    text = " ".join((value if isinstance(value, str) else json.dumps(value)).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def number_of(event: Mapping[str, Any], name: str) -> float | None:
    """A number inside an event, None if there is none."""
    number = event.get(name)
    return number if isinstance(number, int | float) and not isinstance(number, bool) else None


def write_recording(path: Path, recording: Recording, *, audio_files: bool = False) -> None:
    """Write a whole recording.

    Raises:
        OSError: the file cannot be written.
    """
    with RecordingWriter(path, recording.header, audio_files=audio_files) as writer:
        for entry in recording.entries:
            writer.write(entry.at_s, entry.sender, entry.event)


def read_recording(path: Path) -> Recording:
    """Read a recording. A last line that was cut short (its writer was killed) is left out.

    Raises:
        RecordingError: it cannot be read, or a line of it is not what it should be.
    """
    try:
        lines = _lines(read_text(path))
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: cannot be read: it is no text: {error.reason}") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    if not lines:
        raise RecordingError(f"{path}:1: empty; expected a header with format {FORMAT!r}")
    try:
        header = _parse_header(lines[0])
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordingError(f"{path}:1: {error}") from None
    return Recording(header, tuple(_read_entries(path, lines)))


def _lines(text: str) -> list[str]:
    """Lines with their ends. JSON may hold what Unicode takes for an end: U+2028, U+0085."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def _read_entries(path: Path, lines: Sequence[str]) -> Iterator[Entry]:
    sounds = SoundReader(path.parent)
    last_s = 0.0
    for number, line in enumerate(lines[1:], start=2):
        if number == len(lines) and not line.endswith("\n"):
            return
        try:
            entry = _parse_entry(line, sounds)
        except (ValueError, TypeError, RecursionError) as error:
            raise RecordingError(f"{path}:{number}: {error}") from None
        if entry.at_s < last_s:
            raise RecordingError(f"{path}:{number}: at {entry.at_s} is before the line above")
        last_s = entry.at_s
        yield entry


def _parse_object(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        raise ValueError(
            "no recording: expected JSON on each line (fake-realtime convert reads YAML cassettes)"
        ) from None
    if not isinstance(data, dict):
        raise TypeError("expected a JSON object")
    return data


def _parse_header(line: str) -> Header:
    data = _parse_object(line)
    if data.pop("format", None) != FORMAT:
        raise ValueError(f"no recording: expected a header with format {FORMAT!r}")
    version = data.pop("version", None)
    if version != VERSION:
        raise ValueError(f"version {version!r} of the format, expected {VERSION}")
    unknown = data.keys() - {known.name for known in fields(Header)}
    if unknown:
        raise ValueError(f"the header has unknown keys: {', '.join(sorted(unknown))}")
    for known in fields(Header):
        given = data.get(known.name, known.default)
        if not isinstance(given, type(known.default)):
            raise TypeError(f"{known.name} {given!r}, expected {_KINDS[type(known.default)]}")
    header = Header(**data)
    if header.dialect not in get_args(Dialect):
        raise ValueError(f"dialect {header.dialect!r}, expected ga or beta")
    return header


def _parse_entry(line: str, sounds: SoundReader) -> Entry:
    data = _parse_object(line)
    if data.keys() != {"at", "from", "event"}:
        raise ValueError(f"expected the keys at, from and event, not {', '.join(data)}")
    at_s, sender, event = data["at"], data["from"], data["event"]
    if isinstance(at_s, bool) or not isinstance(at_s, int | float) or not 0 <= at_s <= _LATEST_S:
        raise ValueError(f"at {at_s!r}, expected seconds since the beginning")
    if sender not in get_args(Sender):
        raise ValueError(f"from {sender!r}, expected client or server")
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise TypeError("event: expected an object with a type")
    name = AUDIO_FIELDS.get(event["type"])
    if name is not None:
        event = {**event, name: sounds.load(event.get(name))}
    return Entry(float(at_s), sender, event)


def _in_line(audio: bytes) -> str:
    return base64.b64encode(audio).decode("ascii")


def _without_secrets(value: Any, known: re.Pattern[str] | None) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _REMOVED
            if str(key).lower() in _SECRET_KEYS and part
            else _without_secrets(_without_query(key, part), known)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(part, known) for part in value]
    if not isinstance(value, str):
        return value
    value = _USER_OF_URL.sub(f"{_REMOVED}@", value)
    return _SECRET_TEXT.sub(_REMOVED, value if known is None else known.sub(_REMOVED, value))


def _without_query(key: object, value: Any) -> Any:
    """The URL of a server without its query; anything else as it is."""
    if key not in _SECRET_URLS or not isinstance(value, str):
        return value
    address, mark, _ = value.partition("?")
    return f"{address}?{_REMOVED}" if mark else value


def _without_caller(value: Any) -> Any:
    """Without the caller's sound: of appends, and of the items that repeat it."""
    if isinstance(value, list):
        return [_without_caller(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    kept = {key: _without_caller(part) for key, part in value.items()}
    if kept.get("type") in ("input_audio_buffer.append", "input_audio") and "audio" in kept:
        kept["audio"] = b"" if isinstance(kept["audio"], bytes) else ""
    return kept
