"""How well an answer could be understood as it was heard: short-time objective intelligibility.

STOI (Taal, Hendriks, Heusdens and Jensen, 2011) compares the loudness of fifteen bands up to
4.3 kHz, stretch by stretch of 384 ms, in what was sent and in what was heard, and answers with a
number that goes with the share of words that listeners understand. `pystoi` computes it. It is no
opinion score: those have no implementation that installs without a compiler (docs/metrics.md).
"""

import warnings

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
"""At which the two are compared: all that a narrow-band telephone carries."""

_LEAST_SAMPLES = RATE_HZ // 2
_MOST_SAMPLES = 20 * RATE_HZ  # of an answer: more says nothing new, and takes its time


def load() -> None:
    """Load what computes it, which takes a second or two: before calls begin, not during them."""
    import pystoi  # noqa: F401 - loaded is what it is for


def intelligibility(sent: NDArray[np.int16], heard: NDArray[np.int16]) -> float | None:
    """STOI in percent, 100 for the same; both at `RATE_HZ`, in step, and equally long.

    None where there is less than about half a second of speech, which is too little to judge.
    """
    if sent.size < _LEAST_SAMPLES:
        return None
    from pystoi import stoi  # see `load`

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            value = float(
                stoi(
                    sent[:_MOST_SAMPLES].astype(np.float64),
                    heard[:_MOST_SAMPLES].astype(np.float64),
                    RATE_HZ,
                )
            )
        except RuntimeWarning:  # too few frames that are not silent
            return None
    return 100 * max(0.0, value)
