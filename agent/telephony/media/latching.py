"""Whose audio is a call's, and where ours is sent: where the other side says, or where it is.

Behind NAT a description names an address that nobody can reach: then audio comes from elsewhere,
and ours is sent there. But not whoever sends packets to our port is the other side: it is heard,
and gets our audio, if it is of the host that the description names, or SIP came from, or may call.
"""

from collections.abc import Callable
from typing import Literal

from callerside.addresses import joined
from callerside.agent.telephony.invite import is_address
from callerside.agent.telephony.options import PeerList

Address = tuple[str, int]
News = Literal["moved", "stranger", "flood"]
Tell = Callable[[News, Address], None]

LATCH_PACKETS = 10
"""In a row from elsewhere: then it is the other side that has moved."""


def nobody(_news: News, _source: Address) -> None:
    """Wants no news."""


class Latch:
    """Of one description of the other side's; with the next one it begins anew.

    Args:
        described: where audio is to be sent.
        peers: whose calls are taken, if not everybody's are.
        signalled: the host that the call's SIP comes from. None: anybody is heard as long as the
            other side says nothing.
        tell: told that audio goes to another address now, and whose is not heard.
    """

    def __init__(
        self,
        described: Address,
        peers: PeerList | None = None,
        signalled: str | None = None,
        tell: Tell = nobody,
    ) -> None:
        self.described = described
        self.target = described
        """Where audio is sent. It changes once."""
        self.is_disturbed = False
        """Whether audio has come from elsewhere since it last came from the target."""
        self._peers = peers
        self._signalled = signalled
        self._tell = tell
        self._elsewhere, self._count = described, 0
        self._has_spoken = self._has_latched = False

    @property
    def networks(self) -> tuple[str, ...]:
        """From where anything can be the call's; empty: from anywhere."""
        if self._signalled is None:
            return ()
        listed = self._peers.networks if self._peers is not None else ()
        hosts = (self.described[0], self._signalled)
        return (*filter(is_address, hosts), *listed)

    def hears(self, source: Address) -> bool:
        """Audio has come from there; returns whether it is the call's."""
        if source == self.target:
            self._has_spoken, self.is_disturbed, self._count = True, False, 0
            return True
        self.is_disturbed = True
        if self._signalled is not None and not self._may_be(source):
            self._tell("stranger", source)
            return False
        self._count = self._count + 1 if source == self._elsewhere else 1
        self._elsewhere = source
        has_moved = self._count >= LATCH_PACKETS
        if has_moved and not self._has_latched and self._may_be(source):
            self._has_latched, self.target = True, source
            self._tell("moved", source)
        return has_moved or not self._has_spoken

    def _may_be(self, source: Address) -> bool:
        host, port = source
        listed = self._peers is not None and self._peers.allows(joined(host, port))
        return listed or host in (self.described[0], self._signalled)
