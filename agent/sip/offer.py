"""Which codec a call will have, and how many media it offers, read from its INVITE.

The audio between telephone and API gets its rate with the call's first input, before the stack has
negotiated anything. PJSIP answers with the first codec of the caller's list that we know (RFC 3264
§6.1 lets the caller's order decide); an INVITE without an offer gets ours. Where this guess is
wrong the call is converted to another rate and nothing else is.
"""

import re
from collections.abc import Iterator, Sequence

_AUDIO = re.compile(r"^m=audio \S+ \S+ ([^\r\n]*)", re.MULTILINE)
_RTPMAP = re.compile(r"^a=rtpmap:(\d+)[ \t]+([^/\s]+)/", re.MULTILINE)
_ANY_MEDIA = re.compile(r"^m=", re.MULTILINE)
_ANY_AUDIO = re.compile(r"^m=audio\b", re.MULTILINE | re.IGNORECASE)
_STATIC = {"0": "PCMU", "8": "PCMA", "9": "G722"}
"""RFC 3551 §6: these need no `rtpmap`."""


def expected_codec(invite: str, codecs: Sequence[str]) -> str:
    """The codec that a call will have.

    Args:
        invite: as it came over the wire.
        codecs: ours, in order of preference.
    """
    return next((name for name in _offered(invite) if name in codecs), codecs[0])


MAX_LINES = 15
"""PJSIP reads 16 (`PJMEDIA_MAX_SDP_MEDIA`), and of more the first 16: so with 16 nobody knows
whether its answer has a line for each that was offered (RFC 3264 §6)."""


def media_lines(message: str) -> int:
    """How many media a message describes, wherever its body begins, and however its lines end."""
    return len(_ANY_MEDIA.findall(message.replace("\r", "\n")))


def audio_lines(message: str) -> int:
    """How many of them are audio, whether or not they are offered with a port."""
    return len(_ANY_AUDIO.findall(message.replace("\r", "\n")))


def _offered(invite: str) -> Iterator[str]:
    audio = _AUDIO.search(invite)
    if audio is None:
        return
    names = {**_STATIC, **{number: name.upper() for number, name in _RTPMAP.findall(invite)}}
    for number in audio[1].split():
        yield names.get(number, "")
