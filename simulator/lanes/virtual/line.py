"""A telephone line in memory: the agent's leg at one end, the caller's at the other."""

from collections.abc import Callable
from functools import partial

from callerside.agent.telephony.interface import FRAME_MS, HungUp, TaggedSamples
from callerside.simulator.caller.recorder import CallRecorder
from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.simulator.lanes.virtual.fast_forward import LineBeat
from callerside.simulator.lanes.virtual.leg import LineOptions, Side, VirtualLeg
from callerside.simulator.lanes.virtual.media import FRAME_NS
from callerside.simulator.lanes.virtual.packet_link import MediaLink, Network


class VirtualLine:
    """One call's line. The caller's leg is there at once, the agent's comes with `on_call`.

    Args:
        clock: the run's time.
        options: of the line.
        to_agent: the network from the caller to the agent.
        to_caller: and back.
        on_call: handed the agent's leg when the INVITE has arrived; it should `start` it.
    """

    def __init__(
        self,
        clock: VirtualClock,
        options: LineOptions,
        *,
        to_agent: Network | int,
        to_caller: Network | int,
        on_call: Callable[["VirtualLeg"], None],
    ) -> None:
        rate_hz = options.sample_rate_hz
        frame_samples = rate_hz // 1000 * FRAME_MS
        self.uplink = MediaLink(to_agent, frame_samples, rate_hz, FRAME_NS)
        self.downlink = MediaLink(to_caller, frame_samples, rate_hz, FRAME_NS)
        self.agent = VirtualLeg(clock, options, "agent", self.downlink, self.uplink)
        self.caller = VirtualCallerLeg(clock, options, "caller", self.uplink, self.downlink)
        self.agent.connect(self.caller, on_call)
        self.caller.connect(self.agent, on_call)
        self.beat = LineBeat(clock, self.agent.media, self.caller.media)


class VirtualCallerLeg(VirtualLeg):
    """An `interface.CallerLeg`, which records what leaves its mouth and reaches its ear."""

    def __init__(
        self,
        clock: VirtualClock,
        options: LineOptions,
        side: Side,
        sends: MediaLink,
        hears: MediaLink,
    ) -> None:
        super().__init__(clock, options, side, sends, hears)
        self.recorder = CallRecorder(self.sample_rate_hz, options.max_recording_ms)

    def dial(self, uri: str) -> None:
        """See `CallerLeg.dial`."""
        if self._state == "idle":
            self._state = "offered"
            called = uri.removeprefix("sip:").partition("@")[0]
            self._send(partial(self._peer.take_invite, called, self._options.caller))

    def hold(self) -> None:
        """See `CallerLeg.hold`."""
        self._hold(True)

    def resume(self) -> None:
        """See `CallerLeg.resume`."""
        self._hold(False)

    def vanish(self) -> None:
        """See `CallerLeg.vanish`."""
        self._end(HungUp(by="caller", status=200, reason="vanished"))

    def _hold(self, held: bool) -> None:
        if self._state == "up":
            self.media.silent = held
            self._send(partial(self._peer.take_hold, held))

    def _on_left(self, sent: bytes, played: TaggedSamples, at_ns: int) -> None:
        self.recorder.left(sent, at_ns)
        super()._on_left(sent, played, at_ns)

    def _on_heard(self, heard: bytes, at_ns: int, came_ns: int | None) -> None:
        self.recorder.heard(heard, came_ns)
        super()._on_heard(heard, at_ns, came_ns)
