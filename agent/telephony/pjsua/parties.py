"""What the other side wrote into a message, as text that can be told: above all, who calls whom."""

import re
from urllib.parse import unquote

_MAX_USER_CHARS = 128

_REQUEST_URI = re.compile(r"^INVITE\s+(?:sips?|tel):([^@;>\s:]*)", re.IGNORECASE)
_FROM_URI = re.compile(
    r"^(?:From|f)\s*:[^\r\n]*?(?:sips?|tel):([^@;>\s:]*)", re.IGNORECASE | re.MULTILINE
)


def parties(invite: str) -> tuple[str, str]:
    """Whom an INVITE calls and who calls: the user parts of its request line and its From.

    Whatever is wrong with them becomes an empty string: the call is then nobody's we know.
    """
    return _user(_REQUEST_URI, invite), _user(_FROM_URI, invite)


def readable(text: str) -> str:
    r"""A text of the other side's, in characters that every file and page can hold.

    The stack's bindings turn each byte that is no UTF-8 into half of a surrogate pair (PEP 383),
    which nothing can encode: here it becomes its escape, `\xe9`.
    """
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # a half that stands for no byte
        return text.encode(errors="backslashreplace").decode()


def _user(pattern: re.Pattern[str], message: str) -> str:
    found = pattern.search(message)
    user = unquote(found[1]) if found else ""
    return "".join(c for c in user if c.isprintable())[:_MAX_USER_CHARS]
