"""The torture tests of RFC 4475 and RFC 5118, made of two honest requests by named mutations.

A row says which message it is of which RFC, what is changed, and which answers are right. Where the
RFC leaves a choice, each of its answers is. The agent refuses every call with `TAKEN`: whoever gets
that has been understood as a caller.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from callerside.agent.telephony.engine import EngineName

TAKEN = 480
"""Of an INVITE that became a call."""
SILENCE = 0
"""There is no answer, and there should be none."""
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\n"
)

Change = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One message, and what is right."""

    name: str
    rule: str
    base: str = "OPTIONS"
    change: tuple[Change, ...] = ()
    right: frozenset[int]
    over: frozenset[str] = frozenset({"udp", "tcp"})


def message(row: Row, port: int, own_port: int, over: str) -> str:
    """The row's message, for a telephone that listens on `own_port`."""
    body = SDP if row.base == "INVITE" else ""
    lines = [
        f"{row.base} sip:100@127.0.0.1:{port} SIP/2.0",
        f"Via: SIP/2.0/{over.upper()} 127.0.0.1:{own_port};rport;branch=z9hG4bK{uuid.uuid4().hex}",
        "Max-Forwards: 70",
        "From: <sip:raw@127.0.0.1>;tag=raw",
        "To: <sip:100@127.0.0.1>",
        f"Call-ID: {row.name}.{uuid.uuid4().hex}",
        f"CSeq: 1 {row.base}",
        f"Contact: <sip:raw@127.0.0.1:{own_port}>",
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    text = "\r\n".join([*lines, "", body])
    for change in row.change:
        text = change(text)
    return text


def line(old: str, new: str) -> Change:
    """Another line in the place of the one that begins so."""

    def change(text: str) -> str:
        changed = re.sub(rf"(?m)^{re.escape(old)}[^\r\n]*", lambda _: new, text, count=1)
        assert changed != text, f"nothing begins with {old!r}"
        return changed

    return change


def without(*names: str) -> Change:
    """Headers that are not there."""

    def change(text: str) -> str:
        for name in names:
            text = re.sub(rf"(?m)^{name}:[^\r\n]*\r\n", "", text)
        return text

    return change


def more(*lines: str) -> Change:
    """More headers, before the Contact."""
    return lambda text: text.replace("\r\nContact:", "\r\n" + "\r\n".join((*lines, "Contact:")), 1)


def body(text: str, kind: str = "application/sdp") -> Change:
    """Another body, of its length."""

    def change(message: str) -> str:
        head = message.partition("\r\n\r\n")[0]
        head = re.sub(r"(?m)^Content-(Type|Length):[^\r\n]*\r?\n?", "", head).rstrip()
        return f"{head}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n{text}"

    return change


def uri(new: str) -> Change:
    """Another Request-URI."""
    return lambda text: re.sub(r"^(\S+) \S+", lambda found: f"{found[1]} {new}", text, count=1)


def method(new: str) -> Change:
    """Another method, in the CSeq, too."""
    return lambda text: re.sub(
        r"(?m)^(CSeq: \d+) \S+",
        lambda found: f"{found[1]} {new}",
        re.sub(r"^\S+", lambda _: new, text),
    )


def start(new: str) -> Change:
    """Another first line."""
    return lambda text: re.sub(r"^[^\r\n]*", lambda _: new, text, count=1)


def _folded(text: str) -> str:
    text = text.replace(
        "From: <sip:raw@127.0.0.1>;tag=raw", "FROM :\r\n <sip:raw@127.0.0.1>  ;\r\n tag  = raw"
    )
    return text.replace("Max-Forwards: 70", "MaX-fOrWaRdS: 0070").replace("To: ", "TO :\r\n ")


def _with_another_behind(text: str) -> str:
    return text + text.replace("OPTIONS", "INVITE")


def _of_several(text: str) -> str:
    names = ("CSeq: 59 INVITE", f"Call-ID: {uuid.uuid4().hex}", "From: <sip:x@127.0.0.1>;tag=9")
    return more(*names, "To: <sip:y@127.0.0.1>")(text)


RFC4475 = [
    Row(
        name="wsinv",
        rule="3.1.1.1: folded lines and spaces",
        base="INVITE",
        change=(_folded,),
        right=frozenset({TAKEN}),
    ),
    Row(
        name="intmeth",
        rule="3.1.1.2: a method of all characters",
        change=(method("!interesting-Method0123456789_*+`.%indeed'~"),),
        right=frozenset({501, 405}),
    ),
    Row(
        name="esc01",
        rule="3.1.1.3: an escaped URI in a user",
        base="INVITE",
        change=(uri("sip:sips%3Auser%40example.com@127.0.0.1"),),
        right=frozenset({TAKEN, 404}),
    ),
    Row(
        name="escnull",
        rule="3.1.1.4: an escaped NUL",
        base="REGISTER",
        change=(line("To:", "To: <sip:null-%00-null@127.0.0.1>"),),
        right=frozenset({405}),
    ),
    Row(
        name="esc02",
        rule="3.1.1.5: percents that escape nothing",
        change=(method("RE%47IST%45R"),),
        right=frozenset({501, 405}),
    ),
    Row(
        name="lwsdisp",
        rule="3.1.1.6: no space before <",
        change=(line("From:", "From: caller<sip:raw@127.0.0.1>;tag=raw"),),
        right=frozenset({200}),
    ),
    Row(
        name="longreq",
        rule="3.1.1.7: long values",
        base="INVITE",
        change=(more("Unknown: " + "x" * 1_500, f'X-Long: "{"y" * 900}"'),),
        right=frozenset({TAKEN}),
    ),
    Row(
        name="dblreq",
        rule="3.1.1.8: what is behind the first is none of it",
        change=(_with_another_behind,),
        right=frozenset({200}),
        over=frozenset({"udp"}),
    ),
    Row(
        name="semiuri",
        rule="3.1.1.9: parameters in the user",
        change=(uri("sip:user;par=u%40example.net@127.0.0.1"),),
        right=frozenset({200}),
    ),
    Row(
        name="transports",
        rule="3.1.1.10: Via of unknown transports",
        change=(
            more(
                "Via: SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bKu",
                "Via: SIP/2.0/SCTP t3.example.com;branch=z9hG4bKs",
            ),
        ),
        right=frozenset({200}),
    ),
    Row(
        name="mpart01",
        rule="3.1.1.11: a body of several parts",
        base="MESSAGE",
        change=(body("--x\r\n\r\n\x01\x02\r\n--x--\r\n", "multipart/mixed;boundary=x"),),
        right=frozenset({405}),
    ),
    Row(
        name="unreason",
        rule="3.1.1.12: a reason of any language",
        change=(start("SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e"),),
        right=frozenset({SILENCE}),
    ),
    Row(
        name="noreason",
        rule="3.1.1.13: no reason",
        change=(start("SIP/2.0 100 "),),
        right=frozenset({SILENCE}),
    ),
    Row(
        name="badinv01",
        rule="3.1.2.1: separators without anything between",
        base="INVITE",
        change=(line("Contact:", 'Contact: "Joe" <sip:joe@127.0.0.1>;;;;'),),
        right=frozenset({400, TAKEN, SILENCE}),
    ),
    Row(
        name="clerr",
        rule="3.1.2.2: a longer body than there is",
        base="INVITE",
        change=(line("Content-Length:", "Content-Length: 9999"),),
        right=frozenset({400}),
        over=frozenset({"udp"}),
    ),
    Row(
        name="ncl",
        rule="3.1.2.3: a negative length",
        base="INVITE",
        change=(line("Content-Length:", "Content-Length: -999"),),
        right=frozenset({400}),
        over=frozenset({"udp"}),
    ),
    Row(
        name="scalar02",
        rule="3.1.2.4: numbers beyond their range",
        change=(
            line("CSeq:", "CSeq: 36893488147419103232 OPTIONS"),
            line("Max-Forwards:", "Max-Forwards: 300"),
        ),
        right=frozenset({400}),
    ),
    Row(
        name="scalarlg",
        rule="3.1.2.5: the same in a response",
        change=(
            start("SIP/2.0 503 Service Unavailable"),
            line("CSeq:", "CSeq: 9292394834772304023312 OPTIONS"),
        ),
        right=frozenset({SILENCE}),
    ),
    Row(
        name="quotbal",
        rule="3.1.2.6: a quote that is not closed",
        change=(line("To:", 'To: "Mr. J. User <sip:j.user@127.0.0.1>'),),
        right=frozenset({400}),
    ),
    Row(
        name="ltgtruri",
        rule="3.1.2.7: <> around the Request-URI",
        base="INVITE",
        change=(uri("<sip:100@127.0.0.1>"),),
        right=frozenset({400}),
    ),
    Row(
        name="lwsruri",
        rule="3.1.2.8: a space in the Request-URI",
        base="INVITE",
        change=(start("INVITE sip:100@127.0.0.1; lr SIP/2.0"),),
        right=frozenset({400}),
    ),
    Row(
        name="lwsstart",
        rule="3.1.2.9: more than one space between",
        base="INVITE",
        change=(start("INVITE  sip:100@127.0.0.1  SIP/2.0"),),
        right=frozenset({400}),
    ),
    Row(
        name="trws",
        rule="3.1.2.10: spaces behind the version",
        change=(start("OPTIONS sip:100@127.0.0.1 SIP/2.0  "),),
        right=frozenset({400}),
    ),
    Row(
        name="escruri",
        rule="3.1.2.11: headers in the Request-URI",
        base="INVITE",
        change=(uri("sip:100@127.0.0.1?Route=%3Csip:example.com%3E"),),
        right=frozenset({400, TAKEN}),
    ),
    Row(
        name="baddate",
        rule="3.1.2.12: a date of another zone, which may be ignored",
        base="INVITE",
        change=(more("Date: Fri, 01 Jan 2010 16:00:00 EST"),),
        right=frozenset({400, TAKEN}),
    ),
    Row(
        name="regbadct",
        rule="3.1.2.13: a Contact without <>",
        base="REGISTER",
        change=(line("Contact:", "Contact: sip:user@127.0.0.1?Route=%3Csip:x%3E"),),
        right=frozenset({400, 405}),
    ),
    Row(
        name="badaspec",
        rule="3.1.2.14: spaces within <>, which may be read",
        change=(line("To:", 'To: "Watson, Thomas" < sip:t.watson@127.0.0.1 >'),),
        right=frozenset({400, 200}),
    ),
    Row(
        name="baddn",
        rule="3.1.2.15: a comma in a name without quotes, which may be read",
        change=(line("From:", "From: Bell, Alexander <sip:a.bell@127.0.0.1>;tag=43"),),
        right=frozenset({400, 200}),
    ),
    Row(
        name="badvers",
        rule="3.1.2.16: another version",
        change=(start("OPTIONS sip:100@127.0.0.1 SIP/7.0"),),
        right=frozenset({505}),
    ),
    Row(
        name="mismatch01",
        rule="3.1.2.17: another method in the CSeq",
        change=(line("CSeq:", "CSeq: 8 INVITE"),),
        right=frozenset({400}),
    ),
    Row(
        name="mismatch02",
        rule="3.1.2.18: the same with an unknown one",
        change=(method("NEWMETHOD"), line("CSeq:", "CSeq: 8 INVITE")),
        right=frozenset({400, 501}),
    ),
    Row(
        name="bigcode",
        rule="3.1.2.19: a status beyond all",
        change=(start("SIP/2.0 4294967301 better not break the receiver"),),
        right=frozenset({SILENCE}),
    ),
    Row(
        name="badbranch",
        rule="3.2.1: a branch that is its magic cookie alone",
        change=(lambda text: re.sub(r"branch=z9hG4bK\w+", "branch=z9hG4bK", text),),
        right=frozenset({200}),
    ),
    Row(
        name="insuf",
        rule="3.3.1: no From, To or Call-ID",
        base="INVITE",
        change=(without("From", "To", "Call-ID"),),
        right=frozenset({400, SILENCE}),
    ),
    Row(
        name="unkscm",
        rule="3.3.2: a scheme that nobody knows",
        change=(uri("nobodyKnowsThisScheme:totallyopaquecontent"),),
        right=frozenset({416}),
    ),
    Row(
        name="novelsc",
        rule="3.3.3: another scheme",
        change=(uri("soap.beep://192.0.2.103:3002"),),
        right=frozenset({416}),
    ),
    Row(
        name="unksm2",
        rule="3.3.4: another scheme in To",
        base="REGISTER",
        change=(line("To:", "To: <isbn:2983792873>"),),
        right=frozenset({400, 405}),
    ),
    Row(
        name="bext01",
        rule="3.3.5: extensions that nobody has",
        change=(more("Require: nothingSupportsThis, nothingSupportsThisEither"),),
        right=frozenset({420}),
    ),
    Row(
        name="invut",
        rule="3.3.6: a body of an unknown kind",
        base="INVITE",
        change=(body("<audio/>", "application/unknownformat"),),
        right=frozenset({415}),
    ),
    Row(
        name="regaut01",
        rule="3.3.7: unknown authorization",
        base="REGISTER",
        change=(more("Authorization: NoOneKnowsThisScheme opaque-data=here"),),
        right=frozenset({405}),
    ),
    Row(
        name="multi01",
        rule="3.3.8: several values of what has one",
        base="INVITE",
        change=(_of_several,),
        right=frozenset({400}),
    ),
    Row(
        name="mcl01",
        rule="3.3.9: two lengths",
        change=(more("Content-Length: 15"),),
        right=frozenset({400}),
        over=frozenset({"udp"}),
    ),
    Row(
        name="bcast",
        rule="3.3.10: a response to somebody else",
        change=(
            start("SIP/2.0 200 OK"),
            line("Via:", "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23"),
        ),
        right=frozenset({SILENCE}),
    ),
    Row(
        name="zeromf",
        rule="3.3.11: no hop left, at its end",
        change=(line("Max-Forwards:", "Max-Forwards: 0"),),
        right=frozenset({200}),
    ),
    Row(
        name="cparam01",
        rule="3.3.12: a parameter of a Contact",
        base="REGISTER",
        change=(line("Contact:", "Contact: sip:+19725552222@127.0.0.1;unknownparam"),),
        right=frozenset({405}),
    ),
    Row(
        name="cparam02",
        rule="3.3.13: a parameter of its URI",
        base="REGISTER",
        change=(line("Contact:", "Contact: <sip:+19725552222@127.0.0.1;unknownparam>"),),
        right=frozenset({405}),
    ),
    Row(
        name="regescrt",
        rule="3.3.14: an escaped Route in a Contact",
        base="REGISTER",
        change=(line("Contact:", "Contact: <sip:user@127.0.0.1?Route=%3Csip:sip.example.com%3E>"),),
        right=frozenset({405}),
    ),
    Row(
        name="sdp01",
        rule="3.3.15: an Accept without what we would send",
        base="INVITE",
        change=(more("Accept: text/nobodyKnowsThis"),),
        right=frozenset({406}),
    ),
    Row(
        name="inv2543",
        rule="3.4.1: as RFC 2543 had it",
        base="INVITE",
        change=(lambda text: re.sub(r";branch=\w+", "", text), without("Max-Forwards")),
        right=frozenset({TAKEN}),
    ),
]

BEYOND = [
    Row(
        name="contact-of-no-address",
        rule="RFC 3261 §8.1.1.8: a Contact has a URI",
        base="INVITE",
        right=frozenset({400}),
        change=(line("Contact:", "Contact: 9999999999999999999999999999999999999999"),),
    ),
    Row(
        name="contact-of-all",
        rule="RFC 3261 §8.1.1.8: a Contact has a URI; * is for REGISTER",
        base="INVITE",
        right=frozenset({400}),
        change=(line("Contact:", "Contact: *"),),
    ),
    *(
        Row(
            name=f"{name.lower()}-of-{scheme}",
            rule="RFC 3261 §8.1.1.8, §20.30: whither a call's requests go is a SIP address",
            base="INVITE",
            change=(change(f"{name}: <{scheme}:127.0.0.1>"),),
            right=frozenset({400}),
        )
        for name, change in (("Contact", partial(line, "Contact:")), ("Record-Route", more))
        for scheme in ("tel", "http")
    ),
    *(
        Row(
            name=f"{name.lower()}-{which}",
            rule="RFC 3261 §21.4.26: nothing that we say in the call would get there",
            base="INVITE",
            change=(change(f"{name}: <{uri}>"),),
            right=frozenset({488}),
        )
        for name, change in (("Contact", partial(line, "Contact:")), ("Record-Route", more))
        for which, uri in {
            "secure": "sips:raw@127.0.0.1:5999",
            "by-tls": "sip:raw@127.0.0.1:5999;transport=tls",
            "by-web": "sip:raw@127.0.0.1:5999;transport=ws",
            "by-sctp": "sip:raw@127.0.0.1:5999;Transport=SCTP",
            "over-ipv6": "sip:raw@[::1]:5999",
        }.items()
    ),
    *(
        Row(
            name=f"{name.lower()}-at-{which}",
            rule="RFC 3261 §25.1: no host, or no port, to which anything could be sent",
            base="INVITE",
            change=(change(f"{name}: <{uri}>"),),
            right=frozenset({400}),
        )
        for name, change in (("Contact", partial(line, "Contact:")), ("Record-Route", more))
        for which, uri in {
            "high-port": "sip:raw@127.0.0.1:99999",
            "negative-port": "sip:raw@127.0.0.1:-1",
            "no-brackets": "sip:raw@::1",
            "no-address": "sip:raw@[::zz]:5999",
            "a-zone": "sip:raw@[fe80::1%25lo]:5999",
        }.items()
    ),
    *(
        Row(
            name=f"{name.lower()}-of-{which}",
            rule="RFC 3261 §25.1: it is no URI; who reads it all the same may take it",
            base="INVITE",
            change=(change(f"{name}: <{uri}>{tag}"),),
            right=frozenset({400, TAKEN}),
        )
        for name, change, tag in (
            ("Contact", partial(line, "Contact:"), ""),
            ("From", partial(line, "From:"), ";tag=raw"),
            ("To", partial(line, "To:"), ""),
        )
        for which, uri in {
            "high-port": "sip:raw@127.0.0.1:99999",
            "braces": "sip:{called}@127.0.0.1:5999",
            "nobody": "sip:@127.0.0.1:5999",
            "umlaut": "sip:j\u00fc@127.0.0.1:5999",
        }.items()
    ),
    *(
        Row(
            name=f"called-{which}",
            rule="RFC 3261 §25.1: it is no URI; who reads it all the same may take it",
            base="INVITE",
            change=(uri(wrong),),
            right=frozenset({400, TAKEN}),
        )
        for which, wrong in {
            "high-port": "sip:100@127.0.0.1:99999",
            "braces": "sip:{called}@127.0.0.1",
            "nobody": "sip:@127.0.0.1",
            "umlaut": "sip:j\u00fc@127.0.0.1",
            "quote": 'sip:1"00@127.0.0.1',
            "two-hosts": "sip:100@a@127.0.0.1",
        }.items()
    ),
    *(
        Row(
            name=f"no-{header.partition(':')[0].lower()}",
            rule="RFC 3261 §8.2.2: a header that is none; who does not need it may ignore it",
            base="INVITE",
            change=(more(header),),
            right=frozenset({400, TAKEN}),
        )
        for header in ("Expires: x", "Session-Expires: x", "Min-SE: x", "Authorization: x")
    ),
    Row(
        name="no-content-type",
        rule="RFC 3261 §8.2.3: it is no type",
        base="INVITE",
        change=(line("Content-Type:", "Content-Type: x"),),
        right=frozenset({400, 415}),
    ),
    Row(
        name="no-contact",
        rule="RFC 3261 §8.1.1.8",
        base="INVITE",
        change=(without("Contact"),),
        right=frozenset({400}),
    ),
    Row(
        name="control",
        rule="RFC 3261 §25.1: an answer would have to repeat it",
        change=(line("Call-ID:", "Call-ID: a\x1b[2Jb"),),
        right=frozenset({SILENCE}),
    ),
    Row(
        name="forged",
        rule="RFC 3261 §25.1: two readers would read two messages",
        change=(more("Subject: a\rVia: SIP/2.0/UDP h"),),
        right=frozenset({SILENCE}),
    ),
    Row(
        name="coded",
        rule="RFC 3261 §8.2.3",
        base="INVITE",
        change=(more("Content-Encoding: gzip"),),
        right=frozenset({415}),
    ),
    Row(
        name="short",
        rule="RFC 3261 §7.3.3",
        base="INVITE",
        change=(
            lambda text: (
                text.replace("Call-ID", "i")
                .replace("From", "f")
                .replace("To:", "t:")
                .replace("Via", "v")
                .replace("Contact", "m")
            ),
        ),
        right=frozenset({TAKEN}),
    ),
    Row(
        name="long-body",
        rule="RFC 3261 §18.3: never another meaning",
        base="INVITE",
        change=(body(SDP + "a=x\r\n" * 1_200),),
        right=frozenset({400, TAKEN, 413, 513}),
    ),
    *(
        Row(
            name=f"stray-{name}",
            rule="RFC 3261 §12.2.2, §8.2.1",
            base=name,
            right=frozenset({status}),
        )
        for name, status in {
            "BYE": 481,
            "INFO": 481,
            "UPDATE": 481,
            "PRACK": 481,
            "NOTIFY": 481,
            "SUBSCRIBE": 489,
            "REGISTER": 405,
            "PUBLISH": 405,
            "MESSAGE": 405,
            "REFER": 405,
            "FOO": 501,
        }.items()
    ),
]

V6 = "c=IN IP6 2001:db8::9\r\n"
RFC5118 = [
    Row(
        name="v6-valid",
        rule="4.1: an IPv6 reference",
        change=(uri("sip:[2001:db8::10]"),),
        right=frozenset({200}),
    ),
    Row(
        name="v6-bare",
        rule="4.2: the same without brackets",
        change=(uri("sip:2001:db8::10"),),
        right=frozenset({400}),
    ),
    Row(
        name="v6-ambiguous",
        rule="4.3: a port within brackets is none",
        change=(uri("sip:[2001:db8::10:5070]"),),
        right=frozenset({200}),
    ),
    Row(
        name="v6-port",
        rule="4.4: a port behind them",
        change=(uri("sip:[2001:db8::10]:5070"),),
        right=frozenset({200}),
    ),
    Row(
        name="v6-received",
        rule="4.5: received, with brackets",
        base="BYE",
        change=(
            line(
                "Via:",
                "Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];rport;branch=z9hG4bK3",
            ),
        ),
        right=frozenset({481}),
        over=frozenset({"udp"}),
    ),
    Row(
        name="v6-received-bare",
        rule="4.5: received, without",
        base="BYE",
        change=(
            line(
                "Via:",
                "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;rport;branch=z9hG4bKas4",
            ),
        ),
        right=frozenset({481}),
        over=frozenset({"udp"}),
    ),
    Row(
        name="v6-sdp",
        rule="4.6: an offer over IPv6 alone, which we do not have",
        base="INVITE",
        change=(body(SDP.replace("c=IN IP4 127.0.0.1\r\n", V6)),),
        right=frozenset({488, 400}),
    ),
    Row(
        name="v6-vias",
        rule="4.7: Via of both",
        base="BYE",
        change=(more("Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111"),),
        right=frozenset({481}),
    ),
    Row(
        name="v6-and-v4",
        rule="4.8: an offer over both",
        base="INVITE",
        change=(body(SDP + "m=audio 40002 RTP/AVP 0\r\n" + V6),),
        right=frozenset({TAKEN}),
    ),
    Row(
        name="v6-mapped",
        rule="4.9: a mapped IPv4 address",
        base="INVITE",
        change=(body(SDP.replace("c=IN IP4 127.0.0.1", "c=IN IP6 ::ffff:127.0.0.1")),),
        right=frozenset({488, 400}),
    ),
    Row(
        name="v6-colon",
        rule="4.10: a colon too many",
        change=(uri("sip:user@[2001:db8:::192.0.2.1]"),),
        right=frozenset({400}),
    ),
]

ROWS = [*RFC4475, *RFC5118, *BEYOND]

NO_BRANCH = {"inv2543": 400}
UNREAD: Mapping[tuple[EngineName, str], Mapping[str, int]] = {
    ("baresip", "udp"): NO_BRANCH,
    ("baresip", "tcp"): dict.fromkeys(
        ("lwsruri", "lwsstart", "trws", "badvers", "no-content-type", *NO_BRANCH), SILENCE
    ),
}
"""An engine's limit, by transport: what its parser cannot read, and what it is answered instead.

By TCP the connection ends without a word, as RFC 3261 §16.3 and §18.1 let an element do.
"""
