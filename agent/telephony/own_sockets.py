"""The sockets of this process, whoever opened them; elsewhere than on Linux, none is found."""

import os
import socket
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

_OPEN = Path("/proc/self/fd")
WAITING = 128
"""Connections that wait to be taken, where `let_more_wait` was."""


def own_sockets(kind: socket.SocketKind) -> Iterator[tuple[socket.socket, int]]:
    """Each IP socket of a kind: a second handle on it, which is yours to close, and its number."""
    if not _OPEN.is_dir():
        return
    for entry in _OPEN.iterdir():
        number = int(entry.name)
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue  # of what is no socket, a second handle would stay
            found = socket.socket(fileno=os.dup(number))
        except OSError:  # closed since
            continue
        if found.type == kind and found.family in (socket.AF_INET, socket.AF_INET6):
            yield found, number
        else:
            found.close()


def let_more_wait(ports: Collection[int]) -> None:
    """Have `WAITING` connections to these ports wait to be taken by whoever listens there.

    Of a stack that lets 5 wait, whoever comes sixth while it is busy tries again a second later.
    """
    for found, _ in own_sockets(socket.SOCK_STREAM):
        with found:
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and found.getsockname()[1] in ports:
                found.listen(WAITING)
