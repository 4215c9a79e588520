"""A caller who lets itself be transferred, without a second call.

PJSUA2 accepts a REFER (RFC 3515) only by placing the call that it asks for, which takes a second of
its four places and needs somebody to answer. The scripted caller has nobody to call: it answers 202
itself, and its leg then reports success by NOTIFY. No REFER reaches the stack, however it comes:
over UDP the kernel hands it to a socket of ours at the same port, over TCP the stack's connection
passes through here. Only for callers who expect a transfer. Linux only, and unprivileged.
"""

import contextlib
import ctypes
import os
import re
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from callerside.agent.telephony.options import Transport
from callerside.agent.telephony.own_sockets import own_sockets

_MAX_MESSAGE_BYTES = 65_536
_ECHOED = ("via", "v", "from", "f", "to", "t", "call-id", "i", "cseq")
"""Headers that an answer repeats, with their short forms (RFC 3261 §8.2.6.2)."""
_REFER_TO = ("refer-to", "r")
_REFER = b"REFER "
_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*(\d+)", re.IGNORECASE)

_SO_ATTACH_REUSEPORT_CBPF = 51
"""Of asm-generic/socket.h; Python has no name for it."""
_CHOOSE = (
    (0x20, 0, 0, 0),  # A = the first word of the datagram
    (0x15, 0, 1, int.from_bytes(_REFER[:4], "big")),  # if it is "REFE"
    (0x06, 0, 0, 1),  # the second socket of the port: ours
    (0x06, 0, 0, 0),  # else the first: the stack's
)
"""BPF: code, jump if true, jump if false, value (linux/filter.h)."""


class ReferTap(Protocol):
    """Takes the REFERs that come for a call."""

    def take(self) -> str | None:
        """Where a REFER that has arrived sends us; it is answered with 202 here."""

    def close(self) -> None:
        """Take no more."""


def tap(transport: Transport, port: int) -> ReferTap:
    """A tap at one of this process's SIP ports; over TCP, of the connection from there.

    Raises:
        LookupError: no socket of this process has the port.
    """
    return UdpTap(port) if transport == "udp" else TcpTap(port)


class UdpTap:
    """A second socket at a port, to which the kernel hands the REFERs."""

    def __init__(self, port: int) -> None:
        theirs, _ = _socket_of(socket.SOCK_DGRAM, port)
        with theirs:
            self._socket = socket.socket(theirs.family, socket.SOCK_DGRAM)
            for one in (theirs, self._socket):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.setblocking(False)
            self._socket.bind(theirs.getsockname())
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in _CHOOSE))
        program = struct.pack("HL", len(_CHOOSE), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)
        self._answers = _Answers()

    def take(self) -> str | None:
        """See `ReferTap`."""
        try:
            packet, source = self._socket.recvfrom(_MAX_MESSAGE_BYTES)
            if not packet.startswith(_REFER):  # it came before the kernel knew what is ours
                return None
            return self._answers.to(packet, lambda answer: self._socket.sendto(answer, source))
        except OSError:  # nothing there, or the account was cut off
            return None

    def close(self) -> None:
        """See `ReferTap`."""
        self._socket.close()


class TcpTap:
    """Stands between the stack and its connection, until it is closed."""

    def __init__(self, port: int) -> None:
        self._connection, self._stacks_fd = _socket_of(socket.SOCK_STREAM, port)
        self._stack, stacks_end = socket.socketpair()
        self._inode = os.fstat(stacks_end.fileno()).st_ino
        for one in (self._stack, stacks_end):
            one.setblocking(False)
        os.dup2(stacks_end.fileno(), self._stacks_fd)
        stacks_end.close()
        self._come, self._to_stack, self._to_peer = bytearray(), bytearray(), bytearray()
        self._answers = _Answers()

    def take(self) -> str | None:
        """See `ReferTap`; all else is passed on, in both directions."""
        is_over = not _read(self._connection, self._come)
        uri = self._sort()
        _write(self._stack, self._to_stack)
        if is_over:
            self._stack.close()
        _read(self._stack, self._to_peer)
        _write(self._connection, self._to_peer)
        return uri

    def close(self) -> None:
        """See `ReferTap`; the stack has its connection back, for the account's next call."""
        self.take()
        with contextlib.suppress(OSError):
            if os.fstat(self._stacks_fd).st_ino == self._inode:  # it has not closed it meanwhile
                os.dup2(self._connection.fileno(), self._stacks_fd)
        self._stack.close()
        self._connection.close()

    def _sort(self) -> str | None:
        """Pass whole messages on, up to the first new REFER: the address that it names."""
        while size := _message_bytes(self._come):
            message = bytes(self._come[:size])
            del self._come[:size]
            if not message.lstrip().startswith(_REFER):
                self._to_stack += message
            elif uri := self._answers.to(message.lstrip(), self._to_peer.extend):
                return uri
        return None


class _Answers:
    """Answers REFERs; one that comes again has its answer again, and is reported once."""

    def __init__(self) -> None:
        self._last = ""

    def to(self, request: bytes, send: Callable[[bytes], object]) -> str | None:
        uri, answer = accept(request.decode("utf-8", "replace"))
        send(answer.encode())
        sent_again = answer == self._last  # an answer that came late (RFC 3261 §17.1.2)
        self._last = answer
        return None if sent_again else uri


def accept(request: str) -> tuple[str, str]:
    """The address that a REFER names, and the 202 that answers it."""
    head = request.partition("\r\n\r\n")[0].split("\r\n")[1:]
    fields = [(line.partition(":")[0].strip().lower(), line) for line in head]
    uri = next((line.partition(":")[2].strip() for name, line in fields if name in _REFER_TO), "")
    lines = ["SIP/2.0 202 Accepted", *(line for name, line in fields if name in _ECHOED)]
    return uri, "\r\n".join([*lines, "Content-Length: 0", "", ""])


def _message_bytes(stream: bytearray) -> int:
    """How long the message is with which a stream begins (RFC 3261 §18.3); 0 if it is not whole.

    Empty lines between messages (§7.5) belong to the one behind them.
    """
    begin = len(stream) - len(stream.lstrip(b"\r\n"))
    head = stream.find(b"\r\n\r\n", begin)
    if head < 0:
        return len(stream) if begin == len(stream) or begin > _MAX_MESSAGE_BYTES else 0
    length = _LENGTH.search(stream, begin, head)
    size = head + 4 + (int(length[1]) if length else 0)
    return size if size <= len(stream) else 0


def _read(source: socket.socket, into: bytearray) -> bool:
    """Take what has come; false at the end of the stream."""
    try:
        while len(into) < _MAX_MESSAGE_BYTES:
            data = source.recv(_MAX_MESSAGE_BYTES)
            if not data:
                return False
            into += data
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


def _write(target: socket.socket, data: bytearray) -> None:
    """Send what can be sent now: the connection may not be up yet, or be gone."""
    with contextlib.suppress(OSError):
        del data[: target.send(data)]


def _socket_of(kind: socket.SocketKind, port: int) -> tuple[socket.socket, int]:
    """A second handle on this process's socket with that port, and the first one's number."""
    for found, descriptor in own_sockets(kind):
        if found.getsockname()[1] == port and not _listens(found):
            return found, descriptor
        found.close()
    raise LookupError(f"no socket of this process has the port {port}")


def _listens(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
