"""What a request is answered before a SIP stack sees it, as it is the same whatever the engine.

The stacks are lenient in ways that make two readers of one message read two things, and silent
where the RFC has an answer; so what is no request, or none of ours, is answered here (RFC 3261
§8.2, and the tests of RFC 4475). No I/O.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Literal

from callerside.addresses import Family, family_in_sdp
from callerside.agent.telephony.in_dialog import (
    HIGHEST_NUMBER,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    SDP,
    Answer,
    Header,
    allow,
)
from callerside.agent.telephony.invite import described, is_address, unmet
from callerside.agent.telephony.own_answer import can_be_answered
from callerside.agent.telephony.sip_message import SipMessage, address_of, without_quoted
from callerside.ports import HIGHEST_PORT

_VERSION, _SCHEMES = "SIP/2.0", frozenset({"sip", "sips", "tel"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)")
UNSPEAKABLE = Answer(0, "cannot be answered")
"""An answer repeats headers of its request: with these it would be none (RFC 3261 §25.1)."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_BEFORE_HOST = re.compile(r"sips?:(?:[^@]*@)?", re.IGNORECASE)
_HOST = re.compile(r"[;?/]")
_HEAD_ENDS = re.compile(r"\r?\n\r?\n")
_SINGLE = ("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type")
_NEEDED = ("via", "from", "to", "call-id", "cseq")
_ELSEWHERE = re.compile(r"[^,]*?;\s*maddr\s*=\s*\"?\[?([^\s;,\"\]]*)", re.IGNORECASE)
"""Where the first of those on the way wants its answers, if not where it sent from."""
_TRANSPORT = re.compile(r";[ \t]*transport[ \t]*=[ \t]*([^;?>\s]+)", re.IGNORECASE)
_CSEQ = re.compile(r"(\d+)[ \t]+(\S+)")
_TARGETED = ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER")
"""What is sent to its Contact from then on (RFC 3261 §12.2): it has an address there (§8.1.1.8)."""
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_URI = r'[A-Za-z][A-Za-z0-9+.-]*+:[^\s<>"]++'
_SIP_URI = r'[Ss][Ii][Pp][Ss]?+:[^\s<>"]++'


def _address(uri: str) -> str:
    """What a pattern of a URI is with a name before it, and parameters behind it (§25.1)."""
    return (
        rf'(?:(?:{_QUOTED}\s*|[^<"]*+)<\s*{uri}\s*>|{uri})'
        rf'(?:\s*+;(?:{_QUOTED}|[^,;"<>])*+)*+'
    )


_ONE_ADDRESS = re.compile(_address(_URI))
_TARGETS = re.compile(rf"{_address(_SIP_URI)}(?:\s*,\s*{_address(_SIP_URI)})*")
"""Where a call's requests go: SIP addresses alone (§8.1.1.8, §16.6). Others end the process of
PJSIP, whose assertions they break."""
_NUMBER = re.compile(r"\d+")
_MOST_HOPS = 255
_EXTENSIONS_KNOWN = frozenset({"norefersub", "path", "outbound", "replaces"})
"""Those that ask nothing of us, or are answered elsewhere."""
_SHORTEST_SESSION_S = 90
"""RFC 4028 §5."""
_OPTIONAL = "handling=optional"
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")

_UNREADABLE = Answer(400, "Bad Request")
_NO_SUCH_CALL = Answer(481, "Call/Transaction Does Not Exist")
_BAD_EVENT = Answer(489, "Bad Event")
_FORBIDDEN = Answer(403, "Forbidden")
_BAD_VERSION = Answer(505, "Version Not Supported")
_BAD_SCHEME = Answer(416, "Unsupported URI Scheme")
_NOT_ACCEPTABLE = Answer(406, "Not Acceptable", (("Accept", SDP),))
_UNKNOWN_BODY = Answer(415, "Unsupported Media Type", (("Accept", SDP),))
_UNKNOWN_CODING = Answer(415, "Unsupported Media Type", (("Accept-Encoding", "identity"),))
_TOO_SHORT = Answer(422, "Session Interval Too Small", (("Min-SE", str(_SHORTEST_SESSION_S)),))
_RINGING, _REDIRECTION = 101, 300
_BAD_REQUEST = 400
_NO_DESCRIPTION = Answer(_BAD_REQUEST, "Bad Session Description")
_NO_MEDIA = Answer(488, "Not Acceptable Here")
_ANOTHER_FAMILY = Answer(
    488,
    "Not Acceptable Here",
    (("Warning", '301 callerside "Contact or Record-Route is of another family of addresses"'),),
)
_NO_TRANSPORT = Answer(
    488,
    "Not Acceptable Here",
    (("Warning", '302 callerside "no transport of ours gets to Contact or Record-Route"'),),
)
"""RFC 3261 §20.43: incompatible address formats, and transport protocol."""

