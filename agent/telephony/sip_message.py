"""SIP messages as text, read as far as a call's two ends can be told from them. No I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

_RESPONSE = re.compile(r"SIP/2\.0 (\d{3})(?: ([^\r\n]*))?")
_REQUEST = re.compile(r"([^\s:]+) ")
_REQUEST_LINE = re.compile(r"(\S+) (\S+) (\S+)")
_SHORT = {
    "i": "call-id", "m": "contact", "f": "from", "t": "to", "c": "content-type", "v": "via",
    "e": "content-encoding", "l": "content-length", "r": "refer-to", "k": "supported",
    "x": "session-expires",
}  # fmt: skip
_LINE_END = re.compile(r"\r\n|\r|\n")
"""The first alone is right; the stacks take the others for it, too."""
_FOLD = re.compile(rf"(?:{_LINE_END.pattern})[ \t]+")
_HEAD_END = re.compile(r"\r\n\r\n|\n\n|\r\r|\n\r\n")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_TAG = re.compile(r";[ \t]*tag[ \t]*=[ \t]*([^;\s]+)", re.IGNORECASE)
_REALM = re.compile(r'realm="([^"]*)"', re.IGNORECASE)
_LONGEST_NUMBER = 10
"""Digits of a CSeq, which is below 2**31 (RFC 3261 §8.1.1.5)."""
_FRAGMENT = re.compile(r"SIP/2\.0 (\d{3})")


@dataclass(frozen=True)
class SipMessage:
    """One message. What is missing in it is empty, or 0."""

    text: str

    @cached_property
    def _parts(self) -> tuple[str, str]:
        text = self.text.lstrip("\r\n")
        end = _HEAD_END.search(text)
        return (text, "") if end is None else (text[: end.start()], text[end.end() :])

    @property
    def head(self) -> str:
        """All before its body."""
        return self._parts[0]

    @property
    def body(self) -> str:
        """What it carries."""
        return self._parts[1]

    @cached_property
    def _headers(self) -> dict[str, list[str]]:
        unfolded = _FOLD.sub(" ", self._parts[0])
        found: dict[str, list[str]] = {}
        for line in _LINE_END.split(unfolded)[1:]:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            found.setdefault(_SHORT.get(key, key), []).append(value.strip())
        return found

    @property
    def header_names(self) -> Iterable[str]:
        """The long names of its headers in small letters, each once."""
        return self._headers.keys()

    def header(self, name: str) -> str:
        """The first value of a header, by its long name in small letters."""
        return next(iter(self.headers(name)), "")

    def headers(self, name: str) -> list[str]:
        """All values of a header, in order: of Via, one for each who has passed it on."""
        return self._headers.get(name, [])

    @cached_property
    def status(self) -> int:
        """Of a response; 0: it is a request."""
        found = _RESPONSE.match(self._parts[0])
        return int(found[1]) if found else 0

    @property
    def reason(self) -> str:
        """Of a response."""
        found = _RESPONSE.match(self._parts[0])
        return (found[2] or "") if found else ""

    @cached_property
    def method(self) -> str:
        """Of a request, or of the request that is answered."""
        if self.status:
            return self.header("cseq").rpartition(" ")[2]
        found = _REQUEST.match(self._parts[0])
        return found[1] if found else ""

    @cached_property
    def request_line(self) -> tuple[str, str, str] | None:
        """Method, URI and version of a request; None: it begins like none."""
        found = _REQUEST_LINE.fullmatch(_LINE_END.split(self._parts[0], maxsplit=1)[0])
        return (found[1], found[2], found[3]) if found else None

    @property
    def number(self) -> int:
        """Of its CSeq: each request of one side has a higher one than those before; -1: none."""
        said = self.header("cseq").partition(" ")[0]
        return int(said) if said.isdecimal() and len(said) <= _LONGEST_NUMBER else -1

    @property
    def call_id(self) -> str:
        """Whose message it is."""
        return self.header("call-id")

    @property
    def in_dialog(self) -> bool:
        """Whether it is said within something that was agreed to."""
        return bool(self.to_tag)

    @property
    def to_tag(self) -> str:
        """What the side that it goes to, or that answers, has called what was agreed to."""
        return _tag(self.header("to"))

    @property
    def from_tag(self) -> str:
        """What the side that asked has called it."""
        return _tag(self.header("from"))

    @property
    def begins_call(self) -> bool:
        """Whether it is an INVITE outside of a call."""
        return not self.status and self.method == "INVITE" and not self.in_dialog

    @property
    def description(self) -> str:
        """The session description in it; empty: none."""
        return self.body if "application/sdp" in self.header("content-type").lower() else ""

    @property
    def realms(self) -> set[str]:
        """Of whoever asks for a digest in it (RFC 3261 §22)."""
        asked = (self.header("www-authenticate"), self.header("proxy-authenticate"))
        return set(_REALM.findall(" ".join(asked)))

    @property
    def fragment_status(self) -> int:
        """What a NOTIFY tells of a transfer (RFC 3515 §2.4.5)."""
        found = _FRAGMENT.match(self.body)
        return int(found[1]) if found else 0


def _tag(value: str) -> str:
    found = _TAG.search(address_of(value)[1])
    return found[1] if found else ""


def without_quoted(value: str) -> str:
    """A header's value without the strings in quotes that are in it."""
    return _QUOTED.sub("", value)


def address_of(value: str) -> tuple[str, str]:
    """The URI of a From, To or Contact, and the parameters behind it (RFC 3261 §20.10).

    What a display name holds is neither: whoever calls may write into it what they like.
    """
    unnamed = without_quoted(value)
    _, is_bracketed, rest = unnamed.partition("<")
    if is_bracketed:
        uri, _, parameters = rest.partition(">")
        return uri, parameters
    uri, semicolon, parameters = unnamed.partition(";")
    return uri, semicolon + parameters
