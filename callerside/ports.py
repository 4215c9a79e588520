"""Ports: the greatest there is, and how a command line takes one."""

import argparse
from collections.abc import Callable

HIGHEST_PORT = 65_535


def port_from(lowest: int) -> Callable[[str], int]:
    """A type for `argparse`: a port of that number (1; 0, if it may mean any free one) or more."""

    def port(text: str) -> int:
        if not (text.isascii() and text.isdigit() and lowest <= int(text[:9]) <= HIGHEST_PORT):
            raise argparse.ArgumentTypeError(
                f"{text[:100]!r}: expected a port, {lowest} to {HIGHEST_PORT}"
            )
        return int(text)

    return port
