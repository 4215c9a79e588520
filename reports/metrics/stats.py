"""The little statistics that reports need."""

from collections.abc import Sequence

import numpy as np


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that `percent` of them do not exceed: always one that occurred.

    With few values a high percentile is the largest, never an interpolation below it.
    """
    return float(np.percentile(values, percent, method="inverted_cdf"))
