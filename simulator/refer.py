"""A caller who lets itself be transferred, without a second call.

PJSUA2 accepts a REFER (RFC 3515) only by placing the call that it asks for, which takes a second of
its four places and needs somebody to answer. The scripted caller has nobody to call: it answers 202
itself, before the stack sees the request, and its leg then reports success by NOTIFY. Nothing but a
REFER is taken from the stack's socket, and only for callers who expect one.
"""

import os
import socket
from pathlib import Path

_MAX_DATAGRAM_BYTES = 65_536
_ECHOED = ("via", "v", "from", "f", "to", "t", "call-id", "i", "cseq")
"""Headers that an answer repeats, with their short forms (RFC 3261 §8.2.6.2)."""
_REFER_TO = ("refer-to", "r")


class ReferTap:
    """Looks at what is next on one of this process's UDP ports.

    Raises:
        LookupError: no socket of this process is bound to the port.
    """

    def __init__(self, port: int) -> None:
        self._socket = _socket_of(port)
        self._answered = ""

    def take(self) -> str | None:
        """Where a REFER that has arrived sends us; it is taken, and answered with 202."""
        try:
            packet, source = self._socket.recvfrom(
                _MAX_DATAGRAM_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT
            )
            if not packet.startswith(b"REFER "):
                return None
            self._socket.recv(_MAX_DATAGRAM_BYTES, socket.MSG_DONTWAIT)
            uri, answer = accept(packet.decode("utf-8", "replace"))
            self._socket.sendto(answer.encode(), source)
        except OSError:  # nothing there, or the line was cut
            return None
        sent_again = answer == self._answered  # an answer that came late (RFC 3261 §17.1.2)
        self._answered = answer
        return None if sent_again else uri

    def close(self) -> None:
        """Look no more; the port stays as it is."""
        self._socket.close()


def accept(request: str) -> tuple[str, str]:
    """The address that a REFER names, and the 202 that answers it."""
    head = request.partition("\r\n\r\n")[0].split("\r\n")[1:]
    fields = [(line.partition(":")[0].strip().lower(), line) for line in head]
    uri = next((line.partition(":")[2].strip() for name, line in fields if name in _REFER_TO), "")
    lines = ["SIP/2.0 202 Accepted", *(line for name, line in fields if name in _ECHOED)]
    return uri, "\r\n".join([*lines, "Content-Length: 0", "", ""])


def _socket_of(port: int) -> socket.socket:
    """A second handle on this process's UDP socket with that port."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # no socket, or closed since
            continue
        if found.type == socket.SOCK_DGRAM and _port(found) == port:
            return found
        found.close()
    raise LookupError(f"no socket of this process has the port {port}")


def _port(one: socket.socket) -> int:
    name = one.getsockname()
    return int(name[1]) if one.family in (socket.AF_INET, socket.AF_INET6) else 0
