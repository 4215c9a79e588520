"""PJSUA2's library: configured, started, its ports bound, and destroyed again.

One per process, for that is what PJSUA is. Every setting that differs from its defaults stands
here, with the reason.
"""

import contextlib
import ctypes
import errno
import gc
import os
import random
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pjsua2
import structlog

from callerside.agent.telephony.errors import PortTakenError, SipError
from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.telephony.media.pacer import Pacer
from callerside.agent.telephony.options import (
    Registration,
    SipAccount,
    SipOptions,
    TlsOptions,
    Transport,
    suffix_of,
)
from callerside.agent.telephony.peers_filter import NOWHERE, let_in_alone
from callerside.agent.telephony.pjsua.call import reported
from callerside.agent.telephony.pjsua.limits import CALLS_PER_PROCESS
from callerside.agent.telephony.pjsua.native.media import (
    Bridge,
    MediaSockets,
    Stream,
    Timers,
    functions,
)
from callerside.agent.telephony.pjsua.native.tcp_listener import TcpListener
from callerside.agent.telephony.pjsua.native.unread import Unread
from callerside.agent.telephony.pjsua.readers import Readers
from callerside.agent.telephony.srtp import SrtpPolicy
from callerside.agent.telephony.tls import ca_file, check_files, needs_tls, tls_of

_log = structlog.get_logger(__name__)

_HIGHEST_PRIORITY = 255
_DISABLED = 0
"""Priorities of codecs."""

_FIRST, _LAST = 1, 0
"""Priorities of accounts; that of one under our own name is `_LAST`, PJSUA's default."""

_BY_OWN_PROXY = 2
"""`PJSUA_REG_USE_ACC_PROXY`, which the bindings have no name for."""

_BRIDGE_HZ = 8_000
"""Of PJSUA's conference, through which nothing goes."""

_THREAD_SWITCH_S = 0.0005
"""How long Python may make the pacer's thread wait while the loop's thread runs. With the default
of 5 ms packets leave late, and jitter buffers grow by whole frames to make up for it."""

_RTP_SEARCH = range(10_000, 32_000, 2)
"""Below the ports that Linux hands out to others (`ip_local_port_range`)."""

_SEARCH_TRIES = 200

_SRTP: dict[SrtpPolicy, int] = {
    "off": pjsua2.PJMEDIA_SRTP_DISABLED,
    "offered": pjsua2.PJMEDIA_SRTP_OPTIONAL,
    "required": pjsua2.PJMEDIA_SRTP_MANDATORY,
}

_ADDRESS_IN_USE = 120_000 + errno.EADDRINUSE
"""`PJ_STATUS_FROM_OS`."""

_KINDS = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM, "tls": socket.SOCK_STREAM}
_TRANSPORTS = {
    "udp": pjsua2.PJSIP_TRANSPORT_UDP,
    "tcp": pjsua2.PJSIP_TRANSPORT_TCP,
    "tls": pjsua2.PJSIP_TRANSPORT_TLS,
}


