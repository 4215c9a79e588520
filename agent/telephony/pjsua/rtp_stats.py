"""How many packets of a call came and were lost (RFC 3550 §6.4), kept across re-INVITEs."""

from typing import Any

import pjsua2

from callerside.agent.telephony.interface import RtpMeasured


class RtpCounter:
    """Sums the streams of one call. PJSUA2 forgets a stream with its end, so `read` before that."""

    def __init__(self) -> None:
        self._media_index: int | None = None
        self._received = self._lost = 0  # of the streams before this one
        self._received_now = self._lost_now = 0

    def begin(self, media_index: int) -> None:
        """Media is up: count from here."""
        self._media_index = media_index

    def read(self, call: Any) -> None:
        """Take the stream's numbers as they are now; a stream that is gone keeps its last ones."""
        if self._media_index is None:
            return
        try:
            received = call.getStreamStat(self._media_index).rtcp.rxStat
        except pjsua2.Error:
            return
        self._received_now = received.pkt
        self._lost_now = received.loss

    def next_stream(self) -> None:
        """The stream has ended and another may follow: add it to the sum."""
        self._received += self._received_now
        self._lost += self._lost_now
        self._received_now = self._lost_now = 0

    def measured(self, jitter_ms: float) -> RtpMeasured:
        """The whole call. PJMEDIA itself is given packets in order, and knows no jitter of them."""
        return RtpMeasured(
            received_packets=self._received + self._received_now,
            lost_packets=self._lost + self._lost_now,
            jitter_ms=jitter_ms,
        )
