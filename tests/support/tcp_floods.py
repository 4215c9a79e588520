"""Floods over TCP: of messages on few connections, and of connections, by whoever opens them again.

How much and how long is as in `sip_floods`.
"""

import contextlib
import itertools
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from sip_floods import FLOOD_S, KINDS, PER_S

_QUIET_S, _LATE_S = 0.5, 5.0
_FINAL = re.compile(rb"(?m)^SIP/2\.0 ([2-6]\d\d) ")


class TcpFlood:
    """One kind of message from some addresses in turn, each of which has a connection.

    Whoever is hung up on connects again; whoever is not let in, or whose connection is full, leaves
    a message out.
    """

    def __init__(self, port: int, kind: str, sources: Sequence[str]) -> None:
        self.answers: Counter[int] = Counter()
        """Final ones by status, but for those that came in two pieces."""
        self.sent = 0
        self.left_out = 0
        self.connections = 0
        """That came about."""
        self._target = ("127.0.0.1", port)
        self._kind = KINDS[kind]
        self._wires: dict[str, _Wire | None] = dict.fromkeys(sources)
        self._thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self) -> "TcpFlood":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def run(self) -> None:
        """Send, and read what is answered now and then."""
        began = time.monotonic()
        for number, host in enumerate(itertools.cycle(list(self._wires))):
            if number > FLOOD_S * PER_S:
                break
            self._say(host)
            time.sleep(max(0.0, began + number / PER_S - time.monotonic()))
        self._read_what_still_comes()
        for wire in filter(None, self._wires.values()):
            wire.close()

    def _read_what_still_comes(self) -> None:
        """Until nothing has for a while: whoever is flooded answers late."""
        quiet_from = time.monotonic()
        deadline = quiet_from + _LATE_S
        while quiet_from + _QUIET_S > time.monotonic() < deadline:
            before = self.answers.total()
            for wire in filter(None, self._wires.values()):
                with contextlib.suppress(OSError):
                    self._read(wire)
            if self.answers.total() > before:
                quiet_from = time.monotonic()
            time.sleep(0.05)

    def _say(self, host: str) -> None:
        wire = self._wires[host]
        if wire is None:
            wire = self._wires[host] = _Wire(host, self._target)
        try:
            was_open = wire.is_open
            for packet in self._kind(host, wire.port, "TCP"):
                if wire.takes(packet):
                    self.sent += 1
                else:
                    self.left_out += 1
            self.connections += wire.is_open and not was_open
            self._read(wire)
        except OSError:
            wire.close()
            self._wires[host] = None

    def _read(self, wire: "_Wire") -> None:
        for status in _FINAL.findall(wire.read()):
            self.answers[int(status)] += 1


class _Wire:
    """A connection on which nobody waits for anything."""

    def __init__(self, host: str, target: tuple[str, int]) -> None:
        self._socket = socket.socket()
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self._socket.connect_ex(target)
        self.port: int = self._socket.getsockname()[1]
        self.is_open = False
        self._rest = b""

    def takes(self, packet: bytes) -> bool:
        """Send it, unless what was said before has not gone yet.

        Raises:
            OSError: the other side has closed the connection, or never took it.
        """
        is_next = not self._rest
        with contextlib.suppress(BlockingIOError):
            due = self._rest or packet
            self._rest = due[self._socket.send(due) :]
            self.is_open = True
            return is_next
        return False

    def read(self) -> bytes:
        """What has come.

        Raises:
            OSError: the other side has closed the connection.
        """
        return b"".join(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        if not self.is_open:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                piece = self._socket.recv(65536)
                if not piece:
                    raise ConnectionResetError
                yield piece

    def close(self) -> None:
        """Give it up."""
        self._socket.close()


_SINK = """
import selectors, socket
server = socket.create_server(("127.0.0.1", 0), backlog=512)
print(server.getsockname()[1], flush=True)
watched = selectors.DefaultSelector()
watched.register(server, selectors.EVENT_READ)
while True:
    for key, _ in watched.select():
        if key.fileobj is server:
            watched.register(server.accept()[0], selectors.EVENT_READ)
        elif not key.fileobj.recv(65536):
            watched.unregister(key.fileobj)
            key.fileobj.close()
"""


@contextlib.contextmanager
def tcp_sink() -> Iterator[int]:
    """A port, of another process, that takes every connection and reads what comes; no more."""
    with subprocess.Popen([sys.executable, "-c", _SINK], stdout=subprocess.PIPE) as reader:
        try:
            assert reader.stdout is not None
            yield int(reader.stdout.readline())
        finally:
            reader.kill()
