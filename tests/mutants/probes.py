"""Which mutants a call comes by: one that it does not come by it cannot show.

Most faults lie where few calls come. So seeds are played once without any mutant, with a probe
before each place of one, and each mutant is then played with those seeds alone that come by it.
What it does until then is what it does without the mutant; that it is found by none of the others
is certain, and costs nothing.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from mutant import ROOT, Mutant

passed: set[str] = set()
"""Names of the mutants whose places were come by since it was emptied; probes add to it."""
_ALWAYS = 0
"""Instead of a line: a place outside of any function, by which all come."""


def put_probes(mutants: Iterable[Mutant], tree: Path) -> frozenset[str]:
    """Put a probe before each place of these mutants into a tree that has none of them.

    Returns:
        Names of those by which every call comes, for there is no place for a probe before them.
    """
    always = set()
    lines: dict[str, list[tuple[int, str]]] = {}
    for mutant in mutants:
        for file, line in _places(mutant):
            if line == _ALWAYS:
                always.add(mutant.name)
            else:
                lines.setdefault(file, []).append((line, mutant.name))
    for file, probes in lines.items():
        path = tree / file
        text = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for line, name in sorted(probes, reverse=True):
            indent = text[line - 1][: len(text[line - 1]) - len(text[line - 1].lstrip())]
            text.insert(line - 1, f'{indent}__import__("probes").passed.add("{name}")\n')
        path.unlink()  # it is a link: see `mutant.planted`
        path.write_text("".join(text), encoding="utf-8")
    return frozenset(always)


def _places(mutant: Mutant) -> Iterator[tuple[str, int]]:
    """File, and line before which a probe stands; `_ALWAYS` where none can."""
    for edit in mutant.edits:
        text = (ROOT / edit.file).read_text(encoding="utf-8")
        before, _, _ = text.partition(edit.old)
        line = before.count("\n") + 1 + _first_change(edit.old, edit.new)
        yield edit.file, _statement(text, line) if edit.file.endswith(".py") else _ALWAYS


def _first_change(old: str, new: str) -> int:
    """In which line of the old text, from 0 on, something else begins."""
    olds, news = old.splitlines(), new.splitlines()
    same = 0
    while same < len(olds) - 1 and olds[same] == (news[same] if same < len(news) else None):
        same += 1
    return same


def _statement(text: str, line: int) -> int:
    """Where the innermost statement of a function begins that a line is of."""
    lines = text.splitlines()
    found = _ALWAYS
    inside: list[tuple[ast.AST, bool]] = [(ast.parse(text), False)]
    while inside:
        node, in_function = inside.pop()
        in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            first, last = getattr(child, "lineno", line), getattr(child, "end_lineno", line)
            if not first <= line <= (last or line):
                continue
            inside.append((child, in_function))
            is_whole = lines[first - 1][: getattr(child, "col_offset", 0)].strip() == ""
            is_statement = isinstance(child, ast.stmt) and is_whole
            if is_statement and in_function and not lines[first - 1].lstrip().startswith("elif"):
                found = max(found, first)
    return found


def note(tree: str, first: int, seeds: int) -> Iterator[tuple[int, list[str]]]:
    """Play seeds in a tree with probes; yields each that breaks nothing, and what it came by."""
    from callerside.simulator.fuzz import play

    if not Path(play.__file__).resolve().is_relative_to(Path(tree).resolve()):
        raise SystemExit(f"{play.__file__} is not of {tree}")
    for seed in range(first, first + seeds):
        passed.clear()
        if not play.play_seed(seed).breaches:
            yield seed, sorted(passed)


if __name__ == "__main__":
    import json

    import probes  # the one that the probes know: this one is called `__main__`

    _, tree, first, seeds = sys.argv
    for seed, names in probes.note(tree, int(first), int(seeds)):
        sys.stdout.write(json.dumps([seed, names]) + "\n")
        sys.stdout.flush()
