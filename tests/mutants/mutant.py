"""A fault that was found once, as a small change that brings it back.

Mutants are the yardstick of fuzzer and tests: whoever looks for faults should find those that were
there. Each has its old text exactly once in its file; one that is stale fails a quick test. A tree
with a mutant in it is made of links to this one, but for the files that differ.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
_LEFT_OUT = (
    ".git", ".venv*", ".nox", ".benchmarks", ".hypothesis", ".*_cache", "out", "build", "dist",
    ".dmypy.json",
)  # fmt: skip
_ROOMS = ("agent", "fakes", "reports", "simulator")
"""Links in `callerside/`: what they lead to is copied where it lies."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of a mutant."""

    file: str
    old: str
    """Stands there exactly once."""
    new: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One fault."""

    name: str
    row: str
    """Where it was found: `agent A1`, a file and a row of what was found by reading."""
    says: str
    """What a caller, or a user, has of it."""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    """The files of tests that are to find it."""
    in_calls: bool = True
    """It shows in what a call in memory does, or in its verdict: the fuzzer is to find it."""
    grave: bool = False
    """The fuzzer is to find it within `GRAVE_SEEDS`."""


MOST_SEEDS = 20_000
GRAVE_SEEDS = 2_000


def complaints(mutant: Mutant, root: Path = ROOT) -> Iterator[str]:
    """What is wrong with a mutant: texts that are not there, or more than once; no such tests."""
    for edit in mutant.edits:
        path = root / edit.file
        found = path.read_text(encoding="utf-8").count(edit.old) if path.is_file() else 0
        if found != 1:
            yield f"{mutant.name}: the old text stands {found} times in {edit.file}, expected once"
        if edit.old == edit.new:
            yield f"{mutant.name}: changes nothing in {edit.file}"
    for test in mutant.tests:
        if not (root / test).is_file():
            yield f"{mutant.name}: there is no {test}"
    if not mutant.tests:
        yield f"{mutant.name}: names no tests"


@contextmanager
def planted(mutant: Mutant | None) -> Iterator[Path]:
    """A tree with the mutant in it, or with none; gone afterwards.

    Raises:
        ValueError: the mutant is stale.
    """
    if mutant is not None and (wrong := list(complaints(mutant))):
        raise ValueError("; ".join(wrong))
    (ROOT / "out").mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="mutant-", dir=ROOT / "out") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(
            ROOT,
            tree,
            symlinks=True,
            ignore=shutil.ignore_patterns(*_LEFT_OUT),
            copy_function=_link,
        )
        for edit in mutant.edits if mutant else ():
            path = tree / edit.file
            text = path.read_text(encoding="utf-8")
            path.unlink()  # it is a link: to write into it would be to write into this tree
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        yield tree


def environment(tree: Path) -> dict[str, str]:
    """That of a process which is to import what lies in a tree."""
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
