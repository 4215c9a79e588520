"""Whose audio is a call's, and where ours is sent: where the other side says, or where it is.

Behind NAT a description names an address that nobody can reach: then audio comes from elsewhere,
and ours is sent there. But not whoever sends packets to our port is the other side: it gets our
audio if it is of the same host, or may call; and it is not heard while the other side speaks.
"""

from callerside.agent.telephony.options import PeerList

Address = tuple[str, int]

LATCH_PACKETS = 10
"""In a row from elsewhere: then it is the other side that has moved."""


class Latch:
    """Of one description of the other side's; with the next one it begins anew.

    Args:
        described: where audio is to be sent.
        peers: whose calls are taken, if not everybody's are.
    """

    def __init__(self, described: Address, peers: PeerList | None = None) -> None:
        self.described = described
        self.target = described
        """Where audio is sent. It changes once."""
        self.is_disturbed = False
        """Whether audio has come from elsewhere since it last came from the target."""
        self._peers = peers
        self._elsewhere, self._count = described, 0
        self._has_spoken = self._has_latched = False

    def hears(self, source: Address) -> bool:
        """Audio has come from there; returns whether it is the call's."""
        if source == self.target:
            self._has_spoken, self.is_disturbed, self._count = True, False, 0
            return True
        self.is_disturbed = True
        self._count = self._count + 1 if source == self._elsewhere else 1
        self._elsewhere = source
        has_moved = self._count >= LATCH_PACKETS
        if has_moved and not self._has_latched and self._may_be(source):
            self._has_latched, self.target = True, source
        return has_moved or not self._has_spoken

    def _may_be(self, source: Address) -> bool:
        host, port = source
        listed = self._peers is not None and self._peers.allows(f"{host}:{port}")
        return listed or host == self.described[0]
