"""Reads scenario files, and says of every mistake where it stands and what was expected.

A folder stands for all its `*.yaml` files, to which its `suite.yaml` lends what they share. A file
with a `matrix` stands for one scenario a cell: the values of the cell are written into the file's
data before it is checked, so that a cell obeys the same rules as a file.
"""

import fnmatch
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from callerside.files import is_there
from callerside.simulator.scenario import includes
from callerside.simulator.scenario.includes import with_included
from callerside.simulator.scenario.model import Scenario, name_of, no_name
from callerside.simulator.scenario.rows import CALL, ROWS, each_row
from callerside.simulator.scenario.suite import SUITE_FILE, SuiteError, over_suite
from callerside.yaml import kinds, reader
from callerside.yaml.errors import explain, nearest
from callerside.yaml.source import Moved, Path_, Source, YamlError

MAX_CELLS = 1000
_FOLDER = "scenarios"
_SUFFIX = ".yaml"
_NUMBERS = re.compile(r"(-r\d+)?(-c\d+)?$")
"""As a run appends them (`runner.plan`)."""


def folder_of_scenarios() -> Path:
    """Where scenarios are kept: `scenarios`, or this folder if that is what it is called itself."""
    folder = Path(_FOLDER)
    return Path() if Path.cwd().name == _FOLDER and not folder.is_dir() else folder


def is_scenario(path: Path) -> bool:
    """Whether a file is to be taken for a scenario, by its name."""
    no_scenario = path.name == SUITE_FILE or path.name.endswith(includes.SUFFIX)
    return path.suffix == _SUFFIX and not no_scenario


class ScenarioError(ValueError):
    """Scenario files that cannot be used: one line a mistake, each with file, line and column."""


def load(paths: Sequence[Path]) -> list[Scenario]:
    """Every scenario of some files and folders, in order of the paths, then by name.

    A path may be a name: `my_call` is `scenarios/my_call.yaml` too, wherever it lies in there.

    Raises:
        ScenarioError: all mistakes of all files.
    """
    scenarios: list[Scenario] = []
    mistakes: list[str] = []
    for file in _files(paths, mistakes):
        try:
            scenarios += load_file(file)
        except ScenarioError as error:
            mistakes.append(str(error))
    mistakes += clashes(scenarios)
    if mistakes:  # those of a suite are reported once, not with each of its scenarios
        raise ScenarioError("\n".join(dict.fromkeys("\n".join(mistakes).splitlines())))
    return scenarios


