"""Turns pydantic's errors into lines for people: place, what is wrong, what was expected.

A line reads `scenarios/first_call.yaml:12:5: unknown key "wen"; did you mean "when"? ...`.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from callerside.yaml import versions
from callerside.yaml.schemas import alternatives, children
from callerside.yaml.source import Path_, Place, Source

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such key",
    "string_too_short": "expected a word at least",
    "string_too_long": "expected at most {max_length} letters",
    "string_pattern_mismatch": "expected text that matches {pattern}",
    "too_short": "expected at least one",
    "too_long": "expected at most {max_length}",
    "greater_than": "expected a number greater than {gt}",
    "greater_than_equal": "expected a number greater than or equal to {ge}",
    "less_than": "expected a number less than {lt}",
    "less_than_equal": "expected a number less than or equal to {le}",
    "multiple_of": "expected a multiple of {multiple_of}",
    "finite_number": "expected a number that is finite",
    "literal_error": "expected {expected}",
    "none_required": "expected nothing",
    "model_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "path_type": "expected text",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "union_tag_invalid": "'{tag}': expected one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing",
}
"""What each of pydantic's types of errors means to whom its English says too little."""


def in_words(error: ErrorDetails) -> str:
    """An error of pydantic's, as the end of a line that names the place and the value."""
    if "error" in (context := error.get("ctx", {})):  # a ValueError of our own
        return str(context["error"])
    if words := _WORDS.get(error["type"]):
        whole = {
            k: int(v) if isinstance(v, float) and v == int(v) else v for k, v in context.items()
        }
        return words.format(**whole)
    return _lower(error["msg"])


_NO_STAND_INS: Mapping[str, Any] = {}
_MOST_LOOKS = 8
"""Each takes out at least one place more, and each but the first is for what is seldom."""


def explain(
    error: ValidationError,
    source: Source,
    model: type[BaseModel],
    stand_ins: Mapping[str, Any] = _NO_STAND_INS,
) -> list[str]:
    """One line for each mistake, in the order of the file.

    What a model says of several of its fields together is asked only where each of them is right.
    So what is wrong is taken out, and the rest is looked at again. Of what was taken out, and of
    what needs it, nothing more is said.

    Args:
        error: what validating `source.data` raised.
        source: the file; of its `unknowable` places nothing is said either.
        model: what the data was validated against.
        stand_ins: what takes the place of an item that is wrong, by the name of its list; a list
            of another name is taken out with it.
    """
    schema = _schema_of(model)
    found = set[tuple[Place, str]]()
    data, unknowable = source.data, set(source.unknowable)
    for _ in range(_MOST_LOOKS):
        wrong = set[Path_]()
        for details in _first_hand(error.errors(include_url=False)):
            where, key = _where(details, data)
            wrong.add((*where, key) if key is not None else where)
            if not _needs(details, where, key, unknowable):
                found.add(_told(details, source, data, where, schema))
        if wrong <= unknowable:  # what is missing cannot be taken out: what it is missing in can
            wrong = {where[:-1] for where in wrong if len(where) > 1}
        if wrong <= unknowable:
            break
        unknowable |= wrong
        data = _without(source.data, unknowable, stand_ins)
        try:
            model.model_validate(data)
        except ValidationError as another:
            error = another
        else:
            break
    return [f"{place}: {text}" for place, text in sorted(found)]


@cache
def _schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """Made once: a table may have a mistake in each of a thousand rows."""
    return model.model_json_schema()


def _where(details: ErrorDetails, data: Any) -> tuple[Path_, int | str | None]:
    """Where a mistake is in the data, and the key that is missing there."""
    where = _data_path(data, details["loc"])
    at_key = details.get("ctx", {}).get("key")
    if at_key is not None:
        where = (*where, *(at_key if isinstance(at_key, tuple) else (at_key,)))
    return where, details["loc"][-1] if details["type"] == "missing" else None


def _needs(
    details: ErrorDetails, where: Path_, key: int | str | None, unknowable: Collection[Path_]
) -> bool:
    """Whether something would be said of what is not known, or because it is not."""
    if key is not None:
        where = (*where, key)
    places = details.get("ctx", {}).get("decided_by", (where,))
    return any(one[: len(place)] == place[: len(one)] for one in unknowable for place in places)


