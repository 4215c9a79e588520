"""What a proxy's configuration has for callers who call from web pages.

Kamailio ends TLS and the WebSocket, rtpengine ICE, DTLS and SRTP: to the workers such a call is one
of plain SIP and RTP. rtpengine forwards packets by itself where the kernel lacks its module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from callerside.addresses import joined
from callerside.agent.deploy.kamailio_media import MediaParts

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

"""

_NO_ROUTES = """\
route[BROWSER] {
    return; # there are none: see `callerside-agent kamailio --browsers`
}
"""

_TO_PAGE = """\
    handle_ruri_alias();
    if ($du =~ "transport=ws") {
        setflag(1);
    }
"""
"""A worker's request inside a call goes to the connection of the page that called."""

_MEDIA_OF_PAGES = """\
    # Sound of browsers is encrypted, and that of workers is not: rtpengine stands between.
    if ($proto =~ "^ws") {
        t_on_reply("SECURE");
        if (has_body("application/sdp")) {
            rtpengine_offer("@{plain}");
        }
        return;
    }
    if (isflagset(1)) {
        t_on_reply("PLAIN");
        if (has_body("application/sdp")) {
            rtpengine_offer("@{secure}");
        }
        return;
    }
"""

_REPLIES_OF_PAGES = """\
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


def browser_parts(
    browsers: Browsers | None, public_host: str | None, tls_file: Path
) -> Mapping[str, str]:
    """What stands in the configuration's places for them; each as whole lines."""
    if browsers is None:
        names = ("tls_core", "load_browsers", "browsers_may_call")
        return {**dict.fromkeys(names, ""), "browser_routes": _NO_ROUTES}
    listen = f"listen=tls:{joined(browsers.host, browsers.port)}"
    if public_host is not None:
        listen += f" advertise {joined(public_host, browsers.port)}"
    modules = ("tls", "xhttp", "websocket", "nathelper")
    load = "".join(f'loadmodule "{name}.so"\n' for name in modules)
    routes = _ROUTES.replace("@{origins}", _origins(browsers))
    return {
        "tls_core": f"enable_tls=yes\ntcp_accept_no_cl=yes\n{listen}\n",
        "load_browsers": load + f'modparam("tls", "config", "{tls_file}")\n' + _HAS_TWO_SIDES,
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


def media_of_pages() -> MediaParts:
    """What is done about sound of browsers."""

    def filled(text: str) -> str:
        return text.replace("@{plain}", _PLAIN).replace("@{secure}", _SECURE)

    return MediaParts(
        to_caller=_TO_PAGE,
        media=filled(_MEDIA_OF_PAGES),
        replies=filled(_REPLIES_OF_PAGES),
        is_ours='$proto =~ "^ws" || isflagset(1)',
    )
