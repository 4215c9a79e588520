"""An answer to a request that no stack could read, made of its own headers. No I/O."""

import re
import secrets
from hashlib import blake2b

from callerside.addresses import host_of, port_of
from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.sip_message import SipMessage

_SECRET = secrets.token_bytes(16)
_SENT_BY = re.compile(
    r"SIP/2\.0/\S+[ \t]+(\[[0-9A-Fa-f:.]+\]|[^\s;:,\[\]]+)(?::(\d{1,5}))?(?=[\s;,]|$)",
    re.IGNORECASE,
)
_RECEIVED = re.compile(r";[ \t]*received[ \t]*=[^;,]*", re.IGNORECASE)
_RPORT = re.compile(r";[ \t]*rport(?:[ \t]*=[ \t]*\d*)?(?=[ \t;,]|$)", re.IGNORECASE)
_DEFAULT_PORT, _HIGHEST_PORT = 5060, 65_535
_REPEATED = ("via", "from", "to", "call-id", "cseq")
_MOST_REPEATED_CHARS = 8_000


def can_be_answered(request: SipMessage, source: str) -> bool:
    """Whether its headers allow an answer (`own_answer`)."""
    repeated = sum(len(value) for name in _REPEATED for value in request.headers(name))
    first = request.headers("via")[:1]
    is_place = bool(host_of(source)) and port_of(source) is not None
    return (
        is_place and bool(first and _SENT_BY.match(first[0])) and repeated <= _MOST_REPEATED_CHARS
    )


def own_answer(
    request: SipMessage, answer: Answer, source: str, *, datagram: bool
) -> tuple[str, tuple[str, int]] | None:
    """A response (RFC 3261 §8.2.6), and where it goes; None: it cannot be answered.

    Args:
        request: with all that an answer repeats (`screening.fault_of`).
        answer: what it is to say.
        source: where the request came from, "host:port"; IPv6 in brackets.
        datagram: whether it came by UDP; else the answer goes back by its connection.
    """
    host, port = host_of(source), port_of(source)
    first, *others = [via for value in request.headers("via") for via in value.split(",")] or [""]
    sent_by = _SENT_BY.match(first)
    if sent_by is None or port is None or not can_be_answered(request, source):
        return None
    to_port = port
    if datagram and not _RPORT.search(first):  # RFC 3261 §18.2.2
        to_port = int(sent_by[2] or _DEFAULT_PORT)
    first = _RPORT.sub(f";rport={port}", _RECEIVED.sub("", first).strip(), count=1)
    if not 0 < to_port <= _HIGHEST_PORT:
        return None
    to = request.header("to")
    lines = [
        f"SIP/2.0 {answer.status} {answer.reason}",
        f"Via: {first};received={host}",
        *(f"Via: {via.strip()}" for via in others),
        f"From: {request.header('from')}",
        f"To: {to}" if request.to_tag else f"To: {to};tag={_tag(request)}",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.header('cseq')}",
        *(f"{name}: {value}" for name, value in answer.headers),
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]), (host, to_port)


def _tag(request: SipMessage) -> str:
    """The same for what is sent again (RFC 3261 §8.2.7)."""
    told = "\n".join((request.call_id, request.header("from"), request.header("cseq")))
    return blake2b(told.encode(errors="surrogateescape"), key=_SECRET, digest_size=8).hexdigest()
