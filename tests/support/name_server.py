"""A name server of a test's own, and a process that asks it: in a mount namespace of its own.

Both need root: it is asked at port 53, and named in /etc/resolv.conf.
"""

import ctypes
import itertools
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

_TYPES = {1: 4, 28: 6}
"""Of questions that are answered: A and AAAA, and the version of the addresses."""
_NEW_MOUNTS, _BIND, _PRIVATE = 0x20000, 0x1000, 0x4000 | 0x40000
"""`CLONE_NEWNS`, `MS_BIND`, `MS_REC | MS_PRIVATE`."""
_ANSWERED, _NO_SUCH_NAME = 0x8180, 0x8183
_LIFE_S = 60
_NUMBERS = itertools.count()
"""Of the servers of this process."""


class NameServer:
    """Knows some names, and says of all others that there is none.

    Args:
        names: the addresses of each.
    """

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names
        of_process = f"{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
        self.address = f"127.{83 + next(_NUMBERS) % 100}.{of_process}"
        """Of loopback, and no other test's."""
        self.asked: list[tuple[str, int]] = []
        """Each name that was asked for, and the type of what."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, 53))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "NameServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._socket.sendto(b"", (self.address, 53))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, source = self._socket.recvfrom(4_096)
            if not question:
                return
            self._socket.sendto(self._answer(question), source)

    def _answer(self, question: bytes) -> bytes:
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        (kind,) = struct.unpack_from("!H", question, at + 1)
        name = ".".join(labels)
        self.asked.append((name, kind))
        version = _TYPES.get(kind)
        known = [ip_address(host) for host in self._names.get(name, ())]
        records = [
            struct.pack("!HHHIH", 0xC00C, kind, 1, _LIFE_S, len(one.packed)) + one.packed
            for one in known
            if one.version == version
        ]
        flags = _ANSWERED if name in self._names else _NO_SUCH_NAME
        head = question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        return head + question[12 : at + 5] + b"".join(records)


def ask_at(address: str) -> None:
    """Have this process, and none but it, ask a server there; before it asks any."""
    library = ctypes.CDLL(None, use_errno=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"nameserver {address}\n")
        file.flush()
        Path(file.name).chmod(0o644)
        done = (
            library.unshare(_NEW_MOUNTS),
            library.mount(b"none", b"/", None, _PRIVATE, None),
            library.mount(file.name.encode(), b"/etc/resolv.conf", None, _BIND, None),
        )
        if any(done):
            raise OSError(ctypes.get_errno(), "no name server of its own")