_OUTSIDE_CALLS: Mapping[str, Answer | None] = {
    "INVITE": None,
    "ACK": None,
    "CANCEL": None,  # of a transaction, which the stack knows
    "OPTIONS": None,  # says what the engine has
    "BYE": _NO_SUCH_CALL,
    "INFO": _NO_SUCH_CALL,
    "UPDATE": _NO_SUCH_CALL,
    "PRACK": _NO_SUCH_CALL,
    "NOTIFY": _NO_SUCH_CALL,  # RFC 6665 §4.1.3: of no subscription
    "SUBSCRIBE": _BAD_EVENT,  # RFC 6665 §4.2.1.1
    "REGISTER": NOT_ALLOWED,
    "MESSAGE": NOT_ALLOWED,
    "PUBLISH": NOT_ALLOWED,
    "REFER": NOT_ALLOWED,
}
"""What is done outside of calls about each method that there is; None: it is looked at further."""


def fault_of(request: SipMessage) -> Answer | None:
    """What a request is answered that is none, or cannot be served by anybody; None: it can.

    `UNSPEAKABLE` is answered by nothing at all.
    """
    if _CONTROL.search(request.head):
        return UNSPEAKABLE
    line = request.request_line
    if not all(map(_TOKEN.fullmatch, request.header_names)):
        return UNSPEAKABLE  # stacks know headers by a hash, and repeat what is none
    if line is None:
        return _bad("Request-Line")
    method, uri, version = line
    if version.upper() != _VERSION:
        return _BAD_VERSION if version.upper().startswith("SIP/") else UNSPEAKABLE
    return next(
        (fault for look in _LOOKS if (fault := look(request, method, uri)) is not None), None
    )


def answer_to_unread(
    request: SipMessage, source: str, outside: Callable[[SipMessage], Answer | None]
) -> Answer:
    """What is answered that a stack cannot read; a status of 0: nothing.

    Args:
        request: as far as it can be read.
        source: where it came from, "host:port"; empty: nobody knows.
        outside: what it is answered if it is of no call, and without a fault: most needs no stack.
    """
    answer = fault_of(request)
    if answer is None and not request.in_dialog:
        answer = outside(request)
    answer = answer or _UNREADABLE
    has_none = request.status or request.method == "ACK" or not can_be_answered(request, source)
    return replace(answer, status=0) if has_none else answer


def fault_of_response(response: SipMessage) -> str:
    """Why a response cannot be had by anybody; empty: it can.

    One that begins a call, or changes where its requests go (RFC 3261 §12.1.2).
    """
    if response.method not in _TARGETED or not _RINGING <= response.status < _REDIRECTION:
        return ""
    fault = _looks_at_targets(response)
    return "" if fault is None else fault.reason


def next_hop_by_name(request: SipMessage) -> bool:
    """Whether requests to who sends this one would go to a name, which has to be looked up."""
    hop = _next_hop(request)
    if not hop:
        return False
    elsewhere = _ELSEWHERE.match(hop)
    return not is_address(_host_of(hop) if elsewhere is None else elsewhere[1])


def beyond_reach(
    invite: SipMessage,
    transports: Collection[str],
    families: Collection[Family],
    otherwise: str = "udp",
) -> Answer | None:
    """What an INVITE is answered if no request of ours would get to who sent it; None: they would.

    A call whose other end cannot be told that it is over is not taken.

    Args:
        invite: without a fault.
        transports: by which we can send, of "udp", "tcp", "tls".
        families: of our addresses.
        otherwise: by which we send to who names none.
    """
    return _out_of_reach(_next_hop(invite), transports, families, otherwise)


def moves_beyond_reach(
    request: SipMessage,
    transports: Collection[str],
    families: Collection[Family],
    otherwise: str = "udp",
) -> Answer | None:
    """What a request within a call is answered that would have ours go where none gets to.

    The call goes on as it was (RFC 3261 §12.2.2, RFC 3311 §5.2). Of a call whose requests go by a
    proxy do not ask: to its Contact that one sends them. Arguments as of `beyond_reach`.
    """
    contact = request.header("contact")
    return (
        _out_of_reach(address_of(contact)[0], transports, families, otherwise) if contact else None
    )


def _out_of_reach(
    hop: str, transports: Collection[str], families: Collection[Family], otherwise: str
) -> Answer | None:
    elsewhere = _ELSEWHERE.match(hop)
    host = _host_of(hop) if elsewhere is None else elsewhere[1]
    if is_address(host) and family_in_sdp(host) not in families:
        return _ANOTHER_FAMILY
    said = _TRANSPORT.search(hop)
    wanted = said[1].lower() if said else otherwise
    if hop[: len("sips:")].lower() == "sips:":
        wanted = "tls"
    return None if wanted in transports else _NO_TRANSPORT


