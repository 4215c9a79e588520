"""Where a call to somebody's agent fails: name, transport, answer, codec, address, sound.

Each step says what it saw; what lies behind one that failed is left open.
"""

import contextlib
import ipaddress
import re
import socket
import statistics
from collections.abc import Sequence
from typing import Any

from callerside.addresses import Family, host_of, joined, port_of
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.options import (
    SipAccount,
    Transport,
    as_dialled,
    default_port,
    transport_for,
)
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.tls import client_context, tls_of_account
from callerside.audio import AudioFormat, level_dbfs, to_samples
from callerside.families import family_of
from callerside.ports import HIGHEST_PORT
from callerside.simulator.doctor.findings import Finding, State
from callerside.simulator.doctor.sip_wire import Arrivals, Dialog, Wire
from callerside.simulator.lanes.sip.account import PASSWORD

STAGES = ("name", "transport", "register", "answer", "codec", "address", "sound")
ASK_S = 4.0
RING_S = 40.0
LISTEN_S = 6.0
"""Longer than the 5 s between two reports of RTCP (RFC 3550 §6.2)."""
SILENT_DBFS = -60.0
_CODECS = {0: "PCMU", 8: "PCMA", 9: "G722"}
_G711 = {0: AudioFormat("pcmu"), 8: AudioFormat("pcma")}
"""By payload type (RFC 3551)."""
_OK, _REFUSAL, _FAILURE = 200, 300, 400

