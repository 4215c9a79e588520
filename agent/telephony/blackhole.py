"""Cuts a process's own ports off, as pulling a telephone's plug does: nothing in, nothing out.

A SIP stack cannot leave a call without a word, so its sockets are taken from under it.
What it sends from now on goes into a socket that leads nowhere, and fails; what is sent to it is
dropped by the kernel at the port, which stays bound, so that neither ICMP nor a TCP reset gives it
away; of what comes over TCP nothing is acknowledged. Linux only, and unprivileged.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterable

from callerside.agent.telephony.options import Transport
from callerside.agent.telephony.own_sockets import own_sockets

_SO_ATTACH_FILTER = 26
"""Of asm-generic/socket.h; Python has no name for it."""

_BPF_RETURN = 0x06
"""BPF_RET | BPF_K: how many bytes of a packet to keep. None."""


class SocketBlackhole:
    """Ports that have been cut off; they stay bound until `close`."""

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []

    def cut(self, transport: Transport, ports: Iterable[int]) -> None:
        """Cut off those UDP ports, or TCP connections, whose own port is in `ports`."""
        wanted = frozenset(ports)
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        with _nowhere(transport) as nowhere:
            for found, descriptor in own_sockets(kind):
                if found.getsockname()[1] in wanted:
                    self._cut(found, descriptor, nowhere)
                else:
                    found.close()

    def close(self) -> None:
        """Give the ports free, which the other side may notice."""
        for kept in self._kept:
            kept.close()
        self._kept.clear()

    def _cut(self, kept: socket.socket, descriptor: int, nowhere: socket.socket) -> None:
        self._kept.append(kept)
        _drop_everything(kept)
        os.dup2(nowhere.fileno(), descriptor)


def _nowhere(transport: Transport) -> socket.socket:
    """What takes a socket's place: of a connection the stack must see the end, or it uses it on."""
    if transport == "udp":
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours


def _drop_everything(port: socket.socket) -> None:
    """Attach a packet filter that accepts no packet (struct sock_fprog of linux/filter.h)."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    port.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
