"""Versions of the files that people write: what each changed, and how an older file is brought up.

A scenario, a suite, the agent's settings and a script of the fake's may say `version: 2` on their
first level; without it they are of version 1. An older file goes on working: its keys are read by
their names of today, by the same table by which `callerside migrate` writes them into the file.
"""

import re
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Literal, assert_never

import yaml

from callerside.yaml.source import OldKey, Path_, Place, Source, YamlError, parse

OLDEST, NEWEST = 1, 2

Kind = Literal["scenario", "settings", "script", "account"]
"""What a file is. A suite is a part of a scenario, and its keys stand where they stand there."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A key of the agent's settings, by its path there, that has had another name since."""

    since: int
    old: Path_
    new: str


RENAMED = (
    # VoiceXML's property, and the word of every IVR; `gap_ms` is a metric's name as well.
    Renamed(2, ("dtmf", "gap_ms"), "interdigit_timeout_ms"),
)


@dataclass(frozen=True, slots=True)
class Gone:
    """A key of the agent's settings, by its path there, that means nothing any more."""

    since: int
    old: Path_


GONE = (
    # There is no media clock any more whose phase it could set.
    Gone(2, ("sip", "clock_phase_ms")),
)

_LINE_END = re.compile(r"\r\n?|\n")


class NewerVersionError(YamlError):
    """A file of a version that came after this callerside."""


def in_schema(properties: dict[str, object]) -> None:
    """Add `version` to the properties of a JSON Schema."""
    properties["version"] = {
        "type": "integer",
        "minimum": OLDEST,
        "maximum": NEWEST,
        "default": OLDEST,
        "description": "Of the language that the file is written in.",
    }


def source(path: Path, text: str, kind: Kind, *, exactly: bool = False) -> Source:
    """A file's data, without its version and by the names of today; `exactly`: see `parse`.

    Raises:
        YamlError: it is no YAML, or of no version; `NewerVersionError`: of a later one.
    """
    root = parse(path, text, exactly=exactly)
    todays = partial(_todays, kind, _version(path, root))
    if isinstance(root, yaml.MappingNode):
        root.value = [pair for pair in root.value if pair[0].value != "version"]
    return Source(path, text, root, todays, partial(_became, kind))


def migrated(path: Path, text: str, kind: Kind) -> tuple[str, list[str]]:
    """A file's text in the newest version, and a line for each change; none if it is that already.

    Nothing is changed but the names of keys, the lines of keys that mean nothing any more, and the
    number of the version: comments, order, quoting and the ends of lines stay. The new text is read
    again, and must mean the same.

    Raises:
        YamlError: it cannot be read, or not be rewritten so; says where and why.
    """
    root = parse(path, text, exactly=True)
    version = _version(path, root)
    if version == NEWEST:
        return text, []
    if not isinstance(root, yaml.MappingNode | None):
        raise YamlError(f"{path}:1:1: expected a mapping")
    meant = source(path, text, kind, exactly=True)
    edits = dict([_version_edit(root, text)])
    for old in meant.old_keys:  # one that an alias repeats stands in one place
        span, written = _key_edit(old, text)
        edits[span] = written
    new = text
    for (start, end), written in sorted(edits.items(), reverse=True):
        new = f"{new[:start]}{written}{new[end:]}"
    if not _means(path, new, kind, meant):
        place = meant.old_keys[0].place if meant.old_keys else Place(path, 1, 1)
        what = "this cannot be rewritten without changing something else: do it by hand"
        raise YamlError(f"{place}: {what}, and write `version: {NEWEST}`")
    return new, [*dict.fromkeys(map(str, meant.old_keys)), f"{path}: version {version} -> {NEWEST}"]


def _means(path: Path, text: str, kind: Kind, meant: Source) -> bool:
    """Whether a text is of the newest version, and means what another source does."""
    try:
        if _version(path, parse(path, text)) != NEWEST:
            return False
        return (source(path, text, kind).data or None) == (meant.data or None)
    except YamlError:
        return False


