"""The parts of the documentation that are made from the code: `nox -s reference` writes them.

    python tools/reference.py             # write what is stale
    python tools/reference.py --check     # exit code 1 if something is; `nox -s lint` does this

`PLACES` lists them. A place is a whole file, or what stands in a page between the lines

    <!-- generated: NAME -->
    <!-- end of generated: NAME -->
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tables

from callerside.agent.config import reference as settings_page
from callerside.mark_registry import MARKS
from callerside.simulator.scenario import authoring

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where something is written, and the function that says what."""

    page: str
    """The file, from the top of the repository."""
    block: str | None = None
    """The name in the two comments that it stands between; None: it is the whole file."""
    make: Callable[[], str]


PLACES = (
    *(
        Place(page="docs/marks.md", block=f"marks of {source}", make=partial(tables.marks, source))
        for source in MARKS
    ),
    Place(page="docs/metrics.md", block="metrics", make=tables.metrics),
    Place(page="docs/metrics.md", block="bounds", make=tables.bounds),
    Place(page="docs/metrics.md", block="tolerances", make=tables.tolerances),
    Place(page="docs/metrics.md", block="truths", make=tables.truths),
    Place(page="docs/metrics.md", block="errors on speech", make=tables.errors_on_speech),
    Place(page="docs/metrics.md", block="scorers", make=tables.other_scorers),
    Place(page="README.md", block="errors on speech", make=tables.worst_errors_on_speech),
    Place(page="docs/operating.md", block="metrics", make=tables.prometheus),
    Place(page="docs/settings.md", make=settings_page.render),
    Place(page="docs/scenario.schema.json", make=authoring.editor_schema_text),
    Place(page="docs/scenarios.md", block="steps", make=tables.steps),
    Place(page="docs/scenarios.md", block="expectations", make=tables.expectations),
    Place(page="docs/fake-realtime.md", block="faults", make=tables.faults),
    Place(page="docs/fake-realtime.md", block="refusals", make=tables.refusals),
    Place(page="docs/fake-realtime.md", block="taken", make=tables.taken),
)


class MissingBlockError(ValueError):
    """A page has not exactly one place for a block: says which two lines were expected."""


def renewed(page: str, block: str, content: str) -> str:
    """A page with new content in one of its blocks.

    Raises:
        MissingBlockError: its two comments are not there, or not once each in this order.
    """
    begin, end = f"<!-- generated: {block} -->", f"<!-- end of generated: {block} -->"
    head, has_begin, rest = page.partition(begin)
    _, has_end, tail = rest.partition(end)
    if not (has_begin and has_end) or begin in rest or end in head + tail:
        raise MissingBlockError(f"expected one line {begin} and after it one line {end}")
    return f"{head}{begin}\n\n{content.strip()}\n\n{end}{tail}"


def stale(places: Sequence[Place], root: Path) -> dict[Path, str]:
    """The files that are not as they are made now, and what should be in them.

    Raises:
        MissingBlockError: a page has no place for a block.
    """
    pages: dict[Path, str] = {}
    for place in places:
        path = root / place.page
        if place.block is None:
            pages[path] = place.make()
            continue
        text = pages[path] if path in pages else path.read_text(encoding="utf-8")
        try:
            pages[path] = renewed(text, place.block, place.make())
        except MissingBlockError as error:
            raise MissingBlockError(f"{place.page}: {error}") from None
    return {
        path: text
        for path, text in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main(
    arguments: Sequence[str] | None = None,
    *,
    places: Sequence[Place] = PLACES,
    root: Path = ROOT,
) -> int:
    """Write or check; returns the exit code: 0, 1 (something is stale), 2 (a block is missing)."""
    parser = argparse.ArgumentParser(prog="reference.py", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args(arguments)
    try:
        found = stale(places, root)
    except (MissingBlockError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for path, text in found.items():
        name = path.relative_to(root)
        if given.check:
            print(f"{name}: not as the code has it now: run nox -s reference", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name}: written")
    return 1 if given.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
