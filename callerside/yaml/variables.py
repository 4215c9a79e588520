"""What variables of the environment say over a file: `CALLERSIDE_SIP__PORT=5070` over `sip.port`.

Two underscores step into a section. A value is YAML; but where text is expected it is that text as
it stands: a shell takes quotes away, so that `2001`, `on` and `Hello: how are you` are what people
meant. Only a value that is quoted as a whole is read as YAML then, and `null`, `~` or nothing where
there may be no value.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from callerside.yaml.schemas import alternatives, children
from callerside.yaml.source import Path_, Source, YamlError, parse

_Branches = list[Mapping[str, Any]]

_TEXT = "tag:yaml.org,2002:str"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_QUOTES = frozenset({"'", '"'})


def overridden(
    source: Source, name: str, keys: list[str], text: str, model: type[BaseModel]
) -> Source:
    """A file's data under what one variable says.

    Args:
        source: the file; its data is a mapping.
        name: the variable's.
        keys: what it steps through, as they stand in its name.
        text: its value.
        model: what the data will be validated against.

    Raises:
        YamlError: the value is no YAML; names the variable.
    """
    root = _schema_of(model)
    where, branches = _path(keys, source.data, root)
    try:
        value = _value(name, text, branches, root)
    except YamlError as error:
        raise YamlError(f"{name}: its value is not YAML: {error}") from None
    for key in reversed(where):
        value = {key: value}
    return source.overridden(tuple(where), name, merge(source.data, value))


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`overrides` over `base`, mapping by mapping; anything else is replaced as a whole."""
    merged = dict(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


@cache
def _schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    return model.model_json_schema()


def _path(keys: list[str], data: Any, root: Mapping[str, Any]) -> tuple[list[str], _Branches]:
    """The keys as files have them, and what may stand there.

    Our own are in lower case; names of the user's (of headers, of tools) are as the variable has
    them, or as the file does, where that differs in case alone.
    """
    where: list[str] = []
    branches = alternatives(root, root)
    for key in keys:
        ours = any(key.lower() in branch.get("properties", {}) for branch in branches)
        if ours or not any(children(branch, key) for branch in branches):
            name = key.lower()
        else:
            known = data if isinstance(data, Mapping) else {}
            alike = [one for one in known if str(one).lower() == key.lower()]
            name = key if key in known or not alike else str(alike[0])
        where.append(name)
        branches = _below(branches, name, root)
        data = data.get(name) if isinstance(data, Mapping) else None
    return where, branches


def _below(branches: _Branches, part: int | str, root: Mapping[str, Any]) -> _Branches:
    return [
        found
        for branch in branches
        for child in children(branch, part)
        for found in alternatives(child, root)
    ]


def _value(name: str, text: str, branches: _Branches, root: Mapping[str, Any]) -> Any:
    word = text.strip()
    if _is_text(branches, word) and not (word[:1] in _QUOTES and word[-1:] == word[:1]):
        return word
    return _Variable(name, text, branches, root).data


def _is_text(branches: _Branches, word: str) -> bool:
    """Whether a plain word is text where these may stand."""
    types = {branch.get("type") for branch in branches}
    return types - {"null"} == {"string"} and not ("null" in types and word in _NULLS)


class _Variable(Source):
    """A variable's value: as YAML, but plain words are text where text is expected."""

    def __init__(self, name: str, text: str, branches: _Branches, root: Mapping[str, Any]) -> None:
        self._branches = branches
        self._root = root
        super().__init__(Path(name), text, parse(Path(name), text))

    def _read(self, node: yaml.Node, where: Path_) -> Any:
        if isinstance(node, yaml.ScalarNode) and not node.style and node.tag != _TEXT:
            branches = self._branches
            for part in where:
                branches = _below(branches, part, self._root)
            if _is_text(branches, node.value):
                node = yaml.ScalarNode(_TEXT, node.value, node.start_mark, node.end_mark)
        return super()._read(node, where)
