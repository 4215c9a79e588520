"""The sockets of this process, whoever opened them. Linux only."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path


def own_sockets(kind: socket.SocketKind) -> Iterator[tuple[socket.socket, int]]:
    """Each IP socket of a kind: a second handle on it, which is yours to close, and its number."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # no socket, or closed since
            continue
        if found.type == kind and found.family in (socket.AF_INET, socket.AF_INET6):
            yield found, int(entry.name)
        else:
            found.close()
