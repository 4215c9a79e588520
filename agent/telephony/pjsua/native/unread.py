"""What PJSIP's parser cannot read: it drops that without a word, before any module sees it.

It reads each header that it knows, and drops a message of which one breaks its grammar, and over
TCP what is longer than its buffer. It says so in its log, from where the source is known, and to
whoever asks (`pjsip_tpmgr_set_drop_data_cb`). So here such a message is told, and answered, by the
transport that it came by, as far as it can be.
"""

import ctypes
import re
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

import pjsua2
import structlog

from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.own_answer import own_answer
from callerside.agent.telephony.pjsua.call import reported
from callerside.agent.telephony.pjsua.native.binding import Pointer, Signature, bound
from callerside.agent.telephony.sip_message import SipMessage

_log = structlog.get_logger(__name__)

OnUnread = Callable[[str, str, bool], Answer | None]
"""Called with what was dropped, where it came from ("host:port"; empty: nobody knows), and whether
it was longer than can be read; returns what it is answered, if anything."""

MOST_READ_BYTES: Final = 4_000
"""`PJSIP_MAX_PKT_LEN`, as the wheel was compiled."""

_FROM = re.compile(
    r"(?:Dropping \d+ bytes packet from \S+|Error processing packet from) (\d+(?:\.\d+){3}):(\d+)"
)
_TOO_LONG, _PENDING = 171_062, 70_002
"""`PJSIP_ERXOVERFLOW`, and `PJ_EPENDING`: it is on its way."""
_BY_TRANSPORT = 1
"""`PJSIP_TPSELECTOR_TRANSPORT`."""
_KINDS = (
    pjsua2.PJSIP_TRANSPORT_UDP,
    pjsua2.PJSIP_TRANSPORT_TCP,
    pjsua2.PJSIP_TRANSPORT_TLS,
)
_MOST_SKIPPED = 1_000
"""Connections of which something is skipped: many more than there can be."""


class _Data(ctypes.Structure):
    """`pjsip_tp_dropped_data`, and its beginning `pjsip_tp_rx_data`."""

    _fields_ = (
        ("transport", Pointer),
        ("data", Pointer),
        ("length", ctypes.c_size_t),
        ("status", ctypes.c_int),
    )


class _Selector(ctypes.Structure):
    """`pjsip_tpselector`."""

    _fields_ = (("kind", ctypes.c_int), ("no_reuse", ctypes.c_int), ("transport", Pointer))


_OnDropped = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Data))
_OnReceived = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Data))

_FUNCTIONS: tuple[Signature, ...] = (
    ("pjsua_get_pjsip_endpt", Pointer, ()),
    ("pjsip_endpt_get_tpmgr", Pointer, (Pointer,)),
    ("pjsip_tpmgr_set_drop_data_cb", ctypes.c_int, (Pointer, _OnDropped)),
    ("pjsip_tpmgr_set_recv_data_cb", ctypes.c_int, (Pointer, _OnReceived)),
    (
        "pjsip_tpmgr_send_raw",
        ctypes.c_int,
        (
            *(Pointer, ctypes.c_int, Pointer, Pointer, ctypes.c_char_p, ctypes.c_size_t),
            *(ctypes.c_char_p, ctypes.c_int, Pointer, Pointer),
        ),
    ),
)


class Unread:
    """Keep it until the stack is destroyed."""

    def __init__(self) -> None:
        self._library: Any = None
        self._on_unread: OnUnread = lambda _message, _source, _is_long: None
        self._source = ""
        """Of what is dropped next."""
        self._skipped: dict[int, int] = {}
        """By connection: how many bytes of what was too long are still to come."""

    def open(self, on_unread: OnUnread) -> None:
        """Be told from now on; after the stack's start.

        Where PJSIP's functions are not exported, nobody is told, and that is said.
        """
        self._on_unread = on_unread
        try:
            library = bound(_FUNCTIONS)
        except AttributeError as error:
            _log.warning("sip_module_missing", module="callerside-unread", reason=str(error))
            return
        self._library = library
        self._manager = library.pjsip_endpt_get_tpmgr(library.pjsua_get_pjsip_endpt())
        self._callbacks = _OnDropped(self._dropped), _OnReceived(self._received)
        library.pjsip_tpmgr_set_drop_data_cb(self._manager, self._callbacks[0])
        library.pjsip_tpmgr_set_recv_data_cb(self._manager, self._callbacks[1])

    def tells(self, line: str) -> bool:
        """Whether a line of PJSIP's log is of what it drops next, which is told elsewhere."""
        found = _FROM.search(line)
        if found is None or self._library is None:
            return False
        self._source = f"{found[1]}:{found[2]}"
        return True

    def closed(self, connection: int) -> None:
        """A connection (`pjsip_transport *`) is over."""
        self._skipped.pop(connection, None)

    def _dropped(self, at: Any) -> None:
        with reported("callerside-unread"):
            source, self._source = self._source, ""
            dropped = at.contents
            if not dropped.data:  # a connection was closed
                return
            is_long = dropped.status == _TOO_LONG
            if is_long and dropped.length > MOST_READ_BYTES:
                self._skip(dropped.transport, dropped.length - MOST_READ_BYTES)
            wire = ctypes.string_at(dropped.data, min(dropped.length, MOST_READ_BYTES))
            text = wire.decode(errors="surrogateescape")
            if not text.strip("\r\n"):  # it keeps an address or a connection alive
                return
            answer = self._on_unread(text, source, is_long)
            if answer is not None and source:
                self._send(dropped.transport, SipMessage(text), answer, source)

    def _received(self, at: Any) -> int:
        """By a connection: what was too long is skipped up to its end, or all behind it is lost."""
        with reported("callerside-unread"):
            came = at.contents
            left = self._skipped.pop(came.transport, 0)
            if left:
                skipped = min(left, came.length)
                came.length -= skipped
                self._skip(came.transport, left - skipped)
        return 0

    def _skip(self, connection: int, count: int) -> None:
        if count and len(self._skipped) < _MOST_SKIPPED:
            self._skipped[connection] = count

    def _send(self, transport: int, request: SipMessage, answer: Answer, source: str) -> None:
        for kind in _KINDS:
            is_datagram = kind == pjsua2.PJSIP_TRANSPORT_UDP
            made = own_answer(request, answer, source, datagram=is_datagram)
            if made is None:
                return
            wire = made[0].encode(errors="surrogateescape")
            address = _as_stored(*made[1])
            selector = _Selector(kind=_BY_TRANSPORT, transport=transport)
            status = self._library.pjsip_tpmgr_send_raw(
                self._manager, kind, ctypes.byref(selector), None,
                wire, len(wire), address, len(address), None, None,
            )  # fmt: skip
            if status in (0, _PENDING):  # it is of this kind
                return


def _as_stored(host: str, port: int) -> bytes:
    """A `sockaddr_in`."""
    family = struct.pack("=H", socket.AF_INET)
    return family + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