def with_forerunners_beside(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios, and those of the files beside them that they come `after`.

    Raises:
        ScenarioError: all mistakes of such a file.
    """
    known = {scenario.name: scenario for scenario in scenarios}
    queue = list(scenarios)
    while queue:
        scenario = queue.pop()
        if scenario.after is None or scenario.after in known:
            continue
        for other in _called(scenario.after, scenario.folder):
            if other.name not in known:
                known[other.name] = other
                queue.append(other)
    return list(known.values())


def names_beside(scenario: Scenario) -> list[str]:
    """What the scenarios of the files in the same folder may be called, as far as files say."""
    found = scenario.folder.glob(f"*{_SUFFIX}") if scenario.path is not None else ()
    return sorted(name_of(path.stem) for path in found if is_scenario(path))


def _called(name: str, folder: Path) -> list[Scenario]:
    """The scenarios of that file of a folder which has one of this name; none if no file has.

    A cell's name begins with that of its file, and files are asked from the longest name on.

    Raises:
        ScenarioError: all mistakes of such a file.
    """
    files = filter(is_scenario, folder.glob(f"*{_SUFFIX}"))
    stems = {path: name_of(path.stem) for path in files}
    may_be = [path for path, stem in stems.items() if f"{name}-".startswith(f"{stem}-")]
    for path in sorted(may_be, key=lambda path: (-len(stems[path]), path)):
        found = load_file(path)
        if any(one.name == name for one in found):
            return found
    return []


def load_file(path: Path) -> list[Scenario]:
    """The scenario of a file, or one for each cell of its matrix.

    Raises:
        ScenarioError: all mistakes of the file.
    """
    if any("\udc80" <= letter <= "\udcff" for letter in path.stem):  # as Python has such bytes
        what = "a scenario is called as its file is, and this name is no text: rename it"
        raise ScenarioError(f"{str(path)!a}: {what}")
    if path.name.endswith(includes.SUFFIX):
        what = "it holds steps that scenarios include, and is none itself"
        raise ScenarioError(f"{path}: {what}")
    try:
        source = reader.read(path, "scenario")
        kinds.see_that_it_is(source, "scenario")
        if not isinstance(source.data, dict):
            raise source.error(source.place(()), "expected a mapping with about and steps")
        cells = list(_calls(source))
    except (YamlError, SuiteError) as error:
        raise ScenarioError(str(error)) from None
    scenarios, mistakes = [], list[str]()
    for values, cell in cells:
        name = name_of(path.stem, *values)
        if why := no_name(name):
            mistakes.append(_that_is_no_name(source, name if values else path.stem, why))
            continue
        try:
            scenarios.append(_scenario(cell, name, is_one_of_many=bool(values)))
        except ScenarioError as error:
            mistakes += str(error).splitlines()
    if mistakes:
        raise ScenarioError("\n".join(dict.fromkeys(mistakes)))
    return scenarios


def _that_is_no_name(source: Source, name: str, why: str) -> str:
    """Said of the file, or of what makes many calls of it: their names come from its values."""
    by = next((key for key in ("matrix", ROWS) if key in source.data), None)
    if by is None:
        return f"{source.path}:1:1: {name!r} is no name: {why}"
    hint = f"values this long belong into `{ROWS}`, whose column `{CALL}` names each call"
    place = source.place((by,), key=True)
    return f"{place}: {name!r}, as a call of it would be called, is no name: {why}; {hint}"


def _scenario(source: Source, name: str, *, is_one_of_many: bool) -> Scenario:
    try:
        scenario = Scenario.model_validate(source.data)
    except ValidationError as error:
        raise ScenarioError("\n".join(explain(error, source, Scenario))) from None
    return scenario.named(name, source.path, source, is_one_of_many=is_one_of_many)


def _files(paths: Sequence[Path], mistakes: list[str]) -> list[Path]:
    files: list[Path] = []
    for name in paths:
        try:
            found = list(_meant_by(name))
        except OSError as error:  # such as a name that is longer than any can be
            mistakes.append(f"{name}: {error.strerror}")
            continue
        if len(found) > 1:
            which = " or ".join(f"{path}/" if path.is_dir() else str(path) for path in found)
            mistakes.append(f"{name}: which one is meant, {which}?")
            continue
        if not found:
            mistakes.append(f"{name}: no such file or folder{_where_it_is_not(name)}")
        for path in found:
            files += _files_in(path, mistakes) if path.is_dir() else [path]
    return list(dict.fromkeys(files))


def _meant_by(name: Path) -> Iterator[Path]:
    """What a path or a name may stand for. What is given in full is meant in any case."""
    in_full = name.is_absolute() or name == folder_of_scenarios() or not name.is_dir()
    if is_there(name) and in_full:
        yield name
        return
    others = _others_called(name)
    if name.is_dir() and (not others or _scenarios_in(name)):
        yield name
    yield from others


def _others_called(name: Path) -> list[Path]:
    """The files that `callerside new` would have written for this name, and those deeper down."""
    if not name.name:
        return []
    file = name if name.suffix == _SUFFIX else name.with_name(name.name + _SUFFIX)
    folder = folder_of_scenarios()
    tried = [file, folder / file, folder / name]
    if len(name.parts) == 1:
        tried += _below(folder, file.name)
    there = [path for path in tried if is_there(path) and not path.is_dir()]
    return list({path.resolve(): path for path in reversed(there)}.values())[::-1]


def _where_it_is_not(name: Path) -> str:
    """Where it was looked for, and what is there that may be meant."""
    folder = folder_of_scenarios()
    stem = name.name.removesuffix(_SUFFIX)
    files = [path for path in (*_beside(name), *_scenarios_in(folder)) if is_scenario(path)]
    stems = {path.stem: path for path in files}
    of_many = scenario_of_call(stem)
    of_file = of_many if of_many in stems else _whose_call(of_many, stems)
    if of_file and stem not in stems:
        only = f" -k {of_many}" if of_many != of_file else ""
        return f"; it may be a call of {of_file}: callerside run {of_file}{only}"
    near = nearest(stem, stems)
    words = dict.fromkeys((name.name, f"{stem}{_SUFFIX}"))
    places = [(Path.cwd() / name).parent, *([] if name.is_absolute() else [Path.cwd() / folder])]
    where = ", ".join(dict.fromkeys(map(str, places)))
    return (
        f"{near} (looked for {' and '.join(words)} in {where}); "
        "callerside new NAME writes a scenario to start from"
    )


def scenario_of_call(name: str) -> str:
    """What plays a call of this name: it lacks the numbers of a repeat and of a caller."""
    return _NUMBERS.sub("", name)


def _beside(name: Path) -> list[Path]:
    """The files where a name that has a folder would lie."""
    folder = (Path.cwd() / name).parent
    return sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []


def _whose_call(name: str, stems: Mapping[str, Path]) -> str:
    """The file that has a call of this name: a cell's or a caller's begins with its file's."""
    begins = [stem for stem in stems if name.startswith(f"{name_of(stem)}-")]
    return max(begins, key=len, default="")


def _scenarios_in(folder: Path, mistakes: list[str] | None = None) -> list[Path]:
    found = _below(folder, f"*{_SUFFIX}", mistakes)
    return [path for path in found if is_scenario(path)]


def _below(folder: Path, pattern: str, mistakes: list[str] | None = None) -> list[Path]:
    """What is called so in a folder, however deep, sorted; and one line for each that is closed."""

    def closed(error: OSError) -> None:
        if mistakes is not None and not isinstance(error, FileNotFoundError):  # or gone by now
            mistakes.append(f"{error.filename}: this folder cannot be read: {error.strerror}")

    found = (
        Path(parent, name)
        for parent, folders, files in os.walk(folder, onerror=closed)
        for name in fnmatch.filter([*folders, *files], pattern)
    )
    return sorted(found)


def _files_in(folder: Path, mistakes: list[str]) -> list[Path]:
    closed: list[str] = []
    found, misnamed = _scenarios_in(folder, closed), _below(folder, "*.yml")
    if not (found or misnamed or closed):
        mistakes.append(f"{folder}: no *.yaml in this folder")
    mistakes += closed
    mistakes += [
        f"{other}: scenarios are named *.yaml: rename it, or it is not found" for other in misnamed
    ]
    return found


def clashes(scenarios: Sequence[Scenario]) -> Iterator[str]:
    """One line for each scenario whose name another has: a name is all that a call is known by."""
    seen: dict[str, Scenario] = {}
    for scenario in scenarios:
        other = seen.setdefault(scenario.name, scenario)
        if other is scenario:
            continue
        if other.path == scenario.path:
            yield (
                f"{scenario.at('matrix')}: two cells would be called {scenario.name}; "
                "the letters or digits of their values must differ"
            )
        else:
            yield f"{scenario.path}:1:1: the name {scenario.name} is taken by {other.path}"


def _calls(source: Source) -> Iterator[tuple[list[str], Source]]:
    """For each row and each cell of it: what they are called by, and the scenario's data."""
    count = 0
    for row, of_row in each_row(with_included(source)):
        for cell, of_cell in _cells(over_suite(of_row)):
            count += 1
            if count > MAX_CELLS:
                what = f"more than {MAX_CELLS} calls, with rows and a matrix"
                raise source.error(source.place((ROWS,)), what)
            yield [*row, *cell], of_cell


def _cells(source: Source) -> Iterator[tuple[list[str], Source]]:
    """Each cell's values and data; the file itself is the only one when there is no matrix."""
    data = dict(source.data)
    matrix = data.pop("matrix", None)
    if matrix is None:
        yield [], source
        return
    axes = _axes(source, matrix)
    for positions in itertools.product(*(range(len(values)) for values in axes.values())):
        words, changed, moved = [], data, Moved({})
        for (key, values), position in zip(axes.items(), positions, strict=True):
            changed, target = _set(source, changed, key, values[position])
            moved[target] = (source, ("matrix", key, position))
            words.append(_cell_word(values[position]))
        yield words, source.changed(changed, moved)


def _set(source: Source, data: Any, key: str, value: Any) -> tuple[Any, Path_]:
    target = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    try:
        return _with_value(data, target, value), target
    except LookupError as error:
        place = source.place(("matrix", key), key=True)
        raise source.error(place, f"matrix: {error.args[0]}") from None


def _axes(source: Source, matrix: Any) -> dict[str, list[Any]]:
    where = ("matrix",)
    if not isinstance(matrix, dict) or not matrix:
        raise source.error(
            source.place(where),
            "matrix: expected paths and lists, as in caller.codec: [PCMU, G722]",
        )
    cells = 1
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise source.error(
                source.place((*where, str(key))), f"{key}: expected a list of values"
            )
        above = next((k for k in matrix if f"{key}.".startswith(f"{k}.") and k != key), None)
        if above is not None:
            raise source.error(
                source.place((*where, str(key)), key=True),
                f"{key} is a part of {above}, which stands here too: one would undo the other",
            )
        cells *= len(values)
    if cells > MAX_CELLS:
        raise source.error(source.place(where), f"{cells} cells, at most {MAX_CELLS} are allowed")
    return {str(key): values for key, values in matrix.items()}


def _with_value(data: Any, path: Path_, value: Any) -> Any:
    """A copy of the data with one value changed; mappings on the way are made as needed."""
    if not path:
        return value
    head, *rest = path
    if isinstance(data, list):
        if not isinstance(head, int) or head >= len(data):
            raise LookupError(f"{head} is no position in a list of {len(data)}, counted from 0")
        return [*data[:head], _with_value(data[head], tuple(rest), value), *data[head + 1 :]]
    if data is None and isinstance(head, int):
        raise LookupError(f"{head} is a position in a list, and there is none in the file")
    if data is None or isinstance(data, dict):
        old = data or {}
        return {**old, head: _with_value(old.get(head), tuple(rest), value)}
    raise LookupError(f"{data!r} is no mapping, in which {head} could stand")


def _cell_word(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) else repr(value)
