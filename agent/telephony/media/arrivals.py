"""Which packets of a stream came: one that comes twice is one, and makes up for none that is lost.

RFC 3550 §A.3 counts what is lost as expected less received, and doubled packets as received: with a
line that doubles one in twenty, as many may be lost without a trace. Here each counts once.
"""

_REMEMBERED = 512
"""So many packets back a double is told from a late one: ten seconds of speech."""


class Arrivals:
    """Of one stream, whose packets are numbered without an end.

    Args:
        first: the number of the first that was sent; without it, it is the first that comes.
    """

    def __init__(self, first: int | None = None) -> None:
        self.received = 0
        """Different packets."""
        self._first = first
        self._highest = None if first is None else first - 1
        self._seen = 0  # bit k: the packet k before the highest came

    @property
    def highest(self) -> int | None:
        """The number of the newest packet; None before the first."""
        return self._highest

    @property
    def expected(self) -> int:
        """How many were sent, from the first to the newest."""
        if self._first is None or self._highest is None:
            return 0
        return self._highest - self._first + 1

    @property
    def lost(self) -> int:
        """How many of them have not come."""
        return self.expected - self.received

    def came(self, number: int) -> None:
        """A packet has come; that it came before, or is too old to tell, changes nothing."""
        if self._first is None or self._highest is None:
            self._first, self._highest = number, number - 1
        ahead = number - self._highest
        if ahead > 0:
            self._advance(ahead, 1)
        elif -ahead < _REMEMBERED and not self._seen >> -ahead & 1:
            self._seen |= 1 << -ahead
            self._first = min(self._first, number)
            self.received += 1

    def came_in_order(self, count: int) -> None:
        """The next so many have come, one after another."""
        if count:
            self._advance(count, count)

    def _advance(self, ahead: int, came: int) -> None:
        """The newest is so far ahead, and so many up to it have come."""
        newest = (1 << min(came, _REMEMBERED)) - 1
        self._seen = (self._seen << min(ahead, _REMEMBERED) | newest) & (1 << _REMEMBERED) - 1
        self._highest = (self._highest or 0) + ahead
        self.received += came
