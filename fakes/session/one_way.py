"""One direction of the way between client and server: when a message arrives."""

import random

from callerside.clock import ms_to_ns
from callerside.fakes.script.model import PathDelay


class OneWay:
    """Messages take their time, and arrive in order, as over TCP."""

    def __init__(self, path: PathDelay, rng: random.Random, *, least_ms: float = 0.0) -> None:
        """`least_ms` is added to the delay of the script."""
        self._delay_ms = path.delay + least_ms
        self._jitter_ms = path.jitter
        self._rng = rng
        self._last_ns = 0

    @property
    def is_instant(self) -> bool:
        """Whether nothing takes any time."""
        return not self._delay_ms and not self._jitter_ms

    def arrival_ns(self, now_ns: int) -> int:
        """When what is sent now arrives."""
        late_ms = self._rng.uniform(0, self._jitter_ms) if self._jitter_ms else 0.0
        self._last_ns = max(self._last_ns, now_ns + ms_to_ns(self._delay_ms + late_ms))
        return self._last_ns
