"""baresip, configured, started and stopped; and what of its messages is looked at before it.

One per process. Its SIP runs on a thread of its own, on which each message that comes or goes is
looked at: what is refused is refused there, before baresip sees it, and everything is then told on
the loop's thread, ahead of what baresip says about it.
"""

import asyncio
import contextlib
import ctypes
import json
import random
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
from baresip import Account, BaresipError, Config, Runtime, UserAgent, _events
from baresip import Event as Told
from baresip._native import ffi, lib

from callerside.addresses import EVERYWHERE, Family, family_in_sdp, is_ipv6, joined
from callerside.agent.telephony.baresip.descriptions import readable
from callerside.agent.telephony.baresip.late_offers import LateOffers
from callerside.agent.telephony.baresip.media import RtpSocket, lead_nowhere
from callerside.agent.telephony.baresip.native import (
    Library,
    MessageHandler,
    TraceHandler,
    open_library,
)
from callerside.agent.telephony.baresip.own_formats import OwnFormats
from callerside.agent.telephony.baresip.resolver_sockets import (
    bind_resolvers,
    open_datagram_sockets,
)
from callerside.agent.telephony.baresip.unread import Unread
from callerside.agent.telephony.blackhole import SocketBlackhole
from callerside.agent.telephony.errors import PortTakenError, SipError
from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.invite import (
    described,
    line_of_call,
    narrowed,
    quiet,
    with_line_first,
)
from callerside.agent.telephony.media.pacer import Pacer
from callerside.agent.telephony.options import (
    Registration,
    SipAccount,
    SipOptions,
    Transport,
    suffix_of,
)
from callerside.agent.telephony.own_sockets import let_more_wait
from callerside.agent.telephony.peers_filter import NOWHERE, let_in_alone
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.srtp import (
    SrtpPolicy,
    plain_view,
    secure_again,
    view_of_message,
    without_keys,
)
from callerside.agent.telephony.tls import ca_file, check_files, needs_tls, pem_of, tls_of
from callerside.families import family_of

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_CODECS = {
    "PCMU": "PCMU/8000/1",
    "PCMA": "PCMA/8000/1",
    "G722": "g722/16000/1",
    "OPUS": "opus/48000/1",
}
"""As baresip calls them: Opus, of one channel, it describes as all do (RFC 7587 §4.1)."""
_SIP_SEARCH = range(10_000, 32_000)
_RTP_SEARCH = range(10_000, 32_000, 2)
"""Below the ports that Linux hands out to others (`ip_local_port_range`)."""
_SEARCH_TRIES = 200
_KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
_LOOPBACK: Mapping[Family, str] = {"IP4": "127.0.0.1", "IP6": "::1"}
_NET_AF: Mapping[Family, str] = {"IP4": "ipv4", "IP6": "ipv6"}
_TAKEN = frozenset({*range(100, 300), *range(600, 700)})
"""Answers to what a call has been asked: behind others a message was none of the call's. Who
declines (6xx) has been asked.
"""
_CHALLENGES = (401, 407)
_DIGEST = re.compile(rb"(?im)^((?:www|proxy)-authenticate[ \t]*:[ \t]*)(d)(igest)")
_REPLACES = re.compile(rb"(?im)^(supported[ \t]*:[ \t]*)(replaces,?)")
_ALLOW = re.compile(rb"(?im)^(allow[ \t]*:)([^\r\n]*)")
_NOT_DONE = re.compile(rb"(?i)(?:^|,)[ \t]*(?:SUBSCRIBE|MESSAGE|REFER|PUBLISH)[ \t]*(?=,|$)")
_DOORBELL = 0
"""A number that no command of the bindings has."""
_HAS_COME, _IS_OVER = lib.BP_EV_BASE + Told.CALL_INCOMING, lib.BP_EV_BASE + Told.CALL_CLOSED
_RING_AGAIN_S = 0.001
_LENGTH = re.compile(rb"(?im)^(content-length[ \t]*:)[ \t]*\d+")
_UNNEEDED = b"a=minptime:20\r\n"
"""Which no standard knows as an attribute."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_NO_TOKEN = re.compile(rb"[^A-Za-z0-9.!%*_+`'~-]")
_SDP = b"application/sdp"
_MOST_NOTED = 1_000
"""Calls of which something is remembered: many more than there can be."""
_MEDIA_ENCRYPTION: dict[SrtpPolicy, tuple[str, ...]] = {
    "off": (),
    "offered": ("mediaenc=srtp",),
    "required": ("mediaenc=srtp-mand",),
}
"""What an account says of it that offers."""
_HEAD_END = b"\r\n\r\n"
_NOBODYS = {"CANCEL": (481, "Call/Transaction Does Not Exist")}
_NOT_DONE_HERE = (501, "Not Implemented")


SWALLOWED = (0, "", "")
"""What becomes of a message that nobody is to have: see `Screen`."""


class Screen(Protocol):
    """Who decides on messages before the stack sees them; on the stack's thread."""

    def turns_away(self, message: str, source: str) -> tuple[int, str, str] | None:
        """The same of one that is not even read, and that nobody is told of."""

    def refusal_of(self, message: SipMessage, source: str) -> tuple[int, str, str] | None:
        """Status, reason and headers (each with its line's end) to answer it with; None: not.

        A status of 0 swallows it.
        """

    def answer_unread(self, message: str, source: str) -> Answer | None:
        """What is answered that the stack cannot read, and drops (by UDP); None: nothing."""

    def on_leaving(self, message: SipMessage) -> None:
        """A message is about to leave; what comes next is looked at behind it."""


