"""What commands that work on scenarios have in common: which ones, from where."""

import argparse
import re
from pathlib import Path
from typing import NoReturn, TypeAlias

from callerside.simulator.scenario import loader
from callerside.yaml.errors import nearest

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it


class Parser(argparse.ArgumentParser):
    """One that names the nearest right word for a command or a choice that does not exist."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and the message."""
        if found := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            words = re.findall(r"[\w-]+", found[2])
            message += nearest(found[1], words)
        super().error(message)


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add `PATH ...` and `-k EXPR`."""
    parser.add_argument(
        "paths",
        type=_path,
        nargs="*",
        default=[loader.folder_of_scenarios()],
        metavar="PATH",
        help="scenarios: files, folders, or names of what is in scenarios/ (default: all of it)",
    )
    parser.add_argument(
        "-k",
        dest="expression",
        metavar="EXPR",
        help="only those whose name or tag fits: 'barge and not late'; a whole name is that one "
        "alone",
    )


def _path(text: str) -> Path:
    """A path as it was written; one that ends with / can only be that folder."""
    path = Path(text)
    return path.absolute() if text.endswith("/") else path


def positive(text: str) -> int:
    """A whole number from 1 on, for `type=` of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return int(text)
