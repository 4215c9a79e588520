"""How a child of ours is started: nothing that lies in the working directory stands before it.

`python -m` looks for modules in the working directory first, and a user's project may well have an
`http.py` or a `queue.py` there. `-P` leaves the working directory out; what is the user's own, such
as the module of tools, is found by whoever loads it.
"""

import sys


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours, run by this Python."""
    return [sys.executable, "-P", "-m", module, *arguments]