def _next_hop(request: SipMessage) -> str:
    """The URI to which requests to who sends this one go; empty: it says nothing of that.

    It is the first of those who were on the way and want to stay there, or else the Contact
    (RFC 3261 §12.1.1, §12.2.1.1).
    """
    if request.method not in _TARGETED:
        return ""
    return address_of(request.header("record-route") or request.header("contact"))[0]


def answer_outside_calls(
    request: SipMessage,
    source: str,
    allows: Callable[[str], bool],
    extensions: Collection[str],
) -> Answer | None:
    """What a request of no call is answered; None: it is an INVITE, or of a transaction.

    Args:
        request: without a fault.
        source: where it came from, "host:port".
        allows: whether anything is done for those there.
        extensions: option tags that the engine has.
    """
    if request.method in ("ACK", "CANCEL"):
        return None
    if request.method == "INVITE":
        return None
    if not allows(source):
        return _FORBIDDEN
    if request.in_dialog and request.method in _OUTSIDE_CALLS:
        return _NO_SUCH_CALL
    allowed = allow(extensions)
    answer = _OUTSIDE_CALLS.get(request.method, NOT_IMPLEMENTED) or _here(extensions, allowed)
    if answer in (NOT_IMPLEMENTED, NOT_ALLOWED):
        answer = replace(answer, headers=(allowed,))
    return _unmet_extension(request, extensions) or answer


def _here(extensions: Collection[str], allowed: Header) -> Answer:
    """RFC 3261 §11.2."""
    supported = ", ".join((*sorted(extensions), "norefersub"))
    return Answer(200, "OK", (allowed, ("Accept", SDP), ("Supported", supported)))


Unmet = Literal["extension", "interval", "media", "malformed", "contact"]
"""Why nobody here can have the call that an INVITE asks for: it requires an extension that the
engine does not have; its session timer is too short; its offer names no audio that we have; its
description is none; what we say in it would not get to the caller."""


def unmet_invite(
    invite: SipMessage,
    codecs: Sequence[str],
    extensions: Collection[str],
    family: Family = "IP4",
    has_route: Callable[[str], bool] = lambda _host: True,
) -> tuple[Answer, Unmet] | None:
    """What an INVITE of no call is answered that cannot become one, and why; None: it can.

    Args:
        invite: without a fault.
        codecs: ours.
        extensions: option tags that the engine has.
        family: of our address.
        has_route: whether anything can be sent to an address.
    """
    answer = _unmet_extension(invite, extensions)
    if answer is not None:
        return answer, "extension"
    if "timer" in extensions and _is_short(invite):
        return _TOO_SHORT, "interval"
    answer = unmet_offer(invite, codecs, family)
    if answer is not None:
        return answer, "malformed" if answer is _NO_DESCRIPTION else "media"
    found = described(invite.description, codecs, family) if invite.description else None
    leads_nowhere = found is not None and found.listens and not has_route(found.host)
    return (_NO_MEDIA, "media") if leads_nowhere else None


def unmet_offer(
    request: SipMessage, codecs: Sequence[str], family: Family = "IP4"
) -> Answer | None:
    """What an INVITE or UPDATE is answered whose offer cannot be met; None: it can be, or has none.

    Args:
        request: without a fault.
        codecs: ours.
        family: of our address.
    """
    status = unmet(request.description, codecs, family) if request.description else 0
    if not status:
        return None
    return _NO_DESCRIPTION if status == _BAD_REQUEST else _NO_MEDIA


def _is_short(invite: SipMessage) -> bool:
    """RFC 4028 §9: of whoever could ask again for more."""
    wanted = invite.header("session-expires").partition(";")[0].strip()
    supported = ",".join(invite.headers("supported")).lower()
    return "timer" in supported and wanted.isdecimal() and int(wanted[:20]) < _SHORTEST_SESSION_S


def _unmet_extension(request: SipMessage, extensions: Collection[str]) -> Answer | None:
    """The answer to whoever requires what we do not have (RFC 3261 §8.2.2.3)."""
    wanted = [
        tag.strip().lower() for value in request.headers("require") for tag in value.split(",")
    ]
    unknown = [tag for tag in wanted if tag not in _EXTENSIONS_KNOWN and tag not in extensions]
    if not unknown:
        return None
    told = ", ".join(tag for tag in unknown if _TOKEN.fullmatch(tag))[:_MOST_TOLD_CHARS]
    return Answer(420, "Bad Extension", (("Unsupported", told),))


_MOST_TOLD_CHARS = 200


def _bad(what: str) -> Answer:
    return Answer(400, f"Bad Request ({what})")


