"""Shows PJSUA one line of audio of each offer, the one that becomes the call.

PJSUA opens sockets for every line of audio that it thinks it could use, and then answers for one
that it can with the port of one that it cannot: such a caller is never heard. What it is not shown
it refuses, and opens nothing for. And to an offer that holds by naming no address it would answer
that it is nowhere, too.
"""

import ctypes
from collections.abc import Callable, Sequence

from callerside.agent.telephony.invite import held_somewhere, with_one_audio
from callerside.agent.telephony.pjsua.native.binding import (
    READ,
    Pointer,
    StackModule,
    Text,
    is_method,
)
from callerside.agent.telephony.srtp import SrtpPolicy, plain_view, secure_again

_POOL_BYTES = 8_192


class _Description(ctypes.Structure):
    """`pjsip_sdp_info`: what the stack keeps with a message once it has read its description."""

    _fields_ = (
        ("text", Pointer),
        ("length", ctypes.c_ssize_t),
        ("error", ctypes.c_int),
        ("session", Pointer),
    )


class OneLine(StackModule):
    """Before dialogs. What is let in is counted as it is shown, so nothing goes without it."""

    name = b"callerside-lines"
    priority = 31
    """Transactions have 16, dialogs 32."""
    is_needed = True
    needs = (
        READ,
        ("pjsip_rdata_get_sdp_info", ctypes.POINTER(_Description), (Pointer,)),
        (
            "pjmedia_sdp_parse",
            ctypes.c_int,
            (Pointer, Pointer, ctypes.c_size_t, ctypes.POINTER(Pointer)),
        ),
        ("pjsua_pool_create", Pointer, (Text, ctypes.c_size_t, ctypes.c_size_t)),
        ("pj_pool_reset", None, (Pointer,)),
    )

    def __init__(self, codecs: Sequence[str], policy_with: Callable[[str], SrtpPolicy]) -> None:
        self._codecs = codecs
        self._policy_with = policy_with

    def prepare(self) -> None:
        """The memory of one description: nobody keeps one for longer than its message."""
        self._pool = self.library.pjsua_pool_create(b"callerside", _POOL_BYTES, _POOL_BYTES)

    def deal_with(self, message: int) -> bool:
        """Any request; only what can be an offer is looked at."""
        what = self.describe(message)
        if is_method(what, b"INVITE") or is_method(what, b"UPDATE"):
            policy = self._policy_with(self.read(message).srcAddress)
            self._reduce(self.library.pjsip_rdata_get_sdp_info(message).contents, policy)
        return False

    def _reduce(self, description: _Description, policy: SrtpPolicy) -> None:
        if not description.session:
            return
        offer = ctypes.string_at(description.text, description.length).decode("latin-1")
        view = with_one_audio(plain_view(offer, policy), self._codecs)
        shown = held_somewhere(secure_again(view, offer))
        if shown == offer:
            return
        self.library.pj_pool_reset(self._pool)
        self._text = ctypes.create_string_buffer(shown.encode("latin-1"))  # is read in place
        session = Pointer()
        if not self.library.pjmedia_sdp_parse(
            self._pool, self._text, len(shown), ctypes.byref(session)
        ):
            description.session = session
