"""baresip's end of this process: what both ends of a call share, and the one that takes calls."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial

import structlog
from baresip import BaresipError, Call, StackEvent, UserAgent
from baresip import Event as Told

from callerside import host
from callerside.agent.telephony.baresip.leg import BaresipCallLeg, BaresipLeg
from callerside.agent.telephony.baresip.placing import BaresipPlacedLeg, Placing
from callerside.agent.telephony.baresip.registrant import Registrant
from callerside.agent.telephony.baresip.stack import SWALLOWED, Stack
from callerside.agent.telephony.engine import (
    CALLED_HEADER,
    OnRefused,
    OnRegistration,
    check_options,
    extensions,
)
from callerside.agent.telephony.errors import Refusals, SipError
from callerside.agent.telephony.in_dialog import OVERTAKEN, Answer, allow, answer_to
from callerside.agent.telephony.interface import CallLeg, LegInput, Party
from callerside.agent.telephony.invite import expected_codec, parties
from callerside.agent.telephony.leg import LATELY_FULL_NS
from callerside.agent.telephony.options import PeerList, SipOptions, transport_for
from callerside.agent.telephony.quiet_connections import QuietConnections
from callerside.agent.telephony.repeats import Recent, identity
from callerside.agent.telephony.request_gate import RequestGate, method_of
from callerside.agent.telephony.screening import (
    answer_outside_calls,
    answer_to_unread,
    beyond_reach,
    fault_of,
    unmet_invite,
)
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.tls import ways_out

_log = structlog.get_logger(__name__)

_CHECK_S = 0.25
"""How often calls are looked at for what has to end."""
_STOP_S = 1.0
"""For how long `stop` waits for the last calls' BYEs."""
_BUSY = 486
_REFUSAL = 300
_MOST_INVITES = 100
"""Of which baresip has not told a call yet."""

Refusal = tuple[int, str, str]

_MERGED: Refusal = (482, "Loop Detected", "")
"""RFC 3261 §8.2.2.2, and of any INVITE without a To tag whose Call-ID is a call's: a second call of
one name would have sockets that nobody closes."""
_NO_SUCH_CALL: Refusal = (481, "Call/Transaction Does Not Exist", "")
_EXTENSIONS = extensions("baresip")


