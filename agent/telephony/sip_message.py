"""SIP messages as text, read as far as a call's two ends can be told from them. No I/O."""

import re
from dataclasses import dataclass
from functools import cached_property

_RESPONSE = re.compile(r"SIP/2\.0 (\d{3})(?: ([^\r\n]*))?")
_REQUEST = re.compile(r"([A-Z]+) ")
_SHORT = {
    "i": "call-id", "m": "contact", "f": "from", "t": "to", "c": "content-type", "v": "via",
    "l": "content-length", "r": "refer-to", "k": "supported",
}  # fmt: skip
_REALM = re.compile(r'realm="([^"]*)"', re.IGNORECASE)
_FRAGMENT = re.compile(r"SIP/2\.0 (\d{3})")


@dataclass(frozen=True)
class SipMessage:
    """One message. What is missing in it is empty, or 0."""

    text: str

    @cached_property
    def _parts(self) -> tuple[str, str]:
        head, _, body = self.text.lstrip("\r\n").partition("\r\n\r\n")
        return head, body

    @property
    def body(self) -> str:
        """What it carries."""
        return self._parts[1]

    @cached_property
    def _headers(self) -> dict[str, list[str]]:
        unfolded = re.sub(r"\r\n[ \t]+", " ", self._parts[0])
        found: dict[str, list[str]] = {}
        for line in unfolded.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            found.setdefault(_SHORT.get(key, key), []).append(value.strip())
        return found

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

    @property
    def number(self) -> int:
        """Of its CSeq: each request of one side has a higher one than those before; 0: none."""
        said = self.header("cseq").partition(" ")[0]
        return int(said) if said.isdecimal() else 0

    @property
    def call_id(self) -> str:
        """Whose message it is."""
        return self.header("call-id")

    @property
    def in_dialog(self) -> bool:
        """Whether it is said within something that was agreed to."""
        return "tag=" in self.header("to")

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
