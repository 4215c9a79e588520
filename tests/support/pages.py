"""The blocks of the pages that users read: what is to be typed, and what is to be written."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^( *)```(\w*)$")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    page: Path
    line: int
    """Of the first line in it."""
    language: str
    text: str

    @property
    def name(self) -> str:
        """For a test's report."""
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str:
        """The path of the file that it is, if its first line is a comment that says so."""
        found = re.match(r"# ([\w./-]+(?:\.ya?ml|/config))(?::|$)", self.text.partition("\n")[0])
        return found[1] if found else ""

    @property
    def commands(self) -> list[str]:
        """What is typed, each with its continued lines; in a console's block what follows a $."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        if self.language == "console":
            typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            assert typed, f"{self.name}: nothing is typed here, where a line does after $"
            return typed
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path) -> Iterator[Block]:
    """All of a page, in order; each stands between fences: by indents alone it would be missed."""
    lines = page.read_text(encoding="utf-8").splitlines()
    begin: tuple[int, str, str] | None = None
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if begin is None:
            where = f"{page.name}:{number + 1}"
            assert fence or not line.strip().startswith("```"), f"{where}: a fence of another kind"
            is_block = line.startswith("    ") and number and not lines[number - 1].strip()
            assert not is_block, f"{where}: a block without fences"
        if begin is None and fence:
            begin = (number + 1, fence[1], fence[2])
        elif begin is not None and line.strip() == "```":
            first, indent, language = begin
            text = "\n".join(one.removeprefix(indent) for one in lines[first:number])
            yield Block(page, first + 1, language, text)
            begin = None
