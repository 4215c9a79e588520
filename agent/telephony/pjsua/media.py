"""One call's audio: from the playout buffer to the bridge, and from the bridge to the inbox.

`take_frame` and `hand_frame` run on the media clock's thread, everything else on the loop's. A call
on hold goes on ticking: it hears silence and what waits to be played keeps waiting, so that nobody
who counts time in audio (a VAD, a recording) loses it.
"""

import threading
from collections.abc import Callable
from typing import Any

from callerside.agent.telephony.interface import (
    FRAME_MS,
    AudioReceived,
    FramePlayed,
    PlayoutCleared,
    PlayoutOverflowed,
)
from callerside.agent.telephony.pjsua.input_queue import InputQueue
from callerside.agent.telephony.pjsua.media_ports import MediaPort, PortPool
from callerside.agent.telephony.pjsua.resampler import bridge_gain, tap_behind
from callerside.agent.telephony.playout_buffer import PlayoutBuffer
from callerside.audio import silence

OnTick = Callable[[bytes, bytes, int], None]
"""Called at each tick with what left, what was heard, and when; on the media clock's thread."""


class LegMedia:
    """The tap behind a leased port, for as long as the call has media."""

    def __init__(
        self,
        inputs: InputQueue,
        ports: PortPool,
        *,
        rate_hz: int,
        max_playout_ms: int,
        on_tick: OnTick | None = None,
    ) -> None:
        self._inputs = inputs
        self._ports = ports
        self._rate_hz = rate_hz
        self._codec_hz = 0
        self._frame_samples = rate_hz * FRAME_MS // 1000
        self._silence = silence(FRAME_MS, rate_hz)
        self._playout = PlayoutBuffer(rate_hz * max_playout_ms // 1000)
        self._on_tick = on_tick
        self._last_left = self._silence
        self._playing = threading.Lock()
        self._port: MediaPort | None = None
        self._held = False

    @property
    def is_live(self) -> bool:
        """Whether the other side is to be heard: connected, and not on hold."""
        return self._port is not None and not self._held

    def play(self, pcm: bytes) -> None:
        """Queue audio; report what found no room."""
        dropped = self._playout.write(pcm)
        if dropped:
            self._inputs.post(PlayoutOverflowed(dropped_samples=dropped))

    def clear(self) -> None:
        """Drop what waits, and report it behind the last `FramePlayed` of what did not."""
        with self._playing:
            self._inputs.post(PlayoutCleared(dropped_samples=self._playout.clear()))

    def connect(self, audio: Any, codec_hz: int) -> None:
        """Join the call's stream, a new one or the one there was, in both directions."""
        port_hz = self._ports.rate_hz
        gain = bridge_gain(self._rate_hz, codec_hz, port_hz)
        audio.adjustRxLevel(gain)
        audio.adjustTxLevel(gain)
        if self._port is None or codec_hz != self._codec_hz:
            self._codec_hz = codec_hz
            tap = tap_behind(self, self._rate_hz, codec_hz, port_hz)
            if self._port is None:
                self._port = self._ports.lease(tap)
            else:  # a re-INVITE has brought another codec
                self._port.attach(tap)
        self._end_hold(self._port)
        audio.startTransmit(self._port)
        self._port.startTransmit(audio)

    def hold(self, audio: Any | None) -> bool:
        """Part from the stream, if there still is one; returns whether that is news.

        The port is connected to itself, for only a connected port is called by the clock.
        """
        if self._port is None or self._held:
            return False
        self._held = True
        if audio is not None:
            audio.stopTransmit(self._port)
            self._port.stopTransmit(audio)
        self._port.startTransmit(self._port)
        return True

    def disconnect(self) -> None:
        """Give the port back; the stream, if there still is one, is the stack's to end."""
        if self._port is not None:
            self._end_hold(self._port)
            self._ports.release(self._port)
            self._port = None

    def drop(self) -> None:
        """Forget what waits: the call is over."""
        self._playout.clear()

    def take_frame(self, at_ns: int) -> bytes:
        """See `media_ports.Tap`; its `FramePlayed` is reported before a `clear` can be answered."""
        with self._playing:
            pcm, played = self._silence, 0
            if not self._held:
                pcm, played = self._playout.read(self._frame_samples)
            # The frame heard in this tick follows, and one wake-up of the loop is enough for both.
            self._inputs.post(FramePlayed(samples=played, at_ns=at_ns), wake=False)
        self._last_left = pcm
        return pcm

    def hand_frame(self, pcm: bytes, at_ns: int) -> None:
        """See `media_ports.Tap`; on hold it is the other side's music, which is not for us."""
        heard = self._silence if self._held else pcm
        if self._on_tick is not None:
            self._on_tick(self._last_left, heard, at_ns)
        self._inputs.post(AudioReceived(pcm=heard, at_ns=at_ns))

    def _end_hold(self, port: MediaPort) -> None:
        if self._held:
            port.stopTransmit(port)
            self._held = False
