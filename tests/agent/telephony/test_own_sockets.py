"""The process's own sockets are found, and looking for them opens nothing."""

import os
import socket
from pathlib import Path

from callerside.agent.telephony.own_sockets import own_sockets


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_looking_leaves_nothing_open() -> None:
    pipe = os.pipe()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        before = open_files()
        found = {}
        for handle, number in own_sockets(socket.SOCK_DGRAM):
            with handle:
                found[number] = handle.getsockname()
        assert found[one.fileno()] == one.getsockname()
        assert open_files() == before
    for number in pipe:
        os.close(number)
