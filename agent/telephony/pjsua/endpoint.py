"""The telephone's end of this process: it takes calls in, up to four, and hands each over as a leg.

PJSUA2 runs without threads of its own here. The asyncio loop waits for its sockets and its timers,
so that everything but the sending of audio (`telephony.pacer`) happens on the loop's thread.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pjsua2
import structlog

from callerside.agent.telephony.engine import OnRefused, OnRegistration, check_options
from callerside.agent.telephony.errors import Refusals, SipError
from callerside.agent.telephony.in_dialog import Answer, allow
from callerside.agent.telephony.input_queue import InputQueue
from callerside.agent.telephony.invite import expected_codec, media_lines, parties, traceparent
from callerside.agent.telephony.leg import LATELY_FULL_NS
from callerside.agent.telephony.options import PeerList, SipOptions
from callerside.agent.telephony.pjsua.admission import EXTENSIONS, Admission, lines_of
from callerside.agent.telephony.pjsua.call import reported
from callerside.agent.telephony.pjsua.leg import SipCallLeg, SipConsultLeg, SipLeg
from callerside.agent.telephony.pjsua.native.audio_line import OneLine
from callerside.agent.telephony.pjsua.native.binding import StackModule
from callerside.agent.telephony.pjsua.native.gatekeeper import Gatekeeper
from callerside.agent.telephony.pjsua.native.in_dialog_requests import InDialogRequests
from callerside.agent.telephony.pjsua.native.message_filter import MalformedMessageFilter
from callerside.agent.telephony.pjsua.native.refuser import InviteRefuser
from callerside.agent.telephony.pjsua.stack import Stack
from callerside.agent.telephony.quiet_connections import QuietConnections
from callerside.agent.telephony.registration import (
    NO_ANSWER,
    STILL_KNOWN,
    RefusalRetry,
    log_change,
)
from callerside.agent.telephony.request_gate import RequestGate, method_of
from callerside.agent.telephony.screening import answer_outside_calls, answer_to_unread
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.srtp import plain_view, view_of_message
from callerside.clock import NS_PER_MS

_CONTACTS = re.compile(r"^(?:contact|m)[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_VIA = re.compile(
    r"^(?:via|v)[ \t]*:[ \t]*SIP/2\.0/\w+[ \t]+([^\s;:,]+)(?::(\d+))?([^\r\n,]*)",
    re.IGNORECASE | re.MULTILINE,
)
_SEEN_AS = re.compile(r";[ \t]*(received|rport)[ \t]*=[ \t]*([^\s;]+)", re.IGNORECASE)
_DEFAULT_PORT = "5060"


def own_contact(answer: str, user: str) -> str:
    """Our address as a registrar's 200 OK has it, one of all that it knows (RFC 3261 §10.3).

    It is the one that the registrar has seen us at (RFC 3581 §4). Empty if it is none of them:
    PJSUA takes no address that would be of no use.
    """
    via = _VIA.search(answer)
    if via is None:
        return ""
    seen_as = {name.lower(): value for name, value in _SEEN_AS.findall(via[3])}
    host = str(seen_as.get("received", via[1]))
    port = str(seen_as.get("rport", via[2] or _DEFAULT_PORT))
    ours = re.compile(
        rf"<(sip:{re.escape(user)}@{re.escape(host)}:{re.escape(port)}(?:;[^>\s]*)?)>",
        re.IGNORECASE,
    )
    found = (ours.search(contacts) for contacts in _CONTACTS.findall(answer))
    return next((contact[1] for contact in found if contact), "")


_log = structlog.get_logger(__name__)

_OK = 200
_TOO_LONG = Answer(513, "Message Too Large")

_IDLE_MS = 500
"""How often the stack is looked at where nothing arrives and no timer of its own is due."""
_BLIND_MS = 20
"""The same where something may arrive unseen: at a connection that is just being made, or whose
socket was not found."""
_BLIND_NS = 1_000 * NS_PER_MS
"""For how long after we have asked the stack for something it may be making a connection."""
_LISTENER_NS = 50 * NS_PER_MS
"""How often it is seen whether the listener may let more in."""
_CHECK_MS = 250
"""How often calls are looked at for what has to end."""
_CHECK_NS = _CHECK_MS * NS_PER_MS

_STOP_S = 1.0
"""For how long `stop` waits for the BYEs of the last calls and the un-REGISTER."""


class SipEndpoint:
    """What both ends of a test call share: the stack, when it is looked at, the legs."""

    allowed = allow(EXTENSIONS, transfers=True)
    """What it tells in a call that it does."""

    def __init__(self, options: SipOptions, on_refused: OnRefused | None = None) -> None:
        check_options("pjsua2", options)
        self.options = options
        self._refused = Refusals(on_refused, self._later)
        self.stack = Stack(options)
        self.legs: list[SipLeg] = []
        self._retired: list[pjsua2.Call] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._look_ns = 0
        """When the stack is looked at again, if nothing arrives for SIP before."""
        self._is_polling = False
        self._operated_ns = -_BLIND_NS
        self._listened_ns = 0
        self._checked_ns = 0
        self._at_rest = asyncio.Event()
        self.modules: Sequence[StackModule] = (
            MalformedMessageFilter(self.may_name_hosts, self._refused.note_faulty),
            OneLine(options.codecs, options.srtp_with),
            InDialogRequests(self.allowed, self.leg_of, options),
        )

    def may_name_hosts(self, _source: str) -> bool:
        """Whether a name that comes from there is looked up, for which the whole process waits.

        Of those whom we call it is: they were chosen.
        """
        return True

    @property
    def port(self) -> int:
        """The bound SIP port; 0 before `start`."""
        return self.stack.port

    @property
    def active_calls(self) -> int:
        """Calls that are not over."""
        return len(self.legs)

    @property
    def places_taken(self) -> int:
        """Of the stack's `CALLS_PER_PROCESS`: a BYE that waits for its answer takes one too.

        The object of a call that is over is kept while the next call has its place: it has none.
        """
        taken = {leg.place for leg in self.legs}
        return len(self.legs) + len({call.getId() for call in self._retired} - taken)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> None:
        """Call back on the loop, some time later."""
        if self._loop is not None:
            self._loop.call_later(delay_ms / 1000, callback)

    def _later(self, after_s: float, what: Callable[[], None]) -> None:
        self.call_later(after_s * 1000, what)

    @contextlib.contextmanager
    def operating(self) -> Iterator[None]:
        """See `LegHost`. What comes of it, and what it has set timers for, is looked at soon."""
        with self.stack.lock:
            yield
        self._operated_ns = self._look_ns = time.monotonic_ns()
        self.due_sooner()

    async def start(self) -> int:
        """Bind and begin; returns the SIP port.

        Raises:
            PortTakenError: the address is in use.
            SipError: the stack did not start.
        """
        self._loop = asyncio.get_running_loop()
        self.stack.start()
        try:
            self._open_modules()
            self.add_accounts()
        except SipError:
            await self.stop()
            raise
        self.stack.readers.open(self._loop, self._poll)
        self._poll()
        return self.port

    async def stop(self) -> None:
        """Hang up what is left, wait a moment for the good-byes, and free the stack."""
        for leg in tuple(self.legs):
            leg.hang_up()
        self.begin_goodbyes()
        self.note_rest()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._at_rest.wait(), _STOP_S)
        self._is_polling = True  # never again
        if self._timer is not None:
            self._timer.cancel()
        for leg in tuple(self.legs):
            self.forget(leg)
        await asyncio.sleep(0)  # in which they are released
        self._retired.clear()
        self.stack.readers.forget()
        self.drop_accounts()
        self.stack.destroy()

    def new_input_queue(self) -> InputQueue:
        """See `LegHost`."""
        if self._loop is None:
            raise SipError("the endpoint is not started")
        return InputQueue(self._loop)

    def lets_offer_in(self, sdp: str) -> bool:  # noqa: ARG002 - it was our call
        """See `LegHost`."""
        return True

    def forget(self, leg: SipLeg) -> None:
        """See `LegHost`. The place is free at once: the next INVITE may be in the same poll.

        The call's object must outlive the callback that reports its end.
        """
        if leg in self.legs and self._loop is not None:
            self.legs.remove(leg)
            self._loop.call_soon(self._release, leg)

    def _open_modules(self) -> None:
        """Stand before PJSUA; before the first poll, or what waits there would pass unseen.

        Raises:
            SipError: one that is needed cannot be.
        """
        for module in self.modules:
            module.open()
        self.stack.unread.open(self.answer_unread)

    def answer_unread(self, message: str, source: str, is_long: bool) -> Answer | None:
        """What is answered that the stack cannot read (`native.unread`)."""
        request = SipMessage(message)
        fault = answer_to_unread(request, source, lambda one: self.answer_outside(one, source))
        if is_long and fault.status:
            fault = _TOO_LONG
        self._refused.note_faulty(fault.status, fault.reason, method_of(message), source)
        return fault if fault.status else None

    def answer_outside(self, _request: SipMessage, _source: str) -> Answer | None:
        """What is answered without the stack that it cannot read, and that is of no call."""
        return None

    def add_accounts(self) -> None:
        """Make the accounts that calls belong to."""

    def drop_accounts(self) -> None:
        """Give them up, before the stack goes."""

    def begin_goodbyes(self) -> None:
        """Notify others that we are going."""

    def goodbyes_done(self) -> bool:
        """Whether they have heard."""
        return True

    def note_rest(self) -> None:
        """See whether anything is left that `stop` has to wait for."""
        if self.legs or self._retired or not self.goodbyes_done():
            self._at_rest.clear()
        else:
            self._at_rest.set()

    def leg_of(self, sip_call_id: str) -> SipLeg | None:
        """The call of this Call-ID that is not over."""
        return next((leg for leg in self.legs if leg.sip_call_id == sip_call_id), None)

    def has_call(self, sip_call_id: str) -> bool:
        """Whether there is one."""
        return self.leg_of(sip_call_id) is not None

    def retire(self, call: pjsua2.Call) -> None:
        """Keep the object of a call that is over until its place is empty.

        PJSUA2's destructor hangs up whatever call has its number, and that may be the next one
        already: both can happen within one poll.
        """
        self._retired.append(call)

    def _release(self, leg: SipLeg) -> None:
        call = leg.release()
        if call is not None:
            self.retire(call)
        self.note_rest()

    def _poll(self) -> None:
        """Something has arrived for SIP, or may have, or a timer of the stack is due."""
        self._is_polling = True
        try:
            self.stack.poll()
        except pjsua2.Error as error:
            _log.warning("sip_poll_failed", reason=error.reason)
        if self._retired:
            self._retired = [call for call in self._retired if call.isActive()]
            self.note_rest()
        now_ns = time.monotonic_ns()
        self._look_ns = now_ns + self._wait_ms(now_ns) * NS_PER_MS
        self._finish_poll(now_ns)

    def _on_timer(self) -> None:
        self._timer = None
        now_ns = time.monotonic_ns()
        if now_ns >= self._look_ns:
            self._poll()
        else:
            self._is_polling = True
            self._finish_poll(now_ns)

    def _finish_poll(self, now_ns: int) -> None:
        self.do_what_is_due(now_ns)
        self._is_polling = False
        self._set_timer()

    def due_sooner(self) -> None:
        """See `LegHost`."""
        if self._loop is not None and not self._is_polling:
            self._set_timer()

    def do_what_is_due(self, now_ns: int) -> None:
        """After each look at the stack: tell calls what has come, end those that have to end."""
        if now_ns - self._listened_ns >= _LISTENER_NS:
            self._listened_ns = now_ns
            self.stack.listener.tick(now_ns)
        for leg in tuple(self.legs):
            leg.tick(now_ns)
        if now_ns - self._checked_ns >= _CHECK_NS:
            self._checked_ns = now_ns
            self.check_legs(now_ns)

    def check_legs(self, now_ns: int) -> None:
        """End what has to end."""
        for leg in tuple(self.legs):
            leg.check(now_ns)

    def _wait_ms(self, now_ns: int) -> int:
        """Until the stack is looked at again, if nothing arrives for SIP before."""
        is_blind = now_ns - self._operated_ns < _BLIND_NS or not self.stack.readers.sees_all
        wait_ms = _BLIND_MS if is_blind else _CHECK_MS if self.legs else _IDLE_MS
        stack_ms = self.stack.wait_ms()
        return wait_ms if stack_ms is None else min(wait_ms, stack_ms)

    def _set_timer(self) -> None:
        """For the first thing that is due."""
        assert self._loop is not None  # noqa: S101 - started
        dues = (leg.due_ns for leg in self.legs)
        due_ns = min((due for due in dues if due is not None), default=self._look_ns)
        due_ns = min(due_ns, self._look_ns)
        if self._timer is not None:
            if self._timer_ns <= due_ns:
                return  # it will see
            self._timer.cancel()
        self._timer_ns = due_ns
        self._timer = self._loop.call_at(-(-due_ns // NS_PER_MS) / 1000, self._on_timer)


class AnsweringEndpoint(SipEndpoint):
    """Incoming calls become `SipCallLeg`s: `telephony.engine.AnsweringEndpoint`.

    `on_call` runs on the loop's thread, within the stack's callback: it should start the leg and
    return. `on_registration` is called for each change of our place at the registrar, with its
    status; `on_refused` the status of each call that never became a leg, and why that was.
    """

    allowed = allow(EXTENSIONS)

    def __init__(
        self,
        options: SipOptions,
        on_call: Callable[[SipCallLeg], None],
        *,
        on_registration: OnRegistration | None = None,
        on_refused: OnRefused | None = None,
    ) -> None:
        super().__init__(options, on_refused)
        self.registered: bool | None = None
        """Whether the registrar knows us; None without a registration, or before its answer."""
        self._on_call = on_call
        self._on_registration = on_registration
        self._full_ns = -LATELY_FULL_NS
        self.was_full = False
        """See `AnsweringHost`."""
        self._accounts: list[_Account] = []
        self._calls_there: _Account | None = None
        self._registrant: _Account | None = None
        self._caller: _Account | None = None
        """Of calls that we place on others' behalf."""
        self._contact = ""
        registration = options.registration
        self._refusals = RefusalRetry(registration.retry_s) if registration else None
        self._is_leaving = False
        self._lines: dict[SipLeg, int] = {}
        """How many lines of audio each leg was let in with."""
        self._sources: dict[SipLeg, str] = {}
        """Where its INVITE came from, of each that came."""
        self._quiet = QuietConnections(
            lambda: {self.stack.port, self.stack.tls_port},
            lambda source: source in self._sources.values(),
        )
        self._peers = PeerList(options.allowed_peers)
        self._admission = Admission(options, self._lines.values, self.has_call)
        self._refuser = InviteRefuser(self._admission, options.retry_after_s, self._refused.note)
        self._gate = RequestGate(options, self.has_call, self._refused.note_turned_away)
        self.modules = (Gatekeeper(self._gate), *self.modules, self._refuser)

    async def start(self) -> int:
        """See `SipEndpoint`."""
        port = await super().start()
        self._quiet.start()
        return port

    async def stop(self) -> None:
        """See `SipEndpoint`."""
        self._quiet.stop()
        await super().stop()

    def answer_unread(self, message: str, source: str, is_long: bool) -> Answer | None:
        """See `SipEndpoint`; not more of it than of others."""
        turned_away = self._gate.turns_away(message, source, time.monotonic_ns())
        if turned_away is not None:
            return turned_away if turned_away.status else None
        return super().answer_unread(message, source, is_long)

    def answer_outside(self, request: SipMessage, source: str) -> Answer | None:
        """See `SipEndpoint`."""
        return answer_outside_calls(request, source, self._admission.allows, EXTENSIONS)

    def may_name_hosts(self, source: str) -> bool:
        """Those may whom the settings name: anybody else could stop all calls with one message."""
        return self._peers.names(source)

    def refuse_calls(self, status: int = 503) -> None:
        """Refuse every new call from now on, with `Retry-After`; those that are up stay."""
        self._admission.drain_status = status

    def accept_calls(self) -> None:
        """Take calls again."""
        self._admission.drain_status = 0

    def add_accounts(self) -> None:
        """One for calls that come from anywhere; two more if there is a registrar.

        One of those is for the calls that come from there, the other has the password and registers
        (see `Stack.account_config`).

        Raises:
            SipError: the registrar's name or ours there cannot be used.
        """
        self._open_account(self.stack.account_config(), is_default=True)
        registration = self.options.registration
        if registration is not None:
            place, registering = (
                self.stack.account_config(registration, registers=registers)
                for registers in (False, True)
            )
            try:
                self._calls_there = self._open_account(place)
                self._registrant = self._open_account(registering)
            except pjsua2.Error as error:
                raise SipError(
                    f"cannot register as {registration.user} at {registration.registrar}: "
                    f"{error.reason}"
                ) from None

    def consult(self, uri: str, rate_hz: int, called: str) -> SipLeg:
        """See `LegHost`. It takes one of the places of calls, and waits for none."""
        if self._caller is None:
            self._caller = self._open_account(self.stack.consulting_config(), is_default=False)
        has_room = self.places_taken < self.options.max_calls
        leg = SipConsultLeg(self, self._caller if has_room else None, uri, rate_hz, called)
        self.legs.append(leg)
        self._lines[leg] = 1
        return leg

    def _open_account(self, config: Any, *, is_default: bool = False) -> "_Account":
        account = _Account(self)
        self._accounts.append(account)
        account.create(config, is_default)
        return account

    def drop_accounts(self) -> None:
        """See `SipEndpoint`."""
        if self.registered:
            self.registration_changed(active=False, status=NO_ANSWER, reason=STILL_KNOWN)
        for account in self._accounts:
            account.shutdown()
        self._accounts.clear()
        self._calls_there = self._registrant = self._caller = None

    def begin_goodbyes(self) -> None:
        """Take no more calls, and un-REGISTER (RFC 3261 §10.2.2)."""
        self._is_leaving = True
        self.refuse_calls()
        if self.registered and self._registrant is not None:
            with contextlib.suppress(pjsua2.Error):
                self._registrant.setRegistration(False)

    def goodbyes_done(self) -> bool:
        """Whether the registrar has forgotten us."""
        return not self.registered

    def do_what_is_due(self, now_ns: int) -> None:
        """See `SipEndpoint`."""
        self._refuser.settle()
        super().do_what_is_due(now_ns)

    def check_legs(self, now_ns: int) -> None:
        """See `SipEndpoint`."""
        if len(self.legs) >= self.options.max_calls:
            self._full_ns = now_ns
        self.was_full = now_ns - self._full_ns < LATELY_FULL_NS
        super().check_legs(now_ns)

    def take_call(self, account: Any, call_id: int, message: str, source: str) -> None:
        """An INVITE that was let in, from "host:port": hand it over."""
        called, caller = parties(message)
        message = view_of_message(message, self.options.srtp_with(source))
        rate_hz = self.options.leg_rate_hz(expected_codec(message, self.options.codecs))
        leg = SipCallLeg(
            self,
            account,
            call_id,
            called=called,
            caller=caller,
            traceparent=traceparent(message),
            rate_hz=rate_hz,
            signalled=self.options.known_host(source),
        )
        leg.begins_with(SipMessage(message))
        self.legs.append(leg)
        self._admission.became_call()
        self._refuser.became_call()
        self._lines[leg] = lines_of(message, self.options.codecs)
        self._sources[leg] = source
        leg.ring()
        self._on_call(leg)

    def lets_offer_in(self, sdp: str) -> bool:
        """See `LegHost`."""
        view = plain_view(sdp, "offered" if self.options.may_encrypt else "off")
        is_let_in = self._admission.lets_offer_in(view, time.monotonic_ns())
        if not is_let_in:
            _log.warning("sip_offer_refused", lines=media_lines(sdp))
        return is_let_in

    def forget(self, leg: SipLeg) -> None:
        """See `LegHost`."""
        super().forget(leg)
        self._sources.pop(leg, None)
        lines = self._lines.pop(leg, 0)
        if lines:
            self._admission.call_ended(lines, time.monotonic_ns())

    def registration_changed(
        self, *, active: bool, status: int, reason: str, message: str = ""
    ) -> None:
        """The registrar has answered with a message, or has not."""
        self.registered = active and status == _OK
        if self.registered:
            self._be_reached_as(message)
        if self.options.registration is not None:
            log_change(
                self.options.registration,
                registered=self.registered,
                status=status,
                reason=reason,
                is_leaving=self._is_leaving,
            )
        if self._on_registration is not None:
            self._on_registration(self.registered, status, reason)
        self._retry_if_refused(status)
        self.note_rest()

    def _retry_if_refused(self, status: int) -> None:
        if self._refusals is None or self._is_leaving:
            return
        wait_s = self._refusals.next_s(status, registered=bool(self.registered))
        if wait_s is not None:
            _log.info("sip_registration_again", in_s=wait_s)
            self.call_later(wait_s * 1000, self._register)

    def _be_reached_as(self, message: str) -> None:
        """Have calls name the address that we are registered with, which NAT may have made."""
        assert self.options.registration is not None  # noqa: S101 - something has registered
        contact = own_contact(message, self.options.registration.user)
        if self._calls_there is not None and contact and contact != self._contact:
            self._contact = contact
            config = self.stack.account_config(self.options.registration)
            config.sipConfig.contactForced = f"<{contact}>"
            self._calls_there.modify(config)

    def _register(self) -> None:
        if self.registered or self._is_leaving or self._registrant is None:
            return
        with contextlib.suppress(pjsua2.Error):  # one is under way
            self._registrant.setRegistration(True)


class _Account(pjsua2.Account):  # type: ignore[misc] # the bindings have no types
    """Hands PJSUA2's callbacks on."""

    def __init__(self, endpoint: AnsweringEndpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """An INVITE."""
        with reported("onIncomingCall"):
            self._endpoint.take_call(
                self, prm.callId, prm.rdata.wholeMsg, str(prm.rdata.srcAddress)
            )

    def onRegState(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """The registrar's answer."""
        with reported("onRegState"):
            active = bool(self.getInfo().regIsActive) and prm.expiration > 0
            self._endpoint.registration_changed(
                active=active,
                status=prm.code,
                reason=prm.reason,
                message=prm.rdata.wholeMsg,
            )
