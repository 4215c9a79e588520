"""Reading a script from a YAML file, with errors that say where and what was expected."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from callerside.audio_files import AudioFileError
from callerside.fakes.script.model import Script
from callerside.fakes.script.prepare import prepared_item
from callerside.fakes.script.prepared import PreparedItem, PreparedReply, PreparedScript
from callerside.fakes.script.reply import Reply, ReplyItem
from callerside.files import regular
from callerside.speech.voices import UnknownVoiceError, VoiceError
from callerside.vad import engines
from callerside.yaml import kinds, reader
from callerside.yaml.errors import explain
from callerside.yaml.source import Source, YamlError

_Place = tuple[str | int, ...]
"""Keys and numbers that lead from a script's root to something in it."""


class ScriptError(ValueError):
    """A script that cannot be used: file, line, and what is wrong."""


def load_script(path: Path) -> Script:
    """Read a script; the paths in it become relative to its folder.

    Raises:
        ScriptError: it cannot be read, is no YAML, or says what no script can say.
    """
    return _read(path)[0]


def script_of(data: Mapping[str, Any]) -> Script:
    """A script that Python says, in the form that its YAML has.

    Raises:
        ScriptError: it says what no script can say, a line a mistake.
    """
    said = dict(data)
    try:
        return Script.model_validate(said)
    except ValidationError as error:
        source = Source(Path("script"), "", None)
        source.data = said
        lines = (line.removeprefix("script:1:1: ") for line in explain(error, source, Script))
        raise ScriptError("\n".join(lines)) from None


def load_prepared(path: Path, known: Iterable[PreparedScript] = ()) -> PreparedScript:
    """Read a script and make it ready: what it says is spoken, its sounds are read.

    Args:
        path: of the script.
        known: others that are ready; many files may say the same, and need its sounds once.

    Raises:
        ScriptError: as `load_script`; or a text cannot be spoken, a sound cannot be read, or the
            voice activity detection is not installed.
    """
    script, source = _read(path)
    for one in known:
        if one.script == script:
            engines.reserve(script.vad.engine)  # a judge hears one session only
            return one
    prepared: dict[_Place, PreparedReply] = {}
    problems: list[str] = []
    for place, reply in _replies(script).items():
        items: list[PreparedItem] = []
        for where, item in _items(place, reply):
            try:
                items.append(prepared_item(item))
            except (VoiceError, AudioFileError) as error:
                what = _to_blame(item, error)
                problems.append(f"{source.place((*where, what))}: {what}: {error}")
        prepared[place] = PreparedReply(reply, tuple(items))
    try:
        engines.reserve(script.vad.engine)
    except ValueError as error:
        problems.append(f"{source.place(('vad',))}: vad: {error}")
    if problems:
        raise ScriptError("\n".join(problems))
    greeting, default, *replies = prepared.values()
    return PreparedScript(script=script, greeting=greeting, replies=tuple(replies), default=default)


def _read(path: Path) -> tuple[Script, Source]:
    """A script, and the file that it was read from."""
    try:
        source = reader.read(path, "script")
        kinds.see_that_it_is(source, "script")
    except YamlError as error:
        raise ScriptError(str(error)) from None
    try:
        script = Script.model_validate({} if source.data is None else source.data)
    except ValidationError as error:
        raise ScriptError("\n".join(explain(error, source, Script))) from None
    script = script.resolved(path.parent)
    missing = list(_missing_files(script, source))
    if missing:
        raise ScriptError("\n".join(missing))
    return script, source


def _replies(script: Script) -> dict[_Place, Reply]:
    """All that a script says, by its place; the greeting and the default reply come first."""
    return {
        ("greeting",): script.greeting,
        ("default_reply",): script.default_reply,
        **{("replies", number): reply for number, reply in enumerate(script.replies)},
    }


def _items(place: _Place, reply: Reply) -> list[tuple[_Place, ReplyItem]]:
    """What a reply says item by item, with the place of each."""
    if reply.items:
        return [((*place, "items", number), item) for number, item in enumerate(reply.items)]
    return [(place, item) for item in reply.parts]


def _to_blame(item: ReplyItem, error: Exception) -> str:
    """Which key of an item."""
    if item.recording is not None:
        return "recording"
    if item.wav is not None:
        return "wav"
    return "voice" if isinstance(error, UnknownVoiceError) else "say"


def _missing_files(script: Script, source: Source) -> Iterator[str]:
    """A line for each file that is not there."""
    said = [_items(place, reply) for place, reply in _replies(script).items()]
    for loc, item in chain.from_iterable(said):
        file, where = item.wav, (*loc, "wav")
        if item.recording is not None:
            file, where = item.recording.file, (*loc, "recording", "file")
        if file is not None and (why := _why_missing(file)):
            yield f"{source.place(where)}: {where[-1]}: {file}: {why}"


def _why_missing(file: Path) -> str | None:
    try:
        return "it is a folder" if regular(file).is_dir() else None
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return error.strerror
