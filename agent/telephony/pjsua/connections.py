"""How many TCP connections are let in: the policy, without any I/O.

PJSIP keeps SIP's sockets in a table of its own with 64 places, and accepts whoever comes. A place
is free again half a second after its socket was closed, and whoever needs the 65th ends the
process. Nothing of ours is asked before a connection is made; so long before the table is full the
kernel is told not to make any (`native.tcp_listener`).
"""

from collections import deque
from enum import IntEnum

from callerside.agent.telephony.pjsua.admission import CLOSING_NS

PEERS_ONLY_FROM = 16
"""Places taken from which those that may not call are not connected any more: before that they are,
and told 403."""
NOBODY_FROM = 40
"""Places taken from which nobody is. Of the 64 there are SIP's own two, those that the kernel has
connected already when it is told (PJSIP's backlog of 5, and one), and what we connect to."""


class ConnectionPolicy(IntEnum):
    """Whom the kernel connects."""

    EVERYBODY = 0
    PEERS = 1
    """`sip.allowed_peers`."""
    NOBODY = 2


class Connections:
    """Counts the places that connections take, and says who may still come."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._closing: deque[int] = deque()
        """When places will be free, in this order."""

    def opened(self, connection: int) -> None:
        """There is one more; `connection` names it until it is closed."""
        self._open.add(connection)

    def closed(self, connection: int, now_ns: int) -> None:
        """One is over. Those of ours that never came about are told of here alone."""
        self._open.discard(connection)
        self._closing.append(now_ns + CLOSING_NS)

    def places_taken(self, now_ns: int) -> int:
        """Of the table's, by what is open and what is closing."""
        while self._closing and self._closing[0] <= now_ns:
            self._closing.popleft()
        return len(self._open) + len(self._closing)

    def policy(self, now_ns: int) -> ConnectionPolicy:
        """Who may come now."""
        taken = self.places_taken(now_ns)
        if taken >= NOBODY_FROM:
            return ConnectionPolicy.NOBODY
        return ConnectionPolicy.PEERS if taken >= PEERS_ONLY_FROM else ConnectionPolicy.EVERYBODY
