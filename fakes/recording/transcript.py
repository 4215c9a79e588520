"""Prints a recording as a conversation that people can read."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from callerside.audio import AudioFormat
from callerside.fakes.recording.audio_files import encoding_of
from callerside.fakes.recording.format import (
    AUDIO_FIELDS,
    Entry,
    Recording,
    one_line,
    part_of,
    text_of,
)

_LONGEST = 100


def narrate(recording: Recording) -> Iterator[str]:
    """The lines: a title, then one for each event, and for what flowed between two of them."""
    header = recording.header
    when = f", recorded {header.recorded_at}" if header.recorded_at else ""
    yield f"{header.model or 'unknown model'}, {header.dialect} dialect{when}"
    if not header.timed:
        yield "(its times are made up: only the order is known)"
    formats = {"client": AudioFormat(), "server": AudioFormat()}
    for entries in _runs(recording.entries):
        first = entries[0]
        _follow(formats, first)
        arrow = "-->" if first.sender == "client" else "<--"
        detail = _detail(entries, formats[first.sender])
        yield f"{first.at_s:9.3f}  {arrow}  {first.type}{detail}"


def _runs(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Single events, and what flows between two of them (audio, words) gathered by its type."""
    flowing: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry.type in AUDIO_FIELDS or entry.type.endswith(".delta"):
            flowing.setdefault((entry.sender, entry.type), []).append(entry)
            continue
        yield from flowing.values()
        flowing.clear()
        yield [entry]
    yield from flowing.values()


def _follow(formats: dict[str, AudioFormat], entry: Entry) -> None:
    if entry.type in ("session.created", "session.updated"):
        formats["client"] = AudioFormat(encoding_of(entry.event, "client"))
        formats["server"] = AudioFormat(encoding_of(entry.event, "server"))


def _detail(entries: list[Entry], audio_format: AudioFormat) -> str:
    first = entries[0]
    count = f" ({len(entries)}x)" if len(entries) > 1 else ""
    name = AUDIO_FIELDS.get(first.type)
    if name is not None:
        pcm_bytes = sum(len(audio_format.decode(entry.event[name])) for entry in entries)
        return f"{count}: {pcm_bytes / 2 / audio_format.rate_hz:.2f} s of audio"
    if first.type.endswith(".delta"):
        return f"{count}: {_short(''.join(str(entry.event.get('delta', '')) for entry in entries))}"
    details = ", ".join(_facts(entries[-1].event))
    return f"{count}: {details}" if details else count


def _facts(event: Any) -> Iterator[str]:
    """What of an event is worth a line."""
    for key in ("audio_start_ms", "audio_end_ms", "transcript", "text", "name", "arguments"):
        if event.get(key) is not None:
            yield f"{key} {_short(event[key])}"
    session = part_of(event, "session")
    if session:
        yield from _session_facts(session)
    error = part_of(event, "error")
    if error:
        yield f"{error.get('code')}: {_short(error.get('message'))}"
    response = part_of(event, "response")
    if response.get("status"):
        yield str(response["status"])
    yield from _item_facts(part_of(event, "item"))


def _item_facts(item: Mapping[str, Any]) -> Iterator[str]:
    """Whose it is, and what is in it."""
    if item:
        yield " ".join(str(item[key]) for key in ("role", "type") if item.get(key))
    for key in ("name", "arguments", "output"):
        if item.get(key):
            yield f"{key} {_short(item[key])}"
    content = item.get("content")
    for part in content if isinstance(content, list) else ():
        text = part.get("text") or part.get("transcript") if isinstance(part, dict) else None
        if text:
            yield _short(text)


def _session_facts(session: Mapping[str, Any]) -> Iterator[str]:
    """How turns are taken, and the model's instructions."""
    inside = part_of(part_of(session, "audio"), "input") or session
    if "turn_detection" in inside:
        yield f"turns by {text_of(part_of(inside, 'turn_detection'), 'type') or 'the client'}"
    if session.get("instructions"):
        yield f"instructions {_short(session['instructions'])}"


def _short(value: object) -> str:
    return one_line(value, _LONGEST)
