"""How a child of ours is started: nothing that lies in the working directory stands before it.

`python -m` looks for modules in the working directory first, and a user's project may well have an
`http.py` or a `queue.py` there. `-P` leaves the working directory out; what is the user's own, such
as the module of tools, is found by whoever loads it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import MutableMapping

from callerside.host import adopt_orphans

END_WITH_INPUT = "END_WITH_STANDARD_INPUT"
"""In a child's environment: its parent holds its standard input open for as long as it lives."""
ONE_THREAD = "OPENBLAS_NUM_THREADS"
"""In a process's environment, with 1: numpy starts no thread for each processor when it is
imported. None of ours multiplies matrices that would need them, and each thread costs CPU and
memory in every process of a run."""
_POLITE_S = 5.0


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours, run by this Python."""
    return [sys.executable, "-P", "-m", module, *arguments]


def end_with_parent(environment: MutableMapping[str, str] = os.environ) -> None:
    """Where a parent asks for it, end when that is gone, in whatever way: even by SIGKILL.

    To be called by the main program of a child that takes nothing from its standard input. Polite
    first, as by SIGTERM. What this one starts itself is not asked for that; whatever of it is left
    behind by who started it is this one's child from then on, so that its time can be told.
    """
    if environment.pop(END_WITH_INPUT, ""):
        adopt_orphans()
        threading.Thread(target=_end_with_input, name="parent", daemon=True).start()


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_POLITE_S)
    os._exit(1)
