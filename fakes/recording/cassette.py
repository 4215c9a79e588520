"""Converts sessions that others have recorded, as YAML, into recordings of ours.

The shape is that of pydantic-ai's test cassettes: a list of `interactions`, each with `direction`
(`sent` by the client, `received` from the server) and `data`, the event. They carry no times, and
their audio has been cut to a few bytes a frame; both are told by the header.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from callerside.fakes.recording.audio_files import Sender
from callerside.fakes.recording.format import (
    AUDIO_FIELDS,
    Entry,
    Header,
    Recording,
    RecordingError,
    part_of,
    text_of,
)
from callerside.files import read_text

_OF_THE_BETA = {
    f"response.{part}.{name}"
    for part in ("audio", "audio_transcript", "text")
    for name in ("delta", "done")
}
_SENDERS: dict[str, Sender] = {"sent": "client", "received": "server"}


def read_cassette(path: Path) -> Recording:
    """Read a cassette; events get times in their order, a millisecond apart.

    Raises:
        RecordingError: it cannot be read, or is none.
    """
    try:
        data = yaml.safe_load(read_text(path))
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: cannot be read: it is no text: {error.reason}") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise RecordingError(f"{path}:1: no YAML: too much is within one another") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        raise RecordingError(f"{path}:{line}: no YAML") from None
    interactions = data.get("interactions") if isinstance(data, Mapping) else None
    if not isinstance(interactions, list):
        raise RecordingError(f"{path}:1: expected a mapping with a list of interactions")
    entries = [_entry(path, number, interaction) for number, interaction in enumerate(interactions)]
    header = Header(
        dialect="beta" if any(entry.type in _OF_THE_BETA for entry in entries) else "ga",
        model=_model(entries),
        timed=False,
        source=path.name,
    )
    return Recording(header, tuple(entries))


def _entry(path: Path, number: int, interaction: object) -> Entry:
    where = f"{path}: interaction {number + 1}"
    if not isinstance(interaction, Mapping):
        raise RecordingError(f"{where}: expected a mapping")
    sender = _SENDERS.get(str(interaction.get("direction")))
    event = interaction.get("data")
    if sender is None:
        raise RecordingError(f"{where}: direction: expected sent or received")
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise RecordingError(f"{where}: data: expected an event with a type")
    why = _why_no_json(event)
    if why is not None:
        raise RecordingError(f"{where}: data: {why}")
    name = AUDIO_FIELDS.get(event["type"])
    if name is not None:
        event = {**event, name: _whole_bytes(text_of(event, name))}
    return Entry(number / 1000, sender, event)


def _whole_bytes(text: str) -> bytes:
    """Base64 that may have been cut off anywhere, as whole samples."""
    try:
        data = base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except binascii.Error:
        return b""
    return data[: len(data) // 2 * 2]


def _model(entries: list[Entry]) -> str:
    created: Mapping[str, Any] = next((e.event for e in entries if e.type == "session.created"), {})
    return text_of(part_of(created, "session"), "model")


def _why_no_json(value: object) -> str | None:
    """What of a value YAML knows and JSON does not: dates, numbers without end, keys like `on:`."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                return f"the key {key!r} is no text: put it in quotes (YAML reads on, off, yes, no)"
            if why := _why_no_json(part):
                return why
        return None
    if isinstance(value, list):
        return next(filter(None, map(_why_no_json, value)), None)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        return str(error)
    return None
