"""Keeps from PJSUA what would end the process: a key press by INFO that breaks off.

PJSUA 2.15 reads the first line of an `application/dtmf-relay` and goes on two bytes behind it. With
`Signal` in it and fewer than two bytes behind it, that is beyond the end, and an assertion aborts.
"""

import ctypes
import re
from typing import Any

import pjsua2
import structlog

from agent.sip.pjsip import Pointer, RequestModule, is_method

_log = structlog.get_logger(__name__)

_BAD_REQUEST = 400
_READ = "_ZN2pj9SipRxData6fromPjER13pjsip_rx_data"
"""`pj::SipRxData::fromPj(pjsip_rx_data &)`, of PJSUA2."""


class Guard(RequestModule):
    """Before transactions: what it refuses has never been there."""

    name = b"earshot-guard"
    priority = 15
    """Transactions have 16."""
    needs = ((_READ, None, (Pointer, Pointer)),)

    def deal_with(self, message: int) -> bool:
        """Any request at all."""
        if not is_method(self.describe(message), b"INFO"):
            return False
        read: Any = pjsua2.SipRxData()
        getattr(self.library, _READ)(ctypes.c_void_p(int(read.this)), message)
        if not breaks_off(read.wholeMsg):
            return False
        self.respond(message, _BAD_REQUEST)
        _log.warning("sip_info_refused", source=read.srcAddress)
        return True


def breaks_off(info: str) -> bool:
    """Whether PJSUA might read beyond the end of this INFO, as it came over the wire.

    It reads up to the first NUL. Where the body begins does not matter: the line is the last one.
    """
    is_key = "dtmf-relay" in info.lower()
    return is_key and any("Signal" in _last_line(text) for text in info.split("\0"))


def _last_line(text: str) -> str:
    """What comes last, with fewer than two characters of a line's end behind it."""
    return re.split(r"[\r\n]", text[:-1] if text.endswith(("\r", "\n")) else text)[-1]
