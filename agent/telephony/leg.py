"""What the legs of all engines do alike: they queue, play, press keys, and report one end.

An engine's own leg says how a key is sent, and what comes of a call. Everything here runs on the
loop's thread.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import structlog

from callerside.agent.telephony import dtmf
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.in_dialog import Answer, RequestOrder
from callerside.agent.telephony.input_queue import InputQueue
from callerside.agent.telephony.interface import (
    INBAND_KEYS,
    CallLeg,
    DtmfMethod,
    DtmfReceived,
    HungUp,
    LegInput,
    Party,
    RtpMeasured,
    TransferProgressed,
)
from callerside.agent.telephony.invite import readable
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.screening import moves_beyond_reach, unmet_offer
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.tls import ways_out
from callerside.clock import NS_PER_S

_log = structlog.get_logger(__name__)


class Playing(Protocol):
    """What a leg needs of its media to be a leg."""

    def play(self, pcm: bytes, tag: int) -> None:
        """Queue audio; report what found no room."""

    def clear(self, tags: Collection[int] | None) -> None:
        """Drop what waits, and report it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Whose doing an end is; what is None the stack will tell."""

    by: Party
    status: int | None = None
    reason: str | None = None


NOTHING_AGREED = Ending(
    by="network", status=488, reason="our offer was answered with no audio that we have"
)
UNACKNOWLEDGED = Ending(by="network", status=408, reason="nobody has acknowledged the answer")
_REFUSAL = 300
_KINDS, _LONGEST_METHOD = 16, 16
"""Of requests that were refused: so many are told of a call, and so much of the method's name."""
_CHANGES = ("INVITE", "UPDATE")
"""What gives a call other media, or another Contact."""
UNACKNOWLEDGED_NS = 4 * NS_PER_S
"""In which an answer is sent four times more (RFC 3261 §13.3.1.4)."""


LATELY_FULL_NS = 5 * NS_PER_S
"""For so long behind the last time that all places were taken, they are called scarce."""
LONGEST_UNACKNOWLEDGED_NS = 34 * NS_PER_S
"""A stack gives it up after 32 s (64 * T1); PJSUA does not, if a CANCEL came behind the answer."""


def is_unacknowledged(answered_ns: int | None, now_ns: int, *, was_full: bool) -> bool:
    """Whether a call that has no ACK yet gives its place up: sooner, if all places are taken.

    Whoever sends INVITEs in others' names hears no answer, and would take all places for 32 s.
    """
    limit_ns = UNACKNOWLEDGED_NS if was_full else LONGEST_UNACKNOWLEDGED_NS
    return answered_ns is not None and now_ns - answered_ns >= limit_ns


