"""When an offer is made again that met another one that was under way (RFC 3261 §14.1).

The waits are shorter than the RFC's 2 to 4 seconds: a test does not want to wait for them, and
they differ enough for both sides not to meet again and again. Where it was our own stack that was
not ready, nobody is met: there it is soon tried again.
"""

import random

_WAIT_S = (0.02, 0.3)
_MOST = 20
_OWN_WAIT_S = 0.005
_MOST_OWN = 600
"""For 3 s, as long as the others take."""


class OfferRetry:
    """Of one hold, or of one resumption."""

    def __init__(self, *, holding: bool) -> None:
        self.holding = holding
        self._tries = self._own_tries = 0

    def wait_s(self) -> float | None:
        """How long to wait when the other side had one; None: it has been tried often enough."""
        self._tries += 1
        return random.uniform(*_WAIT_S) if self._tries <= _MOST else None

    def own_wait_s(self) -> float | None:
        """The same when our own stack could not make it yet."""
        self._own_tries += 1
        return _OWN_WAIT_S if self._own_tries <= _MOST_OWN else None
