"""When an offer is made again that met another one that was under way (RFC 3261 §14.1).

The waits are shorter than the RFC's 2 to 4 seconds: a test does not want to wait for them, and
they differ enough for both sides not to meet again and again.
"""

import random

_WAIT_S = (0.02, 0.3)
_MOST = 20


class OfferRetry:
    """Of one hold, or of one resumption."""

    def __init__(self, *, holding: bool) -> None:
        self.holding = holding
        self._tries = 0

    def wait_s(self) -> float | None:
        """How long to wait before the next try; None: it has been tried often enough."""
        self._tries += 1
        return random.uniform(*_WAIT_S) if self._tries <= _MOST else None