def _looks_at_headers(request: SipMessage, _method: str, _uri: str) -> Answer | None:
    if not all(request.header(name) for name in _NEEDED):
        return UNSPEAKABLE  # an answer has all of them (§8.2.6.2)
    elsewhere = _ELSEWHERE.match(request.header("via"))
    if elsewhere is not None and not is_address(elsewhere[1]):
        return UNSPEAKABLE  # an answer waits for the resolver of whoever made the name
    for name in _SINGLE:
        if len(request.headers(name)) > 1:
            return _bad(f"more than one {name}")
    return None


def _looks_at_numbers(request: SipMessage, method: str, _uri: str) -> Answer | None:
    cseq = _CSEQ.fullmatch(request.header("cseq"))
    if cseq is None or int(cseq[1][:20]) > HIGHEST_NUMBER or cseq[2] != method:
        return _bad("CSeq")
    hops = request.header("max-forwards")
    if hops and (not _NUMBER.fullmatch(hops) or int(hops[:20]) > _MOST_HOPS):
        return _bad("Max-Forwards")
    return None


def _looks_at_length(request: SipMessage, _method: str, _uri: str) -> Answer | None:
    """More than there is, is a message cut short: its beginning may say something else (§18.3)."""
    length = request.header("content-length")
    if not length:
        return None if _HEAD_ENDS.search(request.text) else _bad("no end of headers")
    size = len(request.body.encode(errors="surrogateescape"))
    if not _NUMBER.fullmatch(length) or int(length[:20]) > size:
        return _bad("Content-Length")
    return None


def _looks_at_addresses(request: SipMessage, method: str, uri: str) -> Answer | None:
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return _bad("Request-URI")
    if scheme[0].lower() not in _SCHEMES:
        return _BAD_SCHEME
    if scheme[0].lower() != "tel" and _is_no_host(uri):
        return _bad("Request-URI")
    for name in ("from", "to", "contact"):
        if any('"' in without_quoted(value) for value in request.headers(name)):
            return _bad(f"quotes in {name}")
    # What follows breaks the memory of baresip's stack, when the call is over.
    for name in ("from", "to"):
        if not _ONE_ADDRESS.fullmatch(request.header(name)):
            return _bad(f"no address in {name}")
    if method == "INVITE" and not any(request.headers("contact")):
        return _bad("no Contact")
    return _looks_at_targets(request) if method in _TARGETED else None


def _looks_at_targets(message: SipMessage) -> Answer | None:
    for name in ("contact", "record-route"):
        values = message.headers(name)
        if not all(map(_TARGETS.fullmatch, values)) or any(map(_leads_nowhere, values)):
            return _bad(f"no address in {name.title()}")
    return None


def _leads_nowhere(value: str) -> bool:
    """Whether the first address of a header's value has a host or a port that none can be."""
    uri = address_of(value)[0]
    port = _with_port(uri).rpartition("]")[2].partition(":")[2]
    is_port = not port or (_NUMBER.fullmatch(port) and int(port[:20]) <= HIGHEST_PORT)
    return not is_port or _is_no_host(uri)


def _is_no_host(uri: str) -> bool:
    """Whether an IPv6 address of a URI is none, or has no brackets (RFC 3261 §25.1).

    Nor has one a zone there, which means nothing on another machine.
    """
    host = _with_port(uri)
    if not host.startswith("["):
        return host.count(":") > 1
    address = host[1:].partition("]")[0]
    try:
        ip_address(address)
    except ValueError:
        return True
    return "%" in address


def _host_of(uri: str) -> str:
    host = _with_port(uri)
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _with_port(uri: str) -> str:
    return _HOST.split(_BEFORE_HOST.sub("", uri, count=1), maxsplit=1)[0]


def _looks_at_wishes(request: SipMessage, method: str, _uri: str) -> Answer | None:
    """Whoever takes no description of a session can have no call (§8.2.1, §13.3.1.1)."""
    wanted = request.headers("accept")
    if method != "INVITE" or not wanted:
        return None
    kinds = {one.partition(";")[0].strip().lower() for value in wanted for one in value.split(",")}
    return None if kinds & {SDP, "*/*", "application/*"} else _NOT_ACCEPTABLE


def _looks_at_body(request: SipMessage, method: str, _uri: str) -> Answer | None:
    if method not in ("INVITE", "UPDATE") or not request.body.strip():
        return None
    if request.header("content-encoding").lower() not in ("", "identity"):
        return _UNKNOWN_CODING
    kind = request.header("content-type").partition(";")[0].strip().lower()
    is_optional = _OPTIONAL in request.header("content-disposition").replace(" ", "").lower()
    if kind in (SDP, "") or kind.startswith("multipart/") or is_optional:
        return None
    return _UNKNOWN_BODY


_LOOKS = (
    _looks_at_headers,
    _looks_at_numbers,
    _looks_at_length,
    _looks_at_addresses,
    _looks_at_wishes,
    _looks_at_body,
)