OnMessage = Callable[[bool, SipMessage], None]
"""Told on the loop whether a message was sent, and which."""


class Stack:
    """The running library."""

    def __init__(self, options: SipOptions, screen: Screen, on_message: OnMessage) -> None:
        self.options = options
        self.port = 0
        self.tls_port = 0
        """0: it has no TLS yet."""
        self.library: Library = open_library()
        self.runtime = Runtime(native_log_level="warning")
        self.pacer: Pacer | None = None
        self._screen = screen
        self._on_message = on_message
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: deque[Callable[[], object]] = deque()
        self._takes: deque[Callable[[], object]] = deque()
        """What is done when the stack tells anything, in whatever it is at: it ends nothing."""
        self._forward: Callable[[int, int, bytes | None], None] = lambda *_: None
        self._verdict: tuple[int, str, str] | None = None
        self._is_turned_away = False
        """Whether that is of a message that was not read."""
        self._is_turning_away = False
        """Whether such a one is being answered now."""
        self._trace = TraceHandler(self._look_at)
        self._requests = MessageHandler(self._refuse)
        self._leftovers = MessageHandler(self._take_leftover)
        self._looked_at: SipMessage | None = None
        """The last one that has come, on the stack's thread."""
        self._unread = Unread(self.library, screen.answer_unread)
        self._hides_methods = False
        self._agents: dict[tuple[str, str, str], UserAgent] = {}
        self._lines: dict[str, int] = {}
        """By Call-ID: which line of the other side's offer the call is, if it is not the first."""
        self._untaken: dict[str, RtpSocket | None] = {}
        """By Call-ID: sockets of calls, ours until there are legs to have them, or the calls are
        over, and None from then on. On the stack's thread."""
        self._awaited: dict[str, Callable[[], None]] = {}
        """By Call-ID: who wants the socket of a call whose INVITE has not left. There, too."""
        self._not_theirs: set[int] = set()
        """Numbers of sockets that were there before the stack was."""
        self._nowhere: dict[str, int] = {}
        """By Call-ID: the number of the other side's offer, if it can be sent nothing."""
        self._keyless: dict[str, int] = {}
        """Likewise, if there are no keys in it that are to be used: it is answered without any."""
        self._formats: dict[str, OwnFormats] = {}
        """By Call-ID."""
        self._unanswered = ""
        """The last challenge to a REGISTER that asked in a realm that gets no digest."""
        self._late_offers = LateOffers()
        told = options.rtp_public_host
        family = family_in_sdp(told or "")
        here = options.hosts.get(family, "")
        self._advertised: tuple[bytes, bytes] | None = None
        if told and len(told) == len(here):
            self._advertised = (
                f" {family} {here}\r\n".encode(),
                f" {family} {told}\r\n".encode(),
            )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Of the endpoint."""
        if self._loop is None:
            raise SipError("the endpoint is not started")
        return self._loop

    def hides_methods(self) -> None:
        """Say no more that we do what no caller gets: REFER, SUBSCRIBE, MESSAGE."""
        self._hides_methods = True

    async def start(self) -> int:
        """Bind and begin; returns the SIP port.

        Raises:
            PortTakenError: the address is in use.
            SipError: it did not start.
        """
        self._loop = asyncio.get_running_loop()
        for host in self._hosts:
            _check_host(host)
        self.port = self.options.port or _free_port(self._hosts)
        for host in self._hosts:
            _check_port(host, self.port)
        if needs_tls(self.options):
            self._prepare_tls()
        self._not_theirs = open_datagram_sockets()
        bound = _Bound(self._stand_before)
        self.runtime._ready = bound  # noqa: SLF001 - nothing else comes before the first message
        try:
            await self.runtime.start(self._config())
        except BaresipError as error:
            raise SipError(f"baresip did not start: {error}") from None
        self._remove_folder()
        if bound.error is not None:
            await self.runtime.close()
            raise bound.error
        set_sink: Any = _events.set_sink  # it has no types
        self._forward = set_sink(None)
        set_sink(self._on_native)
        self.pacer = Pacer(threading.RLock(), lambda: None)
        return self.port

    def _remove_folder(self) -> None:
        """The stack's own, which nothing is in or comes into: a killed process would leave it."""
        folder = self.runtime._conf_dir  # noqa: SLF001 - where there is none, none is left
        if folder is not None:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()

    async def stop(self, *, without_a_word: bool = False) -> None:
        """Free everything; `without_a_word`: what it would still send goes nowhere."""
        hole = SocketBlackhole()
        if without_a_word:
            hole.cut("udp", [self.port])
        if self.pacer is not None:
            self.pacer.stop()
        with contextlib.suppress(BaresipError):
            await self.runtime.close()
        hole.close()

    def run(self, job: Callable[[], object]) -> None:
        """Do something on the stack's thread, soon, in order, and before what is asked for next.

        Never in the midst of what the stack does: a call that is ended while its answer is read is
        read on behind its end, and the process with it.
        """
        self._jobs.append(job)
        self._ring()

    async def ask(self, job: Callable[[], T]) -> T:
        """As `run`; returns what it returned.

        Raises:
            Exception: whatever it raised.
        """
        answer: asyncio.Future[T] = self.loop.create_future()

        def asked() -> None:
            try:
                result = job()
            except Exception as error:  # it is for who has asked
                self.tell(answer.set_exception, error)
            else:
                self.tell(answer.set_result, result)

        self.run(asked)
        return await answer

    def take_rtp(self, call_id: str, done: Callable[[int, RtpSocket], None]) -> None:
        """On the stack's thread: its object of a call, and the socket, which is ours from now on.

        While a name is looked up, the call has none: it is taken when the INVITE leaves. Of a call
        that is over nothing is.
        """
        native, own = self.library.find(call_id), self._untaken.get(call_id)
        if native and own is None and not self.library.has_rtp_socket(native):
            self._awaited[call_id] = lambda: self.take_rtp(call_id, done)
            return
        self._note_socket(call_id, None)
        if native:
            done(native, own or self._taken(native))
        elif own is not None:
            own.close()

    def _taken(self, native: int) -> RtpSocket:
        lead_nowhere(*self.library.take_video_sockets(native))
        host = self.options.hosts[self.library.family_of_call(native)]
        return RtpSocket(*self.library.take_rtp_sockets(native), host)

    def answer_of_registrar(self, told: str) -> str:
        """Its status and reason: baresip tells neither of a challenge that it is not to answer."""
        return told if told[:3].isdecimal() else self._unanswered or told

    def tell(self, what: Callable[..., object], *arguments: object) -> None:
        """Call back on the loop, from any thread."""
        with contextlib.suppress(RuntimeError):  # it is closed: the process is on its way out
            self.loop.call_soon_threadsafe(what, *arguments)

    def _ring(self) -> None:
        """A command that does nothing: its answer is given on the stack's thread."""
        if lib.bp_cmd(lib.BP_CMD_PING, _DOORBELL, ffi.NULL):  # there are very many
            self.loop.call_later(_RING_AGAIN_S, self._ring)

    async def agent(self, user: str, codecs: tuple[str, ...], transport: Transport) -> UserAgent:
        """Who calls, with codecs of its own; made once, for the stack keeps them all."""
        key = (user, ",".join(codecs), transport)
        if key not in self._agents:
            await self._have_tls(transport)
            place = self.options.account
            account = (
                self._account(
                    user, codecs, transport, _MEDIA_ENCRYPTION[self.options.srtp_default]
                ).aor()
                if place is None
                else self._caller(place, codecs, transport)
            )
            self._agents[key] = await UserAgent.create(self.runtime, account)
        return self._agents[key]

    async def registering_caller(self, place: SipAccount) -> UserAgent:
        """Whoever is to place calls, at the registrar."""
        account = self._caller(place, self.options.codecs, place.transport, place.expires_s)
        return await UserAgent.create(self.runtime, account)

    def _caller(
        self, place: SipAccount, codecs: tuple[str, ...], transport: Transport, expires_s: int = 0
    ) -> str:
        """An account that places calls as somebody, and answers whoever challenges them.

        One that registers (`expires_s`) places none: what callers show is no part of it.
        """
        suffix = suffix_of(transport)
        home = place.home or joined(self.options.listen_host, self.port)
        if expires_s:  # where a registrar is found by it
            home = place.domain or place.registrar
        proxy = place.outbound_proxy or (place.registrar if expires_s and place.domain else "")
        account = Account(
            place.user if expires_s else place.from_user,
            home,
            place.password,
            registrar=f"sip:{proxy}{suffix}" if proxy else None,  # the stack adds `;lr`
            reg_interval=expires_s,
            transport=transport,
            audio_codecs=tuple(_CODECS[codec] for codec in codecs),
            dtmf_mode="info",
            auth_user=place.auth_user or place.user,
            extra_params=_MEDIA_ENCRYPTION[self.options.srtp_default],
        )
        if expires_s:
            return account.aor()
        name = place.display_name.replace("\\", "").replace('"', "'")  # baresip unescapes nothing
        return f'"{name}" {account.aor()}' if name else account.aor()

    @property
    def _encryption_taken(self) -> tuple[str, ...]:
        """Of accounts that take calls: who is let in has it, or not (`plain_view`)."""
        return _MEDIA_ENCRYPTION["offered" if self.options.may_encrypt else "off"]

    async def taking_agents(self, user: str) -> list[UserAgent]:
        """Who takes all calls that come.

        baresip looks for one by the transport, too, and by the family of who is called, which a
        proxy may have left as it was.
        """
        told = ("catchall=yes", *self._encryption_taken)
        others = (host for family, host in _LOOPBACK.items() if family not in self.options.hosts)
        return [
            await UserAgent.create(
                self.runtime, self._account(user, self.options.codecs, transport, told, host)
            )
            for host in (*self._hosts, *others)
            for transport in self.options.transports
        ]

    async def consulting_agent(self, transport: Transport) -> UserAgent:
        """Who calls on others' behalf; one for all, for the stack keeps them."""
        key = ("consulting", "", transport)
        if key not in self._agents:
            await self._have_tls(transport)
            proxy = self.options.outbound_proxy
            through = (f'outbound="sip:{proxy};transport={transport}"',) if proxy else ()
            policy = self.options.srtp_with(proxy) if proxy else self.options.srtp_default
            told = (*through, *_MEDIA_ENCRYPTION[policy])
            account = self._account("consulting", self.options.codecs, transport, told)
            self._agents[key] = await UserAgent.create(self.runtime, account)
        return self._agents[key]

    def _account(
        self,
        user: str,
        codecs: tuple[str, ...],
        transport: Transport,
        parameters: tuple[str, ...] = (),
        host: str = "",
    ) -> Account:
        port = self.tls_port if transport == "tls" else self.port
        return Account(
            user,
            joined(host or self.options.listen_host, port),
            "",
            reg_interval=0,
            transport=transport,
            audio_codecs=tuple(_CODECS[codec] for codec in codecs),
            dtmf_mode="info",
            extra_params=parameters,
        )

    async def registering_agent(self, place: Registration) -> UserAgent:
        """The identity at a registrar."""
        account = Account(
            place.user,
            place.registrar,
            place.password,
            reg_interval=place.expires_s,
            transport=place.transport,
            audio_codecs=tuple(_CODECS[codec] for codec in self.options.codecs),
            dtmf_mode="info",
            auth_user=place.auth_user or None,
            extra_params=self._encryption_taken,
        )
        return await UserAgent.create(self.runtime, account)

    async def _have_tls(self, transport: Transport) -> None:
        """Who is called by TLS and was told nothing of it."""
        if transport == "tls" and not self.tls_port:
            self._prepare_tls()
            await self.ask(self._open_tls)

    def _prepare_tls(self) -> None:
        tls = tls_of(self.options)
        check_files(tls)
        self.tls_port = tls.port or _free_port(self._hosts)
        for host in self._hosts:
            if not _is_free(host, self.tls_port, socket.SOCK_STREAM):
                raise _taken(host, self.tls_port, "tls")

    def _open_tls(self) -> None:
        """On the stack's thread. At a port that nobody gets to who may not call.

        The stack's own way, by its configuration, leaves no choice of ports.
        """
        tls = tls_of(self.options)
        listens = "tls" in self.options.transports
        for host in self._hosts:
            self.library.listen_with_tls(
                host,
                self.tls_port,
                pem=pem_of(tls) if tls.certificate is not None else b"",
                ca=str(ca_file(tls)),
                verify=tls.verify,
                alone=self.options.transports == ("tls",) and host == self._hosts[0],
            )
            let_in_alone(self.options.allowed_peers if listens else NOWHERE, host, self.tls_port)

    @property
    def _hosts(self) -> Sequence[str]:
        return tuple(self.options.hosts.values())

    @property
    def _plain_transports(self) -> Sequence[Transport]:
        return [name for name in self.options.transports if name != "tls"] or ["udp"]

    def _config(self) -> Config:
        host = self.options.listen_host
        first, last = self._rtp_block()
        families = [_NET_AF[family] for family in self.options.hosts]
        lines = [
            f"sip_listen {joined(host, self.port)}",
            f"sip_transports {','.join(self._plain_transports)}",
            f"rtp_ports {first}-{last}",
            *(f"net_af {family}" for family in families if len(families) == 1),
            "audio_jitter_buffer_type off",
            "call_local_timeout 0",
            "opus_stereo no",
            "opus_sprop_stereo no",
        ]
        return Config(
            net_interface=None if host in EVERYWHERE else host,
            max_concurrent_calls=None,
            extra_config_text="".join(line + "\n" for line in lines),
        )

    def _rtp_block(self) -> tuple[int, int]:
        """The first and the last port of audio: pairs, of which each begins with an even one."""
        given, count = self.options.rtp_port, self.options.rtp_port_count
        if given:
            first = given + given % 2
            return first, given + count - 1
        # Twice as many as calls take: one that is over gives its own up a little later.
        count = max(count, 4 * self.options.max_calls)
        first = _free_block(self._hosts, count)
        return first, first + count - 1

    # ---- on the stack's thread

    def _on_native(self, kind: int, handle: int, payload: bytes | None) -> None:
        """What the stack tells, often in the midst of a message; the doorbell rings between two."""
        _do(self._takes)
        if handle == _DOORBELL and kind < lib.BP_EV_BASE:
            _do(self._jobs)
        else:
            self._see_to_socket(kind, payload)
            self._forward(kind, handle, payload)

    def _see_to_socket(self, kind: int, payload: bytes | None) -> None:
        """A call that has come gives its sockets up at once, not when the loop hears of it.

        One that is over has none: what no leg has taken is closed here, and nowhere else.
        """
        if kind not in (_HAS_COME, _IS_OVER) or not payload:
            return
        try:
            call_id = str(json.loads(payload).get("call_id") or "")
            if kind == _IS_OVER:
                self._close_untaken(call_id)
            elif native := self.library.find(call_id):
                self._note_socket(call_id, self._taken(native))
        except Exception:  # what is raised here would be lost in the stack's thread
            _log.exception("sip_socket_failed")

    def _close_untaken(self, call_id: str) -> None:
        self._awaited.pop(call_id, None)
        own = self._untaken.get(call_id)
        if own is not None:
            own.close()
            self._untaken[call_id] = None

    def _stand_before(self) -> None:
        """Whoever calls before that is told by the stack that there is nobody."""
        if self.runtime._init_err:  # noqa: SLF001 - there is no stack to stand before
            return
        self._bind_resolvers()
        second = self.options.second_host
        if second is not None and second not in EVERYWHERE:
            self.library.listen_also(second, self.port, self._plain_transports)
        if self.tls_port:
            self._open_tls()
        let_more_wait((self.port, self.tls_port))
        self.library.listen(self._requests, requests=True)
        self.library.listen(self._requests, requests=False)
        for requests in (True, False):
            self.library.listen_last(self._leftovers, requests=requests)
        self._unread.open()
        self.library.sip_set_trace_handler(self.library.uag_sip(), self._trace)

    def _bind_resolvers(self) -> None:
        try:
            bind_resolvers(self._not_theirs, self.options.listen_host)
        except OSError as error:
            raise SipError(f"baresip's DNS cannot be bound to an address: {error}") from None

    def _look_at(
        self, sent: bool, _transport: int, source: int, target: int, at: int, size: int, _: object
    ) -> None:
        """A message comes, or goes; what it offers is narrowed where it lies."""
        if self._is_turning_away:
            return
        self._verdict, self._is_turned_away = None, False
        try:
            data = ctypes.string_at(at, size)
            text = data.decode("utf-8", "surrogateescape")
            other = joined(*self.library.address(target if sent else source))
            policy = self.options.srtp_with(other)
            message = SipMessage(view_of_message(text, "offered" if sent else policy))
            if not sent:
                self._looked_at = message
                self._verdict = self._screen.turns_away(text, other)
                self._is_turned_away = self._verdict is not None
                if self._is_turned_away:
                    self._blank(at, data)
                    return
                self._verdict = self._screen.refusal_of(message, other)
                if self._verdict is not None and not self._verdict[0]:
                    self._blank(at, data)
                if self._verdict is None and self._is_replaced(SipMessage(text)):
                    self._verdict = SWALLOWED
                if self._verdict is None:
                    self._narrow(at, data, message, policy)
                    self._hide_challenge(at, data, message)
            else:
                self._edit_what_leaves(at, data, message)
                self._note_dialled(message)
                self._screen.on_leaving(message)
            if self._verdict is None or self._verdict[0] in _TAKEN:
                self.tell(self._on_message, sent, message)
        except Exception:  # what is raised here would be lost in the stack's thread
            _log.exception("sip_message_failed")

    def _blank(self, at: int, data: bytes) -> None:
        """Of what is swallowed: the stack has read it, and answers some of it before it asks.

        It repeats headers as they came: they are made such as an answer may have, in their place.
        """
        head, end, body = data.partition(_HEAD_END)
        first, *lines = _CONTROL.sub(b"?", head).split(b"\r\n")
        blanked = b"\r\n".join([first, *map(_as_header, lines)]) + end + body
        if blanked != data:
            ctypes.memmove(at, blanked, len(data))

    def _is_replaced(self, message: SipMessage) -> bool:
        """Whether the stack is sent another message instead: it goes by what is in it alone."""
        instead = self._late_offers.take(message)
        if not instead or "udp" not in self.options.transports:
            return False
        host = self.options.listen_host
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as own:
            own.sendto(instead.encode(errors="surrogateescape"), (host, self.port))
        return True

    def _note_dialled(self, message: SipMessage) -> None:
        """Of a call that we place: what comes before its socket is ours would be lost.

        And a loop that stands still may learn of the call when it has been answered already. The
        stack tells next that it calls, and then has an object of the call.
        """
        if not message.begins_call:
            return
        if (awaited := self._awaited.pop(message.call_id, None)) is not None:
            self.tell(self.run, awaited)
        if message.call_id in self._untaken:  # with a password, twice
            return

        def take() -> None:
            native = self.library.find(message.call_id)
            self._untaken[message.call_id] = self._taken(native) if native else None

        self._note_socket(message.call_id, None)
        self._takes.append(take)

    def _note_socket(self, call_id: str, own: RtpSocket | None) -> None:
        """Over TCP and TLS an INVITE leaves when the call may have its socket already."""
        if own is not None:
            self._close_untaken(call_id)
        self._untaken[call_id] = own
        if len(self._untaken) > _MOST_NOTED:
            forgotten = self._untaken.pop(next(iter(self._untaken)))
            if forgotten is not None:
                forgotten.close()

    def _narrow(self, at: int, data: bytes, message: SipMessage, policy: SrtpPolicy) -> None:
        """Of several lines baresip takes the first that is of audio: ours becomes that."""
        head, _, body = data.partition(_HEAD_END)
        if body and _SDP in head.lower():
            came = body.decode("latin-1")
            self._formats_of(message.call_id).note(came)
            text = plain_view(came, policy)
            if not message.status and message.method in ("INVITE", "UPDATE"):
                _note(self._lines, message.call_id, line_of_call(text, self.options.codecs))
                found = described(text, self.options.codecs)
                is_nowhere = found is not None and found.is_nowhere
                _note(self._nowhere, message.call_id, message.number if is_nowhere else 0)
                is_keyless = found is None or not found.cryptos
                _note(self._keyless, message.call_id, message.number if is_keyless else 0)
            line = self._lines.get(message.call_id, 0)
            narrow = narrowed(with_line_first(text, line), self.options.codecs)
            narrow = readable(secure_again(narrow, with_line_first(came, line)))
            if narrow != came:
                ctypes.memmove(at + len(data) - len(body), narrow.encode("latin-1"), len(body))

    def _hide_challenge(self, at: int, data: bytes, message: SipMessage) -> None:
        """Where we take calls the password is for the registrar alone: in a call all ask in vain.

        Where we place them it is for whoever asks in the realm of the account. The stack itself
        knows no realms.
        """
        if message.status not in _CHALLENGES:
            return
        place: SipAccount | Registration | None = self.options.account
        if place is None and message.method == "REGISTER":
            place = self.options.registration
        if place is not None and (place.realm == "*" or place.realm in message.realms):
            return
        ctypes.memmove(at, _DIGEST.sub(rb"\1x\3", data), len(data))
        if message.method == "REGISTER":
            self._unanswered = f"{message.status} {message.reason}"

    def _edit_what_leaves(self, at: int, data: bytes, message: SipMessage) -> None:
        """In its place, and of the same length: lines in the order in which they were offered.

        Who names no address is answered that we are quiet, which baresip does not know for a hold.
        We replace no calls (RFC 3891), which baresip would do for anybody; and our offers name the
        host that is to be told, with which answers are made.
        """
        head, end, body = data.partition(_HEAD_END)
        head = _REPLACES.sub(lambda found: found[1] + b" " * len(found[2]), head)
        if self._hides_methods:
            head = _ALLOW.sub(_without_hidden, head)
        if _SDP in head.lower():
            line = self._lines.get(message.call_id, 0)
            text = with_line_first(body.decode("latin-1"), line)
            if message.status and message.number == self._nowhere.get(message.call_id):
                text = quiet(text)
            if message.status and message.number == self._keyless.get(message.call_id):
                text = without_keys(text)
            text = self._formats_of(message.call_id).written(text)
            body = text.encode("latin-1")
            if self._advertised is not None:
                here, told = self._advertised
                body = body.replace(here, told)
            head, body = _of_length(head, body, len(data) - len(end))
        changed = head + end + body
        if len(changed) != len(data):
            _log.error("sip_message_not_edited", call_id=message.call_id)
        elif changed != data:
            ctypes.memmove(at, changed, len(data))

    def _formats_of(self, call_id: str) -> OwnFormats:
        found = self._formats.pop(call_id, None) or OwnFormats(self.options.codecs)
        self._formats[call_id] = found
        if len(self._formats) > _MOST_NOTED:
            del self._formats[next(iter(self._formats))]
        return found

    def _refuse(self, message: int, _: object) -> bool:
        """The request that was just looked at; whether it is not for the stack."""
        verdict, self._verdict = self._verdict, None
        if verdict is None:
            return False
        status, reason, headers = verdict
        if status:
            self._is_turning_away = self._is_turned_away
            answer = self.library.turn_away if self._is_turned_away else self.library.refuse
            answer(message, status, reason, headers)
            self._is_turning_away = False
        return True

    def _take_leftover(self, message: int, _: object) -> bool:
        """What is of no transaction and no call; a request is answered as the stack would."""
        came, self._looked_at = self._looked_at, None
        if came is not None and not came.status and came.method != "ACK":
            self.library.turn_away(message, *_NOBODYS.get(came.method, _NOT_DONE_HERE))
        return True


