"""The configuration of a SIP proxy (Kamailio 5.6 or later) that spreads calls over the workers.

It is made from the agent's own settings, so that the two cannot disagree about addresses.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from callerside.addresses import in_uri, joined
from callerside.agent.config.settings import Settings
from callerside.agent.deploy.kamailio_browsers import (
    Browsers,
    browser_parts,
    rtpengine_file,
    tls_file,
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


def render(proxy: Proxy, folder: Path) -> dict[Path, str]:
    """The files, by where they belong.

    Raises:
        KamailioError: the settings cannot be right.
    """
    _check(proxy)
    list_file = folder.absolute() / LIST_NAME
    source = (
        resources.files("callerside.agent.deploy").joinpath("kamailio.cfg.in").read_text("utf-8")
    )
    config = _Template(source).substitute(
        children=CHILDREN,
        listen="\n".join(_listen(proxy, transport) for transport in proxy.transports),
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
        **browser_parts(proxy.browsers, proxy.public_host, folder.absolute() / TLS_NAME),
    )
    files = {folder.absolute() / CONFIG_NAME: config, list_file: _worker_list(proxy)}
    if proxy.browsers is not None:
        files[folder.absolute() / TLS_NAME] = tls_file(proxy.browsers)
        files[folder.absolute() / RTPENGINE_NAME] = rtpengine_file(
            proxy.browsers, proxy.public_host
        )
    return files


def proxy_for(
    settings: Settings,
    listen: str,
    *,
    workers: int,
    public_host: str | None = None,
    browsers: Browsers | None = None,
) -> Proxy:
    """The proxy that fits an agent's settings.

    Args:
        settings: the agent's.
        listen: `HOST:PORT` that the proxy shall take calls at; HOST an IP address, PORT 5060 if
            left out.
        workers: how many there are.
        public_host: see `Proxy`.
        browsers: likewise.

    Raises:
        KamailioError: the two cannot work together.
    """
    host, port = parse_listen(listen)
    return Proxy(
        host=host,
        port=port,
        public_host=public_host,
        transports=_plain(settings.sip.transports),
        workers=worker_addresses(settings.sip.host, settings.sip.port, workers),
        workers_known_as=settings.sip.public_host,
        allowed_peers=tuple(settings.sip.allowed_peers),
        retry_after_s=settings.sip.retry_after_s,
        drops_strangers=settings.sip.strangers == "drop",
        requests_per_source_per_s=settings.sip.requests_per_source_per_s * workers,
        requests_per_s=settings.sip.requests_per_s * workers,
        drops_over_limit=settings.sip.over_limit == "drop",
        browsers=browsers,
    )


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
    if joined(proxy.host, proxy.port) in proxy.workers:
        raise KamailioError(
            f"the proxy cannot listen on {joined(proxy.host, proxy.port)}: it is a worker's; "
            "set sip.port to another one, or let the proxy listen elsewhere"
        )
    peers = [ip_network(peer, strict=False) for peer in proxy.allowed_peers]
    if peers and not _is_any(proxy.host) and not any(_in(proxy.host, peer) for peer in peers):
        raise KamailioError(
            f"the workers would refuse the proxy: {proxy.host} is not in sip.allowed_peers; add it "
            "(the proxy itself refuses all others on the workers' behalf)"
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


def _listen(proxy: Proxy, transport: str) -> str:
    line = f"listen={transport}:{joined(proxy.host, proxy.port)}"
    return (
        line
        if proxy.public_host is None
        else f"{line} advertise {joined(proxy.public_host, proxy.port)}"
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
    host = proxy.workers[0].rpartition(":")[0]
    return f"""    if ($rd == "{in_uri(proxy.workers_known_as)}") {{
        $var(host) = "{host}";
    }}"""


def _worker_transport(proxy: Proxy) -> str:
    """How workers are reached: those that take no UDP by TCP."""
    return "udp" if "udp" in proxy.transports else "tcp"


def _worker_list(proxy: Proxy) -> str:
    transport = _worker_transport(proxy)
    lines = [f"1 sip:{worker};transport={transport}" for worker in proxy.workers]
    return "\n".join(["# set, where the worker takes calls", *lines, ""])


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