_ONE_WAY = {
    "sendonly": "it does not listen",
    "recvonly": "it sends no sound",
    "inactive": "it neither sends sound nor listens",
}
_DOCUMENTATION = [
    ipaddress.ip_network(one)
    for one in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
_ALIKE_BITS = {4: 16, 6: 48}
"""By version of IP: of two addresses of one site. No house has 65536 telephones on one wire, and
most have fewer."""

_REGISTER_MEANING = {
    403: "it takes no registration of that user: see to the account's user, domain and registrar, "
    "and to what that user may do there",
    404: "it knows no such user: see to the account's user and domain",
    423: "it registers for longer only: set expires_s to what Min-Expires says, or more",
}

_NOBODY = "nobody listens at that port: the host itself says so"

_MEANING = {
    401: "it asks who you are: give an account (--account, docs/your-agent.md)",
    403: "it does not take calls from you: is this machine's address, or the account, allowed?",
    404: "it knows no such number: see to the part before the @",
    407: "it asks who you are: give an account (--account, docs/your-agent.md)",
    408: "nobody answered it behind that address",
    480: "whoever is called is not registered, or not there",
    486: "it is busy: does another call take its only line? (run: --jobs 1 places one at a time)",
    488: "it takes none of PCMU, PCMA and G.722 without encryption: is SRTP required?",
    503: "it takes no calls now, or has no line to who is called",
    603: "it declines",
}


def reach(
    uri: str, account: SipAccount | None = None, *, listen_s: float = LISTEN_S
) -> list[Finding]:
    """Look at each step of one call to `uri` (`sip:user@host[:port]`), and hang up again."""
    return _Reach(uri, account, listen_s).findings()


class _Reach:
    def __init__(self, uri: str, account: SipAccount | None, listen_s: float) -> None:
        self._uri = uri
        self._account = account
        self._listen_s = listen_s
        self._found: list[Finding] = []
        self._wire: Wire | None = None
        self._cause = ""
        """What its SDP says that makes sound fail, as far as that is known."""

    def findings(self) -> list[Finding]:
        there = self._name()
        try:
            if there is not None:
                self._call(there)
        finally:
            if self._wire is not None:
                self._wire.close()
        seen = {one.about for one in self._found}
        for stage in STAGES:
            if stage == "register" and not (self._account and self._account.registrar):
                continue
            if stage not in seen:
                self._add(stage, State.UNKNOWN, "not looked at: the call did not come so far")
        return sorted(self._found, key=lambda one: STAGES.index(one.about))

    def _add(self, about: str, state: State, told: str, advice: str = "", *more: str) -> None:
        self._found.append(
            Finding(about=about, state=state, told=told, advice=advice, evidence=more)
        )

    def _name(self) -> tuple[str, int] | None:
        account = self._account
        proxy = account.outbound_proxy if account else ""
        target = proxy or self._uri.partition("@")[2].partition(";")[0]
        host = host_of(target)
        at = port_of(target) or default_port(transport_for(self._uri, account))
        try:
            found = _addresses(host, at)
        except OSError as error:
            self._add(
                "name", State.BAD, f"{host} has no address: {error.strerror}",
                "see to the name; SRV records are not followed: write host:port",
                f"-> which address has {host}?", f"<- {error.strerror}",
            )  # fmt: skip
            return None
        addresses = sorted({str(one[4][0]) for one in found})
        several = f" (of {len(addresses)}: {', '.join(addresses)})" if len(addresses) > 1 else ""
        self._add("name", State.FINE, f"{host} is {addresses[0]}{several}")
        return addresses[0], at

    def _other(self, over: Transport) -> str:
        """Another transport may be the one that is spoken there."""
        if self._uri.lower().startswith("sips:"):
            return "Does it speak TLS there? Try sip: instead of sips:"
        return f"Try the other transport: ;transport={'udp' if over != 'udp' else 'tcp'}"

    def _unreachable(self, error: OSError, over: Transport, said_by: str) -> str:
        if isinstance(error, ConnectionRefusedError):
            return f"{_NOBODY} ({said_by}). {self._other(over)}"
        asked = "is it the right port, and does a firewall let it through?"
        return f"{asked} {self._other(over)}"

    def _dialog(self, wire: Wire) -> Dialog:
        return Dialog(wire, as_dialled(self._uri, self._account), self._account)

    def _host(self) -> str:
        """As the address has it that is called, or the proxy's."""
        proxy = self._account.outbound_proxy if self._account else ""
        return host_of(proxy or self._uri.partition("@")[2].partition(";")[0])

    def _call(self, there: tuple[str, int]) -> None:
        over = transport_for(self._uri, self._account)
        where = f"{joined(*there)}/{over}"
        try:
            context = client_context(tls_of_account(self._account)) if over == "tls" else None
            self._wire = Wire(_own_address(there), there, over, ASK_S, context, self._host())
        except SipError as error:
            self._add("transport", State.BAD, str(error), "see to the account's tls")
            return
        except OSError as error:
            self._add(
                "transport", State.BAD, f"{where}: {error.strerror or error}",
                self._unreachable(error, over, "RST"),
                *([f"-> SYN to {where}"] if over != "udp" else []), _refusal(error),
            )  # fmt: skip
            return
        dialog = self._dialog(self._wire)
        if not self._transport(where):
            return
        if self._account is not None and self._account.registrar:
            with contextlib.ExitStack() as stack:
                if self._register(there, self._account, stack):
                    self._talk(dialog, where)
        else:
            self._talk(dialog, where)

    def _register(
        self, there: tuple[str, int], account: SipAccount, stack: contextlib.ExitStack
    ) -> bool:
        """As a run does before its calls; `stack` takes it back."""
        assert self._wire is not None  # noqa: S101 - opened by `_call`
        place = account.outbound_proxy or account.registrar
        who = f"{account.registrar} and {account.user}"
        wire = self._wire
        wire.log.clear()
        try:
            port = port_of(place) or default_port(account.transport)
            at = str(_addresses(host_of(place), port)[0][4][0]), port
            if at != there or account.transport != wire.over:
                wire = Wire(_own_address(at), at, account.transport, ASK_S)
                stack.callback(wire.close)
            dialog = Dialog(wire, f"sip:{account.registrar}", account)
            answer = dialog.register(ASK_S, account.expires_s)
        except OSError as error:
            self._add(
                "register", State.BAD, f"{who}: {error.strerror or error}",
                "see to the account's registrar, outbound_proxy and transport",
                *wire.log, _refusal(error),
            )  # fmt: skip
            return False
        if answer is None:
            self._add(
                "register", State.BAD, f"{who}: no answer to REGISTER in {ASK_S:.0f} s",
                "see to the account's registrar, outbound_proxy and transport", *wire.log,
            )  # fmt: skip
            return False
        told = f"{account.registrar} answers REGISTER of {account.user} with "
        told += f"{answer.status} {answer.reason}"
        if not _OK <= answer.status < _REFUSAL:
            advice = _REGISTER_MEANING.get(answer.status) or self._meaning(answer)
            self._add("register", State.BAD, told, advice, *wire.log, *_head(answer))
            return False
        stack.callback(_take_back, dialog)
        if dialog.expires_s != account.expires_s:
            told += f" for {dialog.expires_s} s: {account.expires_s} s were too brief for it (423)"
        self._add("register", State.FINE, told)
        return True

    def _talk(self, dialog: Dialog, where: str) -> None:
        answer = self._answer(dialog, where)
        if answer is None or not _OK <= answer.status < _REFUSAL:
            return
        try:
            media = self._codec(answer)
            at = None if media is None else self._address(answer, media)
            if media is not None:
                self._sound(answer, media, at)
        finally:
            dialog.bye(ASK_S)

    def _transport(self, where: str) -> bool:
        assert self._wire is not None  # noqa: S101 - opened by `_call`
        over = self._wire.over
        try:
            answer = Dialog(
                self._wire, as_dialled(self._uri, self._account), self._account
            ).options(ASK_S)
        except OSError as error:
            self._add(
                "transport", State.BAD, f"{where}: {error.strerror or error}",
                self._unreachable(error, over, "ICMP"), *self._wire.log, _refusal(error),
            )  # fmt: skip
            return False
        if answer is None:
            self._add(
                "transport", State.DOUBTFUL, f"{where}: no answer to OPTIONS in {ASK_S:.0f} s",
                "some do not answer it; if the INVITE gets none either, a firewall is likely",
                *self._wire.log,
            )  # fmt: skip
            return True
        took = f"{answer.status} {answer.reason}"
        self._add("transport", State.FINE, f"{where} answers OPTIONS with {took}")
        return True

    def _answer(self, dialog: Dialog, where: str) -> SipMessage | None:
        assert self._wire is not None  # noqa: S101 - opened by `_call`
        self._wire.log.clear()
        rang: list[str] = []
        try:
            answer = dialog.invite(RING_S, lambda one: rang.append(f"{one.status} {one.reason}"))
        except OSError as error:
            self._add(
                "answer", State.BAD, f"{where}: {error.strerror or error}",
                "the other side went away", *self._wire.log, _refusal(error),
            )  # fmt: skip
            return None
        before = f" after {', '.join(dict.fromkeys(rang))}" if rang else ""
        if answer is None:
            dialog.cancel(ASK_S)
            if any(not one.startswith("100 ") for one in rang):
                advice = "it rings, and nobody answers"
            elif rang:
                advice = "the next hop has it, and nobody behind it has taken it: nothing rings"
            else:
                advice = "is something listening there that speaks SIP, and may it answer to you?"
            told = f"no answer to INVITE in {RING_S:.0f} s{before}"
            self._add("answer", State.BAD, told, advice, *self._wire.log)
            return None
        told = f"{answer.status} {answer.reason}{before}"
        if answer.status >= _REFUSAL:
            self._add("answer", State.BAD, told, self._meaning(answer), *_head(answer))
            return answer
        self._add("answer", State.FINE, told)
        return answer

    def _meaning(self, answer: SipMessage) -> str:
        if answer.status < _FAILURE:
            to = answer.header("contact") or "nobody: it has no Contact"
            return f"redirects are not followed: it names {to}; call that"
        if answer.status in (401, 407) and self._account is not None:
            if not self._account.password:
                return f"the account has no password: set {PASSWORD} in the environment"
            return "the account's user, auth_user, realm or password is not what it expects"
        return _MEANING.get(answer.status, "see to its own log for this Call-ID")

    def _codec(self, answer: SipMessage) -> tuple[str, int, list[int]] | None:
        assert self._wire is not None  # noqa: S101 - opened by `_call`
        sdp = answer.description
        audio = re.search(r"^m=audio (\d+) (\S+) ([\d ]+)", sdp, re.MULTILINE)
        if audio is not None and audio[1] == "0":
            self._add(
                "codec", State.BAD, "it refuses the audio: m=audio 0, a port of 0 (RFC 3264 §6)",
                "it takes none of PCMU, PCMA and G.722 without encryption, or no audio at all",
                *sdp.splitlines(),
            )  # fmt: skip
            return None
        if audio is None:
            self._add(
                "codec", State.BAD, "the answer has no audio",
                "it takes none of PCMU, PCMA and G.722, or sends no SDP with its 200 OK",
                *(sdp.splitlines() or _head(answer)),
            )  # fmt: skip
            return None
        types = [int(one) for one in audio[3].split()]
        known = [_CODECS[one] for one in types if one in _CODECS]
        if not known or audio[2] != "RTP/AVP":
            self._add(
                "codec", State.BAD, f"{audio[2]} with payload types {audio[3].strip()}",
                "PCMU, PCMA or G.722 over RTP/AVP were offered, and nothing else",
                *sdp.splitlines(),
            )  # fmt: skip
            return None
        host, port = _connection(sdp, self._wire.family), int(audio[1])
        if not host or port > HIGHEST_PORT:
            self._add(
                "codec", State.BAD, "the answer says not where to send sound",
                f"expected c=IN {self._wire.family} ADDRESS and a port of 1 to {HIGHEST_PORT}",
                *sdp.splitlines(),
            )  # fmt: skip
            return None
        told = f"{known[0]}, by {audio[2]} to {joined(host, port)}"
        way = _direction(sdp)
        if way == "sendrecv":
            self._add("codec", State.FINE, told)
        else:
            self._cause = f"its answer has a={way}: {_ONE_WAY[way]}"
            self._add(
                "codec", State.DOUBTFUL, f"{told}, with a={way}: {_ONE_WAY[way]}",
                "a=sendrecv was offered: does it put the call on hold, or only listen?",
                *sdp.splitlines(),
            )  # fmt: skip
        return host, port, types

    def _address(self, answer: SipMessage, media: tuple[str, int, list[int]]) -> str | None:
        """Where sound goes, as an address; None: nowhere."""
        assert self._wire is not None  # noqa: S101 - opened by `_call`
        named, there, here = media[0], self._wire.there[0], self._wire.here[0]
        seen = re.search(r"received=\[?([0-9A-Fa-f.:]+)", answer.header("via"))
        sdp = tuple(answer.description.splitlines())
        try:
            host = str(_addresses(named, media[1])[0][4][0])
        except OSError as error:
            told = f"it names {named} for sound, which has no address: {error.strerror}"
            self._cause = self._cause or told
            self._add(
                "address", State.BAD, told,
                "no telephone that calls from here can send it sound: it must name an address "
                "(callerside-agent: sip.public_host)", *sdp,
            )  # fmt: skip
            return None
        nowhere = _leads_nowhere(host, there)
        if nowhere:
            self._cause = self._cause or f"it names {host} for sound, {nowhere}"
            self._add(
                "address", State.BAD, f"it names {host} for sound, {nowhere}",
                "it must name the address at which it hears (callerside-agent: sip.public_host)",
                *sdp,
            )  # fmt: skip
        elif _is_private(host) and not _is_private(there):
            self._add(
                "address", State.BAD,
                f"it is called at {there} and names the private address {host} for sound",
                "your sound cannot get there: it must name its public address "
                "(callerside-agent: sip.public_host)", *sdp,
            )  # fmt: skip
            self._cause = self._cause or f"it names the private address {host} for sound"
        elif _is_private(host) and not _is_beside(host, there):
            told = f"it is called at {there} and names {host} for sound, of another private network"
            self._cause = self._cause or told
            self._add(
                "address", State.DOUBTFUL, told,
                "does a way lead there from this machine? A container names an address of its own "
                "network, which nobody outside reaches (callerside-agent: sip.public_host)", *sdp,
            )  # fmt: skip
        elif _is_private(here) and not _is_private(there):
            told = f"this machine names {here}, a private address, and is seen at "
            told += seen[1] if seen else "one that it is not told"
            self._add(
                "address", State.DOUBTFUL, told,
                "sound comes back only if the other side sends to where yours comes from",
                f"-> c=IN {self._wire.family} {here}", f"<- Via: {answer.header('via')}",
            )  # fmt: skip
        else:
            name = "" if host == named else f" ({named})"
            self._add("address", State.FINE, f"sound goes to {host}{name}, SIP to {there}")
        return host

    def _sound(
        self, answer: SipMessage, media: tuple[str, int, list[int]], at_host: str | None
    ) -> None:
        assert self._wire is not None  # noqa: S101 - opened by `_call`
        host, port, types = at_host or media[0], media[1], media[2]
        came = self._wire.exchange_media((host, port) if at_host else None, self._listen_s)
        here, at = self._wire.rtp.getsockname()[:2]
        said = f"to port {at} in {self._listen_s:.0f} s"
        sdp = [f"-> c=IN {self._wire.family} {here}", f"-> m=audio {at}"]
        sdp += [f"<- {one}" for one in answer.description.splitlines() if one[:2] in ("c=", "m=")]
        if not came.packets:
            self._add(
                "sound", State.BAD,
                f"one-way or no sound: no RTP packet came {said}; {_hears(came)}",
                self._likely(_why_no_packet(self._wire.there[0])),
                *sdp, *([came.deaf] if came.deaf else []),
            )  # fmt: skip
            return
        told = f"{len(came.packets)} packets came from {_sources(came)}, {_level(came)}; "
        told += _hears(came)
        elsewhere = {source[0] for source in came.sources} - {host}
        loudest = _loudest_dbfs(came)
        foreign = _not_agreed_on(came, types)
        if foreign:
            self._add(
                "sound", State.BAD, f"no sound that was agreed on: {told}",
                f"its answer agreed to payload type {_numbers(types)}, and it sends "
                f"{_numbers(foreign)}: a telephone plays none of that, and it must send what its "
                "answer names (RFC 3264 §6.1)", *sdp, came.first,
            )  # fmt: skip
        elif came.deaf and not came.hears_us:
            sure = came.hears_another
            self._add(
                "sound",
                State.BAD if sure else State.DOUBTFUL,
                f"one-way: {told}" if sure else f"perhaps one-way: {told}",
                self._likely(("" if sure else "it never reports what it gets, as baresip, or ")
                + f"what is sent to {joined(host, port)} does not get there: a firewall or NAT "
                "on its side, or that address is not the one it listens at"), *sdp, came.deaf,
            )  # fmt: skip
        elif loudest is not None and loudest < SILENT_DBFS:
            advice = "it says nothing: should it greet?"
            self._add("sound", State.DOUBTFUL, told, advice, came.first)
        elif elsewhere:
            self._add(
                "sound", State.DOUBTFUL, told,
                f"it names {host} for sound and sends from elsewhere: a telephone that takes sound "
                "from where it was named alone hears nothing of this",
                *sdp, came.first,
            )  # fmt: skip
        else:
            self._add("sound", State.FINE, told)

    def _likely(self, otherwise: str) -> str:
        """The cause that is known, or what there may be."""
        return f"likely the cause: {self._cause}" if self._cause else otherwise


def _why_no_packet(there: str) -> str:
    """What keeps sound from coming: on this machine nothing but the agent can."""
    if ipaddress.ip_address(there).is_loopback:
        return "it sends nothing: see its log (on loopback no firewall and no NAT is in between)"
    return (
        "it sends nothing: see its log; or a firewall or NAT keeps it out, or it is sent "
        "elsewhere: look there with tcpdump"
    )


def _own_address(there: tuple[str, int]) -> str:
    """This machine's, on the way there."""
    with socket.socket(family_of(there[0]), socket.SOCK_DGRAM) as probe:
        probe.connect(there)  # sends nothing
        return str(probe.getsockname()[0])


def _addresses(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """Those that a host has, of IPv4 if there are any.

    Raises:
        OSError: it has none.
    """
    with contextlib.suppress(OSError):
        return socket.getaddrinfo(host, port, socket.AF_INET)
    return socket.getaddrinfo(host, port, socket.AF_INET6)


def _take_back(registration: Dialog) -> None:
    with contextlib.suppress(OSError):
        registration.register(ASK_S, 0)


def _refusal(error: OSError) -> str:
    """What came instead of an answer."""
    if isinstance(error, ConnectionRefusedError):
        return "<- refused (of TCP: RST; of UDP: ICMP, port unreachable)"
    if isinstance(error, TimeoutError):
        return "<- nothing"
    return f"<- {error.strerror or error}"


def _head(message: SipMessage) -> list[str]:
    return [line for line in message.text.split("\r\n\r\n")[0].splitlines() if line][:12]


def _connection(sdp: str, family: Family) -> str:
    """Where the audio is to be sent; empty: it does not say."""
    return _of_audio(sdp, rf"^c=IN {family} ([^\s/]+)")


def _direction(sdp: str) -> str:
    """Of the audio, as the other side has it (RFC 4566 §6)."""
    return _of_audio(sdp, r"^a=(sendrecv|sendonly|recvonly|inactive)\s*$") or "sendrecv"


def _of_audio(sdp: str, pattern: str) -> str:
    """What the audio's lines say, or else the session's; empty: neither does."""
    session, _, audio = sdp.partition("m=audio")
    for part in (audio.partition("\nm=")[0], session):
        if found := re.search(pattern, part, re.MULTILINE):
            return found[1]
    return ""


def _leads_nowhere(host: str, there: str) -> str:
    """Why nobody who calls at `there` can send anything to `host`; empty: somebody may."""
    try:
        address, called = ipaddress.ip_address(host), ipaddress.ip_address(there)
    except ValueError:
        return ""
    if address.is_unspecified:
        return "which is none: it holds the call, or does not know its own address"
    if any(address in network for network in _DOCUMENTATION):
        return "an address for examples (RFC 5737, RFC 3849): its configuration still has one"
    if address.is_loopback and not called.is_loopback:
        return f"which is this machine itself, and it is called at {there}"
    return ""


def _is_beside(host: str, there: str) -> bool:
    """Whether one network may hold both: they begin alike."""
    called = ipaddress.ip_address(there)
    bits = 8 if called.is_loopback else _ALIKE_BITS[called.version]
    return ipaddress.ip_address(host) in ipaddress.ip_network(f"{there}/{bits}", strict=False)


def _is_private(host: str) -> bool:
    """Also of a provider's own network (100.64.0.0/10), which nobody else reaches."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _not_agreed_on(came: Arrivals, types: Sequence[int]) -> list[int]:
    """The payload types that came and no telephone plays, where most of what came is of them."""
    foreign = [one.payload_type for one in came.packets if one.payload_type not in types]
    return sorted(set(foreign)) if 2 * len(foreign) > len(came.packets) else []


def _numbers(types: Sequence[int]) -> str:
    return ", ".join(f"{one} ({_CODECS[one]})" if one in _CODECS else str(one) for one in types)


def _hears(came: Arrivals) -> str:
    if came.hears_us:
        return "by its RTCP it gets ours"
    if came.reports:
        return "its RTCP says nothing of ours" + (
            "" if came.hears_another else ", nor of anybody's: some never do"
        )
    return "whether it gets ours is not known (no RTCP)"


def _sources(came: Arrivals) -> str:
    return " and ".join(joined(*source) for source in sorted(came.sources))


def _loudest_dbfs(came: Arrivals) -> float | None:
    """Of the packets in G.711; None: most are in something else."""
    levels = [
        level_dbfs(to_samples(_G711[packet.payload_type].decode(packet.payload)))
        for packet in came.packets
        if packet.payload_type in _G711
    ]
    return max(levels) if 2 * len(levels) > len(came.packets) else None


def _level(came: Arrivals) -> str:
    types = {packet.payload_type for packet in came.packets}
    names = ", ".join(_CODECS.get(one, f"type {one}") for one in sorted(types))
    size = statistics.mode(len(packet.payload) for packet in came.packets)
    loudest = _loudest_dbfs(came)
    told = "" if loudest is None else f", loudest {loudest:.0f} dBFS"
    return f"{names}, {size} bytes each{told}"
