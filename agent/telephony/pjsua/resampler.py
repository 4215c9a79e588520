"""Between a call's codec, PJSIP's bridge and the audio that the call wants: who changes the rate.

With one rate for all legs (`SipOptions.sample_rate_hz`) the bridge has it, too, and resamples what
codecs bring. Where the codec chooses the rate, the bridge runs at 16 kHz, and nothing of G.711 is
lost: going up, the bridge's linear interpolation leaves each sample as the first of two; going
down, it is given each sample twice, so that it does not matter which it takes. What G.722 brings is
heard as it is, and is resampled here to the 24 kHz of the API.
"""

from callerside.agent.telephony.frame_rate import FrameRate
from callerside.agent.telephony.pjsua.media_ports import Tap
from callerside.agent.telephony.pjsua.stack import RESAMPLER_GAIN
from callerside.audio import to_samples


def bridge_gain(tap_hz: int, codec_hz: int, port_hz: int) -> float:
    """What the bridge's level must be for the audio to keep its own."""
    return RESAMPLER_GAIN if tap_hz == port_hz != codec_hz else 1.0


def tap_behind(tap: Tap, tap_hz: int, codec_hz: int, port_hz: int) -> Tap:
    """What stands between a port of the bridge and a call's tap."""
    if tap_hz == port_hz:
        return tap
    if tap_hz != codec_hz:
        tap = ConvertedTap(tap, tap_hz, codec_hz)
    return tap if codec_hz == port_hz else EverySecondTap(tap)


class ConvertedTap:
    """A tap of one rate as one of another. See `agent.telephony.pjsua.media_ports.Tap`."""

    def __init__(self, tap: Tap, from_hz: int, to_hz: int) -> None:
        self._tap = tap
        self._out = FrameRate(from_hz, to_hz)
        self._in = FrameRate(to_hz, from_hz)

    def take_frame(self, at_ns: int) -> bytes:
        """See `Tap.take_frame`."""
        return self._out.convert(self._tap.take_frame(at_ns))

    def hand_frame(self, pcm: bytes, at_ns: int) -> None:
        """See `Tap.hand_frame`."""
        self._tap.hand_frame(self._in.convert(pcm), at_ns)


class EverySecondTap:
    """A tap of half the port's rate, whose every sample passes as it is. See `Tap`."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap

    def take_frame(self, at_ns: int) -> bytes:
        """See `Tap.take_frame`."""
        return to_samples(self._tap.take_frame(at_ns)).repeat(2).tobytes()

    def hand_frame(self, pcm: bytes, at_ns: int) -> None:
        """See `Tap.hand_frame`."""
        self._tap.hand_frame(to_samples(pcm)[::2].tobytes(), at_ns)
