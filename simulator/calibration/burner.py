"""Work that disturbs: a processor is wanted in bursts, for as long as standard input is open.

What a build, a backup or a neighbour does to a machine on which calls are measured. As a program it
takes the number of a processor, and prints `ready`.
"""

import sys
import threading
import time

from callerside import host

BUSY_MS = 30
OF_MS = 150
"""20 % of it."""


def disturb(processor: int, is_over: threading.Event) -> None:
    """Burn on one processor in bursts. Those of several begin at the same instants."""
    host.bind(processor)
    while not is_over.is_set():
        now_ms = time.monotonic() * 1000
        begin_ms = (now_ms // OF_MS + 1) * OF_MS
        time.sleep((begin_ms - now_ms) / 1000)
        while time.monotonic() * 1000 < begin_ms + BUSY_MS:
            pass


def main() -> None:
    """Disturb until standard input ends."""
    is_over = threading.Event()
    thread = threading.Thread(target=disturb, args=(int(sys.argv[1]), is_over), daemon=True)
    thread.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    is_over.set()


if __name__ == "__main__":
    main()