class _Bound(threading.Event):
    """The bindings' sign, on the stack's thread, that it has bound its port, and reads next."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self.error: Exception | None = None
        self._before = before

    def set(self) -> None:
        """Do first what comes before the first message; what it raised is in `error`."""
        try:
            self._before()
        except Exception as error:  # what is raised here would be lost in the stack's thread
            self.error = error
        super().set()


def _without_hidden(allow: re.Match[bytes]) -> bytes:
    """A header `Allow`, as long as before."""
    return (allow[1] + _NOT_DONE.sub(b"", allow[2])).ljust(len(allow[0]))


def _of_length(head: bytes, body: bytes, size: int) -> tuple[bytes, bytes]:
    """A message whose headers say how long its body is, and that is `size` long itself.

    What it lacks are spaces in front of that number. What it has too much is taken for by a line
    that nobody needs.
    """
    if len(head) + len(body) > size:
        body = body.replace(_UNNEEDED, b"")
    told = _LENGTH.sub(rb"\g<1> %d" % len(body), head)
    missing = b" " * (size - len(told) - len(body))
    return _LENGTH.sub(rb"\g<1>%b %d" % (missing, len(body)), head), body


def _do(jobs: deque[Callable[[], object]]) -> None:
    while jobs:
        try:
            jobs.popleft()()
        except Exception:  # what is raised here would be lost in the stack's thread
            _log.exception("sip_job_failed")


def _as_header(line: bytes) -> bytes:
    """A line that is a header, and as long."""
    if line[:1] in (b" ", b"\t"):
        return line
    name, _, value = line.partition(b":")
    if len(name) == len(line):
        return b"-" * (len(line) - 1) + b":" if line else line
    return _NO_TOKEN.sub(b"-", name.rstrip()).ljust(len(name)) + b":" + value


def _note(notes: dict[str, int], call_id: str, number: int) -> None:
    """Remember a number of a call, if it is not 0, for as many calls as there can be."""
    notes.pop(call_id, None)
    if number:
        notes[call_id] = number
    if len(notes) > _MOST_NOTED:
        del notes[next(iter(notes))]


def _check_host(host: str) -> None:
    """See that this machine can listen there at all.

    Raises:
        SipError: the address is none of its own.
    """
    try:
        found = socket.getaddrinfo(host, None, family_of(host), socket.SOCK_DGRAM)
        with socket.socket(found[0][0], socket.SOCK_DGRAM) as probe:
            probe.bind((found[0][4][0], 0))
    except OSError as error:
        kind = "IPv6" if is_ipv6(host) else "IPv4"
        raise SipError(
            f"sip.host {host!r} is no {kind} address of this machine: {error.strerror}"
        ) from None


def _check_port(host: str, port: int) -> None:
    """See that it can be listened on, in both ways.

    Raises:
        PortTakenError: it is in use.
    """
    for kind in _KINDS:
        if not _is_free(host, port, kind):
            name = "udp" if kind == socket.SOCK_DGRAM else "tcp"
            raise _taken(host, port, name)


def _taken(host: str, port: int, name: str) -> PortTakenError:
    return PortTakenError(
        f"SIP cannot listen on {joined(host, port)}/{name}: Address already in use. "
        f"Stop what uses it, or choose another port"
    )


def _all(hosts: Sequence[str]) -> str:
    return " and ".join(hosts)


def _free_port(hosts: Sequence[str]) -> int:
    rng = random.Random()
    for _ in range(_SEARCH_TRIES):
        port = rng.choice(_SIP_SEARCH)
        if all(_is_free(host, port, kind) for host in hosts for kind in _KINDS):
            return port
    raise PortTakenError(f"no port on {_all(hosts)} is free for both UDP and TCP")


def _free_block(hosts: Sequence[str], count: int) -> int:
    """An even port from which `count` UDP ports are free now."""
    rng = random.Random()
    for _ in range(_SEARCH_TRIES):
        first = rng.choice(_RTP_SEARCH)
        ports = range(first, first + count)
        if all(_is_free(host, port, socket.SOCK_DGRAM) for port in ports for host in hosts):
            return first
    raise PortTakenError(f"no {count} free UDP ports for RTP on {_all(hosts)} in {_RTP_SEARCH}")


def _is_free(host: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(family_of(host), kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