def _version(path: Path, root: yaml.Node | None) -> int:
    """The version of a file.

    Raises:
        YamlError: it is none.
    """
    values = _values_of_version(root)
    if not values:
        return OLDEST
    value = values[-1]
    place = Place(path, value.start_mark.line + 1, value.start_mark.column + 1)
    if len(values) > 1:
        raise YamlError(f"{place}: version stands here and in line {values[0].start_mark.line + 1}")
    number = int(value.value) if value.tag == "tag:yaml.org,2002:int" else 0
    if number > NEWEST:
        raise NewerVersionError(
            f"{place}: version: the file is of version {number}, and this callerside "
            f"({version_of('callerside')}) knows versions up to {NEWEST}: upgrade callerside"
        )
    if number < OLDEST:
        raise YamlError(f"{place}: version: expected a whole number from {OLDEST} to {NEWEST}")
    return number


def _values_of_version(root: yaml.Node | None) -> list[yaml.Node]:
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return [value for key, value in pairs if key.value == "version"]


def _todays(kind: Kind, version: int, where: Path_) -> str | None:
    """The name of today of the key at a path; None if it means nothing any more."""
    setting = _setting(kind, where)
    if any(gone.since > version and setting == gone.old for gone in GONE):
        return None
    for renamed in RENAMED:
        if renamed.since > version and setting == renamed.old:
            return f"{str(where[-1]).removesuffix(str(renamed.old[-1]))}{renamed.new}"
    return str(where[-1])


def _became(kind: Kind, where: Path_) -> str:
    """What has become of a key that the files of the oldest version have at a path."""
    today = _todays(kind, OLDEST, where)
    if today is None:
        return "it means nothing any more"
    return "" if today == str(where[-1]) else f"it is called {today} now"


def _setting(kind: Kind, where: Path_) -> Path_:
    """Which of the agent's settings stands at a path of a file; () for none."""
    match kind:
        case "settings":
            return where[2:] if where[0] == "routes" else where
        case "scenario" if where[0] == "matrix" and len(where) > 1:
            # a path, its values, and what is in one
            return _setting(kind, (*str(where[1]).split("."), *where[3:]))
        case "scenario":
            return where[1:] if where[0] == "agent" else ()
        case "script" | "account":
            return ()
        case unknown:
            assert_never(unknown)


def _key_edit(old: OldKey, text: str) -> tuple[tuple[int, int], str]:
    """What to write where, so that an old key has its name of today, or is there no more."""
    pairs = old.mapping.value
    key, value = pairs[old.index]
    start, end = key.start_mark.index, value.end_mark.index
    if old.new is not None:
        start = max(start, text.rfind(old.name, start, key.end_mark.index))
        return (start, start + len(old.name)), old.new
    if len(pairs) == 1:
        return (start, end), "" if old.mapping.flow_style else "{}"
    if not old.mapping.flow_style:  # whole lines, with what is said of it at the end of the last
        line_end = _LINE_END.search(text, end - 1)
        return (start - key.start_mark.column, line_end.end() if line_end else len(text)), ""
    if comma := re.compile(r"\s*, *").match(text, end):
        return (start, comma.end()), ""
    before = pairs[old.index - 1][1].end_mark.index if old.index else start
    return (before if text[before:start].strip() == "," else start, end), ""


def _version_edit(root: yaml.MappingNode | None, text: str) -> tuple[tuple[int, int], str]:
    """What to write where, so that a file says its version: before its first key."""
    line_end = _LINE_END.search(text)
    line = f"version: {NEWEST}" + (line_end[0] if line_end else "\n")
    if values := _values_of_version(root):  # an anchor before it stays
        start, end = values[0].start_mark.index, values[0].end_mark.index
        return (text.rindex(values[0].value, start, end), end), str(NEWEST)
    if root is None:  # an empty file, or one of comments
        return (len(text), len(text)), line if text[-1:] in ("", "\r", "\n") else f"\n{line}"
    if not root.value or root.flow_style:
        at = root.start_mark.index + 1
        return (at, at), f"version: {NEWEST}{', ' if root.value else ''}"
    first = root.value[0][0].start_mark
    at = first.index - first.column
    before = text[at : first.index]  # a key that begins with `?` has more than its indentation
    return (at, at), f"{before[: len(before) - len(before.lstrip())]}{line}"
