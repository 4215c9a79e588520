"""Settings of the telephone's side of a worker."""

from ipaddress import ip_network
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from callerside.agent.config.settings_base import Milliseconds, Model, Port


class RegistrationSettings(Model):
    """Registration with a PBX or a trunk; the password is `CALLERSIDE_SIP_PASSWORD`, never here."""

    registrar: str = Field(pattern=r"^[^\s@/;]+$")
    """Host, or host:port."""
    user: str = Field(pattern=r"^[^\s@]+$")
    """Who we are there."""
    auth_user: str = ""
    """Of the digest; empty: the same as `user`."""
    realm: str = "*"
    """Of the digest; `*`: any."""
    transport: Literal["udp", "tcp"] = "udp"
    """To the registrar."""
    expires_s: int = Field(300, ge=30, le=86400)
    """How long a registration holds; it is refreshed before."""
    retry_s: int = Field(10, ge=1, le=3600)
    """Between a failed attempt and the next."""


class SipSettings(Model):
    """The telephone's side of a worker."""

    host: str = "127.0.0.1"
    """IPv4 address to listen on; 0.0.0.0 is every interface."""
    port: Port = 5060
    """Of SIP; 0: any free one."""
    transports: list[Literal["udp", "tcp"]] = Field(["udp", "tcp"], min_length=1)
    """Over which calls may come."""
    rtp_port: Port = 0
    """First port of RTP and RTCP; 0: a free block is found at start."""
    rtp_port_count: int = Field(40, ge=2, le=2000)
    """How many ports there are; a call takes two, of which the first is even."""
    public_host: str | None = None
    """Advertised in Contact, behind NAT."""
    rtp_public_host: str | None = None
    """Advertised in SDP, behind NAT; `public_host` if not given."""
    codecs: list[Literal["PCMU", "PCMA", "G722"]] = Field(["PCMU", "PCMA", "G722"], min_length=1)
    """In order of preference."""
    sample_rate_hz: Literal["auto", 8000, 24000] = "auto"
    """Of the audio between telephone and API. `auto`: of each call by its codec, G.711 straight
    through, as µ-law or A-law, and 24 kHz PCM for G722; 24000: always PCM, for servers that do
    not speak G.711; 8000: always G.711."""
    max_calls: int = Field(4, ge=1, le=4)
    """Calls at once; the next one is refused. pjsua2 as packaged knows four a process."""
    conceal_loss: bool = False
    """Fill lost packets with what was said before. It delays every packet of the call by 5 ms, so
    it is for networks that lose some; without it what is lost is silence."""
    clock_phase_ms: float | None = Field(None, ge=0, lt=20)
    """When the media clock ticks, after every whole 20 ms of the system's monotonic clock: for
    benchmarks, whose caller is on the same machine and ticks 10 ms later; null: at any time."""
    rtp_timeout_ms: Milliseconds = 60_000
    """A call whose caller sends nothing for so long is over; 0: never."""
    retry_after_s: int = Field(5, ge=0, le=3600)
    """Told to callers who are refused."""
    allowed_peers: list[str] = Field(default=[])
    """Networks (CIDR) that may call; empty: everybody."""
    registration: RegistrationSettings | None = None

    @model_validator(mode="after")
    def _has_ports_for_its_calls(self) -> Self:
        if self.rtp_port and self.rtp_port_count - self.rtp_port % 2 < 2 * self.max_calls:
            raise ValueError(
                f"rtp_port_count: {self.max_calls} calls take {2 * self.max_calls} ports, from an "
                f"even one on; {self.rtp_port_count} from {self.rtp_port} on are too few"
            )
        return self

    @model_validator(mode="after")
    def _can_register(self) -> Self:
        if self.registration and self.registration.transport not in self.transports:
            raise ValueError(
                f"registration.transport: {self.registration.transport} is not among the transports"
            )
        return self

    @field_validator("allowed_peers")
    @classmethod
    def _are_networks(cls, peers: list[str]) -> list[str]:
        for peer in peers:
            try:
                ip_network(peer, strict=False)
            except ValueError as error:
                raise ValueError(
                    f"{error}; expected an address or a network, such as 192.0.2.0/24"
                ) from None
        return peers