class BaresipStation:
    """What both ends share: the stack, the legs, and what is done now and then."""

    allowed = allow(_EXTENSIONS, transfers=True)
    """What it tells in a call that it does."""

    def __init__(self, options: SipOptions) -> None:
        check_options("baresip", options)
        self.options = options
        self.stack = Stack(options, self, self._on_message)
        self.legs: dict[str, BaresipLeg] = {}
        """By Call-ID."""
        self._timer: asyncio.TimerHandle | None = None
        self._at_rest = asyncio.Event()
        self._endings: set[asyncio.Task[None]] = set()
        """Of calls that became no leg."""
        self.stack.runtime.subscribe(self._on_event)

    @property
    def port(self) -> int:
        """The bound SIP port; 0 before `start`."""
        return self.stack.port

    @property
    def active_calls(self) -> int:
        """Calls that are not over."""
        return len(self.legs)

    async def start(self) -> int:
        """See `telephony.engine.Endpoint.start`."""
        port = await self.stack.start()
        try:
            await self.open_accounts()
        except SipError:
            await self.stop()
            raise
        except (BaresipError, ValueError) as error:
            await self.stop()
            raise SipError(f"baresip: {error}") from None
        return port

    async def stop(self) -> None:
        """See `telephony.engine.Endpoint.stop`."""
        for leg in list(self.legs.values()):
            leg.hang_up()
        await self.say_goodbye()
        self._note_rest()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._at_rest.wait(), _STOP_S)
        if self._timer is not None:
            self._timer.cancel()
        for leg in list(self.legs.values()):
            self.forget(leg)
        await self.close_stack()

    async def open_accounts(self) -> None:
        """Make the identities that calls belong to."""

    async def say_goodbye(self) -> None:
        """Tell others that we are going."""

    async def close_stack(self) -> None:
        """Free the stack."""
        await self.stack.stop()

    def add(self, leg: BaresipLeg) -> None:
        """A call that is there."""
        self.legs[leg.sip_call_id] = leg
        if self._timer is None:
            self._timer = self.stack.loop.call_later(_CHECK_S, self._check)

    def forget(self, leg: BaresipLeg) -> None:
        """See `LegHost`."""
        if self.legs.get(leg.sip_call_id) is leg:
            del self.legs[leg.sip_call_id]
        self.stack.loop.call_soon(leg.release)
        self._note_rest()

    def turns_away(self, message: str, source: str) -> Refusal | None:  # noqa: ARG002
        """See `Screen`: of a call, what its other side has overtaken itself."""
        request = SipMessage(message)
        leg = self.legs.get(request.call_id)
        if leg is None or request.status or self._means_another(request) or leg.takes(request):
            return None
        return SWALLOWED if request.method in ("ACK", "CANCEL") else _as_refusal(OVERTAKEN)

    def answer_unread(self, message: str, source: str) -> Answer | None:  # noqa: ARG002
        """See `Screen`: whoever only calls answers nobody."""
        _log.debug("sip_message_unreadable", source=source)
        return None

    def refusal_of(self, message: SipMessage, source: str) -> Refusal | None:
        """See `Screen`; baresip would end a call whose transfer worked, and we decide on that."""
        leg = self.legs.get(message.call_id)
        if message.status or leg is None:
            return None
        if self._means_another(message):
            return _NO_SUCH_CALL
        answer = leg.change_refused(
            message, self.options, source, _transport_of(message)
        ) or answer_to(message, self.allowed)
        if answer is not None:
            self.stack.tell(leg.on_answered, message, answer)
            return _as_refusal(answer)
        return (200, "OK", "") if message.method == "NOTIFY" else None

    def on_leaving(self, message: SipMessage) -> None:
        """See `Screen`: behind a good-bye no sound follows, and the loop learns of it later."""
        leg = self.legs.get(message.call_id)
        if leg is not None and _is_goodbye(message):
            leg.fall_silent()

    def _means_another(self, request: SipMessage) -> bool:
        """Whether a request of a call's Call-ID names another side than its two (RFC 3261 §12).

        Who knows the Call-ID alone is no party to it; baresip looks at our tag and no other.
        """
        leg = self.legs.get(request.call_id)
        if leg is None:
            return False
        is_others = bool(leg.their_tag) and request.from_tag != leg.their_tag
        return is_others or bool(leg.own_tag and request.to_tag and request.to_tag != leg.own_tag)

    def on_new_message(self, sent: bool, message: SipMessage) -> None:
        """One of no call that is known."""

    def on_new_event(self, event: StackEvent) -> None:
        """Of a call that is not known."""

    def _note_rest(self) -> None:
        if self.legs:
            self._at_rest.clear()
        else:
            self._at_rest.set()

    def _on_message(self, sent: bool, message: SipMessage) -> None:
        leg = self.legs.get(message.call_id)
        if leg is not None:
            leg.on_message(sent, message)
        else:
            self.on_new_message(sent, message)

    def _on_event(self, event: StackEvent) -> None:
        if event.event is Told.CALL_INCOMING:
            self._begin(Call._from_incoming(self.stack.runtime, event))  # noqa: SLF001 - the
            return  # bindings tell it by the agent, and one that nobody has asked is told to none
        leg = self.legs.get(event.call_id or "")
        if leg is not None:
            leg.on_event(event)
        elif event.call_id:
            self.on_new_event(event)

    def _begin(self, call: Call) -> None:
        """A call that the stack has let in becomes a leg, or is ended: it has ports, and rings."""
        taken = False
        try:
            taken = self.take_call(call)
        finally:
            if not taken:
                _log.warning("sip_call_unknown", call_id=call.call_id)
                ending = self.stack.loop.create_task(_reject(call))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

    def take_call(self, call: Call) -> bool:  # noqa: ARG002
        """Make a leg of a call that has come; whether there is one now."""
        return False

    def check_legs(self) -> None:
        """End what has to end."""
        now_ns = time.monotonic_ns()
        for leg in list(self.legs.values()):
            leg.check(now_ns)

    def _check(self) -> None:
        self._timer = None
        self.check_legs()
        if self.legs:
            self._timer = self.stack.loop.call_later(_CHECK_S, self._check)


