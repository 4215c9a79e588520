"""The process's own sockets are found, and looking for them opens nothing."""

import os
import socket
import struct
from pathlib import Path

from callerside.agent.telephony.own_sockets import WAITING, let_more_wait, own_sockets


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


def test_more_wait_where_it_is_asked_for_and_nowhere_else() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=5) as one:  # noqa: SIM117 - two of a kind
        with socket.create_server(("127.0.0.1", 0), backlog=5) as other:
            let_more_wait([one.getsockname()[1]])
            assert [_waiting(one), _waiting(other)] == [WAITING, 5]


def _waiting(listener: socket.socket) -> int:
    """`tcpi_sacked` of linux/tcp.h: of a socket that listens, how many may wait."""
    return int(
        struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[
            0
        ]
    )
