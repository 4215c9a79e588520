"""The scripted caller's telephone: real SIP and RTP, by any engine, in a process of its own.

Its audio is always at 16 kHz, the rate of the widest codec, so that one recording serves every
codec and a G.711 call is heard as its 8 kHz wave, interpolated. Every call records itself while
media is up.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from callerside.agent.telephony.engine import DiallingEndpoint, Engine, OnArrival, OutgoingCall
from callerside.agent.telephony.interface import CallerLeg
from callerside.agent.telephony.options import SipOptions
from callerside.simulator.caller.recorder import CALLER_RATE_HZ, CallRecorder
from callerside.simulator.lanes.impairments import Impairer, Struck
from callerside.simulator.lanes.sip.rtp_relay import RelayAddresses, RelayedCall


class PlacedCall:
    """A call of the caller's: its leg, its recording, and what befalls its packets."""

    leg: CallerLeg

    def __init__(
        self,
        recorder: CallRecorder,
        relay: RelayAddresses | None,
        *,
        to_agent: Impairer | None,
        to_caller: Impairer | None,
    ) -> None:
        self.recorder = recorder
        self._relay = relay
        self._impairers = (to_agent, to_caller)
        self._relayed: RelayedCall | None = None

    @property
    def impairments(self) -> Mapping[str, Sequence[Struck]]:
        """What befell packets so far, by direction; empty without a relay."""
        return self._relayed.struck() if self._relayed is not None else {}

    def open_relay(self, port: int) -> None:
        """Our RTP port is known, and the other side cannot send yet: it will send to the relay."""
        if self._relay is not None:
            to_agent, to_caller = self._impairers
            self._relayed = RelayedCall(self._relay, port, to_agent=to_agent, to_caller=to_caller)

    def connect_relay(self, port: int) -> None:
        """The relay learns where the agent's RTP goes."""
        if self._relayed is not None:
            self._relayed.connect(port)

    def close_relay(self) -> None:
        """The call is over."""
        if self._relayed is not None:
            self._relayed.close()


class CallerEndpoint:
    """Places calls, as many at once as the engine holds. One in a process; stopped at its end.

    With `relay`, every call's RTP goes through a relay in this process, where it can be impaired;
    the agent has to advertise `relay.agent` in its SDP (`rtp_public_host`).
    """

    def __init__(
        self,
        engine: Engine,
        options: SipOptions | None = None,
        relay: RelayAddresses | None = None,
    ) -> None:
        chosen = options or SipOptions(
            user_agent="callerside-caller", max_calls=engine.profile.calls_a_process
        )
        self._endpoint: DiallingEndpoint = engine.dialling(
            dataclasses.replace(
                chosen,
                sample_rate_hz=CALLER_RATE_HZ,
                rtp_public_host=relay.caller if relay else chosen.rtp_public_host,
            )
        )
        self._relay = relay

    @property
    def active_calls(self) -> int:
        """Calls that are not over."""
        return self._endpoint.active_calls

    async def start(self) -> int:
        """See `telephony.engine.Endpoint.start`."""
        return await self._endpoint.start()

    async def stop(self) -> None:
        """See `telephony.engine.Endpoint.stop`."""
        await self._endpoint.stop()

    def new_call(
        self,
        user: str = "caller",
        codec: str | None = None,
        max_recording_ms: float = 600_000,
        *,
        to_agent: Impairer | None = None,
        to_caller: Impairer | None = None,
        lets_itself_be_transferred: bool = False,
        on_arrival: OnArrival = lambda _at_ns: None,
    ) -> PlacedCall:
        """A call to dial, from `user`, offering only `codec` if one is given.

        `to_agent` and `to_caller` decide what becomes of its RTP packets; they need a relay. Who
        does not let itself be transferred declines. `on_arrival` is told when each packet came in.

        Raises:
            NoFreeCallError: as many calls are up as the engine holds.
            ValueError: packets cannot be impaired without a relay.
        """
        if self._relay is None and (to_agent or to_caller):
            raise ValueError("this caller was started without a relay: it cannot impair packets")
        recorder = CallRecorder(CALLER_RATE_HZ, max_recording_ms)
        placed = PlacedCall(recorder, self._relay, to_agent=to_agent, to_caller=to_caller)
        placed.leg = self._endpoint.new_call(
            OutgoingCall(
                user=user,
                codec=codec,
                lets_itself_be_transferred=lets_itself_be_transferred,
                on_left=recorder.left,
                on_heard=recorder.heard,
                on_arrival=on_arrival,
                on_own_rtp=placed.open_relay,
                on_other_rtp=placed.connect_relay,
                on_released=placed.close_relay,
            )
        )
        return placed
