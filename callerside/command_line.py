"""What all command lines have in common: how a wrong word is told, what a number or a seed is."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

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
