"""Reads scenario files, and says of every mistake where it stands and what was expected.

A folder stands for all its `*.yaml` files, to which its `suite.yaml` lends what they share. A file
with a `matrix` stands for one scenario a cell: the values of the cell are written into the file's
data before it is checked, so that a cell obeys the same rules as a file.
"""

import fnmatch
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from callerside.command_line import CommandError
from callerside.files import is_there
from callerside.simulator.scenario import includes
from callerside.simulator.scenario.includes import STAND_IN, TRACKS, with_included
from callerside.simulator.scenario.model import Scenario, name_of, no_name
from callerside.simulator.scenario.rows import CALL, ROWS, each_row
from callerside.simulator.scenario.suite import SUITE_FILE, over_suite
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


class ScenarioError(CommandError, ValueError):
    """Scenario files that cannot be used: one line a mistake, each with file, line and column.

    Attributes:
        path: the file, if it is of one.
        after: the scenarios that it comes after, by the place that says so.
    """

    def __init__(
        self, mistakes: str, path: Path | None = None, after: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(mistakes)
        self.path = path
        self.after = after or {}


def load(paths: Sequence[Path]) -> list[Scenario]:
    """Every scenario of some files and folders, in order of the paths, then by name.

    A path may be a name: `my_call` is `scenarios/my_call.yaml` too, wherever it lies in there. Or
    it is the name of one of the calls of such a file, as a run prints it.

    Raises:
        ScenarioError: all mistakes of all files.
    """
    scenarios: list[Scenario] = []
    mistakes: list[str] = []
    bad: list[ScenarioError] = []
    for file, calls in _files(paths, mistakes).items():
        try:
            of_file = load_file(file)
        except ScenarioError as error:
            bad.append(error)
            mistakes.append(str(error))
            continue
        names = [one.name for one in of_file]
        mistakes += [
            f"{call}: {file} has no such call{nearest(call, names)}; callerside list {file} "
            "names those that it has"
            for call in calls
            if call not in names
        ]
        scenarios += [one for one in of_file if not calls or one.name in calls]
    mistakes += clashes(scenarios)
    for file_error in bad:
        mistakes += _unknown_forerunners(file_error, scenarios, bad)
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


def _unknown_forerunners(
    error: ScenarioError, scenarios: Sequence[Scenario], bad: Sequence[ScenarioError]
) -> Iterator[str]:
    """Of a file that cannot be used: a line for each that it comes after and that is not there.

    It may be in another that cannot be used; that one's mistakes are told, or will be.
    """
    folder = error.path.parent if error.path is not None else Path()
    beside = [path for path in folder.glob(f"*{_SUFFIX}") if is_scenario(path)]
    of_bad = [other.path for other in bad if other.path is not None]
    stems = {name_of(path.stem): path for path in (*beside, *of_bad)}
    names = {scenario.name for scenario in scenarios}
    for place, name in error.after.items():
        if name not in names and not any(f"{name}-".startswith(f"{one}-") for one in stems):
            yield f"{place}: {no_forerunner(name, [*names, *stems])}"


def no_forerunner(name: str, others: Iterable[str], known: str = "") -> str:
    """What is wrong with an `after`."""
    return f"after: there is no scenario {name!r} here{nearest(name, sorted(set(others)))}{known}"


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
    except YamlError as error:
        raise ScenarioError(str(error)) from None
    scenarios, mistakes, after = [], list[str](), dict[str, str]()
    for values, cell in _calls(source):
        mistakes += cell.mistakes
        name = name_of(path.stem, *values)
        if why := no_name(name):
            mistakes.append(_that_is_no_name(source, name if values else path.stem, why))
        if _is_known(cell, "after"):
            after[str(cell.place(("after",)))] = cell.data["after"]
        try:
            scenarios.append(_scenario(cell, name, is_one_of_many=bool(values)))
        except ScenarioError as error:
            mistakes += str(error).splitlines()
    if mistakes:
        raise ScenarioError("\n".join(dict.fromkeys(mistakes)), path, after)
    return scenarios


def _is_known(source: Source, key: str) -> bool:
    return isinstance(source.data.get(key), str) and (key,) not in source.unknowable


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
        lines = explain(error, source, Scenario, dict.fromkeys(TRACKS, STAND_IN))
        told = {line.partition(": ")[0] for line in source.mistakes}
        new = [line for line in lines if line.partition(": ")[0] not in told]
        raise ScenarioError("\n".join(new)) from None
    return scenario.named(name, source.path, source, is_one_of_many=is_one_of_many)


def _files(paths: Sequence[Path], mistakes: list[str]) -> dict[Path, tuple[str, ...]]:
    """The files that are meant, each with those of its calls that are; with none: all of them."""
    files: dict[Path, tuple[str, ...]] = {}
    for name in paths:
        call = ""
        try:
            found = list(_meant_by(name))
            if not found:
                call, found = _call_meant_by(name)
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
            for file in _files_in(path, mistakes) if path.is_dir() else [path]:
                before = files.get(file, ())
                is_whole = not call or (file in files and not before)
                files[file] = () if is_whole else tuple(dict.fromkeys((*before, call)))
    return files


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


def _call_meant_by(name: Path) -> tuple[str, list[Path]]:
    """The call that a name may stand for, and the files that may have it."""
    call = scenario_of_call(name.name.removesuffix(_SUFFIX))
    files = {path.resolve(): path for path in _candidates(name)}.values()
    stems = {name_of(path.stem) for path in files}
    of_file = call if call in stems else _whose_call(call, stems)
    return call, [path for path in files if of_file and name_of(path.stem) == of_file]


def _candidates(name: Path) -> list[Path]:
    """The scenarios of where a name that has a folder would lie, and of where all lie."""
    near = (*_beside(name), *_scenarios_in(folder_of_scenarios()))
    return [path for path in near if is_scenario(path)]


def _where_it_is_not(name: Path) -> str:
    """Where it was looked for, and what is there that may be meant."""
    folder = folder_of_scenarios()
    stem = name.name.removesuffix(_SUFFIX)
    near = nearest(stem, {path.stem for path in _candidates(name)})
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
    return sorted(name.parent.glob(f"*{_SUFFIX}")) if name.parent.is_dir() else []


def _whose_call(name: str, stems: Iterable[str]) -> str:
    """The file that has a call of this name: a cell's or a caller's begins with its file's."""
    begins = [stem for stem in stems if name.startswith(f"{stem}-")]
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
                yield [*row, *cell], of_cell.mistaken(f"{source.place((ROWS,))}: {what}")
                return
            yield [*row, *cell], of_cell


def _cells(source: Source) -> Iterator[tuple[list[str], Source]]:
    """Each cell's values and data; the file itself is the only one when there is no matrix."""
    data = dict(source.data)
    matrix = data.pop("matrix", None)
    if matrix is None:
        yield [], source
        return
    axes, source = _axes(source, matrix)
    for positions in itertools.product(*(range(len(values)) for values in axes.values())):
        words, changed, moved, mistakes = [], data, Moved({}), list[str]()
        for (key, values), position in zip(axes.items(), positions, strict=True):
            target = _target(key)
            words.append(_cell_word(values[position]))
            if _is_behind_unknown(target, source):
                continue
            try:
                changed = _with_value(changed, target, values[position])
            except LookupError as error:
                place = source.place(("matrix", key), key=True)
                mistakes.append(f"{place}: matrix: {error.args[0]}")
                continue
            moved[target] = (source, ("matrix", key, position))
        yield words, source.changed(changed, moved).mistaken(*mistakes)


def _target(key: str) -> Path_:
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))


