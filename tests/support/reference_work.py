"""Reference work, beside which a benchmark stands."""

import time


def loop_s() -> float:
    """CPU seconds of one loop of reference work, which says how fast this machine is now."""
    total, began_s = 0, time.process_time()
    for i in range(5_000_000):
        total += i * i % 7
    return time.process_time() - began_s