class Stack:
    """The library in its running state. PJSUA can be started once in the life of a process."""

    _was_started = False

    def __init__(self, options: SipOptions) -> None:
        self.options = options
        self.port = 0
        self.tls_port = 0
        self.listener = TcpListener(options.allowed_peers)
        """Those who connect to us, if `sip.transports` has TCP."""
        self.lock = threading.RLock()
        """Held by whoever may destroy a stream, and by whoever sends through one. While it is held
        PJSIP's own locks are nobody else's: so none waits for one with Python's in its hand."""
        self.pacer = Pacer(self.lock, self._register_pacer)
        self.readers = Readers()
        """What wakes the loop, as soon as it runs."""
        self.unread = Unread()
        self._endpoint = _Endpoint(self.listener, self.readers, self.unread)
        self._transports: dict[str, int] = {}
        self._rtp_port = 0
        self._bridge_waits = False
        """Whether there is something for it to do."""

    def start(self) -> None:
        """Initialise, bind, and start.

        Raises:
            PortTakenError: the SIP address is in use.
            SipError: anything else, in the stack's own words.
        """
        if Stack._was_started:
            raise SipError("one process can start one SIP endpoint, and this one has had its own")
        Stack._was_started = True
        sys.setswitchinterval(_THREAD_SWITCH_S)
        try:
            with _quiet_stdout():  # PJLIB greets there, before it can be told where to log
                self._endpoint.libCreate()
            self._endpoint.libInit(self._endpoint_config())
            self._open_media()
            self._bind()
            self._open_tls()
            if "tcp" in self.options.transports:
                self.listener.open(self.options.listen_host, self.port)
            self._endpoint.libStart()
            self._choose_fillers()
            self.choose_codecs(self.options.codecs)
        except pjsua2.Error as error:
            self.destroy()
            raise SipError(f"the SIP stack did not start: {error.reason}") from None
        except SipError:
            self.destroy()
            raise

    def poll(self) -> None:
        """Handle what has arrived and what is due; callbacks run within."""
        with self.lock:
            self._endpoint.libHandleEvents(0)
            if self._bridge_waits:
                self._bridge_waits = False
                self._bridge.sweep()

    def wait_ms(self) -> int | None:
        """Until the stack's next timer; None: there is none."""
        return self._timers.wait_ms()

    def stream_created(self, parameters: Any) -> Stream:
        """The stream that a callback tells of (`OnStreamCreatedParam`): it is ours, not PJSUA's."""
        self._bridge.keep_out(parameters)
        self._bridge_waits = True
        return self._sockets.stream(int(parameters.stream))

    def stream_ends(self, parameters: Any) -> None:
        """One is about to be destroyed (`OnStreamDestroyedParam`)."""
        self._bridge.stream_ends(int(parameters.stream))
        self._bridge_waits = True

    def choose_codecs(self, codecs: tuple[str, ...]) -> None:
        """Offer and take the given ones, in this order, and no others, from now on."""
        for info in self._endpoint.codecEnum2():
            name = info.codecId.partition("/")[0]
            priority = _DISABLED
            if name in codecs:
                priority = _HIGHEST_PRIORITY - codecs.index(name)
            self._endpoint.codecSetPriority(info.codecId, priority)

    def _open_media(self) -> None:
        library = functions()
        self._bridge = Bridge(library)
        self._timers = Timers(library)
        endpoint = library.pjsua_get_pjmedia_endpt()
        self._sockets = MediaSockets(
            library, endpoint, self.lock, self.readers.add_media, self.readers.remove_media
        )
        self._sockets.take_over()
        if self.options.may_encrypt:
            self._sockets.take_over_encryption()

    def _register_pacer(self) -> None:
        self._endpoint.libRegisterThread("pacer")

    def _choose_fillers(self) -> None:
        """PJMEDIA's are not used: packets come to it in order, and what is lost is filled here."""
        for info in self._endpoint.codecEnum2():
            if info.codecId.partition("/")[0] in self.options.codecs:
                codec = self._endpoint.codecGetParam(info.codecId)
                codec.setting.plc = False
                self._endpoint.codecSetParam(info.codecId, codec)

    def open_line(self, transport: Transport) -> int:
        """One more port for SIP, any free one; returns the transport's id.

        Over TCP an account bound to it makes connections that no other account shares.
        """
        config = self._transport_config(transport)
        opened = int(self._endpoint.transportCreate(_TRANSPORTS[transport], config))
        if transport == "tls":
            self._lock_up(opened)
        else:
            self.readers.add_bound(self.line_port(opened), _KINDS[transport])
        return opened

    def line_port(self, transport: int) -> int:
        """The port that such a line is bound to."""
        info = self._endpoint.transportGetInfo(transport)
        return int(info.localAddress.rpartition(":")[2])

    def close_line(self, transport: int) -> None:
        """Close such a port: nothing is sent or received by it any more."""
        self.readers.remove_bound(self.line_port(transport))
        self._endpoint.transportClose(transport)

    def account_config(self, place: Registration | None = None, *, registers: bool = False) -> Any:
        """An account on our transports, under our own name or under that of a place at a registrar.

        Only one that registers there (RFC 3261 §10) has the credentials, and no call is ever its
        own: PJSUA answers whoever challenges a request of a call with those of the call's account.
        It goes by name and transport, and where two are alike by priority; so each place has two
        accounts, and the one without credentials comes first.
        """
        config = pjsua2.AccountConfig()
        advertised = self.options.public_host or self.options.listen_host
        config.idUri = f"sip:callerside@{advertised}:{self.port}"
        config.callConfig.timerUse = pjsua2.PJSUA_SIP_TIMER_OPTIONAL
        media = config.mediaConfig.transportConfig
        media.boundAddress = self.options.listen_host
        media.port = self._rtp_port + self._rtp_port % 2
        media.portRange = _beyond_the_first(self.options.rtp_port, self.options.rtp_port_count)
        media.publicAddress = self.options.rtp_public_host or self.options.public_host or ""
        if self.options.may_encrypt:  # who is let in has it, or not (`plain_view`)
            _encrypt(config.mediaConfig, "offered")
        if place:
            config.idUri = f"sip:{place.user}@{place.registrar.partition(':')[0]}"
            config.sipConfig.transportId = self._transports.get(place.transport, -1)
            config.priority = _LAST if registers else _FIRST
            if registers:
                self._register(config, place)
        return config

    def caller_config(self, place: SipAccount) -> Any:
        """An account that places calls as somebody, and answers whoever challenges them.

        One that registers places none: what callers show is no part of who they are there.
        """
        config = self.account_config()
        _encrypt(config.mediaConfig, self.options.srtp_default)
        here = self.options.public_host or self.options.listen_host
        home = place.home or f"{here}:{self.port}"
        if place.registration is not None:
            config.idUri = f"sip:{place.user}@{home}"
        else:
            name = place.display_name.replace("\\", "\\\\").replace('"', '\\"')
            uri = f"<sip:{place.from_user}@{home}>"
            config.idUri = f'"{name}" {uri}' if name else uri
        if place.password:
            config.sipConfig.authCreds.append(_digest(place))
        if place.outbound_proxy:
            suffix = suffix_of(place.transport)
            config.sipConfig.proxies.append(f"sip:{place.outbound_proxy}{suffix};lr")
        if place.registration is not None:
            config.sipConfig.transportId = self._transports[place.transport]
            self._register(config, place.registration)
            config.regConfig.proxyUse = _BY_OWN_PROXY if place.outbound_proxy else 0
        return config

    def consulting_config(self) -> Any:
        """An account that places calls on others' behalf, and takes none."""
        config = self.account_config()
        config.idUri = f"sip:consulting@{self.options.public_host or self.options.listen_host}"
        proxy = self.options.outbound_proxy
        policy = self.options.srtp_with(proxy) if proxy else self.options.srtp_default
        _encrypt(config.mediaConfig, policy)
        if self.options.outbound_proxy:
            config.sipConfig.proxies.append(f"<sip:{self.options.outbound_proxy};lr>")
        return config

    def destroy(self) -> None:
        """Free everything; nothing of PJSUA2 may be used afterwards. Takes a second or so."""
        self.pacer.stop()
        self.readers.forget()
        self.listener.close()
        gc.collect()  # what Python still holds would call into a library that is gone
        try:
            self._endpoint.libDestroy(pjsua2.PJSUA_DESTROY_NO_NETWORK)
        except pjsua2.Error as error:
            _log.warning("sip_stack_not_destroyed", reason=error.reason)

    def _endpoint_config(self) -> Any:
        config = pjsua2.EpConfig()
        config.uaConfig.threadCnt = 0  # polled: SIP callbacks run on the loop's thread
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.maxCalls = CALLS_PER_PROCESS  # we refuse what is above `max_calls`
        config.uaConfig.userAgent = self.options.user_agent
        media = config.medConfig
        media.clockRate = media.sndClockRate = _BRIDGE_HZ
        media.ptime = media.audioFramePtime = FRAME_MS
        media.noVad = True  # a stream without holes, whatever is in it
        media.ecTailLen = 0  # there is no loudspeaker whose echo to cancel
        media.jbInit = 0  # every packet is taken out as it is put in
        self._quieten(config.logConfig)
        return config

    def _quieten(self, config: Any) -> None:
        config.level = config.consoleLevel = self.options.stack_log_level
        config.msgLogging = 0
        writer = _LogWriter(self.unread)
        config.writer = writer.__disown__()  # the library deletes it

    def _bind(self) -> None:
        _check_host(self.options.listen_host)
        self._rtp_port = self.options.rtp_port or _free_block(
            self.options.listen_host, 2 * self.options.max_calls
        )
        for _ in range(_SEARCH_TRIES):
            try:
                self._bind_transports(self.options.port)
            except PortTakenError:
                if self.options.port:
                    raise
            else:
                return
        raise PortTakenError(f"no port on {self.options.listen_host} is free for both UDP and TCP")

    def _bind_transports(self, port: int) -> None:
        """UDP and TCP on one port; with 0, the first one's choice holds for the second."""
        for name in self.options.transports:
            if name == "tls":
                continue
            config = self._transport_config(name, port)
            config.publicAddress = self.options.public_host or ""
            try:
                self._transports[name] = self._endpoint.transportCreate(_TRANSPORTS[name], config)
            except pjsua2.Error as error:
                self._unbind()
                raise _bind_error(self.options, f"{port}/{name}", error) from None
            info = self._endpoint.transportGetInfo(self._transports[name])
            port = int(info.localAddress.rpartition(":")[2])
            self.readers.add_bound(port, _KINDS[name])
        self.port = port

    def _open_tls(self) -> None:
        """At a port of its own; who connects by TLS alone has one, too, that nobody gets to.

        Handshakes are at sockets that nobody tells of: so the stack is looked at all the time.
        """
        if not needs_tls(self.options):
            return
        check_files(tls_of(self.options))
        config = self._transport_config("tls", tls_of(self.options).port)
        config.publicAddress = self.options.public_host or ""
        try:
            self._transports["tls"] = self._endpoint.transportCreate(_TRANSPORTS["tls"], config)
        except pjsua2.Error as error:
            raise _bind_error(self.options, f"{config.port}/tls", error) from None
        self.tls_port = self._lock_up(self._transports["tls"])
        self.port = self.port or self.tls_port

    def _lock_up(self, transport: int) -> int:
        """Let nobody connect by TLS who may not; returns the port."""
        port = self.line_port(transport)
        self.readers.add_bound(port, _KINDS["tls"])
        self.readers.never_sees_all()
        listens = "tls" in self.options.transports
        peers = self.options.allowed_peers if listens else NOWHERE
        let_in_alone(peers, self.options.listen_host, port)
        return port

    def _transport_config(self, transport: Transport, port: int = 0) -> Any:
        config = pjsua2.TransportConfig()
        config.boundAddress = self.options.listen_host
        config.port = port
        if transport == "tls":
            _set_tls(config.tlsConfig, tls_of(self.options))
        return config

    def _unbind(self) -> None:
        self.readers.forget()
        for transport in self._transports.values():
            self._endpoint.transportClose(transport)
        self._transports.clear()

    def _register(self, config: Any, registration: Registration) -> None:
        suffix = suffix_of(registration.transport)
        config.regConfig.registrarUri = f"sip:{registration.registrar}{suffix}"
        config.regConfig.timeoutSec = registration.expires_s
        config.regConfig.firstRetryIntervalSec = registration.retry_s
        config.regConfig.retryIntervalSec = registration.retry_s
        config.regConfig.randomRetryIntervalSec = registration.retry_s
        config.sipConfig.authCreds.clear()
        if registration.password:  # nobody is answered with an empty one
            config.sipConfig.authCreds.append(_digest(registration))


