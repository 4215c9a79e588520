"""What a proxy's configuration has for sound that cannot go past it: rtpengine stands between.

That is sound of web pages (`kamailio_browsers`), which is encrypted, and that of calls of a family
(IPv4, IPv6) of which the workers have no address. rtpengine forwards packets by itself where the
kernel lacks its module.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from callerside.addresses import Family

RTPENGINE_AT = "127.0.0.1:2223"
"""Where Kamailio tells rtpengine of calls."""
DEFAULT_MEDIA_PORTS = (30_000, 39_999)

_KEPT = "ICE=remove replace-origin replace-session-connection"
"""What rtpengine makes of a description besides."""
_KEYWORDS: dict[Family, str] = {"IP4": "INET", "IP6": "INET6"}
_IS_IPV6 = '$rd =~ "^\\["'


@dataclass(frozen=True, kw_only=True, slots=True)
class Rtpengine:
    """Where it is told of calls, and what it listens at."""

    at: str = RTPENGINE_AT
    ports: tuple[int, int] = DEFAULT_MEDIA_PORTS
    """Of sound, the first and the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaParts:
    """What is done about one kind of calls; each as whole lines."""

    to_caller: str
    """About a worker's request, which goes to a caller."""
    media: str
    """About a description on its way."""
    replies: str
    """Routes of what answers it."""
    is_ours: str
    """A condition: whether a call is of this kind."""


def translated(workers: Family) -> MediaParts:
    """What is done about calls of another family than the workers'."""
    theirs: Family = "IP4" if workers == "IP6" else "IP6"
    is_theirs = _IS_IPV6 if theirs == "IP6" else f"!({_IS_IPV6})"
    return MediaParts(
        to_caller=f"""\
    if ({is_theirs}) {{
        setflag(2);
    }}
""",
        media=f"""\
    # Of a family of which the workers have no address: rtpengine has addresses of both.
    if (af == {_KEYWORDS[theirs]}) {{
        t_on_reply("TO_CALLER");
        if (has_body("application/sdp")) {{
            rtpengine_offer("{_KEPT} address-family={workers}");
        }}
        return;
    }}
    if (isflagset(2)) {{
        t_on_reply("TO_WORKER");
        if (has_body("application/sdp")) {{
            rtpengine_offer("{_KEPT} address-family={theirs}");
        }}
        return;
    }}
""",
        replies=f"""\
onreply_route[TO_CALLER] {{
    if (has_body("application/sdp")) {{
        rtpengine_answer("{_KEPT} address-family={theirs}");
    }}
}}

onreply_route[TO_WORKER] {{
    if (has_body("application/sdp")) {{
        rtpengine_answer("{_KEPT} address-family={workers}");
    }}
}}
""",
        is_ours=f"af == {_KEYWORDS[theirs]} || isflagset(2)",
    )


def media_routes(kinds: Sequence[MediaParts]) -> str:
    """The routes in which something is done about sound."""
    to_caller = "".join(one.to_caller for one in kinds)
    media = "".join(one.media for one in kinds)
    ends = " || ".join(one.is_ours for one in kinds)
    if not kinds:
        return "\n".join(
            f"route[{name}] {{\n    return; # sound goes past here\n}}\n"
            for name in ("TO_CALLER", "MEDIA", "MEDIA_ENDS")
        )
    replies = "\n".join(one.replies for one in kinds)
    return f"""\
route[TO_CALLER] {{
{to_caller}}}

route[MEDIA] {{
    if (!is_method("INVITE|UPDATE")) {{
        return;
    }}
{media}}}

{replies}
route[MEDIA_ENDS] {{
    if ({ends}) {{
        rtpengine_delete();
    }}
}}
"""


def load_rtpengine(rtpengine: Rtpengine) -> str:
    """Kamailio's module."""
    return (
        'loadmodule "rtpengine.so"\n'
        f'modparam("rtpengine", "rtpengine_sock", "udp:{rtpengine.at}")\n'
    )


def rtpengine_file(rtpengine: Rtpengine, hosts: Sequence[str], public_host: str | None) -> str:
    """Rtpengine's own; `table` is that of the kernel's module, -1: it does without."""
    first, last = rtpengine.ports
    known_as = "" if public_host is None else f"!{public_host}"
    interfaces = ";".join(f"{host}{known_as}" for host in hosts)
    return f"""\
[rtpengine]
table = -1
interface = {interfaces}
listen-ng = {rtpengine.at}
port-min = {first}
port-max = {last}
timeout = 60
silent-timeout = 3600
delete-delay = 0
"""
