"""docs/architecture.md and CONTRIBUTING.md lead to what is there: folders, files, commands."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from callerside.simulator.cli.main import parser

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [ARCHITECTURE, ROOT / "CONTRIBUTING.md"]
ROOMS = ("callerside", "agent", "fakes", "simulator", "reports")
FOLDERS = {*ROOMS, "docs", "scenarios", "tests", "tools", ".ci", ".github"}
FILE_AT_THE_TOP = re.compile(r"[A-Z]+\.md|\w+\.toml|noxfile\.py|constraints\.txt|\.[a-z-]+\.yaml")
LEAST_ROWS = 25
PROGRAMS = ("pytest", "nox", "callerside")


def test_every_path_named_exists() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = paths(text)
        assert len(named) > 10, page.name
        assert [path for path in named if not (ROOT / path).exists()] == [], page.name


def test_every_link_leads_to_a_file() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page.name


def test_every_folder_with_modules_is_in_the_tree() -> None:
    tree = section("The tree")
    for room in ROOMS:
        for package in (ROOT / room).glob("**/__init__.py"):
            folder = package.parent.relative_to(ROOT)
            named = f"`{folder}/`" in tree or f"`{folder.name}/`" in tree
            assert named, f"{folder}/ is not in the tree"


def test_each_change_has_a_path_and_a_command() -> None:
    rows = changes()
    assert len(rows) >= LEAST_ROWS
    assert len({what for what, _, _ in rows}) == len(rows)
    for what, where, command in rows:
        assert paths(where), what
        assert commands(command), what


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_command_is_one_that_exists(program: str) -> None:
    told = [line for _, _, cell in changes() for line in commands(cell)]
    of_program = [line for line in told if line.split()[0] == program]
    assert of_program
    assert [line for line in of_program if not exists(line)] == []


def section(heading: str) -> str:
    """What stands under a heading of the architecture's page."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def changes() -> list[tuple[str, str, str]]:
    """The rows of the table: what to change, where to look, what to run."""
    lines = [line for line in section("To change X").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row for row in rows if len(row) != 3] == []
    return [(what, where, command) for what, where, command in rows]


def quoted(text: str) -> list[str]:
    """What stands between single backticks; blocks of code are left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def paths(text: str) -> list[str]:
    """Paths from the top of the repository: they begin with a folder that is to be there."""
    words = [word for code in quoted(text) for word in code.split()]
    return [
        word
        for word in words
        if FILE_AT_THE_TOP.fullmatch(word)
        or (re.fullmatch(r"[\w./-]+", word) and word.split("/")[0] in FOLDERS)
    ]


def commands(cell: str) -> list[str]:
    """The commands of a cell, whole."""
    return [code for code in quoted(cell) if code.split()[0] in PROGRAMS]


def exists(command: str) -> bool:
    """Whether its files, its job or its sub-command are there."""
    program, *words = command.split()
    if program == "pytest":
        return bool(words) and all((ROOT / word).exists() for word in words)
    if program == "nox":
        return words[0] == "-s" and words[1] in jobs()
    return words[0] in subcommands()


def jobs() -> set[str]:
    """The jobs of the noxfile, by their decorator: nox wants to see it run once in a process."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def subcommands() -> set[str]:
    """What `callerside` can be told to do."""
    return {
        name
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
        for name in action.choices
    }
