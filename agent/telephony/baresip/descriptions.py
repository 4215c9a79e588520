"""Session descriptions such as baresip reads them, in their place: of the same length. No I/O.

It refuses all of one for a line that nobody needs, and one whose last line has no end, with 500.
RFC 4566 §5 has an attribute ignored that is not understood.
"""

import re

_UNREADABLE = re.compile(
    r"^(?:"
    r"a=(?=rtpmap(?![^\r\n]))|a=(?=rtpmap:(?!\S+ [^/\r\n]+/\d+(?:/[^\r\n]*)?[ \t]*\r?$))"
    r"|a=(?=fmtp(?![^\r\n]))|a=(?=fmtp:(?!\S+ ))"
    r"|a=(?=rtcp(?![^\r\n]))|a=(?=rtcp:(?!\d))"
    r"|b=(?!\w[\w-]*:\d)"
    r")([^\r\n]?)",
    re.MULTILINE,
)
"""The beginning of a line that baresip's reader takes for the end of all."""
_NAME = re.compile(r"^s=[^\r\n]+", re.MULTILINE)


def readable(description: str) -> str:
    """It without what cannot be read, and with an end."""
    return _ended(_UNREADABLE.sub(_unknown, description))


def _unknown(found: re.Match[str]) -> str:
    """An attribute of a name that nobody knows."""
    return f"a={'-' if found[1] else ''}"


def _ended(description: str) -> str:
    """Its last line has an end, for which another gives a character that nobody misses."""
    if not description or description.endswith(("\r", "\n")):
        return description
    before, carriage_return, behind = description.rpartition("\r\n")
    if carriage_return:
        return f"{before}\n{behind}\n"
    shorter = _NAME.sub(lambda name: name[0][:-1], description, count=1)
    return description if shorter == description else f"{shorter}\n"
