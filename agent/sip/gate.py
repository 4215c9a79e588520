"""Refuses the call for which the stack has no place: promptly, with `Retry-After`, and counted.

PJSUA knows four calls a process, and answers the fifth with a bare 486 before it tells anybody. The
gate stands just before it; where it cannot, the bare 486 remains. It also drops an ACK that belongs
to nothing: one behind a description that PJSIP cannot read would be answered, which no ACK may be,
and an assertion would end the process.
"""

import ctypes
from collections.abc import Callable

from agent.sip.options import CALLS_PER_PROCESS
from agent.sip.pjsip import Link, Pointer, Refused, StackModule, Str, Text, is_method

_POOL_BYTES = 512


class Gate(StackModule):
    """Before PJSUA, for requests that belong to no call: INVITEs, and stray ACKs.

    `status` is asked for the status to refuse with; `on_refused` is told of each refusal.
    """

    name = b"earshot-gate"
    priority = 63
    """Behind transactions (16) and dialogs (32), which keep what is theirs; PJSUA's is 64."""
    needs = (
        ("pjsua_call_get_count", ctypes.c_uint, ()),
        ("pjsua_pool_create", Pointer, (Text, ctypes.c_size_t, ctypes.c_size_t)),
        ("pjsip_generic_string_hdr_create", Pointer, (Pointer, Pointer, Pointer)),
    )

    def __init__(self, retry_after_s: int, status: Callable[[], int], on_refused: Refused) -> None:
        self._retry_after_s = retry_after_s
        self._status = status
        self._on_refused = on_refused

    def prepare(self) -> None:
        """The list with the one header."""
        pool = self.library.pjsua_pool_create(b"earshot", _POOL_BYTES, _POOL_BYTES)
        name, value = b"Retry-After", str(self._retry_after_s).encode()
        header = self.library.pjsip_generic_string_hdr_create(
            pool, ctypes.byref(Str(name, len(name))), ctypes.byref(Str(value, len(value)))
        )
        self._headers = Link(header, header)  # a ring of two: the list's head, and the header
        head = ctypes.addressof(self._headers)
        ring = Link.from_address(header)
        ring.prev = ring.next = head

    def deal_with(self, message: int) -> bool:
        """A request of no call and no transaction."""
        what = self.describe(message)
        if is_method(what, b"ACK"):
            return True
        if not is_method(what, b"INVITE"):
            return False
        if self.library.pjsua_call_get_count() < CALLS_PER_PROCESS:
            return False
        status = self._status()
        headers = ctypes.byref(self._headers) if self._retry_after_s else None
        self.respond(message, status, headers)
        self._on_refused(status, what.decode(errors="replace"))
        return True