def _is_behind_unknown(target: Path_, source: Source) -> bool:
    """Whether a path counts steps over some that could not be included."""
    match target:
        case (str() as track, int() as number, *_):
            return any((track, before) in source.unknowable for before in range(number + 1))
        case _:
            return False


def _axes(source: Source, matrix: Any) -> tuple[dict[str, list[Any]], Source]:
    """The paths of a matrix that can be used, and the file with what is wrong with the others."""
    where = ("matrix",)
    if not isinstance(matrix, dict) or not matrix:
        what = "matrix: expected paths and lists, as in caller.codec: [PCMU, G722]"
        return {}, source.mistaken(f"{source.place(where)}: {what}")
    cells, axes = 1, dict[str, list[Any]]()
    for key, values in ((str(key), values) for key, values in matrix.items()):
        above = next((k for k in matrix if f"{key}.".startswith(f"{k}.") and str(k) != key), None)
        what = ""
        if not isinstance(values, list) or not values:
            what = f"{source.place((*where, key))}: {key}: expected a list of values"
        elif above is not None:
            what = f"{source.place((*where, key), key=True)}: {key} is a part of {above}, which "
            what += "stands here too: one would undo the other"
        if what:
            source = source.mistaken(what, unknowable=[_target(key)])
            continue
        axes[key] = values
        cells *= len(values)
    if cells > MAX_CELLS:
        what = f"{cells} cells, at most {MAX_CELLS} are allowed"
        return {}, source.mistaken(
            f"{source.place(where)}: {what}", unknowable=[_target(key) for key in axes]
        )
    return axes, source


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
