"""No client takes the loop from the others: one that sends too much is read more slowly.

All sessions run on one loop, and the deltas of all wait for what the messages of one cost. A client
in real time costs a few thousandths of it. One that floods may have half of it, in slices of about
a millisecond; meanwhile the rest of what it sends waits in its own socket.
"""

_SHARE = 0.5  # of the loop's time, for one client
_BURST_S = 0.002  # of waiting that a client has in hand after it has been quiet
_SHORTEST_REST_S = 0.001
_MESSAGE_S = 20e-6  # what a message costs besides: the protocol's own work, about as measured

READ_BYTES = 2**13
"""What is read from a socket at once: frames are taken apart as they are read, in one go."""


class FairShare:
    """Counts what a client's messages cost, and says how long it has to wait."""

    def __init__(self) -> None:
        self._paid_until_s = 0.0

    def rest_s(self, begun_s: float, now_s: float) -> float:
        """How long to wait after a message that was worked on between these times; mostly 0."""
        work_s = now_s - begun_s + _MESSAGE_S
        self._paid_until_s = max(self._paid_until_s, begun_s - _BURST_S) + work_s / _SHARE
        owed_s = self._paid_until_s - now_s
        return owed_s if owed_s >= _SHORTEST_REST_S else 0.0
