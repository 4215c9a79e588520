"""What all command lines have in common: how a wrong word is told, what a number or a seed is.

Of several commands only the one that is asked for is loaded: loading all that a program can do
takes longer than most of what it is asked to do, and none of it is needed to tell what there is.
"""

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

MOST_OF_A_SEED = 2**32 - 1
"""Each makes other calls; what is larger, or negative, would make those of another one again."""


class Parser(argparse.ArgumentParser):
    """One that names the nearest right word, and whose commands tell their own usage."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse has it, but what nobody knows ends the command that it was given to.

        Otherwise the program would tell of it with the usage of all its commands.
        """
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and the message."""
        if found := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            from callerside.yaml.errors import nearest  # seldom needed, and pydantic with it

            words = re.findall(r"[\w-]+", found[2])
            message += nearest(found[1], words)
        super().error(message)


def positive(text: str) -> int:
    """A whole number from 1 on, for `type=` of an argument."""
    return _at_least(1, text)


def at_least_none(text: str) -> int:
    """A whole number from 0 on, for `type=` of an argument."""
    return _at_least(0, text)


def seed(text: str) -> int:
    """What everything random is drawn by, for `type=` of an argument."""
    if not text.isdecimal() or int(text) > MOST_OF_A_SEED:
        raise argparse.ArgumentTypeError(
            f"{text}: expected 0 to {MOST_OF_A_SEED}: any other number would draw what one of "
            "these draws"
        )
    return int(text)


def _at_least(low: int, text: str) -> int:
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"{text}: expected {low} or more")
    return int(text)


# ---- programs of several commands


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


def load(commands: Sequence[Command], words: Collection[str]) -> None:
    """Load those that are among the words of a command line, as `add_commands` does otherwise."""
    for one in commands:
        if one.name in words:
            _at(one.place)


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
