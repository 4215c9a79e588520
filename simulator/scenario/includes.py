"""`include: greet.steps.yaml` among steps: the steps of that file stand there.

Such a file has `steps`, and nothing else. Its name ends with `.steps.yaml`, by which it is told
from scenarios. What it includes itself, and its sounds, lie beside it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callerside.yaml import reader
from callerside.yaml.errors import nearest
from callerside.yaml.source import Moved, Path_, Source, YamlError

STAND_IN: Any = {"pause": 1}
"""A step that is right anywhere, instead of one that cannot be known: there may be more of them."""
INCLUDE = "include"
SUFFIX = ".steps.yaml"
TRACKS = ("steps", "meanwhile")
MOST_STEPS = 10_000
_MOST_DEPTH = 20


def with_included(scenario: Source) -> Source:
    """A scenario with the steps that it includes; places are those of the files that have them.

    What cannot be included is among its mistakes, and one step stands for it.
    """
    data, moved = dict(scenario.data), Moved({})
    splicing = _Splicing(scenario.path)
    unknowable: list[Path_] = []
    for track in TRACKS:
        listed = data.get(track)
        if not isinstance(listed, list) or not any(map(_is_include, listed)):
            continue
        try:
            spliced = list(splicing.steps(scenario, (track,), listed, (scenario.path,)))
        except _TooManyError as error:
            splicing.mistakes.append(str(error))
            spliced = [(STAND_IN, scenario, (track,))]
        data[track] = [step for step, _, _ in spliced]
        for number, (step, source, stands) in enumerate(spliced):
            moved[track, number] = (source, stands)
            if step is STAND_IN:
                unknowable.append((track, number))
    if not moved:
        return scenario
    other = scenario.changed(data, moved).mistaken(*splicing.mistakes, unknowable=unknowable)
    other.old_keys = [
        *scenario.old_keys,
        *(key for file in splicing.files.values() for key in file.old_keys),
    ]
    return other


def load_steps(path: Path) -> Source:
    """A file of steps.

    Raises:
        YamlError: it cannot be read, has no steps, or something else: a line each.
    """
    source = _steps_in(path)
    if source.mistakes:
        raise YamlError("\n".join(source.mistakes))
    return source


def _steps_in(path: Path) -> Source:
    """A file of steps; what else it holds is among its mistakes."""
    source = reader.read(path, "scenario")
    if not isinstance(source.data, dict):
        raise source.error(source.place(()), "expected a mapping with steps")
    mistakes = [
        f'{source.place((str(key),), key=True)}: unknown key "{key}": a file of steps has steps '
        "alone"
        for key in source.data
        if key != "steps"
    ]
    steps = source.data.get("steps")
    if not isinstance(steps, list) or not steps:
        place = source.place(("steps",))
        mistakes.append(f"{place}: steps: expected a list of at least one step")
        raise YamlError("\n".join(mistakes))
    return source.mistaken(*mistakes)


def _is_include(step: Any) -> bool:
    return step == INCLUDE or (isinstance(step, dict) and INCLUDE in step)


class _TooManyError(YamlError):
    """Steps without end, or nearly so."""


@dataclass
class _Splicing:
    """The steps of one scenario, while they are collected."""

    path: Path
    files: dict[Path, Source] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    count: int = 0

    def steps(
        self, source: Source, where: Path_, listed: list[Any], within: tuple[Path, ...]
    ) -> Iterator[tuple[Any, Source, Path_]]:
        """Each step, the file that it stands in, and where it stands there."""
        for number, step in enumerate(listed):
            at = (*where, number)
            if _is_include(step):
                try:
                    file = self._file(source, at, step, within)
                except YamlError as error:
                    self.mistakes += str(error).splitlines()
                    yield STAND_IN, source, at
                    continue
                yield from self.steps(file, ("steps",), file.data["steps"], (*within, file.path))
                continue
            self.count += 1
            if self.count > MOST_STEPS:
                what = f"more than {MOST_STEPS} steps, with all that is included"
                raise _TooManyError(f"{source.place(at)}: {what}")
            yield self._from(source.path.parent, step), source, at

    def _file(self, source: Source, at: Path_, step: Any, within: tuple[Path, ...]) -> Source:
        place = source.place((*at, INCLUDE))
        name = step[INCLUDE] if isinstance(step, dict) else None
        if not isinstance(name, str) or not name.endswith(SUFFIX):
            said = "" if name is None else f" {name!r}:"
            raise source.error(place, f"include:{said} expected a file called NAME{SUFFIX}")
        for key in step:
            if key != INCLUDE:
                what = f'unknown key "{key}": include stands alone; this belongs beside a step'
                self.mistakes.append(f"{source.place((*at, str(key)), key=True)}: {what}")
        path = source.path.parent / name
        if any(_same(path, other) for other in within):
            chain = " includes ".join(repr(str(one)) for one in (*within[1:], path))
            raise source.error(place, f"include: {chain}, which is within itself")
        if len(within) > _MOST_DEPTH:
            raise source.error(place, f"include: more than {_MOST_DEPTH} files within each other")
        if path not in self.files:
            if not os.path.lexists(path):
                there = (os.path.relpath(one, path.parent) for one in _beside(path))
                near = nearest(path.name, there)
                raise source.error(place, f"include: there is no file {str(path)!r}{near}")
            self.files[path] = _steps_in(path)
            self.mistakes += self.files[path].mistakes
        return self.files[path]

    def _from(self, folder: Path, value: Any) -> Any:
        """A step that a file in another folder has: its sounds lie beside that file."""
        if folder == self.path.parent:
            return value
        if isinstance(value, list):
            return [self._from(folder, one) for one in value]
        if not isinstance(value, dict):
            return value
        beside = Path(os.path.relpath(folder, self.path.parent))
        return {
            key: str(beside / one)
            if key == "wav" and isinstance(one, str)
            else self._from(folder, one)
            for key, one in value.items()
        }


def _beside(path: Path) -> Iterator[Path]:
    try:
        yield from path.parent.glob(f"*{SUFFIX}")
    except (OSError, ValueError):  # no folder can have such a name
        return


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False
