"""Ends TCP connections that others made and say nothing on, where there are more than a few.

A connection takes a place, and whoever has made it may never use it. A few cost nothing, and a
telephone or a trunk may keep one that is rarely used; so the sources that have most go first, each
with those that have been quiet for longest, and none goes that a call came over.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from callerside.addresses import joined, owner_of
from callerside.agent.telephony.own_sockets import own_sockets

_log = structlog.get_logger(__name__)

KEPT = 12
"""Connections that nobody ends: fewer than at which strangers are held off (`tcp_floods`)."""
QUIET_MS = 5_000
"""For so long nothing has come on one that may be ended."""
_LOOK_S = 1.0
_FEW_FILES = 24
"""A process with fewer open files has not that many connections: it is looked at no closer."""
_OPEN = Path("/proc/self/fd")
_INFO = struct.Struct("=8x44xI")
"""`struct tcp_info` of linux/tcp.h, of which `tcpi_last_data_recv` is read: ms since the last
data, or since there is a connection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """One that somebody made to us."""

    source: str
    """From where: "host:port"."""
    quiet_ms: int
    """Since something last came on it, or it was made."""

    @property
    def host(self) -> str:
        """Whose it is."""
        return owner_of(self.source)


def superfluous(
    connections: Collection[Connection], has_call: Callable[[str], bool]
) -> list[Connection]:
    """Those to be ended, so that `KEPT` are left if there are enough that may be.

    Args:
        connections: all that there are.
        has_call: whether a call came from there ("host:port").
    """
    excess = len(connections) - KEPT
    if excess <= 0:
        return []
    quiet = [
        one
        for one in sorted(connections, key=lambda one: -one.quiet_ms)
        if one.quiet_ms >= QUIET_MS and not has_call(one.source)
    ]
    left = Counter(one.host for one in quiet)
    ranked: list[tuple[int, Connection]] = []
    for one in quiet:
        ranked.append((-left[one.host], one))
        left[one.host] -= 1
    ranked.sort(key=lambda rank: rank[0])  # the rest stays in the order in which it was
    return [one for _, one in ranked[:excess]]


class QuietConnections:
    """Looks for them once a second, and has the stack find them closed.

    Args:
        ports: at which SIP listens.
        has_call: see `superfluous`.
    """

    def __init__(
        self, ports: Callable[[], Collection[int]], has_call: Callable[[str], bool]
    ) -> None:
        self._ports = ports
        self._has_call = has_call
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on, on the running loop; elsewhere than on Linux nothing is found."""
        if _OPEN.is_dir():
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look_again)

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """End those that are superfluous now."""
        if sum(1 for _ in os.scandir(_OPEN)) < _FEW_FILES:
            return
        with contextlib.ExitStack() as stack:
            found = {
                one: stack.enter_context(handle) for one, handle in _connections(self._ports())
            }
            ended = superfluous(found.keys(), self._has_call)
            for one in ended:
                with contextlib.suppress(OSError):  # the other side was faster
                    found[one].shutdown(socket.SHUT_RDWR)
        if ended:
            _log.warning(
                "sip_tcp_connections_ended",
                connections=len(ended),
                sources=len({one.host for one in ended}),
                left=len(found) - len(ended),
            )

    def _look_again(self) -> None:
        self.start()
        self.look()


def _connections(ports: Collection[int]) -> Iterator[tuple[Connection, socket.socket]]:
    """Those that others have made to these ports, and a handle on each, to be closed."""
    for handle, _ in own_sockets(socket.SOCK_STREAM):
        try:
            is_ours = handle.getsockname()[1] in ports
            host, port = handle.getpeername()[:2]
            info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        except OSError:  # it listens, or is over
            is_ours = False
        if is_ours:
            yield Connection(source=joined(host, port), quiet_ms=_INFO.unpack(info)[0]), handle
        else:
            handle.close()
