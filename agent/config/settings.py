"""The agent's settings: what there is to set, with units, defaults and bounds.

Models only; `config.loader` reads them from YAML and the environment. Every model is frozen and
refuses keys that it does not know. What concerns one call is in `CallSettings`, and a route may
override any of it for the numbers that it answers.
"""

import re
from collections.abc import Mapping, Sequence, Set
from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from callerside.addresses import Host, HostPort, check_sip_port, family_in_sdp
from callerside.agent.config.environment import check_named, names_in
from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.telephony.options import Transport, Verify
from callerside.agent.telephony.srtp import SrtpPolicy
from callerside.audio import AudioFormat
from callerside.durations import DurationMs
from callerside.json_schema import ObjectSchema
from callerside.models import Strict
from callerside.ports import HIGHEST_PORT
from callerside.yaml import versions
from callerside.yaml.variables import merge

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

Milliseconds = Annotated[int, Field(ge=0, le=24 * 3600 * 1000)]
Port = Annotated[int, Field(ge=0, le=HIGHEST_PORT)]


def _sip_uri(text: str) -> str:
    if not re.fullmatch(r"(sips?|tel):[^\s<>]+", text):
        raise ValueError(f"{text!r} is no URI; expected one such as sip:desk@pbx.example")
    check_sip_port(text)
    return text


def _parts(url: str, filled: str) -> SplitResult:
    try:
        parts = urlsplit(filled)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}") from None
    if port == 0:
        raise ValueError(f"{url!r} is no URL: it has a port of 0")
    return parts


SipUri = Annotated[str, AfterValidator(_sip_uri)]


