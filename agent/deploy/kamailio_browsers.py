"""What a proxy's configuration has for callers who call from web pages.

Kamailio ends TLS and the WebSocket, rtpengine ICE, DTLS and SRTP: to the workers such a call is one
of plain SIP and RTP. rtpengine forwards packets by itself where the kernel lacks its module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from callerside.addresses import joined

RTPENGINE_AT = "127.0.0.1:2223"
"""Where Kamailio tells rtpengine of calls."""
DEFAULT_MEDIA_PORTS = (30_000, 39_999)

_PLAIN = "RTP/AVP ICE=remove SDES-off rtcp-mux-demux replace-origin replace-session-connection"
_SECURE = (
    "UDP/TLS/RTP/SAVPF ICE=force SDES-off rtcp-mux-offer generate-mid replace-origin "
    "replace-session-connection"
)
"""What rtpengine makes of a description."""

_HAS_TWO_SIDES = """\
modparam("nathelper", "received_avp", "$avp(received)")
modparam("websocket", "keepalive_mechanism", 1) # pings: a page that is gone is noticed
modparam("websocket", "keepalive_timeout", 30)
"""

_ROUTES = """\
# What comes by WebSocket is answered on the connection by which it came.
event_route[xhttp:request] {
    if (!($hdr(Upgrade) =~ "websocket")) {
        xhttp_reply("404", "Not Found", "", "");
        exit;
    }
@{origins}    ws_handle_handshake();
    exit;
}

route[BROWSER] {
    if ($proto =~ "^ws") {
        force_rport();
        if (is_method("INVITE|UPDATE")) {
            add_contact_alias();
        }
    }
}

# A worker's request inside a call goes to the connection of the page that called.
route[TO_BROWSER] {
    handle_ruri_alias();
    if ($du =~ "transport=ws") {
        setflag(1);
    }
}

# Sound of browsers is encrypted, and that of workers is not: rtpengine stands between.
route[MEDIA] {
    if (!is_method("INVITE|UPDATE")) {
        return;
    }
    if ($proto =~ "^ws") {
        t_on_reply("SECURE");
        if (has_body("application/sdp")) {
            rtpengine_offer("@{plain}");
        }
    } else if (isflagset(1)) {
        t_on_reply("PLAIN");
        if (has_body("application/sdp")) {
            rtpengine_offer("@{secure}");
        }
    }
}

onreply_route[SECURE] {
    if (has_body("application/sdp")) {
        rtpengine_answer("@{secure}");
    }
}

onreply_route[PLAIN] {
    if (has_body("application/sdp")) {
        rtpengine_answer("@{plain}");
    }
}

route[MEDIA_ENDS] {
    if ($proto =~ "^ws" || isflagset(1)) {
        rtpengine_delete();
    }
}
"""

_NO_ROUTES = """\
route[BROWSER] {
    return; # there are none: see `callerside-agent kamailio --browsers`
}

route[TO_BROWSER] {
    return;
}

route[MEDIA] {
    return;
}

route[MEDIA_ENDS] {
    return;
}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Browsers:
    """Those who call from web pages: SIP over WebSocket (RFC 7118) and TLS, sound by WebRTC."""

    host: str
    """The address that they are listened to at, an IP address; their sound goes there, too."""
    port: int
    certificate: Path
    """In PEM, with what it was signed with."""
    key: Path
    origins: Sequence[str] = ()
    """Of the pages that may call (RFC 6454 §6.2); empty: anybody's."""
    rtpengine: str = RTPENGINE_AT
    media_ports: tuple[int, int] = DEFAULT_MEDIA_PORTS
    """Of their sound, the first and the last."""


def browser_parts(
    browsers: Browsers | None, public_host: str | None, tls_file: Path
) -> Mapping[str, str]:
    """What stands in the configuration's places for them; each as whole lines."""
    if browsers is None:
        names = ("but_browsers", "tls_core", "load_browsers", "browsers_may_call")
        return {**dict.fromkeys(names, ""), "browser_routes": _NO_ROUTES}
    listen = f"listen=tls:{joined(browsers.host, browsers.port)}"
    if public_host is not None:
        listen += f" advertise {joined(public_host, browsers.port)}"
    modules = ("tls", "xhttp", "websocket", "nathelper", "rtpengine")
    load = "".join(f'loadmodule "{name}.so"\n' for name in modules)
    routes = _ROUTES.replace("@{origins}", _origins(browsers))
    routes = routes.replace("@{plain}", _PLAIN).replace("@{secure}", _SECURE)
    return {
        "but_browsers": ",\n# but for browsers, between whom and the workers rtpengine stands",
        "tls_core": f"enable_tls=yes\ntcp_accept_no_cl=yes\n{listen}\n",
        "load_browsers": load
        + f'modparam("tls", "config", "{tls_file}")\n'
        + f'modparam("rtpengine", "rtpengine_sock", "udp:{browsers.rtpengine}")\n'
        + _HAS_TWO_SIDES,
        "browsers_may_call": """\
    if ($proto =~ "^ws") {
        return; # a page that may call is anywhere
    }
""",
        "browser_routes": routes,
    }


def _origins(browsers: Browsers) -> str:
    if not browsers.origins:
        return ""
    tests = " && ".join(f'$hdr(Origin) != "{origin}"' for origin in browsers.origins)
    return f"""\
    if ({tests}) {{
        xhttp_reply("403", "Forbidden", "", "");
        exit;
    }}
"""


def tls_file(browsers: Browsers) -> str:
    """Kamailio's own, of certificates."""
    return f"""\
[server:default]
method = TLSv1.2+
certificate = {browsers.certificate}
private_key = {browsers.key}
verify_certificate = no
require_certificate = no

[client:default]
verify_certificate = yes
require_certificate = yes
"""


def rtpengine_file(browsers: Browsers, public_host: str | None) -> str:
    """rtpengine's; `table` is that of the kernel's module, -1: it does without."""
    first, last = browsers.media_ports
    interface = browsers.host if public_host is None else f"{browsers.host}!{public_host}"
    return f"""\
[rtpengine]
table = -1
interface = {interface}
listen-ng = {browsers.rtpengine}
port-min = {first}
port-max = {last}
timeout = 60
silent-timeout = 3600
delete-delay = 0
"""