def _told(
    details: ErrorDetails, source: Source, data: Any, where: Path_, schema: Mapping[str, Any]
) -> tuple[Place, str]:
    of_key = details["type"] == "extra_forbidden"
    of_key = of_key or isinstance(details.get("ctx", {}).get("key"), str)
    place = source.place(where, key=of_key)
    if details["type"] == "extra_forbidden" and (became := source.became(where)):
        whose = f" (the file says `version: {versions.NEWEST}`)" if place.line else ""
        return place, f'unknown key "{_name(where)}"; {became}{whose}'
    return place, _sentence(details, data, where, schema)


def _without(
    data: Any, places: Collection[Path_], stand_ins: Mapping[str, Any], where: Path_ = ()
) -> Any:
    """A copy of the data without what stands at these places; items of lists keep theirs."""
    if isinstance(data, dict):
        return {
            key: _without(value, places, stand_ins, at)
            for key, value in data.items()
            if (at := (*where, str(key))) not in places
            and not (str(key) not in stand_ins and _is_list_without(value, at, places))
        }
    if isinstance(data, list):
        return [
            stand_ins[str(where[-1])]
            if (at := (*where, number)) in places and where and where[-1] in stand_ins
            else _without(value, places, stand_ins, at)
            for number, value in enumerate(data)
        ]
    return data


def _is_list_without(value: Any, where: Path_, places: Collection[Path_]) -> bool:
    return isinstance(value, list) and any((*where, n) in places for n in range(len(value)))