class Leg(ABC):
    """One call, from either side. See `telephony.interface.CallLeg` for the methods' contracts."""

    us: Party = "agent"
    them: Party = "caller"

    def __init__(self, inputs: InputQueue, playing: Playing, rate_hz: int) -> None:
        self.sample_rate_hz = rate_hz
        self.sip_call_id = ""
        """As the stack has it."""
        self._inputs = inputs
        self._playing = playing
        self._codec: str | None = None
        """Of the media that there has been."""
        self._keys = dtmf.PacedKeys()
        """That go out by INFO."""
        self._order = RequestOrder()
        self._goes_by_proxy = True
        """Whether what we send in it does, or may: of a call that we place nobody has looked."""
        self._info_number = -1
        """Of the last INFO: one that is sent again has none above it."""
        self._refused: set[tuple[str, int]] = set()
        """Methods and statuses of requests of the call that were refused, and told."""
        self._is_transferring = False
        """Whether what becomes of our REFER is still to be told."""
        self._ending: Ending | None = None
        self._end_reported = False

    @property
    def _is_over(self) -> bool:
        return self._end_reported or self._ending is not None

    # ---- the door: called by the call's driver

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """See `CallLeg.start`."""
        self._inputs.start(on_input)

    def answer(self, status: int = 200) -> None:  # noqa: B027 - of what there is to answer alone
        """See `CallLeg.answer`; a call that we have placed is not ours to answer."""

    def consult(self, uri: str) -> CallLeg:
        """See `CallLeg.consult`; nobody asks that of a call that we have placed."""
        raise SipError(f"cannot call {uri} on behalf of a call that did not come here")

    def play(self, pcm: bytes, tag: int = 0) -> None:
        """See `CallLeg.play`."""
        if not self._is_over:
            self._playing.play(pcm, tag)

    def clear(self, tags: Collection[int] | None = None) -> None:
        """See `CallLeg.clear`."""
        if not self._is_over:
            self._playing.clear(tags)

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        """See `CallLeg.send_dtmf`; `inband` plays the tones behind what is queued."""
        if self._is_over:
            return
        if method == "inband":
            self.play(dtmf.tones(digits, self.sample_rate_hz), INBAND_KEYS)
        elif method == "info":
            lost = self._keys.press(digits)
            if lost:
                _log.warning("dtmf_dropped", keys=len(lost), waiting=dtmf.MOST_WAITING)
            self._keys_wait()
        else:
            self._press(digits)

    # ---- the endpoint

    def takes(self, request: SipMessage) -> bool:
        """See `RequestOrder`."""
        return self._order.takes(request, time.monotonic_ns())

    def begins_with(self, invite: SipMessage) -> None:
        """It was this INVITE that it came of."""
        self.takes(invite)
        self._goes_by_proxy = bool(invite.header("record-route"))

    def change_refused(
        self, request: SipMessage, options: SipOptions, source: str, otherwise: str = "udp"
    ) -> Answer | None:
        """What an INVITE or UPDATE within the call is answered that changes it to what cannot be.

        Args:
            request: as if nothing in it were encrypted.
            options: ours.
            source: where it came from, "host:port".
            otherwise: see `moves_beyond_reach`.
        """
        if request.method not in _CHANGES:
            return None
        answer = None
        if not self._goes_by_proxy:
            answer = moves_beyond_reach(request, ways_out(options), options.hosts, otherwise)
        return answer or unmet_offer(request, options.codecs, options.family_with(source))

    def on_answered(self, request: SipMessage, answer: Answer) -> None:
        """A request of the call was answered before the stack saw it: a key, maybe.

        Of those that are refused the log has the first of a kind, and only so many kinds.
        """
        kind = (request.method[:_LONGEST_METHOD], answer.status)
        if answer.status >= _REFUSAL and kind not in self._refused and len(self._refused) < _KINDS:
            self._refused.add(kind)
            _log.info(
                "sip_request_refused", method=kind[0], status=answer.status, reason=answer.reason,
                sip_call_id=readable(self.sip_call_id),
            )  # fmt: skip
        if answer.key is not None and request.number > self._info_number:
            self._info_number = request.number
            self._inputs.post(DtmfReceived(digit=answer.key, method="info"))

    # ---- the engine's

    @abstractmethod
    def _keys_wait(self) -> None:
        """Some wait to be sent by INFO."""

    @abstractmethod
    def _press(self, digits: str) -> None:
        """Send keys by RFC 4733."""

    @abstractmethod
    def _measured(self) -> RtpMeasured:
        """What came of RTP, in numbers."""

    def _tell_transfer(self, status: int) -> None:
        """What became of our REFER, the first time that it is said: ends may be told twice."""
        if self._is_transferring:
            self._is_transferring = False
            self._inputs.post(TransferProgressed(status=status))

    def _report_end(self, *, by: Party, status: int, reason: str) -> None:
        """As the stack tells it, but for what we knew before."""
        if self._end_reported:
            return
        self._end_reported = True
        if self._codec is not None:
            self._inputs.post(self._measured())
        if self._ending is not None:
            by = self._ending.by
            status = self._ending.status or status
            reason = self._ending.reason or reason
        self._inputs.post(HungUp(by=by, status=status, reason=readable(reason)))
