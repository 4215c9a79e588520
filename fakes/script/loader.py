"""Reading a script from a YAML file, with errors that say where and what was expected."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from callerside.audio_files import AudioFileError
from callerside.fakes.script.model import Reply, Script
from callerside.fakes.script.prepare import prepared_reply
from callerside.fakes.script.prepared import PreparedReply, PreparedScript
from callerside.files import read_text, regular
from callerside.speech.synthesis import UnknownVoiceError, VoiceError
from callerside.vad import engines
from callerside.yaml.errors import plain
from callerside.yaml.source import said_twice

_MAX_BYTES = 2**20

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


def load_prepared(path: Path, known: Iterable[PreparedScript] = ()) -> PreparedScript:
    """Read a script and make it ready: what it says is spoken, its sounds are read.

    Args:
        path: of the script.
        known: others that are ready; many files may say the same, and need its sounds once.

    Raises:
        ScriptError: as `load_script`; or a text cannot be spoken, a sound cannot be read, or the
            voice activity detection is not installed.
    """
    script, root = _read(path)
    for one in known:
        if one.script == script:
            engines.reserve(script.vad.engine)  # a judge hears one session only
            return one
    prepared: dict[_Place, PreparedReply] = {}
    problems: list[dict[str, Any]] = []
    for place, reply in _replies(script).items():
        try:
            prepared[place] = prepared_reply(reply)
        except (VoiceError, AudioFileError) as error:
            where = (*place, *_source(reply, error))
            problems.append({"loc": where, "type": "unheard", "msg": str(error)})
    try:
        engines.reserve(script.vad.engine)
    except ValueError as error:
        problems.append({"loc": ("vad",), "type": "missing", "msg": str(error)})
    if problems:
        raise ScriptError("\n".join(_describe(path, root, problem) for problem in problems))
    greeting, default, *replies = prepared.values()
    return PreparedScript(script=script, greeting=greeting, replies=tuple(replies), default=default)


def _read(path: Path) -> tuple[Script, yaml.Node | None]:
    """A script, and the YAML that it was made of."""
    try:
        text = read_text(path, at_most=_MAX_BYTES)
    except UnicodeDecodeError as error:
        raise ScriptError(f"{path}: cannot be read: it is no text: {error.reason}") from None
    except OSError as error:
        raise ScriptError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
        twice = said_twice(root)
    except RecursionError:
        raise ScriptError(f"{path}:1: no YAML: too much is within one another") from None
    except yaml.YAMLError as error:
        raise ScriptError(f"{path}:{_yaml_line(error)}: no YAML: {_yaml_problem(error)}") from None
    if twice is not None:
        line = twice.start_mark.line + 1
        raise ScriptError(
            f"{path}:{line}: {twice.value} is there twice: only one of them could hold"
        )
    try:
        script = Script.model_validate({} if data is None else data)
    except ValidationError as error:
        prepared = [_describe(path, root, dict(problem)) for problem in error.errors()]
        raise ScriptError("\n".join(prepared)) from None
    script = script.resolved(path.parent)
    missing = [_describe(path, root, problem) for problem in _missing_files(script)]
    if missing:
        raise ScriptError("\n".join(missing))
    return script, root


def _replies(script: Script) -> dict[_Place, Reply]:
    """All that a script says, by its place; the greeting and the default reply come first."""
    return {
        ("greeting",): script.greeting,
        ("default_reply",): script.default_reply,
        **{("replies", number): reply for number, reply in enumerate(script.replies)},
    }


def _source(reply: Reply, error: Exception) -> _Place:
    """What of a reply is to blame."""
    if reply.recording is not None:
        return ("recording",)
    if reply.wav is not None:
        return ("wav",)
    return ("voice",) if isinstance(error, UnknownVoiceError) else ("say",)


def _missing_files(script: Script) -> Iterator[dict[str, Any]]:
    """Files that are not there, as problems with their places."""
    for loc, reply in _replies(script).items():
        file, where = reply.wav, (*loc, "wav")
        if reply.recording is not None:
            file, where = reply.recording.file, (*loc, "recording", "file")
        if file is not None and (why := _why_missing(file)):
            yield {"loc": where, "type": "missing_file", "msg": f"{file}: {why}"}


def _why_missing(file: Path) -> str | None:
    try:
        return "it is a folder" if regular(file).is_dir() else None
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return error.strerror


def _describe(path: Path, root: yaml.Node | None, problem: dict[str, Any]) -> str:
    line, where = _locate(root, problem["loc"])
    message = plain(problem["msg"])
    return f"{path}:{line}: {where}: {message}" if where else f"{path}:{line}: {message}"


def _locate(root: yaml.Node | None, loc: Sequence[int | str]) -> tuple[int, str]:
    """Line (from 1 on) of the deepest node on the way to `loc`, and that way in words."""
    node = root
    line = 1 if root is None else root.start_mark.line + 1
    way = ""
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is not None:
                line, node = pair[0].start_mark.line + 1, pair[1]
                way += f".{part}" if way else str(part)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
            way += f"[{part}]"
    return line, way


def _yaml_line(error: yaml.YAMLError) -> int:
    mark = getattr(error, "problem_mark", None)
    return 1 if mark is None else int(mark.line) + 1


def _yaml_problem(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or str(error)