def _encrypt(media: Any, policy: SrtpPolicy) -> None:
    """Of calls of an account: by keys in descriptions, whatever SIP's own way is."""
    media.srtpUse = _SRTP[policy]
    media.srtpSecureSignaling = 0
    media.srtpOpt.keyings.clear()
    media.srtpOpt.keyings.append(pjsua2.PJMEDIA_SRTP_KEYING_SDES)


def _set_tls(config: Any, tls: TlsOptions) -> None:
    """What PJSIP is told of certificates; TLS 1.2 is the newest that it has."""
    config.proto = pjsua2.PJ_SSL_SOCK_PROTO_TLS1_2
    if tls.certificate is not None:
        config.certFile = str(tls.certificate)
        config.privKeyFile = str(tls.key or tls.certificate)
    if tls.verify != "nobody":
        config.CaListFile = str(ca_file(tls))
    config.verifyServer = tls.verify != "nobody"
    config.verifyClient = config.requireClientCert = tls.verify == "everybody"


def _digest(place: Registration | SipAccount) -> Any:
    """The credentials of somebody at a place (RFC 3261 §22)."""
    return pjsua2.AuthCredInfo(
        "digest",
        place.realm,
        place.auth_user or place.user,
        0,  # what follows is the password itself
        place.password,
    )