def _user_path(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{str(path)!r}: there is no such user here") from None


UserPath = Annotated[Path, Field(strict=False), AfterValidator(_user_path)]

_SWITCHES = {"yes": True, "on": True, "no": False, "off": False}
Switch = Annotated[
    bool,
    BeforeValidator(lambda word: _SWITCHES.get(word, word) if isinstance(word, str) else word),
]
"""`true` or `false`, for which people write `yes`, `on`, `no` and `off` as well."""


class RegistrationSettings(Strict):
    """Registration with a PBX or a trunk; the password is `CALLERSIDE_SIP_PASSWORD`, never here."""

    registrar: HostPort
    """Host, or host:port."""
    user: str = Field(pattern=r"^[^\s@]+$")
    """Who we are there."""
    auth_user: str = ""
    """Of the digest; empty: the same as `user`."""
    realm: str = "*"
    """Of the digest; `*`: any."""
    transport: Transport = "udp"
    """To the registrar; `tls` as in `sip.tls`."""
    expires_s: int = Field(300, ge=30, le=86400)
    """How long a registration holds; it is refreshed before."""
    retry_s: int = Field(10, ge=1, le=3600)
    """Between an attempt that nobody answered and the next, which is up to twice as late; behind a
    refusal (403, 404) it is six times as long, and twice that each time, up to an hour."""


_Networks = TypeVar("_Networks", list[str], dict[str, SrtpPolicy])


class TlsSettings(Strict):
    """SIP over TLS, of a trunk that is known; what is public ends in a proxy (docs/deploy.md)."""

    port: Port = 5061
    """That it listens at, with `tls` among the transports; 0: any free one."""
    certificate: UserPath | None = None
    """Our certificate, and what it was signed with; a file in PEM."""
    key: UserPath | None = None
    """Its key, without a password; null: it is in the same file."""
    ca: UserPath | None = None
    """The certificates that the trunk's is signed with; a file in PEM. null: those that this system
    trusts."""
    verify: Verify = "everybody"
    """Who has to show a certificate that `ca` has signed, with their host in it. `servers`: whom we
    connect to. `everybody`: who connects to us, too. `nobody`: then it could be anybody."""


class SipSettings(Strict):
    """The telephone's side of a worker."""

    engine: Literal["auto", "pjsua2", "baresip"] = "auto"
    """The SIP stack (docs/engines.md); `auto`: the better one of those that are installed."""
    host: Host = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every interface. One of IPv6 (:: is every interface) has all
    calls over IPv6 alone, on the engine that has it (docs/engines.md)."""
    second_host: Host | None = None
    """An address of the other family (IPv4, IPv6), to have calls over both: each has its sound over
    the one that its SIP comes by."""
    port: Port = 5060
    """Of SIP; 0: any free one."""
    transports: list[Transport] = Field(["udp", "tcp"], min_length=1)
    """Over which calls may come. `tls` needs a certificate and `allowed_peers`."""
    tls: TlsSettings | None = None
    rtp_port: Port = 0
    """First port of RTP and RTCP; 0: a free block is found at start."""
    rtp_port_count: int = Field(40, ge=2, le=2000)
    """How many ports there are; a call takes two, of which the first is even."""
    public_host: Host | None = None
    """Advertised in Contact, behind NAT."""
    rtp_public_host: Host | None = None
    """Advertised in SDP, behind NAT; `public_host` if not given."""
    codecs: list[Literal["PCMU", "PCMA", "G722", "OPUS"]] = Field(
        ["PCMU", "PCMA", "G722"], min_length=1
    )
    """In order of preference, where the offer is ours; of a caller's offer the first that is among
    them is taken, as the caller prefers it (RFC 3264 §6.1). `OPUS` is baresip's alone."""
    sample_rate_hz: Literal["auto", 8000, 24000] = "auto"
    """Of the audio between telephone and API. `auto`: of each call by its codec, G.711 straight
    through, as µ-law or A-law, and 24 kHz PCM for others; 24000: always PCM, for servers that do
    not speak G.711; 8000: always G.711."""
    max_calls: int | None = Field(None, ge=1, le=12)
    """Calls at once; the next one is refused. null: as many as a process of the engine holds,
    which is 4 of pjsua2 and 12 of baresip, if there are ports for them."""
    conceal_loss: Switch = False
    """Fill lost packets with what was said before, for 60 ms at most; without it what is lost is
    silence of its length. Neither delays anything."""
    rtp_timeout_ms: Milliseconds = 60_000
    """A call whose caller sends nothing for so long is over; 0: never."""
    retry_after_s: int = Field(5, ge=0, le=3600)
    """Sent to callers who are refused, as `Retry-After`."""
    allowed_peers: list[str] = Field(default=[])
    """Networks (CIDR) that may call; empty: everybody."""
    srtp: SrtpPolicy = "off"
    """Whether a call's audio is encrypted, by keys in its SIP (SDES; who reads SIP can hear: use
    TLS). `off`: never. `offered`: if the other side wants it, too. `required`: others get 488."""
    srtp_peers: dict[str, SrtpPolicy] = Field(default={})
    """The same for those whose SIP comes from an address or network (CIDR); the first holds."""
    rtp_sources: Literal["known", "any"] = "known"
    """Whose audio is heard in a call. `known`: of the hosts that its SDP and SIP name, and of
    `allowed_peers`. `any`: anybody's, as long as the caller says nothing, for callers behind a NAT
    and a proxy whose sound comes from a third address. It goes to known hosts in either case."""
    strangers: Literal["refuse", "drop"] = "refuse"
    """What everybody else gets, if there is such a list: a 403, or no answer at all."""
    requests_per_source_per_s: int = Field(50, ge=0, le=100_000)
    """Messages that belong to no call and are looked at, of one address (twice as many in two
    seconds after a quiet time); 0: all."""
    requests_per_s: int = Field(200, ge=0, le=100_000)
    """The same of all addresses together that may call, and as many of all others; 0: all."""
    over_limit: Literal["refuse", "drop"] = "refuse"
    """What those get who may call and ask more often: a 503 with `Retry-After`, or no answer at
    all. Others get none. Who asks within the rate is always told why there is no call."""
    registration: RegistrationSettings | None = None
    outbound_proxy: HostPort | None = None
    """Host, or host:port, through which calls go that the agent places (attended transfers); null:
    straight to their address. They carry no password."""

    @model_validator(mode="after")
    def _has_ports_for_its_calls(self) -> Self:
        calls = self.max_calls or 1
        if self.rtp_port and self.rtp_port_count - self.rtp_port % 2 < 2 * calls:
            raise ValueError(
                f"rtp_port_count: {calls} calls take {2 * calls} ports, from an "
                f"even one on; {self.rtp_port_count} from {self.rtp_port} on are too few"
            )
        return self

    @model_validator(mode="after")
    def _can_listen_with_tls(self) -> Self:
        if "tls" not in self.transports:
            return self
        if self.tls is None or self.tls.certificate is None:
            raise ValueError("tls.certificate: who takes calls over TLS needs one")
        if not self.allowed_peers:
            raise ValueError(
                "allowed_peers: TLS here is for a trunk that is known: name its addresses, for "
                "nobody else is let near it; what is public ends in a proxy (docs/deploy.md)"
            )
        if self.tls.port and self.tls.port == self.port and len(self.transports) > 1:
            raise ValueError(f"tls.port: {self.port} is sip.port; TLS needs one of its own")
        return self

    @model_validator(mode="after")
    def _has_one_address_of_a_family(self) -> Self:
        second = self.second_host
        if second is not None and family_in_sdp(second) == family_in_sdp(self.host):
            raise ValueError(
                f"second_host: {second}: host is {self.host}: expected an address of the other "
                "family (IPv4, IPv6)"
            )
        return self

    @model_validator(mode="after")
    def _can_register(self) -> Self:
        over = self.registration.transport if self.registration else None
        if over == "tls" and self.tls is None:
            raise ValueError("registration.transport: for tls there must be a section sip.tls")
        if self.registration and over != "tls" and over not in self.transports:
            raise ValueError(
                f"registration.transport: {self.registration.transport} is not among the transports"
            )
        return self

    @field_validator("allowed_peers", "srtp_peers")
    @classmethod
    def _are_networks(cls, peers: _Networks) -> _Networks:
        for peer in peers:
            try:
                ip_network(peer, strict=False)
            except ValueError as error:
                raise ValueError(
                    f"{error}; expected an address or a network, such as 192.0.2.0/24"
                ) from None
        return peers


MAX_WORKERS = 64


class HttpSettings(Strict):
    """The pages for monitoring: `/healthz`, `/readyz`, `/metrics`."""

    host: str = "127.0.0.1"
    """Address of the pages."""
    port: Port | None = None
    """None: there are no pages; 0: any free port, which the log has."""


class DrainSettings(Strict):
    """What happens to calls when the process is asked to stop."""

    limit_ms: Milliseconds = 120_000
    """How long they may go on; then they are ended."""


class RecordSettings(Strict):
    """The call records: one JSON line for each call that has ended."""

    file: UserPath | None = None
    """None: no records are kept."""


class RetentionSettings(Strict):
    """For how long what is kept of calls stays: records, timelines, recordings."""

    days: int | None = Field(None, ge=1, le=36_500)
    """After the call; then it is deleted, within an hour. null: nothing is ever deleted.
    `callerside-agent forget` deletes one call at once."""


class RecordingSettings(Strict):
    """Recordings of calls. Ask your callers' consent where the law wants it."""

    dir: UserPath | None = None
    """None: nothing is recorded."""
    audio: Switch = True
    """`{called}-{call}.wav`: left the caller, right the agent as it was played."""
    realtime: Switch = True
    """`{called}-{call}.realtime`: the events of the Realtime session; `-2` and so on after a
    reconnection."""
    realtime_max_bytes: int = Field(512 * 1024 * 1024, ge=1_000_000)
    """Of all `.realtime` of one call; then they end, and the log says so. In an hour both sides
    make 490 MB at 24 kHz, if they talk all the time."""
    announcement_instructions: str | None = Field(None, min_length=1)
    """What the model is asked to say before a recording begins: that there will be one. Made and
    cached like the greeting. Nothing is recorded before its end, nor a call for which it is not
    cached. null: recordings begin with the call."""

    @property
    def announced(self) -> str | None:
        """What is to be said before the recording; None: there is none, or it is not announced."""
        return None if self.dir is None else self.announcement_instructions


class LogSettings(Strict):
    """The log on standard error."""

    format: LogFormat = "auto"
    """`auto`: for people on a terminal, else one JSON object a line."""
    level: LogLevel = "info"
    """The least that is shown."""
    words: Switch = False
    """Show what callers say and type."""


class OperatingSettings(Strict):
    """All of them."""

    workers: int = Field(1, ge=1, le=MAX_WORKERS)
    """Processes; each holds `sip.max_calls` calls on ports of its own."""
    http: HttpSettings = HttpSettings()
    drain: DrainSettings = DrainSettings()
    records: RecordSettings = RecordSettings()
    retention: RetentionSettings = RetentionSettings()
    logs: LogSettings = LogSettings()


Dialect = Literal["ga", "beta"]
TurnPolicy = Literal["server", "client", "local"]


class ReconnectSettings(Strict):
    """What to do when the connection to the API fails."""

    attempts: int = Field(4, ge=0, le=100)
    """Tries in a row after the first failure; a session that lasts ten seconds ends the row."""
    first_delay_ms: Milliseconds = 250
    """Before the first of these tries."""
    max_delay_ms: Milliseconds = 4_000
    """The delay doubles up to this."""


_CALLED = "{called}"
_BRACE = re.compile(r"[{}]")


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET_HEADER = re.compile(r"(?i)auth|cookie|key|token|secret|password")
_SECRET_VARIABLE = re.compile(r"(?i)(key|token|secret|password)$")
_OUR_HEADERS = frozenset({"accept-encoding", "connection", "content-length", "host", "te"}) | {
    "transfer-encoding",
    "upgrade",
}


def _hold_no_keys(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise ValueError(f"{name!r} is no name of a header that can be set here")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"{name}: a header's value is one line of ASCII")
        check_named(name, value, is_secret=_SECRET_HEADER.search(name) is not None)
    return headers


def _holds_no_keys(environment: dict[str, str]) -> dict[str, str]:
    for name, value in environment.items():
        check_named(name, value, is_secret=_SECRET_VARIABLE.search(name) is not None)
    return environment


Headers = Annotated[dict[str, str], AfterValidator(_hold_no_keys)]


def _is_query(query: dict[str, str]) -> dict[str, str]:
    for name, value in query.items():
        if not name or not (name.isascii() and name.isprintable()):
            raise ValueError(f"{name!r} is no name of a query's")
        if name == "model":
            raise ValueError("model: it is a setting of its own, realtime.model")
        check_named(name, value, is_secret=_SECRET_HEADER.search(name) is not None)
    return query


Query = Annotated[dict[str, str], AfterValidator(_is_query)]


class RealtimeSettings(Strict):
    """The Realtime API. The key is `OPENAI_API_KEY` in the environment, never here."""

    url: str = "wss://api.openai.com/v1/realtime"
    """`{called}` in it stands for the called number."""
    model: str = "gpt-realtime-2.1"
    """Goes into the query of the URL."""
    dialect: Dialect = "ga"
    """`beta`: the event names and session shape before general availability."""
    headers: Headers = Field(default={}, max_length=32)
    """Sent with the handshake; `${NAME}` in a value is the environment's. Where one carries a key
    (Azure's `api-key`, or `authorization`), `OPENAI_API_KEY` is not sent."""
    query: Query = Field(default={}, max_length=32)
    """Of the URL, besides what stands in it (Azure's `api-version`); `${NAME}` as in headers."""
    connect_timeout_ms: int = Field(5_000, ge=100, le=120_000)
    """From opening the socket to a session that is ready."""
    transcription_model: str | None = None
    """Transcribes the caller, for instance `gpt-4o-mini-transcribe`."""
    noise_reduction: Literal["near_field", "far_field"] | None = None
    """The server's, of the caller's audio; `far_field` for speaker phones."""
    speed: float | None = Field(None, ge=0.25, le=1.5)
    """Of the voice."""
    max_output_tokens: int | None = Field(None, ge=1, le=4096)
    """Of one response; a second of audio is 20."""
    session_move_ms: Milliseconds = 55 * 60_000
    """Move to a new session at this age; the API ends them at 60 minutes."""
    reconnect: ReconnectSettings = ReconnectSettings()

    @property
    def from_environment(self) -> Set[str]:
        """The names of the environment that its headers and its query need."""
        return names_in(self.headers, self.query)

    @property
    def has_a_key(self) -> bool:
        """Whether its headers or its query carry a key: no other is sent then."""
        return any(_SECRET_HEADER.search(name) for name in (*self.headers, *self.query))

    @field_validator("url")
    @classmethod
    def _is_websocket_url(cls, url: str) -> str:
        if _BRACE.search(url.replace(_CALLED, "")):
            raise ValueError(f"{url!r}: {{called}} is the only name a URL may hold")
        parts = _parts(url, url.replace(_CALLED, "0"))
        if parts.scheme not in ("ws", "wss") or not parts.netloc:
            raise ValueError(f"{url!r} is not a WebSocket URL (ws://... or wss://...)")
        if "@" in parts.netloc:
            raise ValueError("a URL with a password in it; the key belongs in OPENAI_API_KEY")
        if _CALLED in urlsplit(url).netloc:
            raise ValueError(f"{url!r}: the caller would choose the host that gets the key")
        if "#" in url:
            raise ValueError(f"{url!r}: a WebSocket URL has no # (RFC 6455 §3)")
        return url


class VadSettings(Strict):
    """The server's turn detection, as the API names it."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    """`semantic_vad` waits for the end of the thought; the next four are of `server_vad` only."""
    threshold: float = Field(0.5, ge=0, le=1)
    """How sure it must be that it hears speech; higher for noisy lines."""
    prefix_padding_ms: Milliseconds = 300
    """Audio from before the speech that belongs to the turn."""
    silence_duration_ms: Milliseconds = 500
    """Silence that ends a turn."""
    idle_timeout_ms: int | None = Field(None, ge=5_000, le=30_000)
    """Silence after which the model speaks up by itself."""
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    """Of `semantic_vad` only: how soon it takes a turn for finished."""
    create_response: Switch = True
    """False: the agent asks for the response once the turn is committed."""
    interrupt_response: Switch = True
    """False: the agent cancels the response when the caller barges in."""


class LocalVadSettings(Strict):
    """The agent's own voice activity detection, for the policy `local`."""

    threshold_dbfs: float = Field(-45.0, ge=-90, le=0)
    """Never judge anything quieter to be speech."""
    above_noise_db: float = Field(12.0, ge=3, le=40)
    """Speech is so much louder than the noise floor, which follows the line."""
    min_speech_ms: Milliseconds = 60
    """Anything shorter is a click."""
    silence_duration_ms: Milliseconds = 400
    """Silence that ends a turn."""


class WatchdogSettings(Strict):
    """How long to wait for the server before acting without it; 0 waits for ever."""

    commit_ms: Milliseconds = 1_500
    """`speech_stopped` to `committed`: then we commit, and after as long again give the turn up."""
    response_ms: Milliseconds = 3_000
    """`committed` to `response.created`: then we ask for it, and after as long again give it up."""
    response_end_ms: Milliseconds = 15_000
    """Between two signs of life of a running response: then it is cancelled, and asked for again if
    nothing of it was heard."""


class TurnSettings(Strict):
    """Who takes a turn, and when."""

    policy: TurnPolicy = "server"
    """server: it commits. client: we commit on its `speech_stopped`. local: our own VAD decides."""
    append_interval_ms: int = Field(20, ge=FRAME_MS, le=100, multiple_of=FRAME_MS)
    """Caller audio goes out this often."""
    vad: VadSettings = VadSettings()
    local_vad: LocalVadSettings = LocalVadSettings()
    barge_in: Switch = True
    """The caller's voice stops the agent's."""
    watchdogs: WatchdogSettings = WatchdogSettings()

    @property
    def server_answers(self) -> bool:
        """Whether the server begins to answer a turn by itself; else we ask for each answer."""
        return self.policy != "local" and self.vad.create_response


class GreetingSettings(Strict):
    """The first words."""

    enabled: Switch = True
    """False: the caller speaks first."""
    instructions: str = Field("Greet the caller briefly and ask how you can help.", min_length=1)
    """What the model is asked to say."""
    delay_ms: Milliseconds = 500
    """After media is available."""
    interruptible: Switch = False
    """Whether the caller's voice stops it."""
    cached: Switch = True
    """False: made anew for every call, and not kept."""
    cache_dir: UserPath | None = None
    """Default: `callerside` in the user's cache directory."""
    warm_at_start: Switch = True
    """At start and after a reload, have what is not cached made while calls are answered: the
    greeting, and what is said when the API fails. `callerside-agent greet` does it before."""


class BeepSettings(Strict):
    """The tone by which the caller knows that the line is up."""

    enabled: Switch = True
    """False: the greeting is the first thing that is heard."""
    hz: float = Field(440.0, ge=100, le=3_400)
    """Its pitch."""
    length_ms: Milliseconds = 400
    """Its length; the greeting waits for its end."""
    level_dbfs: float = Field(-12.0, ge=-60, le=0)
    """Its loudness: of the sine's peak, against full scale."""


MAX_PLAYOUT_MS = 3_600_000


class PlayoutSettings(Strict):
    """Audio that waits for the caller to hear it."""

    max_ms: int = Field(120_000, ge=1_000, le=MAX_PLAYOUT_MS)
    """The API sends far faster than real time; what does not fit is dropped and marked."""


class DtmfSettings(Strict):
    """Keys that the caller presses."""

    to_model: Switch = True
    """Pass them to the model, as an item of the conversation."""
    interdigit_timeout_ms: Milliseconds = 1_500
    """A pause that ends a number; `#` ends it at once."""
    interrupts: Switch = True
    """A key press stops the agent's voice."""


class FailureSettings(Strict):
    """What the caller hears when the API does not work."""

    hold_instructions: str = Field(
        "Say in one short sentence that there is a short technical delay and ask to hold on.",
        min_length=1,
    )
    """Spoken when the connection is lost; made and cached like the greeting."""
    farewell_instructions: str = Field(
        "Say in one short sentence that, with our apologies, a fault forces us to end the call.",
        min_length=1,
    )
    """Spoken before the call ends; made and cached like the greeting."""
    hold_after_ms: Milliseconds = 2_000
    """How long a caller waits for a session before being asked to hold on."""
    retries: int = Field(1, ge=0, le=10)
    """How many responses in a row that fail or never come are asked for again, before the end."""
    retry_delay_ms: Milliseconds = 1_000
    """Before a failed response is asked for again."""
    rate_limit_delay_ms: Milliseconds = 3_000
    """The same, where it failed because too much was asked of the API."""
    transfer_to: SipUri | None = None
    """A SIP URI: send the caller there instead of hanging up."""


class AnswerSettings(Strict):
    """What is done about answers that the caller cannot use."""

    spoken_retries: int = Field(1, ge=0, le=5)
    """How often an answer without any sound is asked for again, to be spoken; then the caller is
    told that it was lost."""
    speak_instructions: str = Field(
        "The caller could not hear your last answer. Say it now, aloud and briefly.", min_length=1
    )
    """What the model is asked for then, behind its own instructions."""
    continuations: int = Field(1, ge=0, le=5)
    """How often an answer that the server cut short is continued; then, or if a content filter cut
    it, the caller is told."""
    continue_instructions: str = Field(
        "Your last answer was cut off in the middle. Go on where it stopped, without repeating it.",
        min_length=1,
    )
    """What the model is asked for then, behind its own instructions."""
    apology_instructions: str = Field(
        "Say in one short sentence that you are sorry, that your answer got lost, and ask the "
        "caller to say it again.",
        min_length=1,
    )
    """How the caller is told; made and cached like the greeting."""


class LimitSettings(Strict):
    """Bounds of a call; for `call_ms` and `silence_ms` 0 is no limit."""

    call_ms: Milliseconds = 60 * 60_000
    """The call has lasted so long."""
    silence_ms: Milliseconds = 60_000
    """Nobody has said anything for so long."""
    goodbye_instructions: str = Field(
        "Say goodbye in one short sentence: the call must end now.", min_length=1
    )
    """What the model is asked to say when one of these two is reached."""
    capture_ms: int = Field(30_000, ge=1_000, le=120_000)
    """Caller audio kept while there is no session; the oldest is dropped."""
    media_ms: int = Field(10_000, ge=500, le=120_000)
    """From the answer to media; a call that stays without audio is ended."""
    farewell_ms: int = Field(15_000, ge=1_000, le=120_000)
    """Longest wait for the last words before hanging up, beside what waits to be heard already."""
    tool_ms: int = Field(10_000, ge=100, le=300_000)
    """A function that has not answered by then has failed."""


TOOL_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
ToolName = Annotated[str, Field(pattern=TOOL_NAME)]


class StubAnswer(Strict):
    """What a stub does when it is called."""

    returns: Any = None
    """Its result: text as it is, anything else as JSON."""
    fails: str | None = Field(None, min_length=1)
    """It fails instead, and the model is told this."""
    never_returns: Switch = False
    """It never answers; the agent gives it up after `limits.tool_ms`."""
    after: DurationMs = Field(0.0, le=600_000)
    """How long it takes: `800ms`, `2s`."""

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        said = [key for key in _ANSWERS if key in self.model_fields_set]
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)}: an answer does one of {', '.join(_ANSWERS)}")
        return self


