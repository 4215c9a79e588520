"""One end of a telephone line in memory: signalling as a call leg sees it.

`VirtualLeg` stands where SIP and RTP stand in the sip lane, on the same door
(`telephony.interface`). Messages take a fixed time and are never lost; the audio crosses a network
that is handed in (see `virtual.packet_link`). Both ends have the same sample rate, so nothing is
resampled.

What it does not show: SIP messages and their retransmission, RTP headers, and codecs with a memory,
such as G.722, whose audio passes unchanged.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Literal

from callerside.agent.telephony.interface import (
    FRAME_MS,
    AudioReceived,
    CallAnswered,
    CallLeg,
    CallProgressed,
    CallReceived,
    DtmfMethod,
    DtmfReceived,
    FramePlayed,
    HungUp,
    LegInput,
    MediaHeld,
    MediaReady,
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
    TaggedSamples,
    TransferProgressed,
    TransferRequested,
)
from callerside.audio import BYTES_PER_SAMPLE
from callerside.clock import NS_PER_MS, Timer, ms_to_ns
from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.simulator.lanes.virtual.media import FRAME_NS, VirtualMedia
from callerside.simulator.lanes.virtual.packet_link import MediaLink

DIGIT_MS = 200
"""A key press and the pause behind it, as pjsua sends them."""
_ACK_TIMEOUT_MS = 32_000
"""Timer H, 64 T1 (RFC 3261 §13.3.1.4): an answer that nobody acknowledges ends the call."""

_DECLINE = 603

_REASONS = {
    200: "Normal call clearing",
    404: "Not Found",
    408: "Request Timeout",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    487: "Request Terminated",
    500: "Server Internal Error",
    503: "Service Unavailable",
    _DECLINE: "Decline",
}

Side = Literal["agent", "caller"]
State = Literal["idle", "offered", "answered", "up", "over"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LineOptions:
    """How a line in memory is built; the network between its ends is handed in apart.

    Attributes:
        sample_rate_hz: of both legs; by default the Realtime API's own for PCM.
        caller: the caller's own number.
        lets_itself_be_transferred: the caller accepts a REFER, and says that it worked; declines it
            otherwise.
        codec: `PCMU` and `PCMA` leave their quantisation on the audio; others pass it unchanged.
        signalling_ms: one way of a SIP message, handling included.
        phase_ms: by how much the caller sends later than the agent does, within 20 ms.
        drift_ppm: by how much slower the caller sends (faster if negative).
        media_delay_ms: how long after its answer the agent's media comes up.
        max_playout_ms: bound of each playout buffer.
        caller_playout_ms: bound of the caller's, if it is to be another.
        rtp_timeout_ms: an end that hears no RTP for so long gives the call up.
        max_recording_ms: bound of the caller's recording.
    """

    sample_rate_hz: int = 24_000
    caller: str = "caller"
    lets_itself_be_transferred: bool = False
    codec: str = "PCMU"
    signalling_ms: float = 1.0
    phase_ms: float = 7.0
    drift_ppm: float = 0.0
    media_delay_ms: float = 0.0
    max_playout_ms: int = 120_000
    caller_playout_ms: int | None = None
    rtp_timeout_ms: int = 60_000
    max_recording_ms: int = 600_000


def _nobody(uri: str) -> CallLeg:
    raise RuntimeError(f"nobody is there to be called as {uri}")


class VirtualLeg:
    """An `agent.telephony.interface.CallLeg`: one end of a `VirtualLine`."""

    def __init__(
        self,
        clock: VirtualClock,
        options: LineOptions,
        side: Side,
        sends: MediaLink,
        hears: MediaLink,
    ) -> None:
        self.sample_rate_hz = options.sample_rate_hz
        self.reports_each_frame = False
        """What is heard is reported frame by frame, even where several pass at once."""
        self.on_consult: Callable[[str], CallLeg] = _nobody
        """Places a call on this one's behalf."""
        self._clock = clock
        self._options = options
        self._side: Side = side
        self._state: State = "idle"
        drift = options.drift_ppm / 1_000_000 if side == "caller" else 0.0
        self.media = VirtualMedia(
            clock,
            sends=sends,
            hears=hears,
            rate_hz=options.sample_rate_hz,
            codec=options.codec,
            max_playout_ms=(side == "caller" and options.caller_playout_ms)
            or options.max_playout_ms,
            phase_ns=ms_to_ns(options.phase_ms) if side == "caller" else 0,
            frame_ns=round(FRAME_NS * (1 + drift)),
            timeout_ms=options.rtp_timeout_ms,
            on_left=self._on_left,
            on_heard=self._on_heard,
            on_timeout=self._on_timeout,
        )
        self._ack_timer: Timer | None = None
        self._on_input: Callable[[LegInput], None] | None = None
        self._unreported: list[LegInput] = []

    # The door

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """See `CallLeg.start`."""
        self._on_input = on_input
        untold, self._unreported = self._unreported, []
        for leg_input in untold:
            self._notify_soon(leg_input)

    def answer(self, status: int = 200) -> None:
        """See `CallLeg.answer`."""
        if self._side != "agent" or self._state != "offered":
            return
        if status >= 300:
            self.hang_up(status)
        elif status < 200:
            self._send(partial(self._peer.take_progress, status))
        else:
            self._state = "answered"
            self._send(partial(self._peer.take_answer, status))
            media_ns = self._clock.now_ns() + ms_to_ns(self._options.media_delay_ms)
            self._clock.call_at(media_ns, self._start_media)
            give_up_ns = self._clock.now_ns() + _ACK_TIMEOUT_MS * NS_PER_MS
            self._ack_timer = self._clock.call_at(give_up_ns, self._on_no_ack)

    def play(self, pcm: bytes, tag: int = 0) -> None:
        """See `CallLeg.play`."""
        if self._state == "over":
            return
        dropped = self.media.play(pcm, tag)
        if dropped:
            self._notify_soon(PlayoutOverflowed(tag=tag, dropped_samples=dropped))

    def clear(self, tags: Collection[int] | None = None) -> None:
        """See `CallLeg.clear`."""
        if self._state != "over":
            self._notify_soon(PlayoutCleared(dropped=self.media.clear(tags)))

    def hang_up(self, status: int = 200) -> None:
        """See `CallLeg.hang_up`."""
        if self._state in ("idle", "over"):
            return
        if self._state == "offered":
            refusal = status if status >= 300 else _DECLINE
            status = refusal if self._side == "agent" else 487
        else:
            status = 200
        self._send(partial(self._peer.take_hang_up, self._side, status))
        self._end(HungUp(by=self._side, status=status, reason=_REASONS.get(status, "")))

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        """See `CallLeg.send_dtmf`."""
        if self._state != "up":
            return
        for place, digit in enumerate(digits):
            received = DtmfReceived(digit=digit, method=method)
            self._send(partial(self._peer.take, received), later_ms=place * DIGIT_MS)

    def consult(self, uri: str) -> CallLeg:
        """See `CallLeg.consult`."""
        return self.on_consult(uri)

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        """See `CallLeg.transfer`."""
        if self._state == "up":
            replaces = "?Replaces=virtual%3Bto-tag%3Dtarget%3Bfrom-tag%3Dagent"
            target = uri if consulted is None else uri + replaces
            self._send(partial(self._peer.take_transfer, target))

    # What arrives from the other end

    def connect(self, peer: "VirtualLeg", on_call: Callable[["VirtualLeg"], None]) -> None:
        """Tie the two ends together."""
        self._peer = peer
        self._on_call = on_call

    def take_invite(self, called: str, caller: str) -> None:
        """An INVITE."""
        self._state = "offered"
        self._notify(CallReceived(called=called, caller=caller, sip_call_id=f"virtual-{called}"))
        self._on_call(self)

    def take_progress(self, status: int) -> None:
        """A provisional response."""
        if self._state == "offered":
            self._notify(CallProgressed(status=status))

    def take_answer(self, status: int) -> None:
        """A 200 OK: the ACK goes out, and media starts."""
        if self._state == "offered":
            self._state = "up"
            self._send(self._peer.take_ack)
            self._notify(CallAnswered(status=status))
            self._start_media()

    def take_ack(self) -> None:
        """An ACK."""
        if self._state == "answered" and self._ack_timer is not None:
            self._ack_timer.cancel()
            self._state = "up"
            self._notify(CallAnswered())

    def take_transfer(self, uri: str) -> None:
        """A REFER: accepted, and reported as carried out; or declined."""
        if self._state == "up":
            self._notify(TransferRequested(uri=uri))
            status = 200 if self._options.lets_itself_be_transferred else _DECLINE
            self._send(partial(self._peer.take, TransferProgressed(status=status)))

    def take_hold(self, held: bool) -> None:
        """A re-INVITE that holds this end, or takes it off hold."""
        if self._state == "up":
            self.media.silent = held
            self._notify(MediaHeld() if held else MediaReady(codec=self._options.codec))

    def take_hang_up(self, by: Side, status: int) -> None:
        """A BYE, a CANCEL or a refusal."""
        self._end(HungUp(by=by, status=status, reason=_REASONS.get(status, "")))

    def take(self, leg_input: LegInput) -> None:
        """Something that only a call that is up gets."""
        if self._state == "up":
            self._notify(leg_input)

    # What happens at this end

    def _start_media(self) -> None:
        if self._state in ("answered", "up") and not self.media.running:
            self.media.start()
            self._notify(MediaReady(codec=self._options.codec))

    def _on_left(self, _sent: bytes, played: TaggedSamples, at_ns: int) -> None:
        (self._on_input or self._notify)(FramePlayed(played=played, at_ns=at_ns))

    def _on_heard(self, heard: bytes, at_ns: int, _came_ns: int | None) -> None:
        report = self._on_input or self._notify
        if not self.reports_each_frame:
            report(AudioReceived(pcm=heard, at_ns=at_ns))
            return
        size = self.sample_rate_hz * FRAME_MS // 1000 * BYTES_PER_SAMPLE
        told_ns = at_ns - (len(heard) // size - 1) * FRAME_NS
        for start in range(0, len(heard), size):
            if len(heard) > size:
                self._clock.skip_to(told_ns)
            report(AudioReceived(pcm=heard[start : start + size], at_ns=told_ns))
            told_ns += FRAME_NS

    def _on_timeout(self) -> None:
        self._send(partial(self._peer.take_hang_up, self._side, 200))
        reason = f"no RTP for {self._options.rtp_timeout_ms} ms"
        self._end(HungUp(by="network", status=408, reason=reason))

    def _on_no_ack(self) -> None:
        self._send(partial(self._peer.take_hang_up, self._side, 200))
        self._end(HungUp(by="network", status=408, reason="the answer was never acknowledged"))

    def _end(self, hung_up: HungUp) -> None:
        """The stream's statistics, and that the call is over; nothing is reported after that."""
        if self._state in ("idle", "over"):
            return
        if self.media.running:
            self.media.stop()
            hears = self.media.hears
            measured = RtpMeasured(
                received_packets=hears.received_packets,
                lost_packets=hears.lost_packets,
                jitter_ms=round(hears.jitter_ms, 3),
            )
            self._notify_soon(measured)
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        self._state = "over"
        self._notify_soon(hung_up)

    def _notify(self, leg_input: LegInput) -> None:
        if self._on_input is None:
            self._unreported.append(leg_input)
        else:
            self._on_input(leg_input)

    def _notify_soon(self, leg_input: LegInput) -> None:
        """Report it after what runs now: no input may arrive within a method's call."""
        self._clock.call_at(self._clock.now_ns(), partial(self._notify, leg_input))

    def _send(self, arrive: Callable[[], None], *, later_ms: int = 0) -> None:
        """A message to the other end."""
        delay_ns = ms_to_ns(self._options.signalling_ms) + later_ms * NS_PER_MS
        self._clock.call_at(self._clock.now_ns() + delay_ns, arrive)
