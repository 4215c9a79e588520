"""What commands that work on scenarios have in common: which ones, from where."""

import argparse
from pathlib import Path

from callerside.simulator.scenario import loader


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
