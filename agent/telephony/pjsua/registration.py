"""When to ask a registrar again that has refused us, and what one that has not knows us as.

PJSUA itself tries again what may pass soon (408, 5xx, 6xx), but takes a 403 or a 404 for the last
word. A PBX says that while it restarts, too; so it is asked again, ever more slowly, for a wrong
password shall not look like an attack.
"""

import re

_PJSUA_RETRIES = frozenset({408, 480, 500, 502, 503, 504})
_GLOBAL_FAILURE = 600
"""PJSUA tries these again by itself: those above, and all from here on."""
_FACTOR, _MAX_S, _MAX_DOUBLINGS = 6, 3600, 10

_CONTACTS = re.compile(r"^(?:contact|m)[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_VIA = re.compile(
    r"^(?:via|v)[ \t]*:[ \t]*SIP/2\.0/\w+[ \t]+([^\s;:,]+)(?::(\d+))?([^\r\n,]*)",
    re.IGNORECASE | re.MULTILINE,
)
_SEEN_AS = re.compile(r";[ \t]*(received|rport)[ \t]*=[ \t]*([^\s;]+)", re.IGNORECASE)
_DEFAULT_PORT = "5060"


class RefusalRetry:
    """The waits between one refused registration and the next: 6 times `retry_s`, 12 times, ..."""

    def __init__(self, retry_s: int) -> None:
        self._retry_s = retry_s
        self._refusals = 0

    def next_s(self, status: int, *, registered: bool) -> int | None:
        """How long to wait before the next try, if it is for us to make one."""
        if registered:
            self._refusals = 0
            return None
        if status in _PJSUA_RETRIES or status >= _GLOBAL_FAILURE:
            return None
        doublings = min(self._refusals, _MAX_DOUBLINGS)
        self._refusals += 1
        return min(_FACTOR * self._retry_s << doublings, _MAX_S)


def own_contact(answer: str, user: str) -> str:
    """Our address as a registrar's 200 OK has it, one of all that it knows (RFC 3261 §10.3).

    It is the one that the registrar has seen us at (RFC 3581 §4). Empty if it is none of them:
    PJSUA takes no address that would be of no use.
    """
    via = _VIA.search(answer)
    if via is None:
        return ""
    seen_as = {name.lower(): value for name, value in _SEEN_AS.findall(via[3])}
    host = str(seen_as.get("received", via[1]))
    port = str(seen_as.get("rport", via[2] or _DEFAULT_PORT))
    ours = re.compile(
        rf"<(sip:{re.escape(user)}@{re.escape(host)}:{re.escape(port)}(?:;[^>\s]*)?)>",
        re.IGNORECASE,
    )
    found = (ours.search(contacts) for contacts in _CONTACTS.findall(answer))
    return next((contact[1] for contact in found if contact), "")