class _Endpoint(pjsua2.Endpoint):  # type: ignore[misc] # the bindings have no types
    """Reports connections as they come and go."""

    def __init__(self, listener: TcpListener, readers: Readers, unread: Unread) -> None:
        super().__init__()
        self._listener = listener
        self._readers = readers
        self._unread = unread

    def onTransportState(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """Within PJSIP's accept, so before it accepts the next."""
        with reported("onTransportState"):
            if prm.type.startswith(("TCP", "TLS")):
                connection = int(prm.hnd)
                if prm.state == pjsua2.PJSIP_TP_STATE_CONNECTED:
                    self._listener.opened(connection)
                    self._readers.add_connection(connection)
                elif prm.state != pjsua2.PJSIP_TP_STATE_SHUTDOWN:  # in which it still reads
                    self._readers.remove_connection(connection)
                if prm.state == pjsua2.PJSIP_TP_STATE_DESTROY:
                    self._listener.closed(connection)
                    self._unread.closed(connection)


class _LogWriter(pjsua2.LogWriter):  # type: ignore[misc] # the bindings have no types
    """What PJSIP complains of, at debug: what comes of it is told elsewhere."""

    def __init__(self, unread: Unread) -> None:
        super().__init__()
        self._unread = unread

    def write(self, entry: Any) -> None:
        """Called from any thread."""
        with reported("log"):
            if not self._unread.tells(entry.msg):
                _log.debug("sip_stack", message=entry.msg.strip())


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Send what C code prints to nowhere; standard output is for the line that says `ready`."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what goes to a pipe waits in C's own buffer, for the exit
        os.dup2(kept, 1)
        os.close(kept)


def _beyond_the_first(first: int, count: int) -> int:
    """How far behind its first port a block's last pair of ports begins, as PJSUA counts.

    It takes a pair that begins just there, too, and 0 for no limit at all.
    """
    pairs = (count - first % 2) // 2
    return max(1, 2 * pairs - 2)


def _check_host(host: str) -> None:
    """See that this machine can listen there at all.

    Raises:
        SipError: it cannot; says why.
    """
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(found[0][0], socket.SOCK_DGRAM) as probe:
            probe.bind(found[0][4])
    except OSError as error:
        raise SipError(
            f"sip.host {host!r} is no IPv4 address of this machine: {error.strerror}"
        ) from None


def _bind_error(options: SipOptions, port: str, error: Any) -> SipError:
    problem = f"SIP cannot listen on {options.listen_host}:{port}: {error.reason}"
    if error.status == _ADDRESS_IN_USE:
        return PortTakenError(f"{problem}. Stop what uses it, or choose another port")
    if options.public_host is not None:
        problem += f". sip.public_host is {options.public_host!r}: is that a name that resolves?"
    return SipError(problem)


def _free_block(host: str, count: int) -> int:
    """An even port from which `count` UDP ports are free now.

    Chosen at random, so that processes started together hardly meet; if they do, PJSUA walks on.
    """
    rng = random.Random(f"{os.getpid()} {threading.get_ident()}")
    for _ in range(_SEARCH_TRIES):
        first = rng.choice(_RTP_SEARCH)
        if all(_is_free(host, port) for port in range(first, first + count)):
            return first
    raise PortTakenError(f"no {count} free UDP ports for RTP on {host} in {_RTP_SEARCH}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