class BaresipConsultLeg(BaresipPlacedLeg):
    """A call that we place on a caller's behalf: see `CallLeg.consult`."""

    them: Party = "network"

    def __init__(
        self, endpoint: "BaresipEndpoint", rate_hz: int, uri: str, called: str, *, has_room: bool
    ) -> None:
        """`has_room`: there is a place for one more call."""
        super().__init__(endpoint, rate_hz)
        self._has_room = has_room
        self._uri = uri
        self._for_number = called

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """See `CallLeg.consult`."""
        super().start(on_input)
        if self._has_room:
            self.dial(self._uri)
        else:
            self._give_up(_BUSY, "all places for calls are taken")

    async def who_dials(self, uri: str) -> tuple[UserAgent, Mapping[str, str]]:
        """See `BaresipPlacedLeg`."""
        agent = await self._stack.consulting_agent(transport_for(uri, None))
        return agent, {CALLED_HEADER: self._for_number}


class BaresipEndpoint(BaresipStation):
    """Incoming calls become legs: `telephony.engine.AnsweringEndpoint`."""

    allowed = allow(_EXTENSIONS)

    def __init__(
        self,
        options: SipOptions,
        on_call: Callable[[CallLeg], None],
        *,
        on_registration: OnRegistration | None = None,
        on_refused: OnRefused | None = None,
    ) -> None:
        super().__init__(options)
        self.stack.hides_methods()
        self._on_call = on_call
        place = options.registration
        self._registrant = Registrant(self.stack, place, on_registration) if place else None
        self._full_ns = -LATELY_FULL_NS
        self.was_full = False
        """See `AnsweringHost`."""
        self._refusals = Refusals(on_refused, self._later)
        self._gate = RequestGate(options, self._has_call, self._refusals.note_turned_away)
        self._peers = PeerList(options.allowed_peers)
        self._drain_status = 0
        self._is_open = False
        """Whether there is an account that takes calls: without one the stack answers 404."""
        self._admitted: dict[str, str] = {}
        """Where calls came from, by their Call-IDs, from the INVITE on; on the stack's
        thread added, on the loop's taken away."""
        self._quiet = QuietConnections(
            lambda: {self.stack.port, self.stack.tls_port},
            lambda source: source in self._admitted.copy().values(),
        )
        self.placing = Placing()
        self._invites: dict[str, SipMessage] = {}
        self._seen: Recent[bool] = Recent()
        """INVITEs that were judged, on the stack's thread: what is sent again its transactions
        answer, and what they have forgotten is no second call (RFC 6026 §7.1)."""
        self._refused: set[str] = set()
        """Call-IDs of calls that were refused here and whose answer has not been seen yet."""

    @property
    def registered(self) -> bool | None:
        """See `AnsweringEndpoint`."""
        return self._registrant.registered if self._registrant is not None else None

    def turns_away(self, message: str, source: str) -> Refusal | None:
        """See `Screen`."""
        answer = self._gate.turns_away(message, source, time.monotonic_ns())
        return super().turns_away(message, source) if answer is None else _as_refusal(answer)

    def answer_unread(self, message: str, source: str) -> Answer | None:
        """See `Screen`; not more of it than of others."""
        answer = self._gate.turns_away(message, source, time.monotonic_ns())
        if answer is None:
            outside = partial(
                answer_outside_calls,
                source=source,
                allows=self._peers.allows,
                extensions=_EXTENSIONS,
            )
            answer = answer_to_unread(SipMessage(message), source, outside)
            self._refusals.note_faulty(answer.status, answer.reason, method_of(message), source)
        return answer if answer.status else None

    def _has_call(self, sip_call_id: str) -> bool:
        return sip_call_id in self._admitted or sip_call_id in self.legs

    def _later(self, after_s: float, what: Callable[[], None]) -> None:
        self.stack.tell(self.stack.loop.call_later, after_s, what)

    def refuse_calls(self, status: int = 503) -> None:
        """See `AnsweringEndpoint`."""
        self._drain_status = status

    def accept_calls(self) -> None:
        """See `AnsweringEndpoint`."""
        self._drain_status = 0

    def consult(self, uri: str, rate_hz: int, called: str) -> BaresipLeg:
        """See `LegHost`."""
        has_room = len(self._admitted) < self.options.max_calls
        return BaresipConsultLeg(self, rate_hz, uri, called, has_room=has_room)

    def dialled(self, leg: BaresipPlacedLeg) -> None:
        """See `PlacedLegHost`: it takes the place of a call."""
        self._admitted[leg.sip_call_id] = ""
        self.add(leg)

    def on_new_event(self, event: StackEvent) -> None:
        """See `BaresipStation`."""
        self.placing.on_new_event(event)

    async def start(self) -> int:
        """See `BaresipStation`."""
        port = await super().start()
        self._quiet.start()
        return port

    async def stop(self) -> None:
        """See `BaresipStation`."""
        self._quiet.stop()
        await super().stop()

    async def open_accounts(self) -> None:
        """One that takes all calls, and one at the registrar."""
        await self.stack.taking_agents("callerside")
        self._is_open = True
        if self._registrant is not None:
            await self._registrant.open()

    async def say_goodbye(self) -> None:
        """Take no more calls, and un-REGISTER (RFC 3261 §10.2.2)."""
        self.refuse_calls()
        if self._registrant is not None:
            await self._registrant.leave()

    def refusal_of(self, message: SipMessage, source: str) -> Refusal | None:
        """See `Screen`."""
        if message.status:
            return None
        if (refusal := self._refusal_of_none(message, source)) is not None:
            return refusal
        if message.method != "ACK" and self._means_another(message):
            return _NO_SUCH_CALL
        if message.begins_call and self._has_come_before(message, source):
            return SWALLOWED
        if message.call_id in self._admitted or message.call_id in self.legs:
            if message.begins_call:
                return self._merged(message, source)
            if message.method == "REFER":
                return (603, "Decline", "")
            return super().refusal_of(message, source)
        if not message.begins_call:
            return self._stranger(message, source)
        refusal, why = self._judge(message, source)
        if refusal is None:
            self._admitted[message.call_id] = source
        else:
            self.stack.loop.call_soon_threadsafe(
                self._note_refusal, message.call_id, refusal[0], why, source
            )
        return refusal

    def _refusal_of_none(self, message: SipMessage, source: str) -> Refusal | None:
        """Of what is no request, or not one for this stack; None: it is one."""
        faulty = fault(message)
        if faulty is None:
            return None
        refusal, why = faulty
        self._refusals.note_faulty(refusal[0], why, method_of(message.text), source)
        if refusal[0] and message.begins_call:
            self.stack.tell(self._forget_invite, message.call_id)
        return refusal

    def _merged(self, invite: SipMessage, source: str) -> Refusal:
        """To a second INVITE of a Call-ID; while the call rings it would be taken for its end."""
        leg = self.legs.get(invite.call_id)
        if leg is None or not leg.is_agreed_to:
            return SWALLOWED
        self.stack.loop.call_soon_threadsafe(self._refusals.note, _MERGED[0], "merged", source)
        return _MERGED

    def _has_come_before(self, invite: SipMessage, source: str) -> bool:
        request, now_ns = identity(source, invite.text), time.monotonic_ns()
        has_come = self._seen.recall(request, now_ns) is not None
        if not has_come:
            self._seen.remember(request, True, now_ns)
        return has_come

    def on_leaving(self, message: SipMessage) -> None:
        """See `Screen`; the next INVITE may be right behind what ends a call."""
        super().on_leaving(message)
        leg = self.legs.get(message.call_id)
        is_refusal = message.method == "INVITE" and message.status >= _REFUSAL
        if _is_goodbye(message) or (is_refusal and (leg is None or not leg.is_agreed_to)):
            self._admitted.pop(message.call_id, None)

    def _stranger(self, request: SipMessage, source: str) -> Refusal | None:
        """A request of no call, but for INVITE."""
        if request.method == "INVITE":
            return _NO_SUCH_CALL
        answer = answer_outside_calls(request, source, self._peers.allows, _EXTENSIONS)
        return None if answer is None else _as_refusal(answer)

    def _judge(self, invite: SipMessage, source: str) -> tuple[Refusal | None, str]:
        again = f"Retry-After: {self.options.retry_after_s}\r\n"
        if not self._peers.allows(source):
            return (403, "Forbidden", ""), "not_allowed"
        if invite.header("replaces"):
            return (420, "Bad Extension", "Unsupported: replaces\r\n"), "replaces"
        if not self._is_open:
            return (503, "Service Unavailable", again), "starting"
        if self._drain_status:
            return (self._drain_status, "Service Unavailable", again), "draining"
        if len(self._admitted) >= self.options.max_calls:
            return (486, "Busy Here", again), "full"
        hosts, ways = self.options.hosts, ways_out(self.options)
        if (answer := beyond_reach(invite, ways, hosts, _transport_of(invite))) is not None:
            return _as_refusal(answer), "contact"
        family = self.options.family_with(source)
        has_route = partial(host.has_route, source=hosts[family])
        found = unmet_invite(invite, self.options.codecs, _EXTENSIONS, family, has_route)
        return (None, "") if found is None else (_as_refusal(found[0]), found[1])

    def _note_refusal(self, call_id: str, status: int, reason: str, source: str) -> None:
        self._forget_invite(call_id)
        self._refusals.note(status, reason, source)

    def _forget_invite(self, call_id: str) -> None:
        """Of one that was refused here, and of its answer, no more is to be heard."""
        self._invites.pop(call_id, None)
        if len(self._refused) < _MOST_INVITES:
            self._refused.add(call_id)

    def on_new_message(self, sent: bool, message: SipMessage) -> None:
        """An INVITE whose call baresip is about to tell; or that it refuses by itself.

        Or a registrar's answer.
        """
        self.placing.on_new_message(sent, message)
        if not sent and self._registrant is not None:
            self._registrant.on_message(message)
        if not sent and message.begins_call:
            if message.call_id not in self._refused and len(self._invites) < _MOST_INVITES:
                self._invites[message.call_id] = message
        elif sent and message.status >= _REFUSAL and message.method == "INVITE":
            self._refused.discard(message.call_id)
            if self._invites.pop(message.call_id, None) is not None:
                source = self._admitted.get(message.call_id, "")
                self._refusals.note(message.status, "failed", source)
            self._admitted.pop(message.call_id, None)

    def check_legs(self) -> None:
        """See `BaresipStation`."""
        now_ns = time.monotonic_ns()
        if len(self._admitted) >= self.options.max_calls:
            self._full_ns = now_ns
        self.was_full = now_ns - self._full_ns < LATELY_FULL_NS
        super().check_legs()

    def forget(self, leg: BaresipLeg) -> None:
        """See `LegHost`; the place is free."""
        super().forget(leg)
        self._admitted.pop(leg.sip_call_id, None)

    def take_call(self, call: Call) -> bool:
        """See `BaresipStation`."""
        invite = self._invites.pop(call.call_id or "", None)
        if invite is None:
            if call.call_id not in self.legs:
                self._admitted.pop(call.call_id or "", None)
            return False
        called, caller = parties(invite.text)
        rate_hz = self.options.leg_rate_hz(expected_codec(invite.text, self.options.codecs))
        leg = BaresipCallLeg(
            self,
            call,
            invite,
            called=called,
            caller=caller,
            rate_hz=rate_hz,
            signalled=self.options.known_host(self._admitted.get(invite.call_id, "")),
        )
        self.add(leg)
        self._on_call(leg)
        return True


async def _reject(call: Call) -> None:
    with contextlib.suppress(BaresipError):  # it is over by itself
        await call.reject()


def _transport_of(request: SipMessage) -> str:
    """By which it came."""
    return request.header("via")[len("SIP/2.0/") :][:3].lower()


def _is_goodbye(message: SipMessage) -> bool:
    """Whether it is a BYE, or agrees to one (RFC 3261 §15.1)."""
    return message.method == "BYE" and message.status < _REFUSAL


def fault(request: SipMessage) -> tuple[Refusal, str] | None:
    """What a request is answered that is none, or not one for this stack, and why; None: it is."""
    found = fault_of(request)
    if found is None:  # a call of RFC 2543, without a From tag, breaks the stack's memory
        no_tag = request.begins_call and not request.from_tag
        return (SWALLOWED, "no tag in from") if no_tag else None
    # An ACK is answered by nobody; and what is no request line the stack reads as a header,
    # "INVITE sip" as To by its hash, and would repeat.
    if request.method == "ACK" or request.request_line is None:
        return SWALLOWED, found.reason
    return _as_refusal(found), found.reason


def _as_refusal(answer: Answer) -> Refusal:
    headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    return (answer.status, answer.reason, headers)
