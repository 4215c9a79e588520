"""The door to a SIP engine: what the service and the scripted caller need of one, and its names.

An engine is a SIP stack with the code of ours that drives it, in a folder of its own. It answers
calls (`AnsweringEndpoint`), places them (`DiallingEndpoint`), and says what it can do
(`Capability`). `telephony.engines` finds the ones that are installed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, get_args

from callerside.addresses import EVERYWHERE, family_in_sdp, host_of
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.interface import CallerLeg, CallLeg
from callerside.agent.telephony.invite import is_address
from callerside.agent.telephony.options import (
    CALLER_PASSWORD,
    CODECS,
    SipAccount,
    SipOptions,
)
from callerside.agent.telephony.registration import asks_for_password

EngineName = Literal["pjsua2", "baresip"]
EngineChoice = Literal["auto", "pjsua2", "baresip"]
CHOICES: tuple[EngineChoice, ...] = get_args(EngineChoice)


class Capability(StrEnum):
    """What one engine can do and another may not."""

    G722 = "g722"
    OPUS = "opus"
    TCP = "tcp"
    TLS = "tls"
    SRTP = "srtp"
    IPV6 = "ipv6"
    LATCHING = "latching"
    CONCEALMENT = "concealment"
    PUBLIC_CONTACT = "public_contact"
    NAT_CONTACT = "nat_contact"
    RTCP_REPORTS = "rtcp_reports"
    LATE_OFFER = "late_offer"
    UPDATE = "update"
    SESSION_TIMERS = "session_timers"
    RELIABLE_RINGING = "reliable_ringing"
    REFUSES_WITH_STATUS = "refuses_with_status"
    VANISHES = "vanishes"
    IS_TRANSFERRED = "is_transferred"
    DTMF_BY_INFO = "dtmf_by_info"
    TCP_FLOODS = "tcp_floods"


MEANING: Mapping[Capability, str] = {
    Capability.G722: "calls in G.722 (wide band)",
    Capability.OPUS: "calls in Opus",
    Capability.TCP: "SIP over TCP",
    Capability.TLS: "SIP over TLS, of a trunk that is known; what is public ends in a proxy",
    Capability.SRTP: "encrypted audio (SRTP, with keys in SIP: SDES)",
    Capability.IPV6: "SIP and RTP over IPv6, if `sip.host` is an address of it",
    Capability.LATCHING: "sending audio to where the other side's comes from",
    Capability.CONCEALMENT: "filling lost packets with what was said before",
    Capability.PUBLIC_CONTACT: "naming another host in SIP than it listens on (`sip.public_host`)",
    Capability.NAT_CONTACT: "naming, in calls, the address at which the registrar has seen it",
    Capability.RTCP_REPORTS: "telling the other side by RTCP what came and what was sent",
    Capability.LATE_OFFER: "calls whose INVITE brings no offer",
    Capability.UPDATE: "new offers by UPDATE (RFC 3311)",
    Capability.SESSION_TIMERS: "session timers (RFC 4028)",
    Capability.RELIABLE_RINGING: "callers who require `100rel` (RFC 3262)",
    Capability.REFUSES_WITH_STATUS: "refusing a call with any status",
    Capability.VANISHES: "leaving a call without a word",
    Capability.IS_TRANSFERRED: "accepting a transfer without a second call",
    Capability.DTMF_BY_INFO: "key presses by SIP INFO",
    Capability.TCP_FLOODS: "holding off TCP connections that are too many; a proxy in front can",
}
"""What an engine can do that has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What is known of an engine without having it."""

    name: EngineName
    package: str
    """On PyPI."""
    works: str
    """The version of it that this was written for, and is tested with."""
    calls_a_process: int
    """More need more processes."""
    licence: str
    platforms: str
    """For which there are wheels."""
    newest_python: tuple[int, int]
    """Likewise."""
    capabilities: frozenset[Capability]


PROFILES: Mapping[EngineName, Profile] = {
    "pjsua2": Profile(
        name="pjsua2",
        package="pjsua2-python",
        works="2.15.1.post1",
        calls_a_process=4,  # `PJSUA_MAX_CALLS`, as the wheel was compiled
        licence="GPL 2 or later, or a commercial one",
        platforms="Linux x86-64, macOS arm64",
        newest_python=(3, 12),
        capabilities=frozenset(Capability) - {Capability.OPUS, Capability.IPV6},
    ),
    "baresip": Profile(
        name="baresip",
        package="baresip-python",
        works="0.5.2a3",
        calls_a_process=12,
        licence="BSD",
        platforms="Linux x86-64 and aarch64",
        newest_python=(3, 14),
        capabilities=frozenset(Capability)
        - {
            Capability.TCP_FLOODS,
            Capability.PUBLIC_CONTACT,
            Capability.NAT_CONTACT,
            Capability.SESSION_TIMERS,
            Capability.RELIABLE_RINGING,
        },
    ),
}
"""The better ones first: the order of `auto`."""


CALLED_HEADER = "X-Called"
"""Of the INVITE of a call that is placed on a caller's behalf: the number that the caller called,
for whoever it is that answers, or passes it on."""

REGISTER_S = 10.0
"""For how long whoever is to place calls waits for the registrar."""


class RegistrationFailedError(SipError):
    """A registrar does not know whoever is to place calls; says what it answered."""

    def __init__(self, account: SipAccount, what: str) -> None:
        todo = "see to the account's registrar, user, auth_user, realm and password"
        asks = asks_for_password(int(what[:3])) if what[:3].isdecimal() else ""
        if asks and not account.password:
            todo = f"it {asks}, and {CALLER_PASSWORD} is not set in the environment"
        super().__init__(
            f"{account.registrar} does not register {account.user}: {what}. Expected its 200 OK: "
            f"{todo}"
        )


def lack(engine: EngineName, capability: Capability) -> str:
    """What is said of an engine that cannot do something."""
    able = [name for name, one in PROFILES.items() if capability in one.capabilities]
    others = f"{able[0]} has it" if able else "no engine has it"
    return (
        f"{engine} has no capability `{capability}` ({MEANING[capability]}); {others} "
        f"(docs/engines.md)"
    )


class CapabilityError(SipError):
    """Something was asked for that an engine cannot do."""

    def __init__(self, engine: EngineName, capability: Capability, asked: str) -> None:
        super().__init__(f"{asked}: {lack(engine, capability)}")
        self.capability = capability


CODEC_NEEDS: Mapping[str, Capability] = {"G722": Capability.G722, "OPUS": Capability.OPUS}
"""Of codecs that an engine may be without."""


def codecs_of(profile: Profile) -> tuple[str, ...]:
    """All that an engine has."""
    return tuple(
        codec
        for codec in CODECS
        if codec not in CODEC_NEEDS or CODEC_NEEDS[codec] in profile.capabilities
    )


_NEEDED_FOR = {
    "conceal_loss": Capability.CONCEALMENT,
    "public_host": Capability.PUBLIC_CONTACT,
}
"""What options ask of an engine."""


def check_options(engine: EngineName, options: SipOptions) -> None:
    """See that an engine can do what is asked of it.

    Raises:
        CapabilityError: it cannot; names what.
        SipError: it does not hold so many calls in a process.
    """
    profile = PROFILES[engine]
    for option, capability in _NEEDED_FOR.items():
        if getattr(options, option) and capability not in profile.capabilities:
            raise CapabilityError(engine, capability, f"sip.{option}")
    for codec in options.codecs:
        if codec not in codecs_of(profile):
            raise CapabilityError(engine, CODEC_NEEDS[codec], f"sip.codecs: {codec}")
    if "IP6" in options.hosts and Capability.IPV6 not in profile.capabilities:
        name = "second_host" if options.hosts["IP6"] == options.second_host else "host"
        raise CapabilityError(engine, Capability.IPV6, f"sip.{name}: {options.hosts['IP6']}")
    _check_families(options)
    if options.max_calls > profile.calls_a_process:
        holds = {name: one.calls_a_process for name, one in PROFILES.items()}
        able = [name for name, calls in holds.items() if calls >= options.max_calls]
        raise SipError(
            f"sip.max_calls: a process of {engine} holds {profile.calls_a_process} calls, not "
            f"{options.max_calls}: start more workers"
            + "".join(f", or set sip.engine: {name}, which holds {holds[name]}" for name in able)
        )


def _check_families(options: SipOptions) -> None:
    """An endpoint speaks the IP that the addresses have at which it listens, and no other.

    Raises:
        SipError: an address that it is told is of another; names it.
    """
    place, account = options.registration, options.account
    told = {
        "public_host": options.public_host,
        "rtp_public_host": options.rtp_public_host,
        "outbound_proxy": options.outbound_proxy,
        "registration.registrar": place.registrar if place is not None else "",
        "account: registrar": account.registrar if account is not None else "",
        "account: outbound_proxy": account.outbound_proxy if account is not None else "",
    }
    for name, value in told.items():
        host = host_of(value or "")
        if is_address(host) and family_in_sdp(host) not in options.hosts:
            raise SipError(
                f"sip.{name}: {value}: sip.host is {options.listen_host}: expected a name, or an "
                f"address of its family; or both families, by sip.second_host"
            )
    if len({host in EVERYWHERE for host in options.hosts.values()}) > 1:
        raise SipError(
            f"sip.second_host: {options.second_host}: sip.host is {options.listen_host}: expected "
            f"all addresses of both families (0.0.0.0 and ::), or one of each"
        )


_TAGS = {Capability.SESSION_TIMERS: "timer", Capability.RELIABLE_RINGING: "100rel"}


def extensions(engine: EngineName) -> frozenset[str]:
    """The option tags (RFC 3261 §19.2) that an engine has."""
    has = PROFILES[engine].capabilities
    return frozenset(tag for capability, tag in _TAGS.items() if capability in has)


OnLeft = Callable[[bytes, int], None]
"""Told of each frame that left, and when; on any thread."""
OnHeard = Callable[[bytes, int | None], None]
"""Told of each frame of the other side's audio, in its order, and when it came in; None: it never
did, and is filled. As soon as it is known, not when a telephone would play it."""
OnArrival = Callable[[int], None]
"""Told when a packet came in, as soon as it is taken: what lies between is our own delay."""

OnRegistration = Callable[[bool, int, str], None]
"""Told each change of our place at the registrar: whether it knows us, its status and reason."""

OnRefused = Callable[[int, str], None]
"""Called with the status of each call that never became a leg, and why that was."""


class Endpoint(Protocol):
    """An engine at work in this process. One in a process."""

    @property
    def port(self) -> int:
        """The bound SIP port; 0 before `start`."""

    @property
    def active_calls(self) -> int:
        """Calls that are not over."""

    async def start(self) -> int:
        """Bind and begin; returns the SIP port.

        Raises:
            PortTakenError: the address is in use.
            SipError: the engine did not start; says why.
        """

    async def stop(self) -> None:
        """Hang up what is left, wait a moment for the good-byes, and free everything."""


class AnsweringEndpoint(Endpoint, Protocol):
    """Takes calls in, and hands each over as a leg."""

    @property
    def registered(self) -> bool | None:
        """Whether the registrar knows us; None without a registration, or before its answer."""

    def refuse_calls(self, status: int = 503) -> None:
        """Refuse every new call from now on, with `Retry-After`; those that are up stay."""

    def accept_calls(self) -> None:
        """Take calls again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutgoingCall:
    """A call to place, and who is told of it."""

    user: str = "caller"
    """From whom it is: the user part of its From, if the endpoint has no account."""
    codec: str | None = None
    """The only one that is offered; None: all of the endpoint's."""
    lets_itself_be_transferred: bool = False
    """Accept a REFER, place no second call, and say that it worked."""
    on_left: OnLeft = lambda _pcm, _at_ns: None
    on_heard: OnHeard = lambda _pcm, _at_ns: None
    on_arrival: OnArrival = lambda _at_ns: None
    on_own_rtp: Callable[[int], None] = lambda _port: None
    """Told our RTP port before the other side can send there."""
    on_other_rtp: Callable[[int], None] = lambda _port: None
    """Told the other side's RTP port, from its SDP."""
    on_released: Callable[[], None] = lambda: None
    """Told that the call is over and its ports are given back."""


class DiallingEndpoint(Endpoint, Protocol):
    """Places calls."""

    options: SipOptions

    def new_call(self, call: OutgoingCall) -> CallerLeg:
        """A call to dial.

        Raises:
            NoFreeCallError: `max_calls` are up.
        """


class Answering(Protocol):
    """Makes an endpoint that takes calls."""

    def __call__(
        self,
        options: SipOptions,
        on_call: Callable[[CallLeg], None],
        *,
        on_registration: OnRegistration | None = None,
        on_refused: OnRefused | None = None,
    ) -> AnsweringEndpoint:
        """One that takes calls.

        `on_call` runs on the loop's thread: it should start the leg and return.

        Raises:
            SipError: `options` ask for what the engine cannot do; names it.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A SIP engine that can be used here."""

    profile: Profile
    answering: Answering
    dialling: Callable[[SipOptions], DiallingEndpoint]
    """Makes an endpoint that places calls; raises as `Answering` does."""
