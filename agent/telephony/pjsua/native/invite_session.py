"""Ends what PJSUA would wait for: a call that nobody acknowledges, our offer when its call ends.

Of the former it waits for the ACK, to send a BYE behind it, and the call keeps one of its few
places for as long as an answer is sent again, 32 s (RFC 3261 §13.3.1.4).
"""

import ctypes

import pjsua2

from callerside.agent.telephony.pjsua.native.binding import Pointer, Signature

_TERMINATED = 487


def _library(*functions: Signature) -> ctypes.CDLL:
    library = ctypes.CDLL(pjsua2._pjsua2.__file__)  # noqa: SLF001 - loaded already: the bindings
    for name, result, arguments in functions:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def give_up(transaction: int) -> None:
    """End a request of ours, within a call, that has no final answer yet: none is heard any more.

    PJSUA goes by the place of a call in its table. An answer that comes when the call is over it
    takes for one to whatever call has that place then, whose media it takes away; an assertion
    ends the process when that call is answered. (Mended in PJSIP's sources in 2026.)

    Args:
        transaction: `pjsip_transaction *`.
    """
    library = _library(("pjsip_tsx_terminate", ctypes.c_int, (Pointer, ctypes.c_int)))
    library.pjsip_tsx_terminate(transaction, _TERMINATED)


class InviteSession:
    """That of an incoming call, for as long as it has not ended.

    Args:
        transaction: its INVITE's (`pjsip_transaction *`), within a callback that tells of it.
    """

    def __init__(self, transaction: int) -> None:
        self._library = library = _library(
            ("pjsip_tsx_get_dlg", Pointer, (Pointer,)),
            ("pjsip_dlg_get_inv_session", Pointer, (Pointer,)),
            ("pjsip_inv_terminate", ctypes.c_int, (Pointer, ctypes.c_int, ctypes.c_int)),
        )
        self._dialog = library.pjsip_tsx_get_dlg(transaction)

    def drop(self, status: int) -> None:
        """End it without a word; its end is told within this call, with this status."""
        session = self._library.pjsip_dlg_get_inv_session(self._dialog) if self._dialog else None
        if session:
            self._library.pjsip_inv_terminate(session, status, True)
