"""Versions of the files that people write: what each changed, and how an older file is brought up.

A scenario, a suite, the agent's settings and a script of the fake's may say `version: 2` on their
first level; without it they are of version 1. An older file goes on working: its keys are read by
their names of today, by the same table by which `callerside migrate` writes them into the file.
"""

from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Literal

import yaml

from callerside.yaml.source import Path_, Place, Source, YamlError, parse

OLDEST, NEWEST = 1, 2

Kind = Literal["scenario", "settings", "script"]
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


def source(path: Path, text: str, kind: Kind) -> Source:
    """A file's data, without its version and by the names of today.

    Raises:
        YamlError: it is no YAML, or of no version; `NewerVersionError`: of a later one.
    """
    root = parse(path, text)
    todays = partial(_todays, kind, _version(path, root))
    if isinstance(root, yaml.MappingNode):
        root.value = [pair for pair in root.value if pair[0].value != "version"]
    return Source(path, text, root, todays)


def migrated(path: Path, text: str, kind: Kind) -> tuple[str, list[str]]:
    """A file's text in the newest version, and a line for each change; none if it is that already.

    Nothing is changed but the names of keys and the number of the version: comments, order,
    quoting and the ends of lines stay. The new text is read again, and must mean the same.

    Raises:
        YamlError: it cannot be read, or not be rewritten so; says where and why.
    """
    root = parse(path, text)
    version = _version(path, root)
    if version == NEWEST:
        return text, []
    if not isinstance(root, yaml.MappingNode | None):
        raise YamlError(f"{path}:1:1: expected a mapping")
    meant = source(path, text, kind)
    edits = dict([_version_edit(root, text)])
    for old in meant.old_keys:  # one that an alias repeats stands in one place
        start, end = old.span
        start = max(start, text.rfind(old.name, start, end))
        edits[start, start + len(old.name)] = old.new
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
    """The name that the key at a path has had since; None if it is called the same."""
    setting = _setting(kind, where)
    for renamed in RENAMED:
        if renamed.since > version and setting == renamed.old:
            return f"{str(where[-1]).removesuffix(str(renamed.old[-1]))}{renamed.new}"
    return None


def _setting(kind: Kind, where: Path_) -> Path_:
    """Which of the agent's settings stands at a path of a file; () for none."""
    match kind, where:
        case "settings", ("routes", _, *rest):
            return tuple(rest)
        case "settings", _:
            return where
        case "scenario", ("agent", *rest):
            return tuple(rest)
        case "scenario", ("matrix", str() as path, *rest):  # a path, its values, and what is in one
            return _setting(kind, (*path.split("."), *rest[1:]))
        case _:
            return ()


def _version_edit(root: yaml.MappingNode | None, text: str) -> tuple[tuple[int, int], str]:
    """What to write where, so that a file says its version: before its first key."""
    line = f"version: {NEWEST}\r\n" if "\r\n" in text else f"version: {NEWEST}\n"
    if values := _values_of_version(root):
        return (values[0].start_mark.index, values[0].end_mark.index), str(NEWEST)
    if root is None:  # an empty file, or one of comments
        return (len(text), len(text)), line if text[-1:] in ("", "\n") else f"\n{line}"
    if not root.value or root.flow_style:
        at = root.start_mark.index + 1
        return (at, at), f"version: {NEWEST}{', ' if root.value else ''}"
    first = root.value[0][0].start_mark
    at = first.index - first.column
    before = text[at : first.index]  # a key that begins with `?` has more than its indentation
    return (at, at), f"{before[: len(before) - len(before.lstrip())]}{line}"