_ANSWERS = ("returns", "fails", "never_returns")


class StubSettings(StubAnswer):
    """A function that only seems to be there, for tests. A list is a list of `answers`."""

    description: str = "A stub."
    """Told to the model, where no tool of this name is declared otherwise."""
    parameters: ObjectSchema = Field(default={"type": "object"})
    """A JSON Schema that the arguments must fit, where no tool of this name is declared."""
    answers: list[StubAnswer] = Field(default=[], max_length=100)
    """To its calls in one telephone call, one after another; the last is given again and again."""

    @model_validator(mode="after")
    def _answers_in_one_way(self) -> Self:
        if self.answers and self.model_fields_set & StubAnswer.model_fields.keys():
            raise ValueError("answers: what it does stands either in there or beside it")
        return self

    @property
    def each_answer(self) -> Sequence[StubAnswer]:
        """At least one."""
        return self.answers or [self]


Stubbed = Annotated[
    StubSettings,
    BeforeValidator(
        lambda value: {"answers": value} if isinstance(value, list) else value,
        json_schema_input_type=StubSettings | list[StubAnswer],
    ),
]
"""As it is written: a mapping, or a list of answers."""


_IN_URL = re.compile(r"\{([^{}]*)\}")


def _checked_url(url: str, example: str) -> str:
    parts = _parts(url, url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL such as {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a password in it; keys belong in headers, as ${NAME}")
    if parts.fragment or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"{url!r}: a URL has no # here, no spaces, and ASCII letters only")
    if "{" in parts.netloc or "}" in parts.netloc:
        raise ValueError(f"{url!r}: the model does not choose the host")
    return url


class HttpToolSettings(Strict):
    """A function that is a request over HTTP; its name is the key."""

    description: str = Field(min_length=1, max_length=1024)
    """What it is for, as the model is told."""
    parameters: ObjectSchema = Field(
        default={"type": "object", "properties": {}, "additionalProperties": False}
    )
    """A JSON Schema of the arguments: an object. What does not fit is not sent."""
    url: str
    """With `{argument}` in its path or query, which is escaped. The other arguments are the JSON
    body of POST, PUT and PATCH, and part of the query for other methods."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """Of the request."""
    headers: Headers = Field(default={}, max_length=32)
    """`${NAME}` in a value is of the process's environment: the only place for keys."""
    timeout_ms: int = Field(5_000, ge=100, le=60_000)
    """Of one attempt, from looking up the host to the last byte; `limits.tool_ms` is of all."""
    retries: int = Field(2, ge=0, le=5)
    """More attempts if the server cannot be reached or answers 429 or 5xx; of methods that may be
    repeated only (all but POST and PATCH)."""
    retry_delay_ms: int = Field(200, ge=0, le=10_000)
    """Before the first of these; it doubles. A server's `Retry-After` may make it longer."""
    allow_private: Switch = False
    """Whether the host may be at an address that is not public (10.0.0.0/8, loopback, ...)."""
    max_request_bytes: int = Field(65_536, ge=0, le=10_000_000)
    """Of the body that is sent."""
    max_response_bytes: int = Field(65_536, ge=0, le=10_000_000)
    """Of the body of the answer."""

    @field_validator("url")
    @classmethod
    def _is_template(cls, url: str) -> str:
        return _checked_url(url, "https://api.example/tables/{table}")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if spare := set(self.in_url) - self.parameters.get("properties", {}).keys():
            raise ValueError(f"url: {{{min(spare)}}} is none of the parameters' properties")
        if missing := set(self.in_url) - set(self.parameters.get("required", ())):
            raise ValueError(f"url: {{{min(missing)}}} must be among the parameters' `required`")
        plain = self.url.startswith("http:") and not self.allow_private
        if plain and self.from_environment:
            raise ValueError("url: keys in headers need https, or allow_private")
        return self

    @property
    def in_url(self) -> Sequence[str]:
        """The arguments that stand in the URL."""
        return _IN_URL.findall(self.url)

    @property
    def in_path(self) -> Sequence[str]:
        """Those of them that stand in its path."""
        return _IN_URL.findall(urlsplit(self.url).path)

    @property
    def from_environment(self) -> Set[str]:
        """The names of the environment that its headers need."""
        return names_in(self.headers)

    def url_with(self, values: Mapping[str, str]) -> str:
        """The URL with these texts, already escaped, in their places."""
        return _IN_URL.sub(lambda found: values[found[1]], self.url)


class McpServerSettings(Strict):
    """A server of the Model Context Protocol, whose functions the model may call."""

    command: list[str] = Field(default=[], max_length=100)
    """The program to start, with its arguments: it is spoken to over its standard input and
    output."""
    env: Annotated[dict[str, str], AfterValidator(_holds_no_keys)] = Field(
        default={}, max_length=32
    )
    """What its environment has besides PATH, HOME and the like; `${NAME}` in a value is of this
    process's: the only place for keys."""
    url: str | None = None
    """Instead of `command`: where it is served over streamable HTTP."""
    headers: Headers = Field(default={}, max_length=32)
    """Of each request to `url`; `${NAME}` as in `env`."""
    allow_private: Switch = False
    """Whether the host may be at an address that is not public (10.0.0.0/8, loopback, ...)."""
    tools: list[str] = Field(default=[], max_length=128)
    """Which of its functions the model may call; empty: all that it offers at the start."""
    connect_ms: int = Field(10_000, ge=100, le=120_000)
    """For the server to start and say what it offers; an agent does not start without it."""
    timeout_ms: int = Field(5_000, ge=100, le=300_000)
    """Of one attempt; `limits.tool_ms` is of all."""
    retries: int = Field(2, ge=0, le=5)
    """More attempts if no answer comes; of functions only that the server says are read-only or
    idempotent."""
    max_response_bytes: int = Field(65_536, ge=0, le=10_000_000)
    """Of an answer's text."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        return None if url is None else _checked_url(url, "https://api.example/mcp")

    @model_validator(mode="after")
    def _is_one_server(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("a server has either a command or a url")
        if self.command and (self.headers or self.allow_private):
            raise ValueError("headers and allow_private are for a url")
        if self.url is not None and self.env:
            raise ValueError("env is for a command")
        plain = self.url is not None and self.url.startswith("http:") and not self.allow_private
        if plain and self.from_environment:
            raise ValueError("url: keys in headers need https, or allow_private")
        return self

    @property
    def from_environment(self) -> Set[str]:
        """The names of the environment that its headers or its process need."""
        return names_in(self.headers, self.env)


class ToolSettings(Strict):
    """Functions that the model may call."""

    module: str | None = None
    """The user's own module, as Python imports it, also from the working directory: each public
    function in it is a tool."""
    http: dict[ToolName, HttpToolSettings] = Field(default={}, max_length=128)
    """Functions that are requests over HTTP, by name."""
    mcp: dict[ToolName, McpServerSettings] = Field(default={}, max_length=16)
    """Servers of the Model Context Protocol, by a name of yours (the extra `mcp`)."""
    stub: dict[ToolName, Stubbed] = Field(default={}, max_length=128)
    """For tests: answers in place of functions, by name; a mapping or, for calls one after
    another, a list of them."""
    real: Switch = True
    """False: what has no stub is offered to the model, but fails. A scenario that does not say
    `real: true` is played so."""
    at_once: Switch = True
    """Run a function as soon as the model has written its arguments, while it still speaks; false:
    when its response is done, and was not taken back by a caller who spoke."""
    hang_up: Switch = True
    """The model may end the call, once its last word has been heard."""
    transfer: list[SipUri] = Field(default=[])
    """SIP URIs that the model may transfer to; empty: it may not."""
    transfer_kind: Literal["blind", "attended"] = "blind"
    """`attended`: whoever is to take the caller is called first and told why; then the caller is
    handed over to that call (RFC 5589 §7). Whoever does not answer leaves the caller with us."""
    transfer_answer_ms: int = Field(20_000, ge=1_000, le=120_000)
    """How long it rings there at most, in an attended transfer."""
    transfer_instructions: str = Field(
        "Somebody else has just answered, who is to take the caller over. Tell them in one or two "
        "short sentences who calls, and why. They hear nothing else.",
        min_length=1,
    )
    """What the model is asked for then; the reason that it has given follows."""
    send_dtmf: Switch = False
    """The model may press keys towards the caller."""
    argument_retries: int = Field(1, ge=0, le=5)
    """How often in a row the model may try again after calls that cannot be made (no JSON, a key
    that is missing, a function that there is not); then it is to answer without any."""
    calls_in_a_row: int = Field(25, ge=1, le=1_000)
    """So many responses one after another may call functions; then it is to answer without any."""
    wait: Literal["words", "tone", "off"] = "words"
    """What the caller hears while a function takes long; `words`: a tone until they are made."""
    wait_after_ms: int = Field(4_000, ge=500, le=120_000)
    """Silence after which it is heard, while functions run."""
    wait_every_ms: int = Field(8_000, ge=500, le=120_000)
    """Silence after which it is heard again."""
    wait_instructions: str = Field(
        "Say in one short sentence that it takes a moment longer.", min_length=1
    )
    """The words; made and cached like the greeting."""


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


class PrivacySettings(Strict):
    """What is left out of timelines, records, recorded events and the log; sound has it all."""

    mask_keys: Switch = False
    """Keys that the caller presses: each is an `x`. The model and functions get them as ever."""
    mask: list[Annotated[str, AfterValidator(_pattern)]] = Field(default=[])
    """Regular expressions (Python's): what they find in what anybody says, in what functions are
    given and in what they answer is `[masked]`, such as numbers of cards by
    `\\b(?:\\d[ -]?){13,19}\\b`."""


class TimelineSettings(Strict):
    """Where the calls' marks go."""

    dir: UserPath | None = None
    """One file a call, `{called}-{call}.jsonl`; none: no timelines are written."""
    trace_audio: Switch = False
    """Mark every append."""


class CallSettings(Strict):
    """Everything that shapes one call."""

    instructions: str = "You are a friendly voice on the telephone. Answer briefly."
    """What the model should know about itself and its work."""
    voice: str = "marin"
    """One of the model's voices."""
    realtime: RealtimeSettings = RealtimeSettings()
    turns: TurnSettings = TurnSettings()
    greeting: GreetingSettings = GreetingSettings()
    beep: BeepSettings = BeepSettings()
    playout: PlayoutSettings = PlayoutSettings()
    dtmf: DtmfSettings = DtmfSettings()
    failure: FailureSettings = FailureSettings()
    answers: AnswerSettings = AnswerSettings()
    limits: LimitSettings = LimitSettings()
    tools: ToolSettings = ToolSettings()
    privacy: PrivacySettings = PrivacySettings()
    timeline: TimelineSettings = TimelineSettings()
    recordings: RecordingSettings = RecordingSettings()


class Route(CallSettings):
    """The settings of the calls to some numbers; in a file, only what differs is written."""

    called: str = Field(min_length=1)
    """A number, a name, or a pattern with `*` and `?`."""


class Settings(CallSettings, OperatingSettings):
    """A whole configuration: one worker's telephone side, and its calls' settings by number."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: versions.in_schema(schema["properties"])
    )

    sip: SipSettings = SipSettings()
    routes: list[Route] = Field(default=[])
    """In a file: `called`, and beside it any setting of a call. The first that matches holds."""

    @model_validator(mode="before")
    @classmethod
    def _resolve_routes(cls, raw: Any) -> Any:
        """Give each route all settings of a call: its own over the file's."""
        routes = raw.get("routes", []) if isinstance(raw, Mapping) else None
        if not isinstance(routes, list) or not all(isinstance(route, Mapping) for route in routes):
            return raw
        base = {key: value for key, value in raw.items() if key in CallSettings.model_fields}
        resolved = [merge(base, route) for route in routes]
        return {**raw, "routes": [*resolved, {**base, "called": "*"}]}

    def for_call(self, called: str) -> CallSettings:
        """What holds for a call to `called`: the first route that matches, else the defaults."""
        return next(r for r in self.routes if fnmatchcase(called, r.called.replace("[", "[[]")))


def realtime_url(settings: RealtimeSettings, called: str) -> str:
    """The URL for a call, with the called number filled in, safely quoted.

    A number of dots alone would lead to another place, escaped or not (RFC 3986 §6.2.2.3): it
    becomes one of underscores.
    """
    quoted = quote(called, safe="") if called.strip(".") else "_" * len(called)
    return settings.url.replace(_CALLED, quoted)


def audio_format(rate_hz: int, codec: str | None) -> AudioFormat:
    """The Realtime format that fits a leg of that rate and codec (None: not known yet).

    Raises:
        ValueError: no format of the API has that rate.
    """
    if rate_hz == 24_000:
        return AudioFormat("pcm")
    if rate_hz == 8_000:
        return AudioFormat("pcma" if codec == "PCMA" else "pcmu")
    raise ValueError(f"a leg of {rate_hz} Hz: the Realtime API knows 24000 and 8000")
