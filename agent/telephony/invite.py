"""What an INVITE says: who calls whom, and which codec the call will have."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote

from callerside.addresses import Family, as_compared, family_in_sdp, is_plain_ipv6
from callerside.agent.telephony.sip_message import SipMessage, address_of
from callerside.agent.telephony.srtp import Crypto, cryptos
from callerside.terminal import one_line

_MAX_USER_CHARS = 128
_MAX_TEXT_CHARS = 512
_BAD_REQUEST, _NOT_ACCEPTABLE = 400, 488

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_REQUEST_URI = re.compile(r"INVITE\s+(?:sips?|tel):([^@;>\s:]*)", re.IGNORECASE)
_URI = re.compile(r"\s*(?:sips?|tel):([^@;>\s:]*)", re.IGNORECASE)


def parties(invite: str) -> tuple[str, str]:
    """Whom an INVITE calls and who calls: the user parts of its request line and its From.

    Whatever is wrong with them becomes an empty string: the call is then nobody's we know.
    """
    address, _ = address_of(SipMessage(invite).header("from"))
    return _user(_REQUEST_URI, invite), _user(_URI, address)


def traceparent(invite: str) -> str:
    """The trace that an INVITE belongs to, by its header `traceparent`; empty: none, or not one.

    As W3C Trace Context §3.2 has it: a version that is known, ids that are not all zeros.
    """
    found = _TRACEPARENT.fullmatch(SipMessage(invite).header("traceparent"))
    return found[0] if found and found[1].strip("0") and found[2].strip("0") else ""


def readable(text: str) -> str:
    r"""A text of the other side's, in characters that every file and page can hold.

    The stack's bindings turn each byte that is no UTF-8 into half of a surrogate pair (PEP 383),
    which nothing can encode: here it becomes its escape, `\xe9`. So does what would be a command to
    a terminal; and it is cut where no honest text is so long.
    """
    text = text[:_MAX_TEXT_CHARS]
    try:
        whole = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # a half that stands for no byte
        whole = text.encode(errors="backslashreplace").decode()
    return one_line(whole)


def _user(pattern: re.Pattern[str], message: str) -> str:
    found = pattern.match(message)
    user = unquote(found[1]) if found else ""
    return "".join(c for c in user if c.isprintable())[:_MAX_USER_CHARS]


_LINES = re.compile(r"^(?=m=)", re.MULTILINE)
_PORT = re.compile(r"(?<=^m=audio )\d+")
_AUDIO = re.compile(r"m=audio (?!0+[ /])\S+ RTP/AVPF? ([^\r\n]*)")
"""One that is not refused, and not encrypted (RTP/SAVP): see `srtp.plain_view`."""
_RTPMAP = re.compile(r"^a=rtpmap:(\d+)[ \t]+([^/\s]+)/(\d+)(?:/(\d+))?[ \t]*\r?$", re.MULTILINE)
_CLOCKS = {"OPUS": ("48000", "2")}
"""Of RTP, and channels, of codecs that do not say 8000 and 1, as G722 does, too (RFC 3551 §4.5.2):
Opus says these whatever is in it (RFC 7587 §4.1)."""
_MOST_BITS = re.compile(
    r"^a=fmtp:(\d+)[ \t](?:.*;)?[ \t]*maxaveragebitrate=(\d{1,9})\b", re.MULTILINE
)
_ANY_MEDIA = re.compile(r"^m=", re.MULTILINE)
_ANY_AUDIO = re.compile(r"^m=audio\b(?! 0[ /])", re.MULTILINE | re.IGNORECASE)
STATIC_FORMATS = {"0": "PCMU", "8": "PCMA", "9": "G722"}
"""RFC 3551 §6: these need no `rtpmap`."""
_DIRECTION = re.compile(r"^a=(sendrecv|sendonly|recvonly|inactive)[ \t]*\r?$", re.MULTILINE)
_ADDRESS = re.compile(r"^c=IN (IP[46]) (\S+?)(?:/\d+)?[ \t]*\r?$", re.MULTILINE)
_ORIGIN = re.compile(r"^o=\S+ \d+ \d+ (IN IP[46] \S+)[ \t]*\r?$", re.MULTILINE)
_NO_LINE = re.compile(r"(?:^|(?<=[\r\n]))(?![A-Za-z]=)[^\r\n]")
"""RFC 4566 §5: a line is a letter, `=`, and a value."""
_ANY_ADDRESS = re.compile(r"^c=(?!IN IP[46] \S+[ \t]*\r?$)", re.MULTILINE)
"""One that is written in no way that there is (RFC 4566 §5.7)."""
_LONG_ADDRESS = re.compile(r"[\r\n](?:c=|a=rtcp)[^\r\n]*?[^\s]{200}", re.IGNORECASE)
"""The address of a telephone has 45 characters at most; names of 200 are not for honest callers."""
_PLACES = re.compile(
    r"[\r\n](?:c=\S*[ \t]+\S*|a=rtcp:\S*[ \t]+\S*[ \t]+\S*)[ \t]+([^/\s]*)", re.IGNORECASE
)
"""What a session description says of where media go (RFC 4566 §5.7, RFC 3605 §2.1)."""
_HIGHEST_PORT, _LONGEST_PORT = 65_535, 5
_KEYS = "TELEPHONE-EVENT"
_NOWHERE = re.compile(
    r"^c=IN (?:IP4 0\.0\.0\.0(?:/\d+)?|IP6 [0:]+(?:/\d+)?)(?=[ \t]*\r?$)", re.MULTILINE
)
_SOMEWHERE = re.compile(r"^c=", re.MULTILINE)


def expected_codec(invite: str, codecs: Sequence[str]) -> str:
    """The codec that a call will have.

    Args:
        invite: as it came over the wire.
        codecs: ours, in order of preference.
    """
    session, *lines = _LINES.split(invite)
    chosen = _chosen(session, lines, codecs)
    return next(_known(lines[chosen], codecs)) if chosen is not None else codecs[0]


def with_one_audio(offer: str, codecs: Sequence[str]) -> str:
    """An offer in which all audio but the line of the call is refused: its port is 0.

    Args:
        offer: a session description.
        codecs: ours.
    """
    session, *lines = _LINES.split(offer)
    chosen = _chosen(session, lines, codecs)
    return session + "".join(
        line if number == chosen else _PORT.sub("0", line, count=1)
        for number, line in enumerate(lines)
    )


def is_out_of_reach(offer: str, codecs: Sequence[str], family: Family) -> bool:
    """Whether the audio of the call that an offer makes would have to go to another family."""
    session, *lines = _LINES.split(offer)
    chosen = _chosen(session, lines, codecs)
    if chosen is None:
        return False
    place = lines[chosen] if _SOMEWHERE.search(lines[chosen]) else session
    address = _ADDRESS.search(place)
    return address is not None and address[1] != family


def _chosen(session: str, lines: Sequence[str], codecs: Sequence[str]) -> int | None:
    """Which of an offer's lines becomes the call's audio; none if none can."""
    usable = [n for n, line in enumerate(lines) if next(_known(line, codecs), None)]
    live = [n for n in usable if _is_live(session, lines[n])]
    return next(iter(live or usable), None)


def _known(line: str, codecs: Sequence[str]) -> Iterator[str]:
    """Those of our codecs that a line offers; its numbers are its own (RFC 4566 §6)."""
    audio = _AUDIO.match(line)
    names = {**STATIC_FORMATS, **dict(_names(line))}
    for number in audio[1].split() if audio else ():
        if names.get(number) in codecs:
            yield names[number]


def _is_live(session: str, line: str) -> bool:
    """Whether both sides are to be heard: what a line does not say, the session says for it."""
    direction = _DIRECTION.search(line) or _DIRECTION.search(session)
    address = line if _SOMEWHERE.search(line) else session
    is_open = direction is None or direction[1] == "sendrecv"
    return is_open and _NOWHERE.search(address) is None


def is_description(text: str) -> bool:
    """Whether it can be read as a session description (RFC 4566 §5)."""
    return (
        text.startswith("v=0")
        and _NO_LINE.search(text) is None
        and _ORIGIN.search(text) is not None
        and _ANY_ADDRESS.search(text) is None
    )


def has_long_address(message: str) -> bool:
    """Whether a session description in it names an address that is longer than any."""
    return _LONG_ADDRESS.search(message) is not None


def names_a_host(message: str) -> bool:
    """Whether a session description in it says by a name where media go, not by an address.

    Whoever looks names up waits for the resolver of whoever has made the name: with a call of his,
    he would hold up all others.
    """
    return not all(map(is_address, _PLACES.findall(message)))


def is_address(text: str) -> bool:
    """Whether it is an IP address, of either version; one with a zone may be any name behind it."""
    if "%" in text:
        return False
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def unmet(description: str, codecs: Sequence[str], family: Family = "IP4") -> int:
    """The status with which an offer is refused that cannot be met (RFC 3261 §14.2); 0: it can be.

    Args:
        description: of a session.
        codecs: ours.
        family: of our address.
    """
    if not is_description(description) or has_long_address(description):
        return _BAD_REQUEST
    if names_a_host(description):
        return _NOT_ACCEPTABLE
    return _NOT_ACCEPTABLE if described(description, codecs, family) is None else 0


def held_somewhere(offer: str) -> str:
    """An offer that puts us on hold by naming no address (RFC 2543 §B.5), in today's words.

    It then names the address of its origin, and says that its writer sends and hears nothing: so
    that the answer says where we are, and that we are quiet (RFC 3264 §8.4).
    """
    session, *lines = _LINES.split(offer)
    origin = _ORIGIN.search(session)
    if origin is None or _NOWHERE.search(offer) is None:
        return offer
    somewhere = f"c={origin[1]}"
    return _NOWHERE.sub(somewhere, session) + "".join(
        _on_hold(line, session, somewhere) for line in lines
    )


_QUIET = {"sendrecv": "recvonly", "sendonly": "inactive"}


def quiet(answer: str) -> str:
    """An answer of the same length that says that its writer sends nothing (RFC 3264 §8.4)."""
    return _DIRECTION.sub(
        lambda said: said[0].replace(said[1], _QUIET.get(said[1], said[1])), answer
    )


def _on_hold(line: str, session: str, somewhere: str) -> str:
    place = line if _SOMEWHERE.search(line) else session
    if _NOWHERE.search(place) is None:
        return line
    said = _DIRECTION.search(line) or _DIRECTION.search(session)
    direction = "inactive" if said and said[1] in ("recvonly", "inactive") else "sendonly"
    quiet = _DIRECTION.sub("", _NOWHERE.sub(somewhere, line)).replace("\n\n", "\n")
    return f"{quiet.rstrip()}\r\na={direction}\r\n"


MAX_LINES = 15
"""PJSIP reads 16 (`PJMEDIA_MAX_SDP_MEDIA`), and of more the first 16: so with 16 nobody knows
whether its answer has a line for each that was offered (RFC 3264 §6)."""


def media_lines(message: str) -> int:
    """How many media a message describes, wherever its body begins, and however its lines end."""
    return len(_ANY_MEDIA.findall(message.replace("\r", "\n")))


def audio_lines(message: str) -> int:
    """How many of them are audio that is not refused (RFC 3264 §6: its port is 0)."""
    return len(_ANY_AUDIO.findall(message.replace("\r", "\n")))


def narrowed(description: str, codecs: Sequence[str]) -> str:
    """A session description with one audio and one codec, and with keys, of the same length.

    What is taken away is filled with spaces, and with zeros where it is a port; so it can be
    written over the one that came.
    """
    session, *lines = _LINES.split(description)
    chosen = _chosen(session, lines, codecs)
    if chosen is None:
        return description
    return session + "".join(
        _one_codec(line, codecs)
        if number == chosen
        else _PORT.sub(lambda port: "0" * len(port[0]), line, count=1)
        for number, line in enumerate(lines)
    )


def line_of_call(description: str, codecs: Sequence[str]) -> int:
    """Which of an offer's lines becomes the call's audio; 0 where none does."""
    session, *lines = _LINES.split(description)
    return _chosen(session, lines, codecs) or 0


def with_line_first(description: str, number: int) -> str:
    """A session description, of the same length, in which a line has changed place with the first.

    Done twice, it is as it was.
    """
    session, *lines = _LINES.split(description)
    if not 0 < number < len(lines) or not lines[-1].endswith("\n"):
        return description
    lines[0], lines[number] = lines[number], lines[0]
    return session + "".join(lines)


def _one_codec(line: str, codecs: Sequence[str]) -> str:
    audio = _AUDIO.match(line)
    assert audio is not None  # noqa: S101 - it has a known codec
    wanted = next(_known(line, codecs))
    names = {**STATIC_FORMATS, **dict(_names(line))}
    first = next(number for number in audio[1].split() if names.get(number) == wanted)
    kept = {first, *(number for number, name in names.items() if name == _KEYS)}
    start, end = audio.span(1)
    formats = re.sub(
        r"\S+", lambda one: one[0] if one[0] in kept else " " * len(one[0]), line[start:end]
    )
    return line[:start] + formats + line[end:]


@dataclass(frozen=True, slots=True)
class Described:
    """What a session description says of the call's audio."""

    host: str
    port: int
    codec: str
    payload_type: int
    keys_type: int | None
    """Of RFC 4733's packets."""
    most_bits_per_s: int
    """That its writer wants to be sent, of a codec that leaves the choice; 0: as we like."""
    direction: str
    """As the one who wrote it sees it: sendrecv, sendonly, recvonly, inactive."""
    cryptos: tuple[Crypto, ...] = ()
    """Keys of its writer's."""

    @property
    def family(self) -> Family:
        """Of its host."""
        return family_in_sdp(self.host)

    @property
    def is_nowhere(self) -> bool:
        """Whether its writer can be sent nothing: a hold, as RFC 2543 §B.5 has it."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - that is how it is said

    @property
    def holds(self) -> bool:
        """Whether its writer puts the other side on hold (RFC 3264 §8.4, and RFC 2543's way)."""
        return self.is_nowhere or self.direction in ("sendonly", "inactive")

    @property
    def speaks(self) -> bool:
        """Whether audio of its writer is to be expected: of one that only receives it is not."""
        return self.direction not in ("recvonly", "inactive")

    @property
    def listens(self) -> bool:
        """Whether its writer wants to be sent audio."""
        return self.port != 0 and not self.is_nowhere and self.direction in ("sendrecv", "recvonly")


def described(
    description: str, codecs: Sequence[str], family: Family | None = None
) -> Described | None:
    """The audio of a session description that can be a call's; None if none can.

    `family`: of addresses, of which its own has to be.
    """
    session, *lines = _LINES.split(description)
    chosen = _chosen(session, lines, codecs)
    if chosen is None:
        return None
    line = lines[chosen]
    audio, port = _AUDIO.match(line), _PORT.search(line)
    address = _ADDRESS.search(line if _SOMEWHERE.search(line) else session)
    if audio is None or port is None or address is None:
        return None
    kind, host = address.groups()
    if family_in_sdp(host) != kind or family not in (None, kind):
        return None
    if kind == "IP6" and not is_plain_ipv6(host):
        return None
    if len(port[0]) > _LONGEST_PORT or int(port[0]) > _HIGHEST_PORT or _is_everybodys(host):
        return None
    codec = next(_known(line, codecs))
    names = {**STATIC_FORMATS, **dict(_names(line))}
    numbers = [number for number in audio[1].split() if names.get(number) == codec]
    keys = [number for number, name in names.items() if name == _KEYS]
    direction = _DIRECTION.search(line) or _DIRECTION.search(session)
    return Described(
        host=as_compared(host),
        port=int(port[0]),
        codec=codec,
        payload_type=int(numbers[0]),
        keys_type=int(keys[0]) if keys else None,
        most_bits_per_s=int(dict(_MOST_BITS.findall(line)).get(numbers[0], 0)),
        direction=direction[1] if direction else "sendrecv",
        cryptos=tuple(cryptos(line)),
    )


def _is_everybodys(host: str) -> bool:
    """Whether audio that is sent there reaches many: a multicast group, or a broadcast."""
    return is_address(host) and (ip_address(host).is_multicast or host == "255.255.255.255")


def _names(line: str) -> Iterator[tuple[str, str]]:
    for number, name, *clock in _RTPMAP.findall(line):
        said, channels = clock
        if (said, channels or "1") == _CLOCKS.get(name.upper(), ("8000", "1")):
            yield number, name.upper()
