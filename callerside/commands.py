"""Command lines of several commands, of which only the one that is asked for is loaded.

Loading all that a program can do takes longer than most of what it is asked to do, and none of it
is needed to tell which commands there are.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, NamedTuple


class CommandError(Exception):
    """A command cannot do what it was asked; the text is all that whoever asked is told."""


class Command(NamedTuple):
    """One of a program's commands."""

    name: str
    help: str
    """A line, for the list of commands."""
    place: str
    """`module:function`: the function gets the command's parser and adds all the rest."""


def add_commands(
    parser: argparse.ArgumentParser, commands: Sequence[Command], words: Collection[str] | None
) -> None:
    """Have a program know its commands, one of which must be given.

    Args:
        parser: of the program.
        commands: in the order of its help.
        words: of the command line; what is not among them is not asked for, and not loaded. None:
            all are loaded.
    """
    known = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for one in commands:
        command = known.add_parser(one.name, help=one.help)
        if words is None or one.name in words:
            _at(one.place)(command)


class Tell(argparse.Action):
    """An option that prints what there is to tell, and ends: `action=Tell, place=...`.

    The function at that place, as in `Command`, gets the program's name and returns the text.
    """

    def __init__(self, *names: Any, place: str, **options: Any) -> None:
        super().__init__(*names, **{**options, "nargs": 0})
        self._place = place

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it, and end."""
        sys.stdout.write(f"{_at(self._place)(parser.prog)}\n")
        parser.exit()


def _at(place: str) -> Any:
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)
