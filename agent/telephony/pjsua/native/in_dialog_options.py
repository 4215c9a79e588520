"""Answers OPTIONS within a call: a PBX's question whether the call still lives (RFC 3261 §11.2).

PJSUA answers them outside a call only, and leaves those within one to a 500, at which some peers
hang up.
"""

import ctypes
import re
from collections.abc import Callable

from callerside.agent.telephony.pjsua.native.binding import (
    POOL,
    READ,
    Pointer,
    StackModule,
    is_method,
    ring_of,
)

_OK = 200
_ACCEPT, _ALLOW = 0, 4
"""`PJSIP_H_ACCEPT` and `PJSIP_H_ALLOW`: what the stack itself says outside a call."""
_POOL_BYTES = 2_048

_CALL_ID = re.compile(r"^(?:call-id|i)[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_TO_TAG = re.compile(r"^(?:to|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=", re.IGNORECASE | re.MULTILINE)


class InDialogOptions(StackModule):
    """Before dialogs. `is_live` is asked whether there is a call of this `Call-ID`."""

    name = b"callerside-options"
    priority = 31
    """Transactions have 16, dialogs 32."""
    needs = (
        READ,
        POOL,
        ("pjsip_endpt_get_capability", Pointer, (Pointer, ctypes.c_int, Pointer)),
        ("pjsip_hdr_clone", Pointer, (Pointer, Pointer)),
    )

    def __init__(self, is_live: Callable[[str], bool]) -> None:
        self._is_live = is_live

    def prepare(self) -> None:
        """The list with what we can do."""
        library, endpoint = self.library, self.endpoint
        pool = self.new_pool(_POOL_BYTES)
        found = [library.pjsip_endpt_get_capability(endpoint, h, None) for h in (_ALLOW, _ACCEPT)]
        headers = [library.pjsip_hdr_clone(pool, header) for header in found if header]
        self._headers = ring_of(*headers)

    def deal_with(self, message: int) -> bool:
        """Any request; one that is sent again is answered again."""
        if not is_method(self.describe(message), b"OPTIONS"):
            return False
        head = self.read(message).wholeMsg.partition("\r\n\r\n")[0]
        call_id = _CALL_ID.search(head)
        if call_id is None or not _TO_TAG.search(head) or not self._is_live(call_id[1]):
            return False
        self.respond(message, _OK, self._headers)
        return True
