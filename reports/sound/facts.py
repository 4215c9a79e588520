"""What a recording's sound is like: levels, keys, speech, clipping, of each party."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from callerside.reports.evidence import EAR, MOUTH
from callerside.reports.hearing.active_level import active_level_dbfs
from callerside.reports.hearing.keys import Key, keys
from callerside.reports.metrics.audible import Sound, spoken
from callerside.reports.verdict.call_result import CallResult

_HOP_MS = 20
_QUIET_PERCENT = 10.0
_QUIETEST_DBFS = -96.0


@dataclass(frozen=True, slots=True)
class Party:
    """One channel of a recording."""

    name: str
    level_dbfs: float | None
    """The active speech level (ITU-T P.56); None where it is silent."""
    noise_dbfs: float
    """What is there when nobody speaks: a tenth of the time is quieter."""
    clipped: int
    """Samples cut off at the top, in runs of three or more."""
    speech_s: float
    utterances: int
    keys: tuple[Key, ...]

    @property
    def pressed(self) -> str:
        """The keys as they were pressed."""
        return "".join(key.key for key in self.keys)


def parties(call: CallResult) -> list[Party]:
    """Caller and agent; of a mix, the one channel that there is."""
    evidence, audible = call.evidence, call.measured.audible
    bare = evidence.info.recording
    is_mix = bare is not None and not bare.caller
    clipped = bare.clipped if bare is not None else (0, 0)
    sides = [("agent" if not is_mix else "both", EAR, audible.ear)]
    if not is_mix:
        sides.insert(0, ("caller", MOUTH, audible.mouth))
    return [
        _party(name, evidence.channel(channel), evidence.rate_hz, clipped[channel], sounds)
        for name, channel, sounds in sides
    ]


def _party(
    name: str, samples: NDArray[np.int16], rate_hz: int, clipped: int, sounds: list[Sound]
) -> Party:
    said = [sound for sound in sounds if sound.kind == "speech"]
    return Party(
        name=name,
        level_dbfs=active_level_dbfs(samples, rate_hz),
        noise_dbfs=_noise_dbfs(samples, rate_hz),
        clipped=clipped,
        speech_s=sum(sound.length_ms for sound in said) / 1000,
        utterances=len(spoken(said)),
        keys=tuple(keys(samples, rate_hz)),
    )


def _noise_dbfs(samples: NDArray[np.int16], rate_hz: int) -> float:
    hop = rate_hz * _HOP_MS // 1000
    rows = samples[: samples.size // hop * hop].reshape(-1, hop).astype(np.float32) / 32768
    if not rows.size:
        return _QUIETEST_DBFS
    power = float(np.percentile(np.vecdot(rows, rows) / hop, _QUIET_PERCENT))
    return max(_QUIETEST_DBFS, 10 * float(np.log10(power))) if power > 0 else _QUIETEST_DBFS
