"""Whether noise drowns all that a party may say: then nobody can tell that it is silent."""

import math

import numpy as np

from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.metrics.audible import AudibleSegments

_LEAST_DBFS = -40.0
"""In noise that is fainter, speech as loud as people are on a line (-30 dBFS) stands out."""
_FRAMES_A_SECOND = 50


def drowned(evidence: CallEvidence, audible: AudibleSegments) -> str:
    """Why nobody can tell when a party of a recorded call is silent; empty: it can be told.

    Where something was heard of a party, something as loud would have been heard as well.
    """
    places = [("ear", EAR, audible.ear)]
    if evidence.said is None:
        places.append(("mouth", MOUTH, audible.mouth))
    for where, channel, sounds in places:
        if any(sound.kind == "speech" for sound in sounds):
            continue
        level_dbfs = _usual_level_dbfs(evidence, channel)
        if level_dbfs > _LEAST_DBFS:
            return (
                f"nothing stands out of the noise at the {where} ({level_dbfs:.0f} dBFS): nobody "
                "can tell whether there is speech in it"
            )
    return ""


def _usual_level_dbfs(evidence: CallEvidence, channel: int) -> float:
    """The level that half of a channel's frames of 20 ms do not reach."""
    samples = evidence.channel(channel)
    size = evidence.rate_hz // _FRAMES_A_SECOND
    frames = samples[: samples.size // size * size].reshape(-1, size).astype(np.float64)
    energy = float(np.median(np.square(frames).mean(axis=1))) if len(frames) else 0.0
    return 10 * math.log10(max(energy, 1e-3) / 32768**2)
