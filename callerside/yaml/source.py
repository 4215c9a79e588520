"""YAML with places: reads a file into plain data and remembers where every value and key stands.

YAML 1.2's idea of plain words is used, where `yes`, `on` and `12:30` are text, because a telephone
scenario is full of words; and a key that stands twice in one mapping is an error, where PyYAML by
itself silently keeps the last. Digits behind a zero or a plus are text as well: they are telephone
numbers and keys, which a number would not keep.
"""

import contextlib
import re
from collections.abc import Callable, Hashable, Iterable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
_MOST_DEPTH = 2_000

Path_ = tuple[str | int, ...]
Moved = dict[Path_, "tuple[Source, Path_]"]


class YamlError(ValueError):
    """A file that cannot be read; the message begins with file, line and column."""


class SeveralDocumentsError(YamlError):
    """A file that holds more than one document."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column of a file, both from 1; or what is no file, as a variable: line 0."""

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}" if self.line else str(self.path)


def parse(path: Path, text: str, *, exactly: bool = False) -> yaml.Node | None:
    """The nodes of a YAML text; None if there is nothing in it.

    Where a node begins is known by line and column; `exactly`: by its index in the text as well,
    and where it ends.

    Raises:
        YamlError: it is no YAML; `SeveralDocumentsError`: it is more than one.
    """
    try:
        return yaml.compose(text, Loader=Loader) if exactly else _composed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, *((mark.line + 1, mark.column + 1) if mark else (1, 1)))
        several = "another document" in (error.problem or "")
        kind = SeveralDocumentsError if several else YamlError
        raise kind(f"{place}: not YAML: {_in_words(error)}") from None
    except yaml.reader.ReaderError as error:
        place = place_in(path, text[: error.position])
        what = f"not YAML: a character that no text has: {error.character:#x}"
        raise YamlError(f"{place}: {what}") from None
    except RecursionError:
        raise _too_deep(path) from None


def _composed(text: str) -> yaml.Node | None:
    """By libyaml, which takes an eighth of the time; what it refuses is left to PyYAML's words."""
    if _FAST_LOADER is not None and _may_be_fast(text):
        with contextlib.suppress(yaml.YAMLError, UnicodeError):
            return yaml.compose(text, Loader=_FAST_LOADER)
    return yaml.compose(text, Loader=Loader)


def _may_be_fast(text: str) -> bool:
    """Whether nothing is so deep in it that libyaml's composer would overflow the stack of C.

    A level takes a bracket, or a column of a line.
    """
    columns = max(map(len, text.split("\n")))
    return columns + text.count("[") + text.count("{") <= _MOST_DEPTH