def _first_hand(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that say that a list is too short because its items are wrong."""

    def has_more_to_say(place: tuple[int | str, ...]) -> bool:
        return any(e["loc"][: len(place)] == place and e["loc"] != place for e in errors)

    return [e for e in errors if e["type"] != "too_short" or not has_more_to_say(e["loc"])]


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean "..."?`, or nothing if no word comes near."""
    by_lower = {known.lower(): known for known in words}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f'; did you mean "{by_lower[found[0]]}"?' if found else ""


def _sentence(details: ErrorDetails, data: Any, where: Path_, schema: Mapping[str, Any]) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    name = _name(where)
    if kind == "extra_forbidden":
        words = sorted(_known_keys(schema, data, where[:-1]))
        near = _elsewhere(schema, data, where) or nearest(name, words)
        return f'unknown key "{name}"{near} (expected {", ".join(words)})'
    if kind == "missing":
        return _missing(details["loc"][-1], where)
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        return f'{name}: "{value}"{nearest(str(value), words)} (expected {", ".join(words)})'
    if kind == "string_type" and isinstance(value, (int, float, bool)):
        return f'{name}: expected text; put quotes around it: "{value}"'
    if kind.endswith("_type"):
        unit = " of milliseconds" if name.endswith("_ms") else ""
        found = f', not "{value}"' if isinstance(value, str) else ""
        return f"{name}: {in_words(details)}{unit}{found}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = context["discriminator"].strip("'")
        branches = (branch["properties"] for branch in _fitting(schema, data, where))
        words = re.findall(r"'([^']*)'", context.get("expected_tags", ""))
        words = words or [branch[key]["const"] for branch in branches]
        given = value.get(key) if isinstance(value, dict) else value
        near = f': "{given}"{nearest(str(given), words)}' if given is not None else " is missing"
        return f"{key}{near} (expected {', '.join(words)})"
    if kind == "string_pattern_mismatch" and (description := _description(schema, data, where)):
        return f"{name}: {value!r}: expected {description}"
    if "words" in context:
        word = str(context.get("word", ""))
        what = "" if name == word else f"{name}: "
        return f'{what}"{word}"{nearest(word, context["words"])} ({_lower(details["msg"])})'
    message = in_words(details)
    says_value = isinstance(value, (dict, list)) or kind == "value_error" or "value" in context
    says_value = says_value or (isinstance(value, str) and repr(value) in message)
    shown = "" if says_value else f" {value!r}:"
    if kind == "value_error" and isinstance(value, str):
        words = re.findall(r"'([a-z]+)", message.partition("expected ")[2])
        return f"{name}: {message}{nearest(value.split(' ')[0], words)}"
    return f"{name}:{shown} {message}"


def _name(where: Path_) -> str:
    """What to call the value: its key, or `step 3` for the third of `steps`."""
    match where:
        case ():
            return "the file"
        case (*_, str() as parent, int() as position):
            one = f"{parent[:-3]}y" if parent.endswith("ies") else parent.removesuffix("s")
            return f"{one} {position + 1}"
        case _:
            return str(where[-1])


def _missing(what: int | str, where: Path_) -> str:
    if isinstance(what, int):
        return f"{_name(where)}: expected {what + 1} values"
    return f"{what} is missing{_in_what(where)}"


def _in_what(where: Path_) -> str:
    parents = [str(part) for part in where if isinstance(part, str)]
    return f" in {parents[-1]}" if parents else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _data_path(data: Any, location: tuple[int | str, ...]) -> Path_:
    """Which of a location's parts are keys and positions of the data.

    The others name branches of unions. A part can be either, as in (steps, 0, say, say, text):
    the reading that explains the last part, and then the most of them, is the right one.
    """
    readings = [(path, last) for path, last in _readings(data, location)]
    best = max(readings, key=lambda reading: (reading[1], len(reading[0])))
    return best[0]


def _readings(data: Any, location: tuple[int | str, ...]) -> Iterator[tuple[Path_, bool]]:
    if not location:
        yield (), True
        return
    head, rest = location[0], location[1:]
    if _has(data, head):
        for path, last in _readings(data[head], rest):
            yield (head, *path), last
    for path, last in _readings(data, rest):
        yield path, last and bool(rest)


def _has(data: Any, key: int | str) -> bool:
    if isinstance(data, dict):
        return key in data
    return isinstance(data, list) and isinstance(key, int) and key < len(data)


def _known_keys(schema: Mapping[str, Any], data: Any, where: Path_) -> set[str]:
    """The keys that the schema allows at a place: of the branches that fit the data there."""
    return {key for branch in _fitting(schema, data, where) for key in branch["properties"]}


def _elsewhere(schema: Mapping[str, Any], data: Any, where: Path_) -> str:
    """`; it belongs into caller` for a key that is right, one level higher or lower."""
    *parents, key = where
    if parents and key in _known_keys(schema, data, tuple(parents[:-1])):
        return f"; it belongs beside {_name(tuple(parents))}"
    lower = {
        name
        for branch in _fitting(schema, data, tuple(parents))
        for name, child in branch["properties"].items()
        if any(key in below.get("properties", ()) for below in alternatives(child, schema))
    }
    return f"; it belongs into {' or '.join(sorted(lower))}" if lower else ""


def _description(schema: Mapping[str, Any], data: Any, where: Path_) -> str:
    """What the schema says of the value at a place, as part of a sentence; empty for nothing."""
    branches = _fitting(schema, data, where[:-1]) if where else []
    description = [
        branch["properties"].get(where[-1], {}).get("description", "") for branch in branches
    ]
    return _lower(next(filter(None, description), ""))


def _fitting(schema: Mapping[str, Any], data: Any, where: Path_) -> list[Mapping[str, Any]]:
    """The schemas of the mapping at a place: those that fit its data, or else all."""
    branches = [schema]
    for part in where:
        data = data[part]
        branches = [
            child
            for branch in branches
            for child in children(branch, part)
            for child in alternatives(child, schema)
        ]
    objects = [branch for branch in branches if "properties" in branch]
    if not isinstance(data, dict):
        return objects
    of_this_kind = [branch for branch in objects if _is_of_its_kind(branch, data)] or objects
    required = [b for b in of_this_kind if set(b.get("required", ())) <= data.keys()]
    return required or of_this_kind


def _is_of_its_kind(branch: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether a mapping has the words by which a branch differs from others, as `fault: drop`."""
    words = {key: child["const"] for key, child in branch["properties"].items() if "const" in child}
    return all(data.get(key, word) == word for key, word in words.items())
