"""The scripted caller's telephone: real SIP and RTP by pjsua2, in a process of its own.

It is the agent's own SIP code from the other side, and adds what callers do: dial, hold, vanish.
Its audio is always at 16 kHz, the rate of the widest codec, so that one recording serves every
codec and a G.711 call is heard as its 8 kHz wave, interpolated.
"""

import dataclasses
import re
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pjsua2
import structlog

from callerside.agent.telephony.interface import (
    CallAnswered,
    CallProgressed,
    Party,
    TransferRequested,
)
from callerside.agent.telephony.pjsua.call import Call, response
from callerside.agent.telephony.pjsua.endpoint import SipEndpoint
from callerside.agent.telephony.pjsua.errors import NoFreeCallError
from callerside.agent.telephony.pjsua.leg import Ending, SipLeg
from callerside.agent.telephony.pjsua.options import CALLS_PER_PROCESS, SipOptions, Transport
from callerside.simulator.caller.recorder import CALLER_RATE_HZ, CallRecorder
from callerside.simulator.lanes.impairments import Impairer, Struck
from callerside.simulator.lanes.sip.blackhole import SocketBlackhole
from callerside.simulator.lanes.sip.config import CALLER_CLOCK_PHASE_MS
from callerside.simulator.lanes.sip.line import CallerAccount, transfer_worked
from callerside.simulator.lanes.sip.refer import ReferTap
from callerside.simulator.lanes.sip.rtp_relay import RelayAddresses, RelayedCall

_log = structlog.get_logger(__name__)

_POLL_MS = 1.0
"""Signalling is stamped when it is polled: a millisecond is the error of `answer_ms`."""

_AUDIO_PORT = re.compile(r"^m=audio (\d+)", re.MULTILINE)

_PLACE_WAIT_MS = 10
_PLACE_TRIES = 300  # three seconds

_GONE_MS = 90_000
"""How long a telephone that vanished stays gone: as long as one may wait for its ACK or its answer
to a BYE (64 s, RFC 3261: timers H and F), or for its RTP (60 s, `rtp_timeout_ms`), and more."""

_OK = 200
_BAD_REQUEST = 400
_REQUEST_TERMINATED = 487


class CallerEndpoint(SipEndpoint):
    """Places calls, up to four at once. One in a process, at whose end it is stopped.

    With `relay`, every call's RTP goes through a relay in this process, where it can be impaired;
    the agent has to advertise `relay.agent` in its SDP (`rtp_public_host`).
    """

    def __init__(
        self, options: SipOptions | None = None, relay: RelayAddresses | None = None
    ) -> None:
        chosen = options or SipOptions(user_agent="callerside-caller")
        super().__init__(
            dataclasses.replace(
                chosen,
                sample_rate_hz=CALLER_RATE_HZ,
                poll_ms=_POLL_MS,
                clock_phase_ms=CALLER_CLOCK_PHASE_MS,
                rtp_public_host=relay.caller if relay else chosen.rtp_public_host,
            )
        )
        self.relay = relay
        self._accounts: dict[Transport, list[CallerAccount]] = {"udp": [], "tcp": []}
        self._blackholes: deque[SocketBlackhole] = deque()

    def new_call(
        self,
        user: str = "caller",
        codec: str | None = None,
        max_recording_ms: float = 600_000,
        *,
        to_agent: Impairer | None = None,
        to_caller: Impairer | None = None,
        lets_itself_be_transferred: bool = False,
    ) -> "SipCallerLeg":
        """A call to dial, from `user`, offering only `codec` if one is given.

        `to_agent` and `to_caller` decide what becomes of its RTP packets; they need a relay. Who
        does not let itself be transferred declines.

        Raises:
            NoFreeCallError: four calls are up.
            ValueError: packets cannot be impaired without a relay.
        """
        if self.relay is None and (to_agent or to_caller):
            raise ValueError("this caller was started without a relay: it cannot impair packets")
        if len(self.legs) >= self.options.max_calls:
            raise NoFreeCallError(f"{len(self.legs)} calls are up, and a process holds no more")
        recorder = CallRecorder(CALLER_RATE_HZ, max_recording_ms)
        leg = SipCallerLeg(self, user=user, codec=codec, recorder=recorder)
        leg.impair(to_agent, to_caller)
        leg.lets_itself_be_transferred = lets_itself_be_transferred
        self.legs.append(leg)
        return leg

    def _poll(self) -> None:
        """Transfers first: what the stack sees of them it declines."""
        for leg in self.legs:
            if isinstance(leg, SipCallerLeg):
                leg.take_transfer()
        super()._poll()

    def lease_account(self, transport: Transport) -> CallerAccount:
        """An account that no other call uses.

        Raises:
            pjsua2.Error: PJSUA has room for eight SIP ports: four accounts of both kinds are too
            many.
        """
        free = self._accounts[transport]
        return free.pop() if free else CallerAccount(self.stack, transport)

    def release_account(self, account: CallerAccount) -> None:
        """Give an account back; one that was cut off is no more use, and leads nowhere for long."""
        if account.blackhole is None:
            self._accounts[account.transport].append(account)
            return
        account.close()
        self._blackholes.append(account.blackhole)
        self.call_later(_GONE_MS, self._close_oldest_blackhole)

    def drop_accounts(self) -> None:
        """See `SipEndpoint`."""
        for accounts in self._accounts.values():
            for account in accounts:
                account.close()
            accounts.clear()
        while self._blackholes:
            self._close_oldest_blackhole()

    def _close_oldest_blackhole(self) -> None:
        if self._blackholes:
            self._blackholes.popleft().close()


