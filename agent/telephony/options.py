"""What a SIP endpoint can be told. Plain values: where they come from is the caller's business."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal

from callerside.addresses import Family, family_in_sdp, host_of, in_uri
from callerside.agent.telephony.srtp import SrtpPolicy
from callerside.ports import HIGHEST_PORT

USUAL_CODECS = ("PCMU", "PCMA", "G722")
"""What is offered and taken if nothing is said: what every engine has."""
CODECS = (*USUAL_CODECS, "OPUS")
"""What can be offered, by the names of RFC 3551 and RFC 7587."""

Transport = Literal["udp", "tcp", "tls"]

Verify = Literal["everybody", "servers", "nobody"]
"""Whose certificate is looked at: of both sides of each connection, of those that we connect to, or
none."""

AGENT_PASSWORD = "CALLERSIDE_SIP_PASSWORD"  # noqa: S105 - a variable's name
CALLER_PASSWORD = "CALLERSIDE_CALLER_PASSWORD"  # noqa: S105 - a variable's name
"""Of the environment: they alone have the password of a `Registration`, and of a `SipAccount`."""

NARROW_HZ, WIDE_HZ = 8_000, 24_000
"""Of a leg whose rate its codec chooses: G.711 as it is, or what the Realtime API hears best."""
_NARROW = ("PCMU", "PCMA")


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsOptions:
    """SIP over TLS (RFC 3261 §26.2.1); files are in PEM."""

    port: int = 0
    """That it listens at, beside `SipOptions.port`; 0: any free one."""
    certificate: Path | None = None
    """Ours, and what it was signed with; None: we have none, and cannot listen."""
    key: Path | None = None
    """Of our certificate; None: it is in the same file."""
    ca: Path | None = None
    """Who signs the other side's; None: those that this system trusts."""
    verify: Verify = "everybody"


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """A place at a PBX or trunk where calls for us arrive (RFC 3261 §10)."""

    registrar: str
    """Host, or host:port."""
    user: str
    password: str = field(default="", repr=False)
    auth_user: str = ""
    """Of the digest; empty: the same as `user`."""
    realm: str = "*"
    transport: Transport = "udp"
    expires_s: int = 300
    retry_s: int = 10
    """Between a failed attempt and the next, and twice that at most (spread at random)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SipAccount:
    """As whom calls are placed, where the other side takes none from just anybody."""

    user: str
    caller_id: str = ""
    """User part of From (RFC 3261 §20.20); empty: `user`."""
    display_name: str = ""
    domain: str = ""
    """Host of From; empty: the registrar's, or else our own address."""
    auth_user: str = ""
    """Of the digest; empty: `user`."""
    password: str = field(default="", repr=False)
    realm: str = "*"
    """The only one that gets a digest; `*`: whoever asks."""
    registrar: str = ""
    """Host, or host:port, where to register before the first call; empty: nowhere."""
    registers: bool = True
    """Whether this endpoint does; of several processes of one account one is enough."""
    expires_s: int = 300
    outbound_proxy: str = ""
    """Host, or host:port, by way of which every request goes (RFC 3261 §8.1.2)."""
    transport: Transport = "udp"
    tls: TlsOptions | None = None
    srtp: SrtpPolicy = "off"
    headers: tuple[tuple[str, str], ...] = ()
    """Name and value of what each INVITE has besides."""

    @property
    def from_user(self) -> str:
        """User part of From."""
        return self.caller_id or self.user

    @property
    def home(self) -> str:
        """Host of From; empty: our own address."""
        return self.domain or in_uri(host_of(self.registrar))

    @property
    def registration(self) -> Registration | None:
        """What is to be registered; None: nothing."""
        if not self.registrar or not self.registers:
            return None
        return Registration(
            registrar=self.registrar,
            user=self.user,
            password=self.password,
            auth_user=self.auth_user,
            realm=self.realm,
            transport=self.transport,
            expires_s=self.expires_s,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SipOptions:
    """One endpoint: its addresses, codecs, limits, and whom it listens to.

    Raises:
        ValueError: a value cannot be right; the message names it.
    """

    listen_host: str = "127.0.0.1"
    second_host: str | None = None
    """An address of the other family, at which it listens, too."""
    port: int = 0
    """Of SIP, UDP and TCP alike; 0: any free one."""
    transports: tuple[Transport, ...] = ("udp", "tcp")
    """At which it listens; to others it connects by any of them, and by TLS if it has `tls`."""
    tls: TlsOptions | None = None
    rtp_port: int = 0
    """First of the ports for RTP (even) and RTCP (odd); 0: a free block is found at start."""
    rtp_port_count: int = 40
    public_host: str | None = None
    """Advertised in Contact, where NAT hides `listen_host`."""
    rtp_public_host: str | None = None
    """Advertised in SDP; `public_host` if not given."""
    codecs: tuple[str, ...] = USUAL_CODECS
    """In order of preference."""
    sample_rate_hz: int | None = 24_000
    """Of every leg's audio. None: of each leg by its codec, 8 kHz for G.711, which passes through
    as it is, and 24 kHz for others."""
    max_calls: int = 4
    """At once; an engine may hold no more of them in a process than it says."""
    max_playout_ms: int = 120_000
    conceal_loss: bool = False
    """Fill what was lost with what was said before (`telephony.concealment`); else with silence."""
    rtp_timeout_ms: int = 60_000
    """A call whose caller has sent no RTP for so long, and is not on hold, is over; 0: never."""
    retry_after_s: int = 5
    """Told to those whom we refuse with 486 or 503."""
    allowed_peers: tuple[str, ...] = ()
    """Addresses or networks (CIDR) whose calls are taken; others get 403. Empty: everybody's."""
    srtp: SrtpPolicy = "off"
    """Whether audio is encrypted (`telephony.srtp`), with all but `srtp_peers`."""
    srtp_peers: tuple[tuple[str, SrtpPolicy], ...] = ()
    """The same with those whose SIP comes from an address or network (CIDR); the first holds."""
    rtp_sources: Literal["known", "any"] = "known"
    """Whose audio is a call's: of the hosts that SDP and SIP name, and of `allowed_peers`; or,
    until the caller speaks, anybody's."""
    strangers: Literal["refuse", "drop"] = "refuse"
    """What others get, if there is a list: a 403, or nothing."""
    requests_per_source_per_s: int = 50
    """Messages of no call that are looked at, of one address; 0: all."""
    requests_per_s: int = 200
    """Of all addresses that may call, and as many of all others; 0: all."""
    over_limit: Literal["refuse", "drop"] = "refuse"
    """What those get who may call and ask more often: a 503, or nothing. Others get nothing."""
    registration: Registration | None = None
    """Of who takes calls."""
    outbound_proxy: str = ""
    """`host:port` through which calls go that are placed on a caller's behalf; empty: straight."""
    account: SipAccount | None = None
    """Of who places calls; None: they are anybody's."""
    user_agent: str = "callerside"
    stack_log_level: int = 2
    """PJSIP's own: 1 errors, 2 warnings, ... 5 every message."""

    def __post_init__(self) -> None:
        for name in ("port", "rtp_port"):
            if not 0 <= getattr(self, name) <= HIGHEST_PORT:
                raise ValueError(f"{name}: expected 0 to {HIGHEST_PORT}, got {getattr(self, name)}")
        unknown = [codec for codec in self.codecs if codec not in CODECS]
        if unknown or not self.codecs:
            raise ValueError(f"codecs: expected some of {', '.join(CODECS)}, got {self.codecs}")
        if self.second_host is not None and len(self.hosts) == 1:
            raise ValueError(
                f"second_host: {self.second_host}: host is {self.listen_host}: expected an address "
                f"of the other family (IPv4, IPv6)"
            )
        if not self.transports:
            raise ValueError("transports: expected some of udp, tcp and tls, got none")
        if "tls" in self.transports and (self.tls is None or self.tls.certificate is None):
            raise ValueError("tls: who listens with TLS needs a certificate")
        if self.max_calls < 1:
            raise ValueError(f"max_calls: expected 1 or more, got {self.max_calls}")
        if self.sample_rate_hz is not None and self.sample_rate_hz not in SAMPLE_RATES_HZ:
            raise ValueError(
                f"sample_rate_hz: expected one of {SAMPLE_RATES_HZ} or None, "
                f"got {self.sample_rate_hz}"
            )
        for peer in (*self.allowed_peers, *(network for network, _ in self.srtp_peers)):
            ip_network(peer, strict=False)  # its ValueError says what is wrong with it

    @property
    def may_encrypt(self) -> bool:
        """Whether any call has SRTP."""
        return any(
            one != "off" for one in (self.srtp_default, *(policy for _, policy in self.srtp_peers))
        )

    @property
    def hosts(self) -> Mapping[Family, str]:
        """Where it listens, by family."""
        hosts = (self.listen_host, self.second_host or self.listen_host)
        return {family_in_sdp(host): host for host in hosts}

    def family_with(self, source: str) -> Family:
        """Of sound to and from whoever's SIP is at "host:port"."""
        family = family_in_sdp(host_of(source))
        return family if family in self.hosts else family_in_sdp(self.listen_host)

    @property
    def own_place(self) -> str:
        """Our host in SIP, as URIs have it."""
        return in_uri(self.public_host or self.listen_host)

    def srtp_with(self, source: str) -> SrtpPolicy:
        """What holds for whoever is at "host:port", or at a host."""
        for network, policy in self.srtp_peers:
            if PeerList((network,)).allows(source):
                return policy
        return self.srtp_default

    @property
    def srtp_default(self) -> SrtpPolicy:
        """The same with all others, and with those whom we call."""
        return self.account.srtp if self.account is not None else self.srtp

    def known_host(self, source: str) -> str | None:
        """The host, of "host:port", whose audio a call from there has; None: anybody's."""
        return host_of(source) if self.rtp_sources == "known" else None

    def leg_rate_hz(self, codec: str) -> int:
        """Of the audio of a call that will have this codec."""
        return self.sample_rate_hz or (NARROW_HZ if codec in _NARROW else WIDE_HZ)


_SIPS = re.compile(r"sips:", re.IGNORECASE)
_SAID = re.compile(r";transport=([^;?]*)", re.IGNORECASE)


def transport_for(uri: str, account: SipAccount | None) -> Transport:
    """Over which a call to `uri` goes: what it says (RFC 3261 §19.1.1), or else the account."""
    if _SIPS.match(uri):
        return "tls"
    said = _SAID.search(uri)
    if said is not None:
        return _AS_SAID.get(said[1].lower(), "udp")
    return account.transport if account else "udp"


_AS_SAID: dict[str, Transport] = {"tcp": "tcp", "tls": "tls"}


def as_dialled(uri: str, account: SipAccount | None) -> str:
    """The URI that an INVITE names: how it goes is said there, not left to the stack.

    `sips:` would ask the same of everybody on the way, and of those who answer a Contact of the
    same kind, which few have (RFC 5630 §3.1.4): what is asked for is TLS to the next one.
    """
    over = transport_for(uri, account)
    plain = _SIPS.sub("sip:", uri)
    if over == "udp" or _SAID.search(plain) or (account and account.outbound_proxy):
        return plain
    return plain + suffix_of(over)


_SIP_PORT, _SIPS_PORT = 5060, 5061


def default_port(transport: Transport) -> int:
    """Where a URI leads that names none (RFC 3261 §19.1.2)."""
    return _SIPS_PORT if transport == "tls" else _SIP_PORT


def suffix_of(transport: Transport) -> str:
    """What a URI says of it; of UDP nothing, which is meant without."""
    return "" if transport == "udp" else f";transport={transport}"


SAMPLE_RATES_HZ = (8_000, 16_000, 24_000)


class PeerList:
    """Returns whether a call from an address is taken."""

    def __init__(self, peers: tuple[str, ...]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(peer, strict=False) for peer in peers
        ]

    @property
    def networks(self) -> tuple[str, ...]:
        """Those that were named, with their masks."""
        return tuple(map(str, self._networks))

    def allows(self, source: str) -> bool:
        """Whether `source` ("host:port", "[v6]:port") may call; an empty list allows everybody."""
        if not self._networks:
            return True
        return self.names(source)

    def names(self, source: str) -> bool:
        """Whether `source` is one of those that were named."""
        try:
            address = ip_address(host_of(source))
        except ValueError:
            return False
        return any(address in network for network in self._networks)
