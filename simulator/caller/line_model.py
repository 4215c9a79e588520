"""What lies between the caller's voice and the telephone network: noise, echo, gain, clipping.

A quiet line lets the voice through as it is. A line with noise or echo is never silent: it has
audio for every frame, whether the caller speaks or not.
"""

import random

import numpy as np
from numpy.typing import NDArray

from callerside.audio import Samples, to_bytes, to_samples
from callerside.clock import NS_PER_S, ms_to_ns
from callerside.simulator.scenario.model import Caller

Wave = NDArray[np.float64]

_FULL_SCALE = 32767

NOISE = -1
"""Where the loop of noise stands among the audio of the steps, which begin at 0."""


class LineModel:
    """One caller's line, in one call.

    Args:
        caller: what the scenario says of it.
        noise: a loop of noise as PCM, empty for none.
        rate_hz: of all audio.
        rng: decides where in the loop the noise begins.
    """

    def __init__(self, caller: Caller, noise: bytes, rate_hz: int, rng: random.Random) -> None:
        self._gain = 10 ** (caller.gain_db / 20)
        self._ceiling = _FULL_SCALE * 10 ** (caller.clip_dbfs / 20)
        self._noise = to_samples(noise).astype(np.float64)
        self._noise_at = rng.randrange(len(self._noise)) if noise else 0
        self._echo_gain, self._echo_delay = 0.0, 0
        if caller.echo is not None:
            self._echo_gain = 10 ** (-caller.echo.loss_db / 20)
            self._echo_delay = ms_to_ns(caller.echo.delay) * rate_hz // NS_PER_S
        self._heard = np.zeros(2 * self._echo_delay + rate_hz)
        self._heard_count = 0

    @property
    def sounds_by_itself(self) -> bool:
        """Whether there is something to be heard even when the caller is silent."""
        return bool(len(self._noise)) or self.echoes

    @property
    def echoes(self) -> bool:
        """Whether `hear` matters."""
        return self._echo_gain > 0

    def hear(self, pcm: bytes) -> None:
        """What the agent says, of which the echo is made."""
        frame = to_samples(pcm)
        positions = np.arange(self._heard_count, self._heard_count + len(frame))
        self._heard[positions % len(self._heard)] = frame
        self._heard_count += len(frame)

    def carry_whole(self, voice: Samples) -> bytes:
        """What leaves of a whole utterance, on a line that does not sound by itself."""
        if self._gain == 1 and self._ceiling == _FULL_SCALE:
            return np.maximum(voice, -_FULL_SCALE).astype("<i2").tobytes()
        return self.carry(voice.astype(np.float64), 0)

    def carry(self, voice: Wave, ahead: int) -> bytes:
        """What leaves, of so much voice.

        Args:
            voice: what the caller says, in units of int16; zeros for silence.
            ahead: how many samples after the last one heard this will leave.
        """
        wave = voice
        if len(self._noise):
            positions = np.arange(self._noise_at, self._noise_at + len(voice)) % len(self._noise)
            self._noise_at += len(voice)
            wave = wave + self._noise[positions]
        if self.echoes:
            wave = wave + self._echo_gain * self._echo(len(voice), ahead)
        return to_bytes(np.clip(self._gain * wave, -self._ceiling, self._ceiling))

    def _echo(self, count: int, ahead: int) -> Wave:
        first = self._heard_count + ahead - self._echo_delay
        positions = np.arange(first, first + count)
        known = (positions >= 0) & (positions < self._heard_count)
        return np.where(known, self._heard[positions % len(self._heard)], 0.0)