def _too_deep(path: Path) -> YamlError:
    what = "something in it is within itself (`*`), or within too much else"
    return YamlError(f"{Place(path, 1, 1)}: {what}")


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key that a file has by a name it has no more, or (`new` is None) that is gone altogether.

    It is that of the pair of the mapping with this index.
    """

    name: str
    new: str | None
    place: Place
    mapping: yaml.MappingNode
    index: int

    def __str__(self) -> str:
        if self.new is None:
            return f"{self.place}: {self.name} means nothing any more"
        return f"{self.place}: {self.name} is called {self.new} now"


class Source:
    """A file's data, and where its parts stand.

    Attributes:
        text: the whole of the file, as it was when it was read.
        data: mappings, lists, strings, numbers, booleans and None.
        old_keys: those that `todays` knows another name for, by which they are in the data, or
            none (None), without which the data is.
        became: what has become of a key that older files have at a path, as a part of a sentence;
            empty if they have none there.
        mistakes: what was wrong where the data was put together, a line each; see `mistaken`.
        unknowable: the places of the data of which nothing can be said because of them.
    """

    def __init__(
        self,
        path: Path,
        text: str,
        root: yaml.Node | None,
        todays: Callable[[Path_], str | None] | None = None,
        became: Callable[[Path_], str] = lambda _where: "",
    ) -> None:
        self.path = path
        self.text = text
        self.old_keys: list[OldKey] = []
        self._todays = todays
        self.became = became
        self.base: Source | None = None
        self.moved: Moved = {}
        self.below: Source | None = None
        self.mistakes: tuple[str, ...] = ()
        self.unknowable: frozenset[Path_] = frozenset()
        self.values: dict[Path_, Place] = {}
        self.keys: dict[Path_, Place] = {}
        self.quoted: set[Path_] = set()
        self._scalars = Loader("")
        try:
            self.data: Any = self._read(root, ()) if root is not None else None
        except RecursionError:
            raise _too_deep(path) from None

    def place(self, where: Path_, *, key: bool = False) -> Place:
        """Where a value (or its key) stands; of something absent, where its parent does."""
        leaf, where, key = self.leaf(where, key)
        if key and where in leaf.keys:
            return leaf.keys[where]
        return leaf.values.get(where[: leaf.known(where)], Place(leaf.path, 1, 1))

    def is_quoted(self, where: Path_) -> bool:
        """Whether a text stands in quotes, or as a block: digits in it are text as well."""
        leaf, where, _ = self.leaf(where, key=False)
        return where in leaf.quoted

    def over(self, below: "Source", data: Any) -> "Source":
        """The same file with `data`: its own, and what it does not say itself from `below`."""
        other = self.changed(data, {})
        other.below = below
        other.old_keys = [*below.old_keys, *self.old_keys]
        return other

    def changed(self, data: Any, moved: Moved) -> "Source":
        """The same file with other data.

        `moved` says where its new values really stand: of what file they are, and where in it.
        """
        other = copy(self)
        other.data, other.moved, other.base, other.below = data, moved, self, None
        return other

    def mistaken(self, *mistakes: str, unknowable: Iterable[Path_] = ()) -> "Source":
        """The same file, of which more is known to be wrong; what else is wrong can be told too."""
        other = copy(self)
        other.mistakes = (*self.mistakes, *mistakes)
        other.unknowable = self.unknowable.union(unknowable)
        return other

    def overridden(self, where: Path_, by: str, data: Any) -> "Source":
        """The same file with other data, where what stands at `where` was said by a variable."""
        return self.changed(data, {where: (Source.of_values({(): Place(Path(by), 0, 0)}), ())})

    @classmethod
    def of_values(cls, places: dict[Path_, Place]) -> "Source":
        """What is no YAML, by the places of its values."""
        other = cls(next(iter(places.values())).path, "", None)
        other.values = places
        return other

    def error(self, place: Place, what: str) -> YamlError:
        """An error that names the file and the place."""
        return YamlError(f"{place}: {what}")

    def leaf(self, where: Path_, key: bool) -> "tuple[Source, Path_, bool]":
        """The file in which something really stands, and where it stands there."""
        for target, (source, origin) in self.moved.items():
            if where[: len(target)] == target:
                return source.leaf((*origin, *where[len(target) :]), key and where != target)
        if self.base is None:
            return self, where, key
        own = self.base.known(where)
        if self.below is not None and self.below.known(where) > own:
            return self.below.leaf(where, key)
        if own < len(where):  # made on the way to a moved one, or in no file
            for target, (source, origin) in self.moved.items():
                if target[: len(where)] == where:
                    return source.leaf(origin[:-1], key=True)
        return self.base.leaf(where, key)

    def known(self, where: Path_) -> int:
        """How much of a path stands in this file, or in those that lend it something."""
        for target, (source, origin) in self.moved.items():
            if where[: len(target)] == target:
                known = source.known((*origin, *where[len(target) :]))
                return len(target) + max(0, known - len(origin))
        if self.base is not None:
            below = self.below.known(where) if self.below is not None else 0
            return max(self.base.known(where), below)
        lengths = range(len(where), -1, -1)
        return next((length for length in lengths if where[:length] in self.values), 0)

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.path, node.start_mark.line + 1, node.start_mark.column + 1)

    def _read(self, node: yaml.Node, where: Path_) -> Any:
        if len(self.values) >= MAX_VALUES:
            raise self.error(
                self._place(node), f"more than {MAX_VALUES} values (aliases count again)"
            )
        self.values[where] = self._place(node)
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*where, index)) for index, item in enumerate(node.value)]
        # A plain word's style is empty in libyaml, and None in PyYAML.
        if isinstance(node, yaml.ScalarNode) and node.style:
            self.quoted.add(where)
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._scalars.construct_object(node, deep=True)
        except (
            ValueError,
            LookupError,
            AttributeError,
            yaml.YAMLError,
        ):  # as for `!!int abc`, or 5000 digits
            kind = node.tag.rsplit(":", 1)[-1]
            what = f"{str(node.value)[:40]!r} cannot be read as {kind}"
            raise self.error(self._place(node), what) from None

    def _read_mapping(self, node: yaml.MappingNode, where: Path_) -> dict[Hashable, Any]:
        data: dict[Hashable, Any] = {}
        for index, (key_node, value_node) in enumerate(node.value):
            if key_node.tag == "tag:yaml.org,2002:merge":
                what = "<<: mappings are not merged here; write the keys out"
                raise self.error(self._place(key_node), what)
            place, key = self._place(key_node), self._scalar(key_node)
            if not isinstance(key, (str, int, float)):
                raise self.error(place, f"a key is a word, not {key!r}")
            today = self._todays((*where, str(key))) if self._todays else str(key)
            if today != str(key):
                self.old_keys.append(OldKey(str(key), today, place, node, index))
                if today is None:
                    continue
                key = today
            if key in data:
                first = self.keys[(*where, str(key))]
                raise self.error(place, f"{key} stands here and in line {first.line}")
            self.keys[(*where, str(key))] = place
            data[key] = self._read(value_node, (*where, str(key)))
        return data


_HINTS = {
    "mapping values are not allowed": "a text with a colon in it needs quotes",
    "\\t": "indent with spaces",
    "expected <block end>": "the lines of one list or mapping begin in one column",
    "another document": "a file holds one document",
    "end of stream": "a quote or a bracket is not closed",
}
"""What people mostly did, by what the parser says."""


def _in_words(error: yaml.MarkedYAMLError) -> str:
    """What the parser found, where it was then, and a way out."""
    problem = error.problem or error.context or "cannot be read"
    mark = error.context_mark
    since = f", {error.context} from line {mark.line + 1} on" if error.context and mark else ""
    hint = next((hint for words, hint in _HINTS.items() if words in problem), "")
    return f"{problem}{since}{': ' if hint else ''}{hint}"


def plain(text: str) -> Any:
    """What a word means that stands in YAML without quotes: a number, yes or no, or text.

    Raises:
        YamlError: it is a number that cannot be read, of 5,000 digits, say.
    """
    scalars = Loader("")
    tag: str = scalars.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    try:
        return scalars.construct_object(yaml.ScalarNode(tag, text), deep=True)
    except ValueError:
        kind = tag.rsplit(":", 1)[-1]
        raise YamlError(f"{text[:40]!r} cannot be read as {kind}") from None


def place_in(path: Path, text: str) -> Place:
    """Where a text ends."""
    return Place(path, text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


class Loader(yaml.SafeLoader):
    """SafeLoader with the plain words of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - as the base class declares it

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Decimal, whatever it begins with."""
        return int(node.value)


Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-.0123456789"),
):
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


def _by_libyaml() -> type[Any] | None:
    """Makes the same nodes as `Loader`, where PyYAML was built with libyaml; None: it was not."""
    if not yaml.__with_libyaml__:
        return None
    return type(
        "_FastLoader",
        (yaml.CSafeLoader,),
        {"yaml_implicit_resolvers": Loader.yaml_implicit_resolvers},
    )


_FAST_LOADER = _by_libyaml()
