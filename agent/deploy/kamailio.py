"""The configuration of a SIP proxy (Kamailio 5.6 or later) that spreads calls over the workers.

It is made from the agent's own settings, so that the two cannot disagree about addresses.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from callerside.addresses import Family, family_in_sdp, host_of, in_uri, joined
from callerside.agent.config.settings import Settings
from callerside.agent.deploy.kamailio_browsers import (
    Browsers,
    browser_parts,
    media_of_pages,
    tls_file,
)
from callerside.agent.deploy.kamailio_media import (
    MediaParts,
    Rtpengine,
    load_rtpengine,
    media_routes,
    rtpengine_file,
    translated,
)
from callerside.atomic_files import write_atomically

WORKER_TIMEOUT_MS = 900
"""Two INVITEs (RFC 3261 §17.1.1.2: after 0 and 500 ms) without an answer; or two OPTIONS."""

PROBE_INTERVAL_S = 1
"""With the above, a worker or host is found dead within two seconds."""
CHILDREN = 4
LIMIT_WINDOW_S = 2
"""An address may ask at once as often as it may in so many seconds, as with the agent itself."""
DEFAULT_PORT = 5060
CONFIG_NAME = "kamailio.cfg"
LIST_NAME = "dispatcher.list"
TLS_NAME = "tls.cfg"
RTPENGINE_NAME = "rtpengine.conf"


class KamailioError(ValueError):
    """No working configuration can be made of these settings: says which, and what to do."""


class _Template(string.Template):
    """`@{name}`, as `$` is Kamailio's own."""

    delimiter = "@"
    idpattern = None  # type: ignore[assignment] # only names in braces
    braceidpattern = "[a-z_]+"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """Where the proxy is and whom it serves."""

    host: str
    """The address that it listens on, an IP address."""
    port: int = DEFAULT_PORT
    public_host: str | None = None
    """What callers know it by, where NAT hides `host`."""
    transports: Sequence[str] = ("udp", "tcp")
    workers: Sequence[str]
    """`host:port` of each."""
    workers_known_as: str | None = None
    """The host that they themselves advertise to callers, where it is not the one in `workers`."""
    allowed_peers: Sequence[str] = ()
    """Networks (CIDR) that may call; empty: everybody."""
    retry_after_s: int = 5
    drops_strangers: bool = False
    """Whether others get no answer at all."""
    requests_per_source_per_s: int = 0
    """Of one address; 0: any number."""
    requests_per_s: int = 0
    """Calls of all that may call; 0: any number."""
    drops_over_limit: bool = False
    """Whether those who ask more often get no answer at all."""
    browsers: Browsers | None = None
    """None: calls come from telephones alone."""
    second: "Side | None" = None
    """Where it listens, too, and workers of that family; where it translates, the same workers."""
    translates: bool = False
    """Whether rtpengine translates between the families."""
    rtpengine: Rtpengine = field(default_factory=Rtpengine)
    """If it does, or for browsers."""

    @property
    def sides(self) -> Sequence["Side"]:
        """Each place where it listens, with the workers that calls from there go to."""
        first = Side(host=self.host, port=self.port, workers=self.workers)
        return (first,) if self.second is None else (first, self.second)


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A place where a proxy listens, and workers of its family: sound does not change it."""

    host: str
    port: int
    workers: Sequence[str]


def render(proxy: Proxy, folder: Path) -> dict[Path, str]:
    """The files, by where they belong.

    Raises:
        KamailioError: the settings cannot be right.
    """
    _check(proxy)
    kinds = _media_kinds(proxy)
    list_file = folder.absolute() / LIST_NAME
    source = (
        resources.files("callerside.agent.deploy").joinpath("kamailio.cfg.in").read_text("utf-8")
    )
    config = _Template(source).substitute(
        children=CHILDREN,
        listen="\n".join(
            _listen(proxy, side, transport)
            for side in proxy.sides
            for transport in proxy.transports
        ),
        workers_of=_workers_of(proxy),
        worker_timeout_ms=WORKER_TIMEOUT_MS,
        probe_interval_s=PROBE_INTERVAL_S,
        probe_from=in_uri(proxy.host),
        list_file=list_file,
        allowed_peers=_allowed(proxy),
        load_limits=_load_limits(proxy),
        source_limit=_source_limit(proxy),
        limit=_limit(proxy),
        over_limit=_over_limit(proxy),
        known_as=_known_as(proxy),
        worker_transport=_worker_transport(proxy),
        retry_after_s=proxy.retry_after_s,
        but_rtpengine=",\n# but for those between whom rtpengine stands" if kinds else "",
        load_rtpengine=load_rtpengine(proxy.rtpengine) if kinds else "",
        media_routes=media_routes(kinds),
        **browser_parts(proxy.browsers, proxy.public_host, folder.absolute() / TLS_NAME),
    )
    files = {folder.absolute() / CONFIG_NAME: config, list_file: _worker_list(proxy)}
    if proxy.browsers is not None:
        files[folder.absolute() / TLS_NAME] = tls_file(proxy.browsers)
    if kinds:
        hosts = [proxy.browsers.host] if proxy.browsers is not None else []
        hosts += [side.host for side in proxy.sides if proxy.translates]
        files[folder.absolute() / RTPENGINE_NAME] = rtpengine_file(
            proxy.rtpengine, list(dict.fromkeys(hosts)), proxy.public_host
        )
    return files


def _media_kinds(proxy: Proxy) -> Sequence[MediaParts]:
    """Of calls between whose ends rtpengine stands."""
    kinds = [media_of_pages()] if proxy.browsers is not None else []
    if proxy.translates:
        kinds.append(translated(family_in_sdp(host_of(proxy.workers[0]))))
    return kinds


def proxy_for(
    settings: Settings,
    listen: Sequence[str],
    *,
    workers: int,
    public_host: str | None = None,
    browsers: Browsers | None = None,
    translates: bool = False,
    rtpengine: Rtpengine | None = None,
) -> Proxy:
    """The proxy that fits an agent's settings.

    Args:
        settings: the agent's.
        listen: `HOST:PORT` that the proxy shall take calls at; HOST an IP address, PORT 5060 if
            left out. Two of them are of both families.
        workers: how many there are.
        public_host: see `Proxy`.
        browsers: likewise.
        translates: likewise.
        rtpengine: likewise; None: where it usually is.

    Raises:
        KamailioError: the two cannot work together.
    """
    first, *others = [_side(settings, one, workers, translates=translates) for one in listen]
    if len(others) > 1 or any(_family(one) == _family(first) for one in others):
        raise KamailioError(
            f"--listen {' --listen '.join(listen)}: expected one address, or one of IPv4 and one "
            "of IPv6"
        )
    if translates and not others:
        raise KamailioError("--translate: expected --listen twice, at an address of either family")
    return Proxy(
        host=first.host,
        port=first.port,
        second=others[0] if others else None,
        translates=translates,
        rtpengine=rtpengine or Rtpengine(),
        public_host=public_host,
        transports=_plain(settings.sip.transports),
        workers=first.workers,
        workers_known_as=settings.sip.public_host,
        allowed_peers=tuple(settings.sip.allowed_peers),
        retry_after_s=settings.sip.retry_after_s,
        drops_strangers=settings.sip.strangers == "drop",
        requests_per_source_per_s=settings.sip.requests_per_source_per_s * workers,
        requests_per_s=settings.sip.requests_per_s * workers,
        drops_over_limit=settings.sip.over_limit == "drop",
        browsers=browsers,
    )


def _side(settings: Settings, listen: str, workers: int, *, translates: bool) -> Side:
    """A place to listen at, before workers of its family.

    Raises:
        KamailioError: it is none, or the workers have no address of its family.
    """
    host, port = parse_listen(listen)
    sip = settings.sip
    own = {family_in_sdp(one): one for one in (sip.host, sip.second_host or sip.host)}
    family = family_in_sdp(host)
    if translates:
        if _is_any(host) or len(own) > 1:
            raise KamailioError(
                f"--translate, --listen {listen}: expected an address of this machine, and workers "
                "of one family (no sip.second_host)"
            )
        family = family_in_sdp(sip.host)
    if family not in own:
        raise KamailioError(
            f"--listen {listen}: the workers have no address of its family, and sound goes past "
            f"the proxy; give them one (sip.host is {sip.host}): sip.second_host, with sip.engine: "
            "baresip (docs/engines.md); or have rtpengine translate (--translate)"
        )
    return Side(host=host, port=port, workers=worker_addresses(own[family], sip.port, workers))


def _family(side: Side) -> Family:
    return family_in_sdp(side.host)


def _plain(transports: Sequence[str]) -> tuple[str, ...]:
    """Over which the workers are called: TLS ends in the proxy.

    Raises:
        KamailioError: there is no such way.
    """
    plain = tuple(one for one in transports if one != "tls")
    if not plain:
        raise KamailioError(
            "sip.transports is tls alone: the proxy speaks to the workers without TLS; add udp"
        )
    return plain


def write(files: Mapping[Path, str]) -> None:
    """Write files, each whole or not at all.

    Raises:
        OSError: one cannot be written.
    """
    for path, text in files.items():
        write_atomically(path, text.encode())


def worker_addresses(host: str, first_port: int, count: int) -> list[str]:
    """Where the workers of one agent take calls: one port after the other.

    Raises:
        KamailioError: the proxy could not know where that is.
    """
    if not first_port:
        raise KamailioError(
            "sip.port is 0, so every worker takes any free port: a proxy needs to know them; "
            "set sip.port to the first of as many free ones as there are workers"
        )
    if _is_any(host):
        raise KamailioError(
            f"sip.host is {host}, which is no address to send calls to: set sip.host to the one "
            "that the proxy shall reach the workers at (127.0.0.1 on the same host)"
        )
    return [joined(host, first_port + index) for index in range(count)]


def _check(proxy: Proxy) -> None:
    peers = [ip_network(peer, strict=False) for peer in proxy.allowed_peers]
    for side in proxy.sides:
        here = joined(side.host, side.port)
        if here in side.workers:
            raise KamailioError(
                f"the proxy cannot listen on {here}: it is a worker's; "
                "set sip.port to another one, or let the proxy listen elsewhere"
            )
        if peers and not _is_any(side.host) and not any(_in(side.host, peer) for peer in peers):
            raise KamailioError(
                f"the workers would refuse the proxy: {side.host} is not in sip.allowed_peers; add "
                "it (the proxy itself refuses all others on the workers' behalf)"
            )
    pages = proxy.browsers
    if pages is not None and all(family_in_sdp(pages.host) != _family(one) for one in proxy.sides):
        raise KamailioError(
            f"--browsers {joined(pages.host, pages.port)}: the proxy has no workers of its family: "
            "expected an address of that of --listen"
        )


def parse_listen(listen: str) -> tuple[str, int]:
    """Where a proxy is to listen.

    Raises:
        KamailioError: it is no address.
    """
    parts = urlsplit(f"//{listen}")
    try:
        host, port = str(ip_address(parts.hostname or "")), parts.port or DEFAULT_PORT
    except ValueError:
        raise KamailioError(
            f"cannot listen on {listen!r}: expected IP-ADDRESS or IP-ADDRESS:PORT, such as "
            "192.0.2.1:5060 or [2001:db8::1]:5060"
        ) from None
    return host, port


def _in(host: str, network: object) -> bool:
    address = ip_address(host)
    return address in network  # type: ignore[operator] # IPv4Network | IPv6Network


def _workers_of(proxy: Proxy) -> str:
    """Which set of workers a call goes to; sound is of the family of SIP."""
    if proxy.second is None or proxy.translates:
        return "    $var(workers) = 1;"
    first, second = ("1", "2") if _family(proxy.second) == "IP6" else ("2", "1")
    return f"""    # Sound goes past here: calls of each family go to workers of it.
    $var(workers) = {first};
    if (af == INET6) {{
        $var(workers) = {second};
    }}"""


def _listen(proxy: Proxy, side: Side, transport: str) -> str:
    line = f"listen={transport}:{joined(side.host, side.port)}"
    return (
        line
        if proxy.public_host is None
        else f"{line} advertise {joined(proxy.public_host, side.port)}"
    )


def _load_limits(proxy: Proxy) -> str:
    lines = []
    if proxy.requests_per_source_per_s:
        at_once = proxy.requests_per_source_per_s * LIMIT_WINDOW_S
        lines += [
            'loadmodule "pike.so"',
            f'modparam("pike", "sampling_time_unit", {LIMIT_WINDOW_S})',
            f'modparam("pike", "reqs_density_per_unit", {at_once})',
            f'modparam("pike", "remove_latency", {2 * LIMIT_WINDOW_S})',
            'modparam("pike", "pike_log_level", -1) # it has a line for each that it stops',
        ]
    if proxy.requests_per_s:
        lines += [
            'loadmodule "ratelimit.so"',
            'modparam("ratelimit", "timer_interval", 1)',
            f'modparam("ratelimit", "pipe", "0:TAILDROP:{proxy.requests_per_s}")',
            'modparam("ratelimit", "queue", "0:INVITE")',
        ]
    return "".join(f"{line}\n" for line in lines)


def _source_limit(proxy: Proxy) -> str:
    if not proxy.requests_per_source_per_s:
        return "    return; # as often as it likes: sip.requests_per_source_per_s is 0"
    return """    if (!pike_check_req()) {
        route(OVER_LIMIT);
    }"""


def _limit(proxy: Proxy) -> str:
    if not proxy.requests_per_s:
        return "    return; # as many as there are: sip.requests_per_s is 0"
    return """    if (!rl_check("0")) {
        route(OVER_LIMIT);
    }"""


def _over_limit(proxy: Proxy) -> str:
    if proxy.drops_over_limit:
        return "    # sip.over_limit is drop"
    return f"""    if (!is_method("ACK")) {{
        append_to_reply("Retry-After: {proxy.retry_after_s}\\r\\n");
        sl_send_reply("503", "Service Unavailable");
    }}"""


def _allowed(proxy: Proxy) -> str:
    peers = proxy.allowed_peers
    if not peers:
        return "    return; # everybody may call: sip.allowed_peers is empty"
    tests = " || ".join(f'is_in_subnet("$si", "{peer}")' for peer in peers)
    refusal = "" if proxy.drops_strangers else '    sl_send_reply("403", "Forbidden");\n'
    return f"""    if ({tests}) {{
        return;
    }}
{refusal}    exit;"""


def _known_as(proxy: Proxy) -> str:
    if proxy.workers_known_as is None:
        return "    # workers are known by the address that they take calls at"
    host = in_uri(host_of(proxy.workers[0]))
    return f"""    if ($rd == "{in_uri(proxy.workers_known_as)}") {{
        $var(host) = "{host}";
    }}"""


def _worker_transport(proxy: Proxy) -> str:
    """How workers are reached: those that take no UDP by TCP."""
    return "udp" if "udp" in proxy.transports else "tcp"


def _worker_list(proxy: Proxy) -> str:
    transport = _worker_transport(proxy)
    lines = [
        f"{number} sip:{worker};transport={transport}"
        for number, side in enumerate(proxy.sides[: 1 if proxy.translates else None], start=1)
        for worker in side.workers
    ]
    return "\n".join(["# set, where the worker takes calls", *lines, ""])


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