class SipCallerLeg(SipLeg):
    """An outgoing call: `telephony.interface.CallerLeg`. It records itself while media is up."""

    us: Party = "caller"
    them: Party = "agent"

    def __init__(
        self,
        endpoint: CallerEndpoint,
        *,
        user: str,
        codec: str | None,
        recorder: CallRecorder,
    ) -> None:
        super().__init__(endpoint, CALLER_RATE_HZ, on_tick=recorder.tick)
        self.recorder = recorder
        self._endpoint = endpoint
        self._user = user
        self._only_codec = codec
        self._account: CallerAccount | None = None
        self._impairers: tuple[Impairer | None, Impairer | None] = (None, None)
        self._relayed: RelayedCall | None = None
        self._tap: ReferTap | None = None
        self.lets_itself_be_transferred = False

    def impair(self, to_agent: Impairer | None, to_caller: Impairer | None) -> None:
        """Before dialling: what decides the fate of the call's packets."""
        self._impairers = (to_agent, to_caller)

    @property
    def impairments(self) -> dict[str, Sequence[Struck]]:
        """What befell packets so far, by direction; empty without a relay."""
        return self._relayed.struck() if self._relayed is not None else {}

    def dial(self, uri: str) -> None:
        """See `CallerLeg.dial`. A URI that cannot be dialled ends the call with status 400.

        Where the good-bye of an earlier call still takes its place in the stack, this one waits.
        """
        if not self._is_over and self._call is None:
            self._dial_when_possible(uri, _PLACE_TRIES)

    def _dial_when_possible(self, uri: str, tries: int) -> None:
        if self._is_over:
            return
        if tries and self._endpoint.places_taken > CALLS_PER_PROCESS:
            again = partial(self._dial_when_possible, uri, tries - 1)
            self._endpoint.call_later(_PLACE_WAIT_MS, again)
            return
        is_tcp = ";transport=tcp" in uri.lower()  # RFC 3261 §19.1.1
        self._account = self._endpoint.lease_account("tcp" if is_tcp else "udp")
        self._call = Call(self, self._account.pjsua_account)
        parameters = response(0)
        host = self._endpoint.options.listen_host
        parameters.txOption.localUri = f"sip:{self._user}@{host}:{self._endpoint.port}"
        try:
            self._offer(lambda call: call.makeCall(uri, parameters))
            if self.lets_itself_be_transferred:
                self._tap = self._account.tap(self._call)
        except pjsua2.Error as error:
            self._give_up(_BAD_REQUEST, f"cannot dial {uri!r}: {error.reason}")

    def hang_up(self, status: int = 200) -> None:
        """See `CallLeg.hang_up`: BYE, or CANCEL before the answer."""
        if self._call is None and not self._is_over:
            self._give_up(_REQUEST_TERMINATED, "hung up before dialling")
        super().hang_up(status)

    def hold(self) -> None:
        """See `CallerLeg.hold`."""
        self._attempt("hold", lambda _: self._offer(lambda call: call.setHold(response(0))))

    def resume(self) -> None:
        """See `CallerLeg.resume`."""
        parameters = response(0)
        parameters.opt.flag = pjsua2.PJSUA_CALL_UNHOLD
        self._attempt("resume", lambda _: self._offer(lambda call: call.reinvite(parameters)))

    def vanish(self) -> None:
        """See `CallerLeg.vanish`: the account is cut first: the stack's BYE goes nowhere."""
        if self._is_over or self._account is None or self._call is None:
            return
        self._account.cut(self._call)
        self._end(Ending(by=self.us, status=_OK, reason="vanished"))

    def take_transfer(self) -> None:
        """Be transferred, if the other side has asked for it: it worked."""
        uri = self._tap.take() if self._tap is not None else None
        if uri is not None:
            self._inputs.post(TransferRequested(uri=uri))
            self._attempt("report a transfer", lambda call: call.sendRequest(transfer_worked()))

    def release(self) -> Call | None:
        """See `SipLeg`; the account is free for another call."""
        if self._tap is not None:
            self._tap.close()
            self._tap = None
        if self._account is not None:
            self._endpoint.release_account(self._account)
            self._account = None
        if self._relayed is not None:
            self._relayed.close()
        return super().release()

    def on_media(self, info: Any) -> None:
        """See `SipLeg`; the relay learns where the agent's RTP goes."""
        if self._relayed is not None and self._call is not None:
            for media in info.media:
                if media.audioConfSlot != pjsua2.INVALID_ID:
                    stream = self._call.getStreamInfo(media.index)
                    self._relayed.connect(int(stream.remoteRtpAddress.rpartition(":")[2]))
        super().on_media(info)

    def on_local_sdp(self, sdp: str) -> None:
        """Open the relay before the other side can send: it will send there."""
        port = _AUDIO_PORT.search(sdp)
        if self._endpoint.relay is not None and self._relayed is None and port is not None:
            to_agent, to_caller = self._impairers
            self._relayed = RelayedCall(
                self._endpoint.relay, int(port[1]), to_agent=to_agent, to_caller=to_caller
            )

    def on_progress(self, info: Any) -> None:
        """Provisional responses, and the 200 OK as it comes in (it is acknowledged later)."""
        if info.state == pjsua2.PJSIP_INV_STATE_EARLY:
            self._inputs.post(CallProgressed(status=info.lastStatusCode))
        elif info.state == pjsua2.PJSIP_INV_STATE_CONNECTING:
            self._inputs.post(CallAnswered(status=info.lastStatusCode))

    def _offer(self, operation: Callable[[Call], object]) -> None:
        """Run what makes an SDP offer: PJSUA's choice of codecs is one for all its calls."""
        assert self._call is not None  # noqa: S101 - dialled
        if self._only_codec is not None:
            self._endpoint.stack.choose_codecs((self._only_codec,))
        try:
            operation(self._call)
        finally:
            if self._only_codec is not None:
                self._endpoint.stack.choose_codecs(self._endpoint.options.codecs)

    def _give_up(self, status: int, reason: str) -> None:
        self._report_end(by="caller", status=status, reason=reason)
        self._endpoint.forget(self)
